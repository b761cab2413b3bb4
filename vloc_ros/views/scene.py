"""What there is to see of a map and of a run in it, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.evaluation.runlog import Run, read_run
from vloc_ros.mapping.closures import closures_of
from vloc_ros.mapping.keyframe import Keyframe, KeyframeId
from vloc_ros.mapping.store import MapStore
from vloc_ros.pose_graph.labels import Label

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Route:
    """The keyframes of one session, in order."""

    name: str
    keyframes: tuple[Keyframe, ...]

    @property
    def positions(self) -> Array:
        """(K, 3) positions of the base in the map [m]."""
        return np.array([keyframe.map_T_base[:3, 3] for keyframe in self.keyframes]).reshape(-1, 3)


@dataclass(frozen=True, slots=True)
class ClosureLines:
    """Loop closures of one label: (C, 2, 3) their ends in the map [m]."""

    label: Label
    ends: Array


@dataclass(frozen=True, slots=True)
class Scene:
    """A map, and perhaps a run.

    Attributes:
        name: of the map.
        routes: one for each session that has keyframes.
        closures: one for each label that a closure has.
        run: frames that were localised in the map, or None.
    """

    name: str
    routes: tuple[Route, ...]
    closures: tuple[ClosureLines, ...]
    run: Run | None = None


def scene_of(store: MapStore, run: Path | None = None) -> Scene:
    """Read a map without its images, and a run.

    Args:
        store: the map.
        run: folder that ``vloc repeat --out`` or the node has written.

    Raises:
        MapError: the map is damaged.
        DataError: the folder holds no run.
    """
    sessions = [(session, tuple(store.keyframes(session.id))) for session in store.sessions()]
    routes = tuple(Route(f"session_{session.id}", keyframes) for session, keyframes in sessions if keyframes)
    positions = {keyframe.id: keyframe.map_T_base[:3, 3] for route in routes for keyframe in route.keyframes}
    return Scene(store.path.name, routes, _closures(store, positions), None if run is None else read_run(run))


def _closures(store: MapStore, positions: dict[KeyframeId, Array]) -> tuple[ClosureLines, ...]:
    ends: dict[Label, list[tuple[Array, Array]]] = {}
    for closure in closures_of(store):
        ends.setdefault(closure.verdict.label, []).append((positions[closure.a], positions[closure.b]))
    return tuple(ClosureLines(label, np.array(ends[label])) for label in Label if label in ends)
