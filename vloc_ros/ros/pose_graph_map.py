"""The map as the pose graph sees it: odometry by name, closures and poses to write back. Imports no ROS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.mapping import Edge, EdgeKind, KeyframeId, MapStore
from vloc_ros.mapping.closures import Closure as MapClosure
from vloc_ros.mapping.closures import put_spatial_edges, replace_closures
from vloc_ros.mapping.rows import edge_of_row
from vloc_ros.pose_graph import Label
from vloc_ros.pose_graph.closure_book import Closure
from vloc_ros.pose_graph.intake import Candidate

Array = NDArray[np.float64]
_PER_SESSION = 10**9
_PREFERRED = (Label.INLIER, Label.UNDECIDED, Label.OUTLIER)


def number_of(id: KeyframeId) -> int:
    """Name of a keyframe as a number, for the graph; sessions and keyframes have at most nine digits."""
    return id.session * _PER_SESSION + id.keyframe


def keyframe_of(number: int) -> KeyframeId:
    """Inverse of :func:`number_of`."""
    return KeyframeId(*divmod(number, _PER_SESSION))


def as_candidate(edge: Edge) -> Candidate:
    """An edge of the map for the graph."""
    return Candidate(number_of(edge.a), number_of(edge.b), edge.a_T_b, edge.covariance)


def odometry_to(store: MapStore, id: KeyframeId) -> Edge | None:
    """The odometry that ends at a keyframe; None where there is none (the first of a session, or not in the map yet)."""
    where = "WHERE b_session = ? AND b_keyframe = ? AND kind = ? ORDER BY a_session DESC, a_keyframe DESC LIMIT 1"
    rows = store.database.rows("edge", where, (*id, EdgeKind.ODOMETRY.value))
    return edge_of_row(rows[0]) if rows else None


def write_verdicts(path: Path, closures: Sequence[Closure]) -> int:
    """Put measurements and verdicts of all closures into the map; of a pair with several, the one believed most.

    Returns:
        How many were left out because the map does not hold their keyframes.

    Raises:
        MapError: it cannot be written.
    """
    best: dict[frozenset[int], Closure] = {}
    for closure in closures:
        pair = frozenset((closure.measured.a, closure.measured.b))
        known = best.get(pair)
        if known is None or _rank(closure) < _rank(known):
            best[pair] = closure
    with MapStore.open(path) as store:
        held = {number_of(keyframe.id) for keyframe in store.keyframes()}
        kept = [closure for pair, closure in best.items() if pair <= held]
        put_spatial_edges(store, [_edge(closure.measured) for closure in kept])
        replace_closures(store, [_verdict(closure) for closure in kept])
    return len(best) - len(kept)


def write_poses(path: Path, poses: Mapping[KeyframeId, Array]) -> None:
    """Move keyframes of the map, all in one transaction; it remembers where they were taught.

    Raises:
        MapError: one is not in the map, or it cannot be written.
    """
    with MapStore.open(path) as store:
        store.update_poses(poses, keep_taught=True)


def candidates_of(edges: Iterable[Edge]) -> list[Candidate]:
    """The loop closures that a map remembers from earlier."""
    return [as_candidate(edge) for edge in edges if edge.kind is EdgeKind.SPATIAL]


def _rank(closure: Closure) -> int:
    return _PREFERRED.index(closure.verdict.label)


def _edge(measured: Candidate) -> Edge:
    return Edge(keyframe_of(measured.a), keyframe_of(measured.b), EdgeKind.SPATIAL, measured.a_T_b, measured.covariance)


def _verdict(closure: Closure) -> MapClosure:
    return MapClosure(keyframe_of(closure.measured.a), keyframe_of(closure.measured.b), closure.verdict)
