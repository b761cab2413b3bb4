"""The figure of a drive from above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from vloc_ros.closed_loop.drive_spans import Mode, modes, stops
from vloc_ros.closed_loop.judge import JudgedDrive, carried
from vloc_ros.evaluation.plot_route import ROUTE, extent
from vloc_ros.evaluation.plot_style import BLUE, INK, ORANGE, PURPLE, VERMILION, WIDTH_IN, figure

Array = NDArray[np.float64]
MODE_COLOURS = {Mode.LOCALISED: BLUE, Mode.DEAD_RECKONING: ORANGE, Mode.LOST: VERMILION, Mode.OPERATOR: PURPLE}
STOP_MARKER, INTERVENTION_MARKER = "s", "X"
_SIZES = {STOP_MARKER: 11, INTERVENTION_MARKER: 7}
"""A stop frames the intervention that often ends it."""
_LEGEND_IN = 0.3
_TALLEST_IN, _FLATTEST_IN = 6.2, 2.2
_NEIGHBOURS = 0.05
"""Marks that are nearer than this share of the picture share a label."""
_LEAST_ARROW_M = 0.5
_CARRIED_LINE = (0, (2, 3))


def overhead(drive: JudgedDrive) -> Figure | None:
    """The taught path and the one that was driven, in the world; None without a frame."""
    record, taught = drive.record, drive.path.poses[:, :2, 3]
    driven = record.world_T_base[:, :2, 3]
    if len(driven) == 0:
        return None
    corners, aspect = extent([taught, driven])
    height = min(max((WIDTH_IN - 1.0) / aspect, _FLATTEST_IN), _TALLEST_IN)
    made = figure(_LEGEND_IN + height + 0.6)
    top, axes = made.subplots(2, 1, gridspec_kw={"height_ratios": [_LEGEND_IN, height + 0.6]})
    axes.plot(taught[:, 0], taught[:, 1], color=ROUTE, linewidth=8.0, zorder=1)
    _driven(axes, drive, driven)
    # Room around the outermost marks for their labels.
    margin = 0.06 * (corners[1] - corners[0])
    axes.update_datalim([corners[0] - margin, corners[1] + margin])
    axes.set_aspect("equal", adjustable="datalim")
    axes.autoscale_view()
    axes.set(xlabel="x [m]", ylabel="y [m]")
    _start(axes, driven)
    held = stops(drive)
    reach = _NEIGHBOURS * float(np.max(corners[1] - corners[0]))
    stopped_at = driven[[stop.last for stop in held]]
    helped_at = driven[[index for index, _ in record.interventions]]
    _marks(axes, stopped_at, "S", STOP_MARKER, (0.0, -15.0), reach)
    _marks(axes, helped_at, "I", INTERVENTION_MARKER, (0.0, 9.0), reach)
    top.set_axis_off()
    handles = _legend(drive, bool(held))
    top.legend(handles=handles, loc="center left", ncol=len(handles), handletextpad=0.5, columnspacing=1.4, handlelength=1.6)
    return made


def mode_legend(present: Sequence[Mode]) -> list[Patch]:
    """Legend entries of the modes that occur."""
    return [Patch(color=MODE_COLOURS[mode], linewidth=0, label=mode.value) for mode in Mode if mode in present]


def marker(kind: str, label: str) -> Line2D:
    """Legend entry of a mark."""
    face = INK if kind == INTERVENTION_MARKER else "white"
    return Line2D([], [], color=INK, marker=kind, markersize=7, markerfacecolor=face, linestyle="", label=label)


def neighbours(points: Array, reach: float) -> list[list[int]]:
    """Indices of (N, 2) points in groups that share a label: each is nearer than ``reach`` to the first of its group."""
    groups: list[list[int]] = []
    for index, point in enumerate(points):
        near = (group for group in groups if np.linalg.norm(points[group[0]] - point) < reach)
        group = next(near, None)
        if group is None:
            groups.append([index])
        else:
            group.append(index)
    return groups


def numbers(group: Sequence[int], prefix: str) -> str:
    """The label of a group, numbered from 1: ``S1``, ``S1, S3``, or ``S2-S5`` for consecutive ones."""
    first, last = group[0] + 1, group[-1] + 1
    if len(group) > 2 and last - first == len(group) - 1:
        return f"{prefix}{first}-{prefix}{last}"
    return ", ".join(f"{prefix}{index + 1}" for index in group)


def _driven(axes: Axes, drive: JudgedDrive, driven: Array) -> None:
    """The driven path in the colours of its modes; not drawn where the robot was carried."""
    led = modes(drive.record)
    gaps = carried(drive.record)
    segments = np.stack([driven[:-1], driven[1:]], axis=1)
    for mode, colour in MODE_COLOURS.items():
        chosen = np.array([one is mode for one in led[:-1]], dtype=bool) & ~gaps
        axes.add_collection(LineCollection(list(segments[chosen]), colors=colour, linewidths=2.2, zorder=3, capstyle="round"))
    for index in np.flatnonzero(gaps):
        ends = driven[index : index + 2]
        axes.plot(ends[:, 0], ends[:, 1], color=INK, linewidth=1.0, linestyle=_CARRIED_LINE, zorder=2)


def _start(axes: Axes, driven: Array) -> None:
    axes.plot(*driven[0], "o", color=INK, markersize=6, zorder=6)
    axes.annotate("start", driven[0], xytext=(-12, 0), textcoords="offset points", ha="right", va="center", fontsize=8.5)
    ahead = np.flatnonzero(np.linalg.norm(driven - driven[0], axis=1) > _LEAST_ARROW_M)
    if len(ahead):
        style = {"arrowstyle": "-|>", "color": INK, "lw": 1.2, "shrinkA": 0.0, "shrinkB": 0.0}
        axes.annotate("", driven[ahead[0]], xytext=driven[0], arrowprops=style, zorder=6)


def _marks(axes: Axes, points: Array, prefix: str, kind: str, offset: tuple[float, float], reach: float) -> None:
    if len(points) == 0:
        return
    face = INK if kind == INTERVENTION_MARKER else "white"
    axes.plot(points[:, 0], points[:, 1], kind, color=INK, markerfacecolor=face, markersize=_SIZES[kind], linestyle="", zorder=5)
    for group in neighbours(points, reach):
        axes.annotate(
            numbers(group, prefix),
            points[group[0]],
            xytext=offset,
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            fontweight="bold",
            zorder=7,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )


def _legend(drive: JudgedDrive, stopped: bool) -> list[Patch | Line2D]:
    handles: list[Patch | Line2D] = [Line2D([], [], color=ROUTE, linewidth=7, label="taught path")]
    handles += mode_legend(modes(drive.record))
    if drive.record.interventions:
        handles.append(marker(INTERVENTION_MARKER, "intervention"))
    if stopped:
        handles.append(marker(STOP_MARKER, "stop"))
    if np.any(carried(drive.record)):
        handles.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=_CARRIED_LINE, label="carried"))
    return handles
