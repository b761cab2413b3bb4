"""What holds a pose graph in place: its connected components, and a guess of the poses from odometry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from vloc_ros.pose_graph import manifold
from vloc_ros.pose_graph.graph import PoseGraph

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


def components(graph: PoseGraph, edges: NDArray[np.bool_]) -> Rows:
    """(N,) int64 number of the component each pose is in, when only these (M,) bool edges join poses."""
    count = len(graph.ids)
    ones = np.ones(int(edges.sum()))
    _, labels = connected_components(coo_matrix((ones, (graph.a[edges], graph.b[edges])), (count, count)), directed=False)
    return np.asarray(labels, dtype=np.int64)


def first_rows(labels: Rows) -> Rows:
    """(C,) first row of each component, in the order of their numbers."""
    return np.asarray(np.unique(labels, return_index=True)[1], dtype=np.int64)


def odometry_poses(graph: PoseGraph) -> Array:
    """(N, d + 1, d + 1) poses that follow the trusted edges alone.

    The first pose of each component (of poses joined by trusted edges) stays where the graph has it. A component that only
    closures join to an earlier one is then moved as a whole to where most of those closures agree that it is.
    """
    poses = graph.poses.copy()
    labels = components(graph, graph.trusted)
    _spread(graph, poses, first_rows(labels))
    placed = np.zeros(labels.max(initial=-1) + 1, dtype=bool)
    whole = components(graph, np.ones(len(graph.a), dtype=bool))
    placed[labels[first_rows(whole)]] = True
    closures = np.flatnonzero(~graph.trusted)
    while True:
        a_placed, b_placed = placed[labels[graph.a[closures]]], placed[labels[graph.b[closures]]]
        joining = closures[a_placed != b_placed]
        if len(joining) == 0:
            return poses
        outside = np.where(placed[labels[graph.a[joining]]], labels[graph.b[joining]], labels[graph.a[joining]])
        component = int(np.bincount(outside).argmax())
        _move(graph, poses, labels == component, joining[outside == component])
        placed[component] = True


def _spread(graph: PoseGraph, poses: Array, roots: Rows) -> None:
    """Set the poses along a breadth-first tree of trusted edges from the roots."""
    trusted = np.flatnonzero(graph.trusted)
    count = len(graph.ids)
    if len(trusted) == 0:
        return
    # Consecutive trusted edges are followed in long runs, so each step handles one edge only.
    by_pair: dict[tuple[int, int], int] = {}
    for edge in trusted[::-1].tolist():
        by_pair[int(graph.a[edge]), int(graph.b[edge])] = edge
    matrix = coo_matrix((np.ones(len(trusted)), (graph.a[trusted], graph.b[trusted])), (count, count)).tocsr()
    backwards = manifold.inverse(graph.a_T_b)
    for root in roots.tolist():
        order, parents = breadth_first_order(matrix, root, directed=False)
        for row in order[1:].tolist():
            parent = int(parents[row])
            forward = by_pair.get((parent, row))
            step = graph.a_T_b[forward] if forward is not None else backwards[by_pair[row, parent]]
            poses[row] = poses[parent] @ step


def _move(graph: PoseGraph, poses: Array, inside: NDArray[np.bool_], joining: Rows) -> None:
    """Move the poses inside a component to where the closures that join it to placed poses agree best."""
    a, b, claims = graph.a[joining], graph.b[joining], graph.a_T_b[joining]
    flipped = inside[a]
    claims = np.where(flipped[:, None, None], manifold.inverse(claims), claims)
    information = graph.information[joining]
    a, b = np.where(flipped, b, a), np.where(flipped, a, b)
    # Each closure proposes a rigid motion of the component; the one whose residuals over all closures are smallest in the
    # median wins, which false closures cannot spoil while they are the minority or disagree among themselves.
    proposals = poses[a] @ claims @ manifold.inverse(poses[b])
    costs = np.empty(len(proposals))
    for number, motion in enumerate(proposals):
        tangents = manifold.log(manifold.inverse(claims) @ manifold.inverse(poses[a]) @ motion @ poses[b])
        costs[number] = np.sqrt(manifold.squared_mahalanobis(tangents, information)).sum()
    poses[inside] = proposals[int(costs.argmin())] @ poses[inside]
