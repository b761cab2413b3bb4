"""One self-contained HTML page about many drives: how far the robot drives by itself in which condition, and how well."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from vloc_ros import __version__
from vloc_ros.closed_loop.autonomy_table import COLUMNS
from vloc_ros.closed_loop.drive_report import count, length, page
from vloc_ros.closed_loop.judge import DriveSummary
from vloc_ros.closed_loop.pooling import Inliers, groups, pool, pooled_rows
from vloc_ros.data.frame import Image
from vloc_ros.evaluation import html
from vloc_ros.evaluation.html import percent
from vloc_ros.evaluation.output import make_folder, write_whole
from vloc_ros.evaluation.pictures import jpeg_uri

_SHADES = ((100.0, "#e3f1ea"), (99.0, "#fdf0c4"), (95.0, "#fad59a"), (80.0, "#f3a878"), (0.0, "#e2775a"))
"""Colours of autonomy from a rate on [%]: calm where all is well, stronger the more help was needed."""
_POOLED = (
    "Autonomy is the share of all metres, lateral and heading RMS are over all frames that the robot drove by itself, the "
    "maximum is of the worst drive, and the median is of all fixes of all sites."
)


def write_autonomy_report(
    path: Path,
    rows: Sequence[DriveSummary],
    inliers: Inliers,
    *,
    title: str = "Autonomy by condition",
    contact_sheet: Image | None = None,
) -> None:
    """Write the page at ``path`` and, beside it with the suffix ``.json``, its numbers.

    The page holds its style and images, runs no script and loads nothing.

    Args:
        path: of the HTML file; its folder is created.
        rows: of the drives; of the same condition and features they are pooled, see :func:`pool`.
        inliers: of all fixes by condition and features, see :func:`inliers_of`.
        title: heading of the page.
        contact_sheet: (H, W, 3) RGB uint8 picture of what the conditions look like.

    Raises:
        OutputError: a file cannot be written.
        DataError: there is no row, or the contact sheet is not an image.
    """
    path = Path(path)
    everything = pool(rows)
    make_folder(path.parent)
    write_whole(path.with_suffix(".json"), autonomy_json(title, rows, inliers))
    pooled = pooled_rows(rows, inliers)
    parts = [_table(everything, rows, pooled), _figures(pooled, inliers), _sheet(contact_sheet), _footer()]
    write_whole(path, page(title, count(len(rows), "drive"), [], parts))


def autonomy_json(title: str, rows: Sequence[DriveSummary], inliers: Inliers) -> str:
    """The numbers as JSON text, pooled and of each drive; what is unknown is null."""
    content = {
        "title": title,
        "vloc_ros": __version__,
        "pooled": [row.to_dict() for row in pooled_rows(rows, inliers)],
        "drives": [row.to_dict() for row in rows],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def shade(autonomy_percent: float) -> str:
    """Background of an autonomy rate [%]."""
    return next((colour for least, colour in _SHADES if autonomy_percent >= least), _SHADES[-1][1])


def verdict(s: DriveSummary, pooled: Sequence[DriveSummary]) -> str:
    """The outcome of all drives in a sentence or two."""
    outcome = f"{s.driven_m / 1000.0:.2f} km" if s.driven_m >= 1000.0 else f"{s.driven_m:.0f} m"
    if s.interventions == 0 and s.operator_m == 0.0:
        text = f"The robot drove all of {outcome} by itself, without an intervention."
    else:
        text = (
            f"The robot drove {percent(s.autonomy_percent)} of {outcome} by itself, with {count(s.interventions, 'intervention')}."
        )
        worst = min(pooled, key=lambda row: row.autonomy_percent)
        which = f"{worst.condition.replace('_', ' ')} with {worst.features}"
        text += f" Hardest: {which}, {percent(worst.autonomy_percent)}."
    lateral = "" if s.lateral_rms_m is None else f" Lateral error {length(s.lateral_rms_m)} RMS, {length(s.lateral_max_m)} at most."
    return text + lateral


def _table(everything: DriveSummary, rows: Sequence[DriveSummary], pooled: Sequence[DriveSummary]) -> str:
    several = len(rows) > len(pooled)
    about = f"{count(len(pooled), 'row')}: one for each condition and features, all sites together. {_POOLED}" if several else ""
    each = [row for found in groups(rows).values() for row in found]
    explained = f'<p class="about">{escape(about)}</p>' if about else ""
    details = f"<details><summary>Every drive</summary>{_listing(each)}</details>" if several else ""
    return (
        f'<section class="first wide-table" id="autonomy"><h2>Autonomy</h2>'
        f'<p class="verdict">{escape(verdict(everything, pooled))}</p>'
        f"{_listing(pooled)}{explained}{details}</section>"
    )


def _listing(rows: Sequence[DriveSummary]) -> str:
    classes = ["number" if column.numeric else "name" for column in COLUMNS]
    return html.table([column.head for column in COLUMNS], [_cells(row) for row in rows], classes)


def _cells(row: DriveSummary) -> list[str]:
    made = []
    for column in COLUMNS:
        cell = escape(column.show(row))
        if column.head == "autonomy":
            cell = f'<span class="shade" style="background:{shade(row.autonomy_percent)}">{cell}</span>'
        made.append(cell)
    return made


def _figures(pooled: Sequence[DriveSummary], inliers: Inliers) -> str:
    # matplotlib takes a second to load.
    from vloc_ros.closed_loop import autonomy_plots
    from vloc_ros.evaluation import plot_style

    with plot_style.style():
        made = (
            (autonomy_plots.autonomy(pooled), "autonomy rate by condition and features", ""),
            (autonomy_plots.lateral(pooled), "lateral error by condition and features", ""),
            (
                autonomy_plots.inliers(pooled, inliers),
                "inliers of the fixes and share of frames with a fix, by condition and features",
                "Boxes: quartiles and median of all fixes; whiskers: 5th to 95th percentile.",
            ),
        )
        shown = "".join(html.figure(plot_style.png_uri(one), alt, text) for one, alt, text in made if one is not None)
    return f'<section id="figures"><h2>By condition</h2>{shown}</section>'


def _sheet(image: Image | None) -> str:
    if image is None:
        return ""
    shown = html.figure(jpeg_uri(image), "what the conditions look like")
    return f'<section id="conditions"><h2>What the robot saw</h2>{shown}</section>'


def _footer() -> str:
    return "<footer>The same numbers, unrounded, are in the JSON file beside.</footer>"
