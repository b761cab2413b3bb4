"""One self-contained HTML page about retrieval: the table, precision-recall curves, and pairs of pictures, right and wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vloc_ros import __version__
from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.data.places import Picture, PlaceDataset
from vloc_ros.errors import DataError
from vloc_ros.evaluation import condition_table, html, rerank_report, rerank_table, retrieval_table
from vloc_ros.evaluation.activation_pictures import LEGEND, ActivationPainter
from vloc_ros.evaluation.condition_metrics import ByCondition
from vloc_ros.evaluation.output import make_folder, write_whole
from vloc_ros.evaluation.pictures import jpeg_uri
from vloc_ros.evaluation.report_style import CSS
from vloc_ros.evaluation.rerank_table import Evaluated
from vloc_ros.evaluation.retrieval_metrics import Answers, precision_recall
from vloc_ros.evaluation.retrieval_run import RetrievalResult, SequenceMethod

_HEIGHT_PX = 240
_GAP_PX = 6
EXAMPLES = 4
_DASHES = {SequenceMethod.NONE: "-", SequenceMethod.TRAJECTORY: "--", SequenceMethod.BAYES: ":"}


def write_retrieval_report(
    path: Path,
    title: str,
    datasets: Sequence[PlaceDataset],
    results: Sequence[RetrievalResult],
    evaluated: Evaluated = (),
    by: ByCondition | None = None,
) -> None:
    """Write the page at ``path`` and, beside it with the suffix ``.json``, its numbers; ``.csv`` too where there is re-ranking.

    Numbers by condition and area are, besides, in a file whose name ends with ``_conditions.csv``.

    Args:
        path: of the HTML file; its folder is created.
        title: heading of the page.
        datasets: what was evaluated on.
        results: in the order of the table, the baseline first.
        evaluated: the same with what re-ranking made of them, where there is any.
        by: the same by condition, where there are conditions or poses.

    Raises:
        OutputError: a file cannot be written.
    """
    make_folder(path.parent)
    names = [data.name for data in datasets]
    values: dict[str, Any] = {
        "title": title,
        "vloc_ros": __version__,
        "datasets": names,
        "results": [result.to_dict() for result in results],
    }
    if evaluated:
        values["reranked"] = [result.to_dict() for _, after in evaluated for result in after]
        write_whole(path.with_suffix(".csv"), rerank_table.csv_table(evaluated))
    if by is not None:
        values["by_condition"] = by.to_dict()
        write_whole(path.with_name(f"{path.stem}_conditions.csv"), condition_table.csv_table(by))
    write_whole(path.with_suffix(".json"), json.dumps(values, indent=2, allow_nan=False) + "\n")
    header = f"<h1>{escape(title)}</h1><p>{escape('; '.join(names[:5]))}</p>"
    lines = [(result.name, result.descriptor, _DASHES[result.method], result.answers) for result in results]
    lines += [(one.name, one.name, "-", one.answers) for _, after in evaluated for one in after]
    body = [
        *_by_condition(by, results),
        _table(results),
        *(rerank_report.sections(evaluated, datasets) if evaluated else []),
        _curves(lines),
    ]
    body += [_pairs(result, datasets) for result in results]
    write_whole(path, html.page(title, CSS, header, "\n".join(body)))


def pair(left: Image, right: Image) -> Image:
    """Two pictures beside each other, of equal height."""
    sides = [_of_height(image) for image in (left, right)]
    gap = np.full((_HEIGHT_PX, _GAP_PX, 3), 255, dtype=np.uint8)
    return np.hstack([sides[0], gap, sides[1]])


def pair_figure(query: Picture, answer: Picture, caption: str, painter: ActivationPainter | None = None) -> str:
    """A query beside an answer, and below them their activation maps; a picture that cannot be read any more is said to be so."""
    try:
        shown = pair(query.read(), answer.read())
        if painter is not None:
            shown = painter.below(shown, query, answer)
        return html.figure(jpeg_uri(shown), f"{query.name} and {answer.name}", caption)
    except DataError as error:
        return f"<p>{escape(caption)}: {escape(str(error))}</p>"


def _of_height(image: Image) -> Image:
    rgb = to_rgb(image)
    width = max(1, round(image.shape[1] * _HEIGHT_PX / image.shape[0]))
    # small pictures are shown as the pixels they are
    method = cv2.INTER_AREA if image.shape[0] > _HEIGHT_PX else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(rgb, (width, _HEIGHT_PX), interpolation=method), dtype=np.uint8)


def _by_condition(by: ByCondition | None, results: Sequence[RetrievalResult]) -> list[str]:
    found = [] if by is None else list(condition_table.tables(by))
    inferred = {result.name: result.inferred for result in results if result.inferred is not None}
    found += condition_table.inferred_tables(inferred)
    return [condition_table.sections(found, "By condition")] if found else []


def _table(results: Sequence[RetrievalResult]) -> str:
    rows = [[escape(cell) for cell in retrieval_table.cells(result)] for result in results]
    classes = ["name", *["number"] * (len(retrieval_table.HEAD) - 1)]
    note = f'<p class="about">{escape(retrieval_table.scope(results))}. The first row is the baseline.</p>'
    return f"<section><h2>Side by side</h2>{html.table(retrieval_table.HEAD, rows, classes)}{note}</section>"


def _curves(lines: Sequence[tuple[str, str, str, Answers]]) -> str:
    """Of each line its label, what shares its colour, its dashes, and the answers."""
    # matplotlib takes a second to load
    from vloc_ros.evaluation import plot_style

    with plot_style.style():
        figure = plot_style.figure(4.6)
        axes = figure.subplots()
        names = list(dict.fromkeys(group for _, group, _, _ in lines))
        for label, group, dashes, answers in lines:
            curve = precision_recall(answers)
            if curve is not None:
                colour = plot_style.RUN_COLOURS[names.index(group) % len(plot_style.RUN_COLOURS)]
                axes.plot(curve.recall, curve.precision, dashes, color=colour, label=label)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0.0, 1.02), ylim=(0.0, 1.02), title="Best match over its score")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        source = plot_style.png_uri(figure)
    return f"<section><h2>Precision and recall</h2>{html.figure(source, 'precision-recall curves')}</section>"


def _pairs(result: RetrievalResult, datasets: Sequence[PlaceDataset]) -> str:
    """The surest wrong answers, which do the most harm, and right ones from sure to unsure."""
    entries = [(k, query) for k, data in enumerate(datasets) for query in range(len(data.queries))]
    order = np.argsort(-result.answers.best_score, kind="stable")
    order = order[(np.isfinite(result.answers.best_score) & result.answers.judged)[order]]
    right = [place for place in order if result.answers.first_right[place] == 0]
    wrong = [place for place in order if result.answers.first_right[place] != 0][:EXAMPLES]
    shown = [right[k] for k in np.linspace(0, len(right) - 1, min(EXAMPLES, len(right))).round().astype(int)]
    parts = []
    for title, places in (("Right, from sure to unsure", shown), ("Wrong, the surest first", wrong)):
        figures = []
        for place in places:
            number, query = entries[place]
            data, row = datasets[number], int(result.found[number].rows[query][0])
            asked, answer = data.queries[query], data.database[row]
            caption = f"{asked.name} answered by {answer.name}, score {result.answers.best_score[place]:.3f}"
            figures.append(pair_figure(asked, answer, caption, result.painter))
        body = f'<div class="matches">{"".join(figures)}</div>' if figures else "<p>none</p>"
        parts.append(f"<h3>{title}</h3>{body}")
    note = "" if result.painter is None else f'<p class="about">{LEGEND}</p>'
    return f"<section><h2>{escape(result.name)}</h2>{note}{''.join(parts)}</section>"
