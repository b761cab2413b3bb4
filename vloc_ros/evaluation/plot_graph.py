"""The figure and the report of a pose graph whose closures are labelled."""

from __future__ import annotations

from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from vloc_ros.evaluation import html
from vloc_ros.evaluation.plot_style import GREEN, GREY, INK, ORANGE, VERMILION, figure, png_uri, style
from vloc_ros.evaluation.report_style import CSS
from vloc_ros.pose_graph.anchors import odometry_poses
from vloc_ros.pose_graph.judged import JudgedGraph
from vloc_ros.pose_graph.labels import Label

Array = NDArray[np.float64]

LABEL_COLOURS = {Label.INLIER: GREEN, Label.UNDECIDED: ORANGE, Label.OUTLIER: VERMILION}
_HEIGHT_IN = 5.6
_AXES = "xyz"


def labelled_graph(judged: JudgedGraph) -> Figure:
    """Odometry alone beside the solution, seen along the axis of the smallest extent; closures coloured by label."""
    start = odometry_poses(judged.graph)
    across, up = _widest_axes(judged.solution.poses)
    made = figure(_HEIGHT_IN)
    panels = made.subplots(1, 2)
    for axes, poses, title in ((panels[0], start, "Odometry alone"), (panels[1], judged.solution.poses, "Optimised")):
        _edges(axes, judged, poses[:, [across, up], -1])
        axes.set(xlabel=f"{_AXES[across]} [m]", ylabel=f"{_AXES[up]} [m]", title=title)
        axes.set_aspect("equal", adjustable="datalim")
    counts = judged.counts()
    handles = [Line2D([], [], color=INK, linewidth=1.2, label="odometry")]
    handles += [Line2D([], [], color=LABEL_COLOURS[label], label=f"{label.value} ({counts[label]})") for label in LABEL_COLOURS]
    made.legend(handles=handles, loc="outside lower center", ncol=len(handles))
    return made


def _widest_axes(poses: Array) -> tuple[int, int]:
    """The two axes of the larger extents, in their order: x and y of a rover, x and z of a camera."""
    positions = poses[:, :-1, -1]
    # Ties, and a plane, give x and y.
    widest = np.argsort(-np.ptp(positions, axis=0), kind="stable")[:2]
    first, second = sorted(widest.tolist())
    return first, second


def _edges(axes: Axes, judged: JudgedGraph, positions: Array) -> None:
    graph, labels = judged.graph, judged.labels()
    segments = np.stack([positions[graph.a], positions[graph.b]], axis=1)
    axes.add_collection(LineCollection(list(segments[graph.trusted]), colors=INK, linewidths=1.0, zorder=3))
    # Outliers below: they cross the whole picture.
    for order, (label, width) in enumerate(((Label.OUTLIER, 0.5), (Label.UNDECIDED, 1.0), (Label.INLIER, 1.0))):
        chosen = np.array([found is label for found in labels], dtype=bool)
        lines = LineCollection(
            list(segments[chosen]), colors=LABEL_COLOURS[label], linewidths=width, alpha=0.75, zorder=2 + 0.1 * order
        )
        axes.add_collection(lines)
    axes.plot(*positions[0], marker="o", color=GREY, markersize=4, zorder=4)
    axes.autoscale_view()


def graph_report(title: str, judged: JudgedGraph) -> tuple[str, Figure]:
    """One self-contained HTML page, and the figure that is in it."""
    with style():
        made = labelled_graph(judged)
        picture = png_uri(made)
    counts, summary = judged.counts(), judged.summary()
    cards = "".join(html.card(label.value, str(counts[label])) for label in LABEL_COLOURS)
    cards += html.card("time", html.number(judged.solution.seconds), "s", f"{judged.solution.iterations} rounds")
    reasons = html.table(
        ("reason", "closures"), ([escape(reason.value), str(n)] for reason, n in judged.reasons().items()), ("", "number")
    )
    verdict = "" if judged.solution.converged else '<p class="notice">The solver ran out of rounds before it had decided.</p>'
    about = f"{summary['poses']} poses, {summary['odometry_edges']} odometry edges, {summary['closures']} closures"
    body = (
        f'<section><h2>Closures</h2><p class="about">{about}</p>{verdict}<div class="cards">{cards}</div>{reasons}'
        f"{html.figure(picture, 'the graph before and after', 'Closures coloured by label, before and after.')}</section>"
    )
    return html.page(title, CSS, f"<h1>{escape(title)}</h1>", body), made
