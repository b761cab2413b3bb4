"""Small pose graphs with known truth, for the tests of the pose graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.pose_graph import PoseGraph, manifold

Array = NDArray[np.float64]


def square(dimension: int = 2, turns: int = 2, side: int = 5) -> PoseGraph:
    """Laps of a square of exact odometry; closures join each pose of the second lap with the same place of the first."""
    per_lap, k = 4 * side, 3 if dimension == 2 else 6
    count = turns * per_lap
    steps = np.zeros((count - 1, k))
    steps[:, 0] = 1.0
    steps[side - 1 :: side, -1] = np.pi / 2
    measured = manifold.exp(steps)
    poses = [np.eye(dimension + 1)]
    for step in measured:
        poses.append(poses[-1] @ step)
    later = np.arange(per_lap, count, 3)
    a = np.concatenate([np.arange(count - 1), later - per_lap])
    b = np.concatenate([np.arange(1, count), later])
    truth = np.array(poses)
    closures = manifold.inverse(truth[a[count - 1 :]]) @ truth[b[count - 1 :]]
    sigmas = np.concatenate([np.full(dimension, 0.1), np.full(k - dimension, 0.02)])
    return PoseGraph(
        ids=np.arange(count, dtype=np.int64),
        poses=truth,
        a=a.astype(np.int64),
        b=b.astype(np.int64),
        a_T_b=np.concatenate([measured, closures]),
        information=np.tile(np.diag(sigmas**-2.0), (len(a), 1, 1)),
        trusted=np.arange(len(a)) < count - 1,
    )


def with_closure(graph: PoseGraph, a: int, b: int, a_T_b: Array) -> PoseGraph:
    """The graph with one more closure at the end."""
    return replace(
        graph,
        a=np.append(graph.a, a),
        b=np.append(graph.b, b),
        a_T_b=np.concatenate([graph.a_T_b, a_T_b[None]]),
        information=np.concatenate([graph.information, graph.information[:1]]),
        trusted=np.append(graph.trusted, False),
    )


def chosen(graph: PoseGraph, edges: NDArray[np.int64]) -> PoseGraph:
    """The graph with these edges, in this order."""
    return replace(
        graph,
        a=graph.a[edges],
        b=graph.b[edges],
        a_T_b=graph.a_T_b[edges],
        information=graph.information[edges],
        trusted=graph.trusted[edges],
    )


def moved(graph: PoseGraph, tangents: Array) -> Array:
    """The poses of the graph, each perturbed by a (k,) tangent."""
    return np.asarray(graph.poses @ manifold.exp(tangents))
