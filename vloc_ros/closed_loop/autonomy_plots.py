"""The figures over many drives: features side by side within each condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vloc_ros.closed_loop.judge import DriveSummary
from vloc_ros.closed_loop.pooling import Inliers
from vloc_ros.evaluation.plot_style import INK, RUN_COLOURS, WIDTH_IN, figure, legend_above

_GROUP = 0.8
_LABELLED_FROM_IN = 0.42
"""Bars that are narrower go without their number."""


def autonomy(rows: Sequence[DriveSummary]) -> Figure:
    """Autonomy rate of each condition and features, from rows that are pooled already."""
    made = figure(3.0)
    axes = made.subplots()
    _bars(axes, rows, lambda s: s.autonomy_percent, lambda value: f"{value:.0f}" if value == 100.0 else f"{min(value, 99.9):.1f}")
    axes.set(ylabel="autonomy [%]", ylim=(0.0, 112.0), yticks=[0, 25, 50, 75, 100], title="Distance that the robot drove by itself")
    _conditions(axes, rows)
    legend_above(axes, _legend(rows))
    return made


def lateral(rows: Sequence[DriveSummary]) -> Figure | None:
    """Lateral error RMS of each condition and features; None where no drive has one."""
    if all(row.lateral_rms_m is None for row in rows):
        return None
    made = figure(3.0)
    axes = made.subplots()
    _bars(axes, rows, lambda s: None if s.lateral_rms_m is None else 100.0 * s.lateral_rms_m, lambda value: f"{value:.1f}")
    axes.set(ylabel="lateral RMS [cm]", title="Distance to the taught path while the robot drove by itself")
    axes.margins(y=0.15)
    _conditions(axes, rows)
    legend_above(axes, _legend(rows))
    return made


def inliers(rows: Sequence[DriveSummary], found: Inliers) -> Figure | None:
    """Boxes of the inliers of all fixes, and below the share of frames that had a fix; None without a fix."""
    if not any(len(values) for values in found.values()):
        return None
    made = figure(5.0)
    above, below = made.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1.5)})
    colours = _colours(rows)
    for row, place, width in _places(rows):
        values = found.get((row.condition, row.features), np.empty(0))
        if len(values):
            _box(above, values, place, width, colours[row.features])
    above.set(ylabel="inliers of a fix", title="Inlier matches; frames without a fix are not in the boxes but in the bars below")
    above.set_ylim(bottom=0.0)
    above.tick_params(axis="x", length=0)
    above.grid(visible=False, axis="x")
    _bars(below, rows, lambda s: s.localised_percent, lambda value: f"{value:.0f}")
    below.set(ylabel="frames with\na fix [%]", ylim=(0.0, 128.0), yticks=[0, 50, 100])
    _conditions(below, rows)
    legend_above(above, _legend(rows))
    made.align_ylabels()
    return made


def _box(axes: Axes, values: np.ndarray, place: float, width: float, colour: str) -> None:
    """Quartiles and median; whiskers from the 5th to the 95th percentile, so that a long drive needs no cloud of points."""
    axes.boxplot(
        [values],
        positions=[place],
        widths=[0.8 * width],
        whis=(5.0, 95.0),
        showfliers=False,
        manage_ticks=False,
        patch_artist=True,
        boxprops={"facecolor": colour, "edgecolor": INK, "linewidth": 0.8, "alpha": 0.75},
        medianprops={"color": INK, "linewidth": 1.6},
        whiskerprops={"color": INK, "linewidth": 0.8},
        capprops={"color": INK, "linewidth": 0.8},
    )


def _bars(
    axes: Axes, rows: Sequence[DriveSummary], value: Callable[[DriveSummary], float | None], text: Callable[[float], str]
) -> None:
    colours = _colours(rows)
    inch = WIDTH_IN * 0.9 / max(len(_names(rows)), 1)
    for row, place, width in _places(rows):
        height = value(row)
        if height is None:
            continue
        axes.bar(place, height, width=0.9 * width, color=colours[row.features], linewidth=0)
        if width * inch < _LABELLED_FROM_IN * 0.6:
            continue
        axes.annotate(
            text(height),
            (place, height),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8.5 if width * inch > _LABELLED_FROM_IN else 7.0,
        )


def _places(rows: Sequence[DriveSummary]) -> list[tuple[DriveSummary, float, float]]:
    """Each row with its place on the axis and the room it has there: features beside one another within a condition."""
    conditions, features = _names(rows), list(_colours(rows))
    width = _GROUP / max(len(features), 1)
    return [
        (row, conditions.index(row.condition) + (features.index(row.features) - 0.5 * (len(features) - 1)) * width, width)
        for row in rows
    ]


def _names(rows: Sequence[DriveSummary]) -> list[str]:
    return list(dict.fromkeys(row.condition for row in rows))


def _colours(rows: Sequence[DriveSummary]) -> dict[str, str]:
    features = dict.fromkeys(row.features for row in rows)
    return dict(zip(features, cycle(RUN_COLOURS), strict=False))


def _conditions(axes: Axes, rows: Sequence[DriveSummary]) -> None:
    names = [name.replace("_", " ") for name in _names(rows)]
    room = WIDTH_IN * 0.9 / max(len(names), 1)
    slanted = max((len(name) for name in names), default=0) * 0.075 > room
    axes.set_xticks(range(len(names)), names, rotation=30 if slanted else 0, ha="right" if slanted else "center")
    axes.set_xlim(-0.5, max(len(names), 1) - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")


def _legend(rows: Sequence[DriveSummary]) -> list[Patch]:
    return [Patch(color=colour, linewidth=0, label=name or "features") for name, colour in _colours(rows).items()]
