"""One self-contained HTML page about local features: the tables, curves over all pairs, and pairs with their matches."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros import __version__
from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.errors import DataError
from vloc_ros.evaluation import feature_table, html
from vloc_ros.evaluation.feature_run import FeatureEvaluation
from vloc_ros.evaluation.feature_scores import ENOUGH, TOLERANCE_PX, PairScore
from vloc_ros.evaluation.output import make_folder, write_whole
from vloc_ros.evaluation.pictures import jpeg_uri
from vloc_ros.evaluation.report_style import CSS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP_PX = 6
_LINES = 150
_RIGHT, _WRONG = (0, 190, 80), (230, 60, 30)
_MAX_ERROR_PX = 20.0
_MAX_RIGHT = 200


def write_feature_report(path: Path, title: str, evaluation: FeatureEvaluation, values: dict[str, Any]) -> None:
    """Write the page at ``path`` and, beside it with the suffix ``.json``, its numbers.

    Args:
        path: of the HTML file; its folder is created.
        title: heading of the page.
        evaluation: what to show.
        values: of the JSON file, as plain values.

    Raises:
        OutputError: a file cannot be written.
    """
    make_folder(path.parent)
    write_whole(path.with_suffix(".json"), json.dumps({"vloc_ros": __version__} | values, indent=2, allow_nan=False) + "\n")
    names = ", ".join(result.name for result in evaluation.results)
    header = f"<h1>{escape(title)}</h1><p>{escape(names)}</p>"
    body = [_tables(evaluation), _curves(evaluation), _examples(evaluation), _groups(evaluation)]
    write_whole(path, html.page(title, CSS, header, "\n".join(body)))


def draw_pair(left: Image, right: Image, score: PairScore, lines: int = _LINES) -> Image:
    """Two images beside each other, their right matches joined by green lines and the wrong ones by red.

    Args:
        left: (H, W) grey or (H, W, 3) RGB uint8.
        right: of any other size.
        score: of the pair; of more than ``lines`` matches an even selection is drawn.
        lines: most lines to draw.
    """
    sides = [to_rgb(side) for side in (left, right)]
    offset = left.shape[1] + _GAP_PX
    canvas = np.full((max(left.shape[0], right.shape[0]), offset + right.shape[1], 3), 255, dtype=np.uint8)
    canvas[: left.shape[0], : left.shape[1]] = sides[0]
    canvas[: right.shape[0], offset:] = sides[1]
    shown = np.linspace(0, len(score.matched) - 1, min(lines, len(score.matched))).round().astype(int)
    # right ones last, so that they are on top
    for k in sorted(shown, key=lambda k: bool(score.errors[k] <= TOLERANCE_PX)):
        u, v, u_b, v_b = (int(value) for value in np.rint(score.matched[k]))
        colour = _RIGHT if score.errors[k] <= TOLERANCE_PX else _WRONG
        cv2.line(canvas, (u, v), (u_b + offset, v_b), colour, 1, cv2.LINE_AA)
        for centre in ((u, v), (u_b + offset, v_b)):
            cv2.circle(canvas, centre, 2, colour, -1, cv2.LINE_AA)
    return canvas


def _tables(evaluation: FeatureEvaluation) -> str:
    note = f'<p class="about">{escape(feature_table.meaning())}</p>'
    times = _table(feature_table.TIME_HEAD, feature_table.time_rows(evaluation), 1)
    return (
        f"<section><h2>Side by side</h2>{_table(feature_table.HEAD, feature_table.rows(evaluation), 3)}{note}</section>"
        f'<section><h2>Time</h2>{times}<p class="about">Medians; reading images is not in it.</p></section>'
    )


def _groups(evaluation: FeatureEvaluation) -> str:
    rows = feature_table.rows(evaluation, by_group=True)
    return f"<section><h2>By camera and place</h2>{_table(feature_table.HEAD, rows, 3)}</section>"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]], names: int) -> str:
    classes = [*["name"] * names, *["number"] * (len(head) - names)]
    return html.table(head, [[escape(cell) for cell in row] for row in rows], classes)


def _curves(evaluation: FeatureEvaluation) -> str:
    # matplotlib takes a second to load
    from vloc_ros.evaluation import plot_style

    parts = []
    for data in dict.fromkeys(pair.data for pair in evaluation.pairs):
        rows = [k for k, pair in enumerate(evaluation.pairs) if pair.data == data]
        with plot_style.style():
            figure = plot_style.figure(3.8)
            errors, counts = figure.subplots(1, 2)
            for k, result in enumerate(evaluation.results):
                colour = plot_style.RUN_COLOURS[k % len(plot_style.RUN_COLOURS)]
                scores = [result.scores[row] for row in rows]
                _plot_errors(errors, scores, result.name, colour)
                _plot_counts(counts, scores, result.name, colour)
            errors.axvline(TOLERANCE_PX, color=plot_style.GREY, linewidth=0.8)
            errors.set(xlabel="deviation from the truth [px]", ylabel="matches within [%]", xlim=(0, _MAX_ERROR_PX), ylim=(0, 100))
            errors.set_title(f"{data}: how exact matches are")
            counts.axvline(ENOUGH, color=plot_style.GREY, linewidth=0.8)
            counts.set(xlabel="right matches", ylabel="pairs with at least so many [%]", xlim=(0, _MAX_RIGHT), ylim=(0, 101))
            counts.set_title(f"{data}: how many are right")
            counts.legend(loc="upper right")
            source = plot_style.png_uri(figure)
        parts.append(html.figure(source, f"match errors and numbers of right matches, {data}"))
    return f"<section><h2>All pairs</h2>{''.join(parts)}</section>"


def _plot_errors(axes: Axes, scores: list[PairScore], name: str, colour: str) -> None:
    """Mean over pairs of the share of matches within a distance; a pair without matches has none."""
    limits = np.linspace(0.0, _MAX_ERROR_PX, 81)
    shares = [_within(score.errors, limits) for score in scores]
    axes.plot(limits, 100.0 * np.mean(shares, axis=0), color=colour, label=name)


def _within(errors: NDArray[np.float32], limits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.searchsorted(np.sort(errors), limits, side="right") / max(len(errors), 1), dtype=np.float64)


def _plot_counts(axes: Axes, scores: list[PairScore], name: str, colour: str) -> None:
    right = np.array([score.right for score in scores])
    numbers = np.arange(_MAX_RIGHT + 1)
    axes.plot(numbers, [100.0 * float((right >= n).mean()) for n in numbers], color=colour, label=name)


def _examples(evaluation: FeatureEvaluation) -> str:
    """Of each condition the pair that is the median by right matches of all extractors together, and what each made of it."""
    total = np.sum([[score.right for score in result.scores] for result in evaluation.results], axis=0)
    conditions: dict[tuple[str, str], list[int]] = {}
    for k, pair in enumerate(evaluation.pairs):
        conditions.setdefault((pair.data, pair.condition), []).append(k)
    parts = []
    for (data, condition), rows in conditions.items():
        middle = sorted(rows, key=lambda row: (total[row], row))[len(rows) // 2]
        parts.append(f"<h3>{escape(data)}, {escape(condition)}</h3>{_example(evaluation, middle)}")
    about = "Of each condition the median pair; green: within the tolerance of the truth, red: not."
    return f'<section><h2>Pairs</h2><p class="about">{about}</p>{"".join(parts)}</section>'


def _example(evaluation: FeatureEvaluation, row: int) -> str:
    pair = evaluation.pairs[row]
    try:
        left, right = pair.image_a.read(), pair.image_b.read()
    except DataError as error:
        return f"<p>{escape(pair.name)}: {escape(str(error))}</p>"
    figures = []
    for result in evaluation.results:
        score = result.scores[row]
        caption = f"{result.name}: {score.right} of {len(score.errors)} matches right; {pair.name}"
        figures.append(html.figure(jpeg_uri(draw_pair(left, right, score)), f"{result.name}, {pair.name}", caption))
    return f'<div class="matches">{"".join(figures)}</div>'
