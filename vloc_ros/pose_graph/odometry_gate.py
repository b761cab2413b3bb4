"""What odometry alone says of each closure: a cheap first look, never the verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.pose_graph import manifold
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.reduction import Run, odometry_runs

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OdometryView:
    """How far the closures are from the odometry between their ends. Zero for trusted edges, and where the ends are not on one
    unbranched run of odometry: nothing is known there.

    Attributes:
        chi2: (M,) squared Mahalanobis distance under the covariance of both; that of the odometry grows along the path, to
            first order.
        drift: (M,) distance [m] over the length of the path [m].
    """

    chi2: Array
    drift: Array


def odometry_view(graph: PoseGraph) -> OdometryView:
    """What odometry alone says of each closure."""
    view = OdometryView(np.zeros(len(graph.a)), np.zeros(len(graph.a)))
    closures = np.flatnonzero(~graph.trusted)
    if len(closures) == 0 or not graph.trusted.any():
        return view
    run_of, place = np.full(len(graph.ids), -1), np.zeros(len(graph.ids), dtype=np.int64)
    runs = odometry_runs(graph)
    for number, run in enumerate(runs):
        run_of[run.rows], place[run.rows] = number, np.arange(len(run.rows))
    for number in np.unique(run_of[graph.a[closures]]).tolist():
        inside = closures[(run_of[graph.a[closures]] == number) & (run_of[graph.b[closures]] == number)]
        if number >= 0 and len(inside):
            view.chi2[inside], view.drift[inside] = _along(graph, runs[number], inside, place)
    return view


def _along(graph: PoseGraph, run: Run, edges: NDArray[np.int64], place: NDArray[np.int64]) -> tuple[Array, Array]:
    """(E,) chi2 and (E,) drift of closures whose ends are both on a run."""
    first, last = place[graph.a[edges]], place[graph.b[edges]]
    claims, noise = graph.a_T_b[edges].copy(), np.linalg.inv(graph.information[edges])
    flipped = first > last
    ad = manifold.adjoint(claims[flipped])
    noise[flipped] = ad @ noise[flipped] @ ad.transpose(0, 2, 1)
    claims[flipped] = manifold.inverse(claims[flipped])
    first, last = np.where(flipped, last, first), np.where(flipped, first, last)
    travelled = manifold.inverse(run.composed[first]) @ run.composed[last]
    # Increments are independent: what the path had collected before its first end is taken off, seen from the last one.
    carry = manifold.adjoint(manifold.inverse(travelled))
    spread = run.spread[last] - carry @ run.spread[first] @ carry.transpose(0, 2, 1)
    missing = manifold.inverse(claims) @ travelled
    chi2 = manifold.squared_mahalanobis(manifold.log(missing), np.linalg.inv(spread + noise))
    steps = np.linalg.norm(np.diff(run.composed[:, :-1, -1], axis=0), axis=1)
    way = np.concatenate([[0.0], np.cumsum(steps)])
    length = np.maximum(way[last] - way[first], 1e-9)
    return chi2, np.linalg.norm(missing[:, :-1, -1], axis=1) / length
