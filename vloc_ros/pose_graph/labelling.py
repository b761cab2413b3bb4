"""From the weights and residuals of the robust solver to the labels of the loop closures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from vloc_ros.pose_graph.anchors import components
from vloc_ros.pose_graph.gnc import GncSettings, GncSolution, chi2_threshold
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict

_SURE = 1e-2
"""A weight nearer than this to 0 or 1 is taken for it."""


def label_closures(graph: PoseGraph, solution: GncSolution, settings: GncSettings, revision: int) -> list[Verdict | None]:
    """The verdict on each edge of a solved graph, None for trusted ones.

    INLIER needs the full weight, a residual below the chi-square threshold, and something that could have contradicted it: a
    closure that alone holds two parts of the graph together is left undecided however well it fits, because any pose would.
    OUTLIER is what got no weight; all else is UNDECIDED.
    """
    threshold = chi2_threshold(settings.probability, graph.freedoms)
    unchecked = _unchecked(graph, solution.weights > 1.0 - _SURE)
    verdicts: list[Verdict | None] = []
    for edge in range(len(graph.a)):
        weight, chi2 = float(np.clip(solution.weights[edge], 0.0, 1.0)), float(solution.chi2[edge])
        if graph.trusted[edge]:
            verdicts.append(None)
            continue
        label, reason = _decide(weight, chi2 <= threshold, bool(unchecked[edge]), solution.converged)
        verdicts.append(Verdict(label, weight, chi2, revision, reason))
    return verdicts


def _decide(weight: float, fits: bool, unchecked: bool, converged: bool) -> tuple[Label, LabelReason]:
    if weight < _SURE:
        return (Label.UNDECIDED, LabelReason.BETWEEN) if fits else (Label.OUTLIER, LabelReason.REJECTED)
    if weight <= 1.0 - _SURE:
        return Label.UNDECIDED, LabelReason.BETWEEN if converged else LabelReason.NOT_CONVERGED
    if not fits:
        return Label.UNDECIDED, LabelReason.LARGE_RESIDUAL
    return (Label.UNDECIDED, LabelReason.UNCHECKED) if unchecked else (Label.INLIER, LabelReason.AGREES)


def _unchecked(graph: PoseGraph, believed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(M,) closures that alone join two parts of what odometry and the believed closures hold together."""
    result = np.zeros(len(graph.a), dtype=bool)
    parts = components(graph, graph.trusted)
    joining = np.flatnonzero(believed & ~graph.trusted & (parts[graph.a] != parts[graph.b]))
    ends = np.sort(np.stack([parts[graph.a[joining]], parts[graph.b[joining]]], axis=1), axis=1)
    pairs, which, counts = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    count = int(parts.max(initial=-1)) + 1
    for number in np.flatnonzero(counts == 1).tolist():
        others = np.delete(pairs, number, axis=0)
        matrix = coo_matrix((np.ones(len(others)), (others[:, 0], others[:, 1])), (count, count))
        label = connected_components(matrix, directed=False)[1]
        a, b = pairs[number]
        if label[a] != label[b]:
            result[joining[which.ravel() == number]] = True
    return result
