"""The figure of a route from above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vloc_ros.evaluation.plot_style import INK, INLIER_MAP, PALE, STATE_COLOURS, VERMILION, WIDTH_IN, figure, words
from vloc_ros.evaluation.report_run import ReportRun
from vloc_ros.evaluation.trajectories import Array
from vloc_ros.mapping.state import State

_SIDE_BY_SIDE_BELOW = 1.6
_FLATTEST = 4.5
_LEGEND_IN = 0.3
ROUTE = "#C9D6E3"


def trajectories(item: ReportRun) -> Figure | None:
    """The route from above, coloured by state (of a run in a map) and by inliers; None without a pose."""
    poses = item.poses()
    if not np.any(np.isfinite(poses[:, 0, 3])):
        return None
    truth = item.true_poses()
    corners, aspect = extent([poses[:, :2, 3], *([] if truth is None else [truth[:, :2, 3]]), _route(item)])
    panels = 2 if item.run.seeks_map else 1
    side_by_side = panels == 2 and aspect < _SIDE_BY_SIDE_BELOW
    width = (WIDTH_IN - 1.2) / (2 if side_by_side else 1)
    height = min(max(width / aspect, 1.6), 4.8)
    rows, columns = (1, 2) if side_by_side else (panels, 1)
    made = figure(_LEGEND_IN + (height + 0.75) * rows)
    grid = made.add_gridspec(rows + 1, columns, height_ratios=[_LEGEND_IN, *[height + 0.75] * rows])
    axes = [made.add_subplot(grid[columns + k]) for k in range(panels)]
    for one in axes:
        _background(one, item, truth)
        one.plot(poses[:, 0, 3], poses[:, 1, 3], color=PALE, linewidth=1.0, zorder=3)
        one.set(xlabel="x [m]", ylabel="y [m]")
        one.set_aspect("equal", adjustable="datalim")
        one.update_datalim(corners)
        one.autoscale_view()
    handles = axes[0].get_legend_handles_labels()[0]
    if panels == 2:
        handles += _by_state(axes[0], item, poses, truth)
    _start(axes[0], poses)
    _by_inliers(made, axes, item, poses)
    top = made.add_subplot(grid[0, :])
    top.set_axis_off()
    top.legend(handles=handles, loc="center left", ncol=max(len(handles), 1), handletextpad=0.5, columnspacing=1.5)
    return made


def extent(clouds: Sequence[Array]) -> tuple[Array, float]:
    """Two opposite corners of a box around all points, never flatter than a panel can show, and its aspect."""
    points = np.concatenate(clouds)
    points = points[np.isfinite(points).all(axis=1)]
    low, high = points.min(axis=0), points.max(axis=0)
    size = np.maximum(high - low, 0.5)
    size = np.maximum(size, size.max() / _FLATTEST)
    middle = 0.5 * (low + high)
    return np.stack([middle - size / 2, middle + size / 2]), float(size[0] / size[1])


def _route(item: ReportRun) -> Array:
    return np.empty((0, 2)) if item.taught_route is None else item.taught_route[:, :2, 3]


def _background(axes: Axes, item: ReportRun, truth: Array | None) -> None:
    route = _route(item)
    if len(route):
        axes.plot(route[:, 0], route[:, 1], color=ROUTE, linewidth=7.0, zorder=1, label="taught route")
    if truth is not None:
        axes.plot(truth[:, 0, 3], truth[:, 1, 3], color=INK, linewidth=1.0, linestyle=(0, (4, 2)), zorder=2, label="truth")


def _by_state(axes: Axes, item: ReportRun, poses: Array, truth: Array | None) -> list[Artist]:
    """Dots coloured by state; returns their legend entries."""
    handles: list[Artist] = []
    states = item.states
    for state in State:
        rows = np.array([one is state for one in states])
        if not np.any(rows):
            continue
        colour = STATE_COLOURS[state]
        axes.scatter(poses[rows, 0, 3], poses[rows, 1, 3], s=13, color=colour, linewidths=0, zorder=4)
        # Where there is no pose, the truth at least tells where that was.
        nowhere = rows & ~np.isfinite(poses[:, 0, 3])
        if truth is None and np.all(nowhere == rows):
            continue
        if truth is not None:
            axes.scatter(truth[nowhere, 0, 3], truth[nowhere, 1, 3], s=26, marker="x", color=colour, linewidths=1.1, zorder=4)
        marker = "o" if np.any(rows & ~nowhere) else "x"
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=5, linestyle="", label=words(state.value)))
    if item.errors is not None:
        wrong = item.errors.position_m > item.summary.false_fix_threshold_m
        if np.any(wrong):
            axes.scatter(poses[wrong, 0, 3], poses[wrong, 1, 3], s=70, facecolors="none", edgecolors=VERMILION, zorder=5)
            ring = Line2D([], [], color="none", marker="o", markersize=8, markeredgecolor=VERMILION, label="false fix")
            handles.append(ring)
    axes.set_title("From above, by state")
    return handles


def _start(axes: Axes, poses: Array) -> None:
    x, y = poses[int(np.argmax(np.isfinite(poses[:, 0, 3]))), :2, 3].tolist()
    axes.annotate("start", (x, y), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=8.5, color=INK)


def _by_inliers(made: Figure, axes: Sequence[Axes], item: ReportRun, poses: Array) -> None:
    frames = item.run.frames
    counts = np.array([frame.inliers if item.follows_map else frame.odometry_inliers for frame in frames], dtype=np.float64)
    dots = axes[-1].scatter(poses[:, 0, 3], poses[:, 1, 3], c=counts, s=13, cmap=INLIER_MAP, vmin=0.0, linewidths=0, zorder=4)
    bar = made.colorbar(dots, ax=list(axes), pad=0.015, aspect=30)
    bar.set_label("inlier matches")
    bar.outline.set_visible(False)
    axes[-1].set_title("From above, by inliers")
