"""Retrieval without a truth: answers to queries as a table and as a page of pairs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from vloc_ros.data.places import Picture
from vloc_ros.evaluation import html
from vloc_ros.evaluation.activation_pictures import LEGEND, ActivationPainter, activation_painter
from vloc_ros.evaluation.output import make_folder, write_whole
from vloc_ros.evaluation.report_style import CSS
from vloc_ros.evaluation.retrieval_report import pair_figure
from vloc_ros.evaluation.retrieval_run import Progress, describe_all, taught_describer
from vloc_ros.features import FeatureExtractor
from vloc_ros.retrieval import DescriptorIndex, Neighbours

PAIRS_SHOWN = 60


def retrieve(
    queries: Sequence[Picture],
    database: Sequence[Picture],
    descriptor: str,
    extractor: FeatureExtractor,
    assets: bytes | None,
    top: int,
    progress: Progress = lambda pictures, label: pictures,
    of_map: Path | None = None,
) -> tuple[list[Neighbours[int]], ActivationPainter | None]:
    """The ``top`` rows of the database for each query, none for a picture that cannot be read or described; and what draws why.

    Raises:
        ConfigError: the descriptor is unknown or cannot be made.
        MapError: the descriptor is one of a map (``of_map``) that cannot be read or does not have it.
        DataError: no vocabulary can be learned from the database.
    """
    describer = taught_describer(descriptor, extractor, assets, database, of_map)
    index: DescriptorIndex[int] = DescriptorIndex(describer.descriptor.card.dimension)
    index.add_many(range(len(database)), describe_all(describer, database, progress).vectors)
    found = index.search_many(describe_all(describer, queries, progress).vectors, top)
    return found, activation_painter(describer.descriptor, told=True)


def write_retrieved(
    folder: Path,
    queries: Sequence[Picture],
    database: Sequence[Picture],
    found: Sequence[Neighbours[int]],
    painter: ActivationPainter | None = None,
) -> None:
    """Write ``retrieved.csv`` (query, rank from 1, answer, score) and ``report.html`` with the best pairs, in order of the queries.

    With a ``painter``, their activation maps are below them.

    Raises:
        OutputError: a file cannot be written.
    """
    lines = [
        (query.name, rank, database[row].name, f"{score:.6f}")
        for query, neighbours in zip(queries, found, strict=True)
        for rank, (row, score) in enumerate(neighbours, start=1)
    ]
    write_retrieved_files(folder, ("query", "rank", "database", "score"), lines, _page(queries, database, found, painter))


def write_retrieved_files(folder: Path, head: Sequence[str], lines: Sequence[Sequence[Any]], page: str) -> None:
    """Write ``retrieved.csv`` and ``report.html``.

    Raises:
        OutputError: a file cannot be written.
    """
    make_folder(folder)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(lines)
    write_whole(folder / "retrieved.csv", text.getvalue())
    write_whole(folder / "report.html", page)


def retrieved_page(figures: Sequence[str], note: str, classes: str = "matches") -> str:
    """The page of pairs, with a note above them."""
    header = f"<h1>Retrieved images</h1><p>{escape(note)}</p>"
    body = f'<section><div class="{classes}">{"".join(figures)}</div></section>' if figures else "<section><p>none</p></section>"
    return html.page("Retrieved images", CSS, header, body)


def shown_of(answered: Sequence[int]) -> Sequence[int]:
    """Those of the answered queries that the page has room for, evenly chosen."""
    return answered[:: max(1, -(-len(answered) // PAIRS_SHOWN))]


def _page(
    queries: Sequence[Picture], database: Sequence[Picture], found: Sequence[Neighbours[int]], painter: ActivationPainter | None
) -> str:
    answered = [place for place, neighbours in enumerate(found) if len(neighbours)]
    shown = shown_of(answered)
    figures = []
    for place in shown:
        row, score = found[place].ids[0], float(found[place].scores[0])
        caption = f"{queries[place].name} answered by {database[row].name}, score {score:.3f}"
        figures.append(pair_figure(queries[place], database[row], caption, painter))
    silent = len(queries) - len(answered)
    note = f"{len(shown)} of {len(answered)} answered queries beside their best answer; {silent} got no answer"
    if painter is not None:
        note += f". {LEGEND}"
    return retrieved_page(figures, note)
