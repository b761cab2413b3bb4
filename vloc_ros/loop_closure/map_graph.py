"""A map as a pose graph: its keyframes, the odometry that joins those of a session, and the loop closures to be judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import MapError
from vloc_ros.geometry import se3
from vloc_ros.geometry.uncertainty import information
from vloc_ros.loop_closure.verifier import Candidate
from vloc_ros.mapping import Edge, EdgeKind, KeyframeId, MapStore
from vloc_ros.mapping.closures import Closure
from vloc_ros.pose_graph import Label, PoseGraph, Verdict
from vloc_ros.pose_graph.anchors import components

Array = NDArray[np.float64]
Pair = tuple[KeyframeId, KeyframeId]


@dataclass(frozen=True, slots=True)
class MapGraph:
    """A pose graph and what its rows are in the map.

    Attributes:
        graph: its poses are those of the map; rows of poses are also their names, so that other programs can read them.
        keyframes: (N) keyframe of each pose.
        closures: the loop closures; the last ``len(closures)`` edges of the graph, in this order.
    """

    graph: PoseGraph
    keyframes: tuple[KeyframeId, ...]
    closures: tuple[Edge, ...]

    @property
    def first_closure(self) -> int:
        """Row of the edge that is the first loop closure."""
        return len(self.graph.a) - len(self.closures)

    def verdicts_of(self, of_edges: Sequence[Verdict | None]) -> list[Closure]:
        """The closures with their verdicts, from those of all edges of the graph.

        Raises:
            ValueError: the verdicts are not those of this graph.
        """
        judged = of_edges[self.first_closure :]
        if len(of_edges) != len(self.graph.a) or any(verdict is None for verdict in judged):
            raise ValueError(f"{len(of_edges)} verdicts are not those of {len(self.graph.a)} edges")
        return [Closure(e.a, e.b, v) for e, v in zip(self.closures, judged, strict=True) if v is not None]

    def settled(self, poses: Array, closures: Iterable[Closure]) -> Array:
        """(N, 4, 4) optimised poses in the frame of the map.

        Sessions that no INLIER joins (directly or through others) to the first one keep their own frame: each such group stays
        where its first keyframe was.
        """
        good = np.zeros(len(self.graph.a), dtype=bool)
        good[: self.first_closure] = True
        good[self.first_closure :] = [closure.verdict.label is Label.INLIER for closure in closures]
        groups = components(self.graph, good)
        result = poses.copy()
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            shift = self.graph.poses[rows[0]] @ se3.inverse(poses[rows[0]])
            result[rows] = shift @ poses[rows]
        return result

    def poses_by_keyframe(self, poses: Array) -> dict[KeyframeId, Array]:
        """Poses of the graph by the name of their keyframe, each the nearest rigid transform."""
        return {id: se3.normalised(pose) for id, pose in zip(self.keyframes, poses, strict=True)}


def graph_of_map(store: MapStore, candidates: Iterable[Candidate] = ()) -> MapGraph:
    """The pose graph of a map.

    Args:
        store: the map; its odometry edges are trusted, its spatial edges are to be judged.
        candidates: further closures to be judged; one of a pair that the map knows takes the place of the map's.

    Raises:
        MapError: the map has no keyframes, a candidate names one that it does not hold, or a covariance is singular.
    """
    with store.database.snapshot():
        keyframes, edges = store.keyframes(), store.edges()
    if not keyframes:
        raise MapError(f"the map {store.path} has no keyframe yet; teach a route into it first")
    row = {keyframe.id: number for number, keyframe in enumerate(keyframes)}
    odometry = [edge for edge in edges if edge.kind is EdgeKind.ODOMETRY]
    closures = _closures(edges, candidates)
    for edge in closures:
        for id in (edge.a, edge.b):
            if id not in row:
                raise MapError(f"the loop closure {edge.a} to {edge.b} names keyframe {id}, which the map {store.path} has not")
    joined = [*odometry, *closures]
    graph = PoseGraph(
        ids=np.arange(len(keyframes), dtype=np.int64),
        poses=np.stack([keyframe.map_T_base for keyframe in keyframes]),
        a=np.array([row[edge.a] for edge in joined], dtype=np.int64),
        b=np.array([row[edge.b] for edge in joined], dtype=np.int64),
        a_T_b=np.array([edge.a_T_b for edge in joined]).reshape(-1, 4, 4),
        information=np.array([_information(edge) for edge in joined]).reshape(-1, 6, 6),
        trusted=np.arange(len(joined)) < len(odometry),
    )
    return MapGraph(graph, tuple(keyframe.id for keyframe in keyframes), tuple(closures))


def edge_of(candidate: Candidate) -> Edge:
    """The spatial edge of a candidate."""
    return Edge(candidate.a, candidate.b, EdgeKind.SPATIAL, candidate.a_T_b, candidate.covariance)


def _closures(edges: Iterable[Edge], candidates: Iterable[Candidate]) -> list[Edge]:
    """One edge per pair of keyframes, whichever way round; the latest counts."""
    by_pair = {_unordered(edge): edge for edge in edges if edge.kind is EdgeKind.SPATIAL}
    by_pair |= {_unordered(edge): edge for edge in map(edge_of, candidates)}
    return [by_pair[pair] for pair in sorted(by_pair)]


def _unordered(edge: Edge) -> Pair:
    return (edge.a, edge.b) if edge.a <= edge.b else (edge.b, edge.a)


def _information(edge: Edge) -> Array:
    matrix = information(edge.covariance)
    if matrix is None:
        raise MapError(f"the edge {edge.a} to {edge.b} has a singular covariance: the pose graph cannot weigh it")
    return matrix
