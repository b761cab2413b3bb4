"""The part of the page about retrieval that shows re-ranking: the table, curves, and pairs with predicted frame and inliers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from vloc_ros.data.places import Picture, PlaceDataset
from vloc_ros.errors import DataError
from vloc_ros.evaluation import html, rerank_table
from vloc_ros.evaluation.activation_pictures import LEGEND as ACTIVATION_LEGEND
from vloc_ros.evaluation.activation_pictures import ActivationPainter
from vloc_ros.evaluation.pictures import jpeg_uri
from vloc_ros.evaluation.rerank_pictures import draw_verification
from vloc_ros.evaluation.rerank_run import RerankResult
from vloc_ros.evaluation.rerank_table import Evaluated
from vloc_ros.evaluation.rerank_words import verdict
from vloc_ros.retrieval import Reranked, RerankSettings, Verification

EXAMPLES = 4
FINE_LEGEND = "On the left the query, on the right the candidate that is the most similar one to the fine stage."
LEGEND = (
    "On the left the query, on the right the candidate. Yellow: the frame of the query, and where the homography puts it in the "
    "candidate. Squares of one colour are the two ends of an inlier."
)


class _Example(NamedTuple):
    """One query to be shown."""

    data: PlaceDataset
    query: int
    answer: Reranked[int]
    before: list[int]
    """Rows in the order of the search."""


def sections(evaluated: Evaluated, datasets: Sequence[PlaceDataset]) -> list[str]:
    """HTML sections: the table, the curves, and pairs for each descriptor with each re-ranker."""
    table = [[escape(cell) for cell in row] for row in rerank_table.rows(evaluated)]
    classes = ["name", *["number"] * (len(rerank_table.HEAD) - 1)]
    notes = f"{rerank_table.ABOUT}. {rerank_table.kept_memory(evaluated)}."
    parts = [
        f'<section><h2>Re-ranking</h2><div class="wide-table">{html.table(rerank_table.HEAD, table, classes)}</div>'
        f'<p class="about">{escape(notes)}</p></section>'
    ]
    return parts + [_examples(result, datasets) for _, after in evaluated for result in after]


def verified_figure(
    query: Picture,
    candidate: Picture,
    verification: Verification | None,
    caption: str,
    painter: ActivationPainter | None = None,
) -> str:
    """A query beside a candidate with what geometry says, and below them their activation maps.

    A picture that cannot be read any more is said to be so.
    """
    shown = verification or Verification(0, 0, None, np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))
    try:
        picture = draw_verification(query.read(), candidate.read(), shown)
        if painter is not None:
            picture = painter.below(picture, query, candidate)
    except DataError as error:
        return f"<p>{escape(caption)}: {escape(str(error))}</p>"
    return html.figure(jpeg_uri(picture), f"{query.name} and {candidate.name}", caption)


def answer_figure(
    query: Picture,
    database: Sequence[Picture],
    answer: Reranked[int],
    rank: int,
    settings: RerankSettings,
    words: str = "",
    painter: ActivationPainter | None = None,
) -> str:
    """A query beside the best answer of the new order, which was at ``rank`` (from 1) of the search."""
    row = answer.ids[0]
    compared = answer.verifications[0] if answer.verifications else None
    caption = f"{query.name} answered by {database[row].name}, rank {rank} before: {verdict(answer, 0, settings)}{words}"
    return verified_figure(query, database[row], compared, caption, painter)


def _examples(result: RerankResult, datasets: Sequence[PlaceDataset]) -> str:
    entries = [
        _Example(data, query, answer, result.before.found[number].rows[query].tolist()) if answer is not None else None
        for number, data in enumerate(datasets)
        for query, answer in enumerate(result.reranked[number])
    ]
    parts = []
    for title, places in _groups(result):
        figures = [_figure(example, result) for place in places if (example := entries[place]) is not None]
        body = f'<div class="matches two">{"".join(figures)}</div>' if figures else "<p>none</p>"
        parts.append(f"<h3>{escape(title)}</h3>{body}")
    by_geometry = any(one.similarity is None for entry in entries if entry is not None for one in entry.answer.verifications)
    legend = (LEGEND if by_geometry else FINE_LEGEND) + ("" if result.painter is None else f" {ACTIVATION_LEGEND}")
    return f'<section><h2>{escape(result.name)}</h2><p class="about">{escape(legend)}</p>{"".join(parts)}</section>'


def _groups(result: RerankResult) -> Iterator[tuple[str, list[int]]]:
    """Queries worth a look: those that re-ranking changed, its surest wrong answers, its surest and most doubtful right ones."""
    after, before = result.answers, result.before.answers
    was, now = before.first_right == 0, after.first_right == 0
    order = [
        place
        for place in np.argsort(-after.best_score, kind="stable").tolist()
        if np.isfinite(after.best_score[place]) and after.judged[place]
    ]
    right = [place for place in order if now[place]]
    yield "Put right by re-ranking, the surest first", [place for place in right if not was[place]][:EXAMPLES]
    yield "Put wrong by re-ranking, the surest first", [place for place in order if was[place] and not now[place]][:EXAMPLES]
    yield "Worst: the surest wrong answers", [place for place in order if not now[place]][:EXAMPLES]
    yield "Best: the surest right answers", right[:EXAMPLES]
    yield "Right with least support", right[EXAMPLES:][-EXAMPLES:]


def _figure(example: _Example, result: RerankResult) -> str:
    data, query, answer, before = example
    positives, best = data.positives[query], answer.ids[0]
    words = [] if best == before[0] else [f"{data.database[before[0]].name} was the answer before"]
    if not np.isin(best, positives):
        words.append("wrong" if len(positives) else "wrong: its place is unknown")
    text = f"; {', '.join(words)}" if words else ""
    rank = before.index(best) + 1
    return answer_figure(data.queries[query], data.database, answer, rank, result.settings, text, result.painter)
