"""The graph of a map from above, its loop closures coloured by their label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vloc_ros.evaluation import plot_style
from vloc_ros.evaluation.output import writing
from vloc_ros.loop_closure.search import LoopRun
from vloc_ros.pose_graph import Label

Array = NDArray[np.float64]
LABEL_COLOURS = {
    Label.INLIER: plot_style.GREEN,
    Label.OUTLIER: plot_style.VERMILION,
    Label.UNDECIDED: plot_style.ORANGE,
}
# Believed closures are short and many, so they lie on top of the long false ones.
_ORDER = {Label.OUTLIER: 2.0, Label.UNDECIDED: 2.1, Label.INLIER: 2.2}


def graph_picture(run: LoopRun) -> Figure:
    """Two views from above: by odometry alone with all closures, and optimised."""
    with plot_style.style():
        made = plot_style.figure(5.6)
        left, right = made.subplots(1, 2)
        _draw(left, run, run.odometry, "odometry alone")
        _draw(right, run, run.judgement.poses, "optimised")
        plot_style.legend_above(right)
    return made


def write_picture(path: Path, made: Figure) -> None:
    """Write a figure as PNG.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path):
        made.savefig(path, format="png", facecolor="white")


def _draw(axes: Axes, run: LoopRun, poses: Array, title: str) -> None:
    row = {keyframe.id: number for number, keyframe in enumerate(run.keyframes)}
    sessions = np.array([keyframe.id.session for keyframe in run.keyframes])
    points = poses[:, :2, 3]
    for number, session in enumerate(np.unique(sessions).tolist()):
        route = points[sessions == session]
        colour = plot_style.INK if number == 0 else plot_style.RUN_COLOURS[(number - 1) % len(plot_style.RUN_COLOURS)]
        axes.plot(route[:, 0], route[:, 1], color=colour, linewidth=1.4, zorder=3)
        axes.annotate(f"s{session}", route[0], textcoords="offset points", xytext=(4, 4), color=colour, fontsize=8)
    for label, colour in LABEL_COLOURS.items():
        pairs = [(row[c.a], row[c.b]) for c in run.judgement.closures if c.verdict.label is label]
        if pairs:
            ends = points[np.array(pairs)]
            name = f"{len(pairs)} {label.value}"
            axes.add_collection(
                LineCollection(list(ends), colors=colour, linewidths=0.9, alpha=0.75, zorder=_ORDER[label], label=name)
            )
            axes.scatter(ends[..., 0].ravel(), ends[..., 1].ravel(), s=5, color=colour, zorder=4, linewidths=0)
    axes.set_title(title)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("x [m]")
    axes.set_ylabel("y [m]")
