"""A small pose graph with the solution of a big one: chains of odometry become single edges between what closures touch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.intake import Candidate
from vloc_ros.pose_graph.links import Link
from vloc_ros.pose_graph.tracks import Place, Tracks

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Condensed:
    """A small graph, and what its parts are in the big one.

    Attributes:
        graph: it; row 0 is the first keyframe of all; the solver holds it, as the first pose of the graph, where it is.
        rows: for each chain the (J,) rows of its joints.
        first: for each chain the row in ``graph`` of its first joint; those of a chain follow each other.
        closures: numbers of the closures; their edges are the last ones of the graph, in this order.
    """

    graph: PoseGraph
    rows: list[Rows]
    first: list[int]
    closures: list[int]


def condense(tracks: Tracks, links: list[Link], candidates: list[tuple[int, Candidate]], longest: int) -> Condensed:
    """Build the small graph.

    Its joints are the ends of each chain, the ends of links and closures, and so many more that no edge spans more than
    ``longest`` keyframes (the covariance of a long chain is not Gaussian). To first order the solution at the joints is that of
    the big graph, as the keyframes in between have no measurement of their own.

    Args:
        tracks: all keyframes.
        links: odometry between chains.
        candidates: closures to weigh, with their numbers.
        longest: keyframes that one edge may span.
    """
    ends = [place for link in links for place in (link.a, link.b)]
    ends += [tracks.places[id] for _, candidate in candidates for id in (candidate.a, candidate.b)]
    rows = [_joints(chain, len(track.ids), ends, longest) for chain, track in enumerate(tracks.all)]
    first = np.concatenate([[0], np.cumsum([len(of_chain) for of_chain in rows])]).tolist()
    poses = np.concatenate([track.at(of_chain)[0] for track, of_chain in zip(tracks.all, rows, strict=True)])

    def row(place: Place) -> int:
        return int(first[place.chain] + np.searchsorted(rows[place.chain], place.row))

    edges = _Edges()
    for chain, (track, of_chain) in enumerate(zip(tracks.all, rows, strict=True)):
        motions, covariances = track.chain.between(of_chain[:-1], of_chain[1:])
        start = np.arange(first[chain], first[chain + 1] - 1)
        edges.add(start, start + 1, motions, covariances)
    for link in links:
        edges.add([row(link.a)], [row(link.b)], link.a_T_b[None], link.covariance[None])
    trusted = edges.count
    for _, candidate in candidates:
        a, b = row(tracks.places[candidate.a]), row(tracks.places[candidate.b])
        edges.add([a], [b], candidate.a_T_b[None], candidate.covariance[None])
    ids = np.concatenate([np.array(t.ids, dtype=np.int64)[r] for t, r in zip(tracks.all, rows, strict=True)])
    graph = edges.graph(ids, poses, trusted)
    return Condensed(graph, rows, first[:-1], [number for number, _ in candidates])


def _joints(chain: int, count: int, ends: list[Place], longest: int) -> Rows:
    touched = [place.row for place in ends if place.chain == chain]
    regular = range(0, count, longest)
    return np.unique(np.array([*touched, *regular, count - 1], dtype=np.int64))


class _Edges:
    def __init__(self) -> None:
        self._parts: list[tuple[Rows, Rows, Array, Array]] = []
        self.count = 0

    def add(self, a: ArrayLike, b: ArrayLike, a_T_b: Array, covariances: Array) -> None:
        self._parts.append((np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64), a_T_b, covariances))
        self.count += len(a_T_b)

    def graph(self, ids: Rows, poses: Array, trusted: int) -> PoseGraph:
        a, b, a_T_b, covariances = (np.concatenate(columns) for columns in zip(*self._parts, strict=True))
        information = np.linalg.inv(covariances)
        information = np.asarray(0.5 * (information + information.transpose(0, 2, 1)), dtype=np.float64)
        return PoseGraph(ids, poses, a, b, a_T_b, information, np.arange(self.count) < trusted)
