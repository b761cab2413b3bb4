"""Re-ranked answers to queries without a truth: the new order beside the old one, as a table and as a page of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vloc_ros.data.places import Picture
from vloc_ros.evaluation import html
from vloc_ros.evaluation.rerank_report import FINE_LEGEND, LEGEND, answer_figure
from vloc_ros.evaluation.rerank_run import RerankStage
from vloc_ros.evaluation.rerank_words import why_not
from vloc_ros.evaluation.retrieval_run import Progress, readable
from vloc_ros.evaluation.retrieved import retrieved_page, shown_of, write_retrieved_files
from vloc_ros.retrieval import FineReranker, Neighbours, Reranked, View

HEAD = ("query", "rank", "database", "score", "old_rank", "similarity", "inliers", "matches", "probability", "accepted", "why_not")
_IN_TABLE = 5
"""Candidates of the new order that the page lists for each query."""


def rerank_found(
    queries: Sequence[Picture],
    database: Sequence[Picture],
    found: Sequence[Neighbours[int]],
    stage: RerankStage,
    progress: Progress = lambda pictures, label: pictures,
) -> list[Reranked[int] | None]:
    """The new order for each query; None where the search found nothing, as for a picture that cannot be read."""
    answers: list[Reranked[int] | None] = [None] * len(queries)
    place = {id(picture): query for query, picture in enumerate(queries)}
    for picture, image in readable(progress(queries, f"re-ranking by {stage.name}")):
        query = place[id(picture)]
        if len(found[query]):
            kept = stage.of_query(View(image, condition=picture.condition))
            answers[query] = stage.rerank(kept, found[query].ids, database, dict(found[query]))
    return answers


def write_reranked(
    folder: Path,
    queries: Sequence[Picture],
    database: Sequence[Picture],
    found: Sequence[Neighbours[int]],
    answers: Sequence[Reranked[int] | None],
    stage: RerankStage,
    top: int,
) -> None:
    """Write ``retrieved.csv`` (the first ``top`` of each new order, ranks from 1) and ``report.html`` with the best pairs.

    Raises:
        OutputError: a file cannot be written.
    """
    given = {query: answer for query, answer in enumerate(answers) if answer is not None}
    lines = [
        (queries[query].name, *row) for query, answer in given.items() for row in _rows(database, found[query], answer, stage, top)
    ]
    shown = shown_of(list(given))
    figures = []
    for query in shown:
        answer, old = given[query], found[query]
        rank = old.ids.index(answer.ids[0]) + 1
        figure = answer_figure(queries[query], database, answer, rank, stage.settings, _nobody(answer))
        table = _listing(list(_rows(database, old, answer, stage, min(top, _IN_TABLE))))
        figures.append(f"<div>{figure}{table}</div>")
    write_retrieved_files(folder, HEAD, lines, retrieved_page(figures, _note(answers, len(shown), stage), "matches two"))


def accepted_queries(answers: Sequence[Reranked[int] | None]) -> int:
    """How many queries have a candidate that is accepted."""
    return sum(answer is not None and any(answer.accepted) for answer in answers)


def _rows(
    database: Sequence[Picture], found: Neighbours[int], answer: Reranked[int], stage: RerankStage, top: int
) -> Iterator[tuple[Any, ...]]:
    """The columns of :data:`HEAD` but for the query; empty ones for what was not compared."""
    old = {row: rank for rank, row in enumerate(found.ids)}
    for place, row in enumerate(answer.ids[:top]):
        compared: tuple[Any, ...] = ("", "", "", "", "no", "not compared")
        if place < len(answer.verifications):
            one = answer.verifications[place]
            chance = None if answer.probabilities is None else answer.probabilities[place]
            reason = "" if answer.accepted[place] else why_not(one, chance, stage.settings)
            shown = "" if chance is None else f"{chance:.3f}"
            looked = ("", one.inliers, one.matches) if one.similarity is None else (f"{one.similarity:.6f}", "", "")
            compared = (*looked, shown, "yes" if answer.accepted[place] else "no", reason)
        yield (place + 1, database[row].name, f"{float(found.scores[old[row]]):.6f}", old[row] + 1, *compared)


def _listing(rows: Sequence[tuple[Any, ...]]) -> str:
    """The new order as a small table."""
    head = ("rank", "before", "database", "score", "inliers or similarity", "accepted", "")
    cells = []
    for rank, name, score, old, similarity, inliers, matches, chance, accepted, reason in rows:
        of = similarity[:5] if matches == "" else f"{inliers} of {matches}"
        probable = f"{accepted} ({chance})" if chance else accepted
        cells.append([escape(str(cell)) for cell in (rank, old, name, f"{float(score):.3f}", of, probable, reason)])
    return html.table(head, cells, ["number", "number", "name", "number", "number", "name", "words"])


def _nobody(answer: Reranked[int]) -> str:
    return "" if any(answer.accepted) else "; none of them is accepted"


def _note(answers: Sequence[Reranked[int] | None], shown: int, stage: RerankStage) -> str:
    given = sum(answer is not None for answer in answers)
    legend = FINE_LEGEND if isinstance(stage.reranker, FineReranker) else LEGEND
    return (
        f"{shown} of {given} answered queries beside their best answer after re-ranking by {stage.name}; "
        f"{accepted_queries(answers)} have a candidate that is accepted; {len(answers) - given} got no answer. {legend}"
    )
