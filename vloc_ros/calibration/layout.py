"""Where the keyframes of a map lie: along the path that was driven, and in the pose graph as its labels stand."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import MapError
from vloc_ros.geometry.se3 import rotation_angle
from vloc_ros.loop_closure.map_graph import MapGraph, graph_of_map
from vloc_ros.mapping.closures import Closure, closures_of, graph_revision
from vloc_ros.mapping.keyframe import EdgeKind, KeyframeId
from vloc_ros.mapping.store import MapStore
from vloc_ros.pose_graph import GncSettings, Label, PoseGraph, chi2_threshold, solve_gnc
from vloc_ros.pose_graph.anchors import components, odometry_poses

Array = NDArray[np.float64]
Partners = Mapping[KeyframeId, frozenset[KeyframeId]]
FITS = 0.9999
"""A true closure stays within the chi-square threshold of this probability."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Keyframes of a map at one revision of its pose graph.

    Attributes:
        ids: (N) keyframes, by session and number.
        path_m: (N,) distance driven since the first keyframe of the session, from the odometry [m].
        positions: (N, 3) of the base in the graph that odometry and inliers make [m]; comparable within a component only.
        component: (N,) int64 number of the part of the graph, joined by odometry and inliers, that each is in.
        closures: all verdicts of the map.
        revision: number of the newest solution among them.
        row: of each keyframe in the arrays.
        rotations: (N, 3, 3) of the base in the same graph.
        misfit: share of the inliers that the graph made of them and of the odometry contradicts (beyond the chi-square threshold
            of :data:`FITS`); near 0 when labels are right.
    """

    ids: tuple[KeyframeId, ...]
    path_m: Array
    positions: Array
    component: NDArray[np.int64]
    closures: tuple[Closure, ...]
    revision: int
    row: dict[KeyframeId, int]
    rotations: Array
    misfit: float

    @classmethod
    def of(cls, store: MapStore, solver: GncSettings | None = None) -> Layout:
        """The layout of a map as its labels stand now.

        Raises:
            MapError: the map has no keyframes, or holds an inlier whose measured pose it does not have.
            DataError: the graph cannot be solved.
        """
        with store.database.snapshot():
            closures, revision = tuple(closures_of(store)), graph_revision(store)
            map_graph, path_m = graph_of_map(store), _path_m(store)
        graph = _believed(store, map_graph, closures)
        start = odometry_poses(replace(graph, trusted=graph.trusted & (np.arange(len(graph.a)) < map_graph.first_closure)))
        solution = solve_gnc(graph, solver or GncSettings(), start)
        poses, wrong = solution.poses, solution.chi2[map_graph.first_closure :] > chi2_threshold(FITS, graph.freedoms)
        return cls(
            ids=map_graph.keyframes,
            path_m=np.array([path_m[id] for id in map_graph.keyframes]),
            positions=poses[:, :3, 3].copy(),
            component=components(graph, graph.trusted),
            closures=closures,
            revision=revision,
            row={id: row for row, id in enumerate(map_graph.keyframes)},
            rotations=poses[:, :3, :3].copy(),
            misfit=float(wrong.mean()) if len(wrong) else 0.0,
        )

    @property
    def inliers(self) -> tuple[tuple[KeyframeId, KeyframeId], ...]:
        """Pairs that the pose graph takes for one place."""
        return tuple((closure.a, closure.b) for closure in self.closures if closure.verdict.label is Label.INLIER)

    def path_apart(self, a: KeyframeId, b: KeyframeId) -> float:
        """Distance driven between two keyframes [m]; infinite between sessions."""
        if a.session != b.session:
            return math.inf
        return abs(float(self.path_m[self.row[a]] - self.path_m[self.row[b]]))

    def joined(self, a: KeyframeId, b: KeyframeId) -> bool:
        """Whether odometry and inliers say where the two are to each other."""
        return bool(self.component[self.row[a]] == self.component[self.row[b]])

    def distance(self, a: KeyframeId, b: KeyframeId) -> float:
        """Straight distance in the optimised graph [m]; not a number where the two are not joined."""
        if not self.joined(a, b):
            return math.nan
        return float(np.linalg.norm(self.positions[self.row[a]] - self.positions[self.row[b]]))

    def turned(self, a: KeyframeId, b: KeyframeId) -> float:
        """Angle between the two orientations in the optimised graph [rad]; not a number where the two are not joined."""
        if not self.joined(a, b):
            return math.nan
        return rotation_angle(self.rotations[self.row[a]].T @ self.rotations[self.row[b]])

    def within_path(self, id: KeyframeId, metres: float) -> tuple[KeyframeId, ...]:
        """Keyframes of the same session that were passed at most so far before or after a keyframe, itself among them."""
        first = bisect_left(self.ids, KeyframeId(id.session, 0))
        last = bisect_left(self.ids, KeyframeId(id.session + 1, 0))
        along, here = self.path_m[first:last], float(self.path_m[self.row[id]])
        return self.ids[first + bisect_left(along, here - metres) : first + bisect_right(along, here + metres)]


def partners_of(pairs: Iterable[tuple[KeyframeId, KeyframeId]]) -> Partners:
    """With which others each keyframe is paired, whichever way round."""
    found: dict[KeyframeId, set[KeyframeId]] = {}
    for a, b in pairs:
        found.setdefault(a, set()).add(b)
        found.setdefault(b, set()).add(a)
    return {id: frozenset(others) for id, others in found.items()}


def _path_m(store: MapStore) -> dict[KeyframeId, float]:
    """Distance driven up to each keyframe, by its odometry edge, and by the poses where an edge is missing."""
    steps = {(e.a, e.b): float(np.linalg.norm(e.a_T_b[:3, 3])) for e in store.edges() if e.kind is EdgeKind.ODOMETRY}
    along: dict[KeyframeId, float] = {}
    before = None
    for keyframe in store.keyframes():
        if before is None or before.id.session != keyframe.id.session:
            along[keyframe.id] = 0.0
        else:
            straight = float(np.linalg.norm(keyframe.map_T_base[:3, 3] - before.map_T_base[:3, 3]))
            along[keyframe.id] = along[before.id] + steps.get((before.id, keyframe.id), straight)
        before = keyframe
    return along


def _believed(store: MapStore, map_graph: MapGraph, closures: Sequence[Closure]) -> PoseGraph:
    """The graph of odometry and inliers alone, all of them trusted: what the labels leave of it."""
    wanted = {frozenset((c.a, c.b)): c for c in closures if c.verdict.label is Label.INLIER}
    measured = [frozenset((edge.a, edge.b)) for edge in map_graph.closures]
    missing = wanted.keys() - set(measured)
    if missing:
        closure = wanted[min(missing, key=sorted)]
        raise MapError(
            f"the map {store.path} says that {closure.a} to {closure.b} is an inlier but does not hold its measured pose: "
            "find the loops anew (vloc loops --again)"
        )
    graph = map_graph.graph
    chosen = np.concatenate([np.ones(map_graph.first_closure, dtype=bool), [pair in wanted for pair in measured]]).astype(bool)
    return replace(
        graph,
        a=graph.a[chosen],
        b=graph.b[chosen],
        a_T_b=graph.a_T_b[chosen],
        information=graph.information[chosen],
        trusted=np.ones(int(chosen.sum()), dtype=bool),
    )
