"""The verdicts of the robust graph on the loop closures of a map, and what follows for the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.loop_closure.map_graph import MapGraph
from vloc_ros.mapping import KeyframeId, MapStore
from vloc_ros.mapping.closures import Closure, graph_revision, put_spatial_edges, replace_closures
from vloc_ros.pose_graph import GncSettings, GncSolution, solve_gnc
from vloc_ros.pose_graph.labelling import LabelSettings, label_closures

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the robust graph says of a map.

    Attributes:
        of: the graph that was solved.
        solution: of the solver.
        closures: the loop closures with their labels, in the order of ``of.closures``.
        poses: (N, 4, 4) optimised map_T_base of each keyframe.
        revision: number of this solution.
    """

    of: MapGraph
    solution: GncSolution
    closures: tuple[Closure, ...]
    poses: Array
    revision: int

    def poses_by_keyframe(self) -> dict[KeyframeId, Array]:
        """The optimised poses by the name of their keyframe."""
        return self.of.poses_by_keyframe(self.poses)


def judge(map_graph: MapGraph, solver: GncSettings, labels: LabelSettings, revision: int) -> Judgement:
    """Solve the graph of a map and label its loop closures; the map is not touched.

    Raises:
        DataError: the graph cannot be solved.
    """
    solution = solve_gnc(map_graph.graph, solver)
    verdicts = label_closures(map_graph.graph, solution, labels, revision)
    closures = tuple(map_graph.verdicts_of(verdicts))
    return Judgement(map_graph, solution, closures, map_graph.settled(solution.poses, closures), revision)


def next_revision(store: MapStore) -> int:
    """The number for a new solution of a map's graph."""
    return graph_revision(store) + 1


def store_judgement(store: MapStore, judgement: Judgement) -> None:
    """Keep the measured loop closures and the verdicts in the map; its poses stay.

    Raises:
        MapError: the map cannot be written.
    """
    put_spatial_edges(store, judgement.of.closures)
    replace_closures(store, judgement.closures)


def apply_judgement(store: MapStore, judgement: Judgement) -> int:
    """Move the keyframes of a map to their optimised poses, in one transaction; returns how many moved.

    Where they were is remembered (:meth:`MapStore.restore_taught_poses`), and edges stay as measured.

    Raises:
        MapError: the map cannot be written.
    """
    before = {keyframe.id: keyframe.map_T_base for keyframe in store.keyframes()}
    moved = {id: pose for id, pose in judgement.poses_by_keyframe().items() if not np.array_equal(pose, before[id])}
    store.update_poses(moved, keep_taught=True)
    return len(moved)
