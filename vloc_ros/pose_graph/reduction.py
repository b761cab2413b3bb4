"""A smaller graph with the same closures: runs of odometry between the poses that closures touch become one edge each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.pose_graph import manifold
from vloc_ros.pose_graph.anchors import components, first_rows
from vloc_ros.pose_graph.graph import PoseGraph

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

_WORTH_IT = 0.8
"""A graph that keeps more than this share of its poses is not reduced."""


@dataclass(frozen=True, slots=True)
class Run:
    """Poses joined by consecutive trusted edges, none of whose inner poses has another edge.

    Attributes:
        rows: (L + 1,) rows of the poses, both ends included.
        composed: (L + 1, d + 1, d + 1) products of the first steps; the first is the identity.
        spread: (L + 1, k, k) covariances of the products, first order; the first is zero.
    """

    rows: Rows
    composed: Array
    spread: Array


@dataclass(frozen=True, slots=True)
class ReducedGraph:
    """A smaller graph and the way back.

    Attributes:
        graph: the poses that are left; closures last, in their order.
        kept: (K,) rows of these poses in the whole graph.
        runs: what each composed edge stands for.
        start: (N, d + 1, d + 1) poses of the whole graph at the time.
    """

    graph: PoseGraph
    kept: Rows
    runs: list[Run]
    start: Array

    def expanded(self, poses: Array) -> Array:
        """(N, d + 1, d + 1) poses of the whole graph from (K, d + 1, d + 1) of the reduced one.

        Along a run, what the ends disagree with the odometry by is shared out as least squares does, to first order: a pose gets
        the part that its covariance has in that of the whole run.
        """
        result = self.start.copy()
        result[self.kept] = poses
        for run in self.runs:
            if len(run.rows) > 2:
                result[run.rows[1:-1]] = _between_ends(run, result[run.rows[0]], result[run.rows[-1]])
        return result


def reduce_graph(graph: PoseGraph, poses: Array) -> ReducedGraph | None:
    """The reduced graph at these (N, d + 1, d + 1) poses, or None where too little would be gained."""
    keep = _ends(graph)
    keep[graph.a[~graph.trusted]] = keep[graph.b[~graph.trusted]] = True
    if keep.mean() > _WORTH_IT:
        return None
    runs = _runs(graph, keep)
    kept = np.flatnonzero(keep)
    row = np.full(len(graph.ids), -1, dtype=np.int64)
    row[kept] = np.arange(len(kept))
    closures = ~graph.trusted
    spread = np.array([run.spread[-1] for run in runs])
    information = np.linalg.inv(spread)
    small = PoseGraph(
        ids=graph.ids[kept],
        poses=poses[kept],
        a=np.concatenate([row[[run.rows[0] for run in runs]], row[graph.a[closures]]]),
        b=np.concatenate([row[[run.rows[-1] for run in runs]], row[graph.b[closures]]]),
        a_T_b=np.concatenate([np.array([run.composed[-1] for run in runs]), graph.a_T_b[closures]]),
        information=np.concatenate([0.5 * (information + information.transpose(0, 2, 1)), graph.information[closures]]),
        trusted=np.concatenate([np.ones(len(runs), dtype=bool), np.zeros(int(closures.sum()), dtype=bool)]),
    )
    return ReducedGraph(small, kept.astype(np.int64), runs, poses)


def odometry_runs(graph: PoseGraph) -> list[Run]:
    """The trusted edges as runs that are as long as possible."""
    return _runs(graph, _ends(graph))


def _ends(graph: PoseGraph) -> NDArray[np.bool_]:
    """(N,) bool: poses that no run of trusted edges goes through, and the first one of each component, which is anchored."""
    ends = np.concatenate([graph.a[graph.trusted], graph.b[graph.trusted]])
    keep = np.asarray(np.bincount(ends, minlength=len(graph.ids)) != 2)
    keep[first_rows(components(graph, graph.trusted))] = True
    return keep


def _runs(graph: PoseGraph, keep: NDArray[np.bool_]) -> list[Run]:
    trusted = np.flatnonzero(graph.trusted)
    covariances = np.asarray(np.linalg.inv(graph.information[trusted]), dtype=np.float64)
    return [_composed(graph, rows, edges, covariances, trusted) for rows, edges in _walk(graph, keep, trusted)]


def _walk(graph: PoseGraph, keep: NDArray[np.bool_], trusted: Rows) -> Iterator[tuple[list[int], list[int]]]:
    """Rows and edges of each run between kept poses."""
    incident: list[list[int]] = [[] for _ in range(len(graph.ids))]
    a, b = graph.a.tolist(), graph.b.tolist()
    for edge in trusted.tolist():
        incident[a[edge]].append(edge)
        incident[b[edge]].append(edge)
    seen: set[int] = set()
    for first in np.flatnonzero(keep).tolist():
        for edge in incident[first]:
            if edge in seen:
                continue
            rows, edges = [first], [edge]
            while True:
                seen.add(edge)
                rows.append(b[edge] if a[edge] == rows[-1] else a[edge])
                if keep[rows[-1]]:
                    break
                edge = next(other for other in incident[rows[-1]] if other != edge)
                edges.append(edge)
            # A loop of odometry that comes back to where it began constrains nothing but its own poses.
            if rows[0] != rows[-1]:
                yield rows, edges


def _composed(graph: PoseGraph, rows: list[int], edges: list[int], covariances: Array, trusted: Rows) -> Run:
    chosen = np.array(edges)
    steps, cov = graph.a_T_b[chosen].copy(), covariances[np.searchsorted(trusted, chosen)].copy()
    backwards = graph.a[chosen] != np.array(rows[:-1])
    if backwards.any():
        # T^-1 perturbed on the right: exp(-Ad(T) xi).
        ad = manifold.adjoint(steps[backwards])
        cov[backwards] = ad @ cov[backwards] @ ad.transpose(0, 2, 1)
        steps[backwards] = manifold.inverse(steps[backwards])
    carry = manifold.adjoint(manifold.inverse(steps))
    composed, spread = [np.eye(graph.dimension + 1)], [np.zeros((graph.freedoms, graph.freedoms))]
    for step, ad, own in zip(steps, carry, cov, strict=True):
        composed.append(composed[-1] @ step)
        spread.append(ad @ spread[-1] @ ad.T + own)
    return Run(np.array(rows), np.array(composed), np.array(spread))


def _between_ends(run: Run, first: Array, last: Array) -> Array:
    """(L - 1, d + 1, d + 1) poses between the ends of a run."""
    claimed_T_last = manifold.log(manifold.inverse((first @ run.composed[-1])[None]) @ last)[0]
    share = np.linalg.solve(run.spread[-1], claimed_T_last)
    inner = run.composed[1:-1]
    # The cross covariance of an inner pose and the end of the run is spread @ Ad(end_T_inner)^T.
    carried = manifold.adjoint(manifold.inverse(run.composed[-1:]) @ inner).transpose(0, 2, 1) @ share
    corrections = np.einsum("nij,nj->ni", run.spread[1:-1], carried)
    return np.asarray(first @ inner @ manifold.exp(corrections))
