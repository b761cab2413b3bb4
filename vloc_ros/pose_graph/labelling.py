"""From the solution of the robust graph to a verdict on each loop closure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.pose_graph.anchors import components
from vloc_ros.pose_graph.gnc import GncSolution, chi2_threshold
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class LabelSettings:
    """When a closure is an inlier, an outlier, or neither."""

    probability: float = param(
        0.99, "an inlier's residual stays below the chi-square threshold of this probability", min=0.5, max=0.999999, live=True
    )
    inlier_weight: float = param(0.95, "least weight of an inlier", min=0.5, max=1.0, live=True)
    outlier_weight: float = param(0.05, "largest weight of an outlier", min=0.0, max=0.5, live=True)


def label_closures(graph: PoseGraph, solution: GncSolution, settings: LabelSettings, revision: int) -> list[Verdict | None]:
    """Verdicts in the order of the graph's edges; None for trusted ones, which are not judged.

    A closure is an INLIER when the solver believes it and the solution leaves no residual beyond the chi-square threshold, an
    OUTLIER when the solver gave it no weight and the residual is beyond it, and UNDECIDED when the two disagree, when the weight
    is in between, or when no other edge could have contradicted it.

    Args:
        graph: what was solved.
        solution: of that graph.
        settings: thresholds.
        revision: number of this solution.
    """
    threshold = chi2_threshold(settings.probability, graph.freedoms)
    believed = solution.weights >= settings.inlier_weight
    unchecked = _bridges(graph, believed | graph.trusted)
    verdicts: list[Verdict | None] = []
    for edge, trusted in enumerate(graph.trusted.tolist()):
        if trusted:
            verdicts.append(None)
            continue
        weight, chi2 = float(solution.weights[edge]), float(solution.chi2[edge])
        label, reason = _judge(weight, chi2 <= threshold, edge in unchecked, solution.converged, settings)
        verdicts.append(Verdict(label, weight, chi2, revision, reason))
    return verdicts


def _judge(weight: float, fits: bool, unchecked: bool, converged: bool, settings: LabelSettings) -> tuple[Label, LabelReason]:
    if weight >= settings.inlier_weight:
        if not fits:
            return Label.UNDECIDED, LabelReason.LARGE_RESIDUAL
        return (Label.UNDECIDED, LabelReason.UNCHECKED) if unchecked else (Label.INLIER, LabelReason.AGREES)
    if weight <= settings.outlier_weight and not fits:
        return Label.OUTLIER, LabelReason.REJECTED
    return Label.UNDECIDED, LabelReason.BETWEEN if converged else LabelReason.NOT_CONVERGED


def _bridges(graph: PoseGraph, used: NDArray[np.bool_]) -> set[int]:
    """Closures among the used edges that are in no cycle of used edges: any value of theirs would fit.

    Only those between parts that odometry does not join can be; so the search is on these parts (Tarjan, "A note on finding the
    bridges of a graph", 1974).
    """
    parts = components(graph, graph.trusted)
    joining = np.flatnonzero(used & (parts[graph.a] != parts[graph.b]))
    neighbours: dict[int, list[tuple[int, int]]] = {}
    for edge in joining.tolist():
        a, b = int(parts[graph.a[edge]]), int(parts[graph.b[edge]])
        neighbours.setdefault(a, []).append((b, edge))
        neighbours.setdefault(b, []).append((a, edge))
    order: dict[int, int] = {}
    lowest: dict[int, int] = {}
    found: set[int] = set()
    for root in neighbours:
        if root in order:
            continue
        order[root] = lowest[root] = len(order)
        stack = [(root, -1, iter(neighbours[root]))]
        while stack:
            part, came_by, rest = stack[-1]
            step = next(((other, edge) for other, edge in rest if edge != came_by), None)
            if step is None:
                stack.pop()
                if stack:
                    parent = stack[-1][0]
                    lowest[parent] = min(lowest[parent], lowest[part])
                    if lowest[part] > order[parent]:
                        found.add(came_by)
            elif step[0] in order:
                lowest[part] = min(lowest[part], order[step[0]])
            else:
                order[step[0]] = lowest[step[0]] = len(order)
                stack.append((step[0], step[1], iter(neighbours[step[0]])))
    return found
