"""Held-out queries: later visits to held-out places, and which earlier keyframes show the same place, by the optimised graph.

Nothing but the graph says so (pseudo-labels): what is near in it and looks the same way shows one place, what is far or looks
another way shows another, and in between nothing is known, so that such keyframes may not answer. A query is compared with
keyframes before it, as the robot does, that were not trained on and that odometry did not just pass.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from vloc_ros.calibration.layout import Layout
from vloc_ros.calibration.promotion import consecutive_stretches
from vloc_ros.calibration.stretches import Side, Split
from vloc_ros.config import param
from vloc_ros.mapping.keyframe import KeyframeId

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class HeldOutSettings:
    """What the graph says of two keyframes."""

    near: float = param(3.0, "keyframes this near in the graph show one place, if they look the same way", unit="m", min=0.0)
    near_angle: float = param(math.radians(30.0), "and turned by at most this", unit="rad", min=0.0, max=math.pi)
    far: float = param(8.0, "those farther than this show two places; in between they may not answer", unit="m", min=0.0)
    far_angle: float = param(math.radians(120.0), "and so do those turned by more than this", unit="rad", min=0.0, max=math.pi)
    gap_frames: int = param(20, "keyframes of one session this many or fewer before a query may not answer it", min=0)
    folds: int = param(5, "parts of the stretches; the confidence in each is learned from the others", min=2, max=100)
    gap_path: float = param(15.0, "nor those this far or less before it along the path", unit="m", min=0.0)


@dataclass(frozen=True, slots=True)
class HeldOutPlaces:
    """What models are compared on.

    Attributes:
        queries: (Q) held-out keyframes that something may answer, in order.
        database: (D) keyframes that may answer, in order: all that were not trained on.
        relevant: (Q, D) bool: they show one place.
        allowed: (Q, D) bool: the keyframe may answer the query.
        blocks: (Q,) int64 number of the stretch of the route; visits to one place have one number, whenever they were.
    """

    queries: tuple[KeyframeId, ...]
    database: tuple[KeyframeId, ...]
    relevant: Mask
    allowed: Mask
    blocks: NDArray[np.int64]

    @property
    def known(self) -> Mask:
        """(Q,) bool: the place is among those that may answer."""
        return np.asarray((self.relevant & self.allowed).any(axis=1), dtype=bool)


def held_out_places(
    layout: Layout,
    split: Split,
    usable: Collection[KeyframeId],
    settings: HeldOutSettings,
    stretch: int,
    trained: Collection[KeyframeId] = (),
    reach: float = 0.0,
) -> HeldOutPlaces:
    """The queries of the held-out stretches of a map.

    Args:
        layout: of the map.
        split: what was held out.
        usable: keyframes that can be described.
        settings: what is one place.
        stretch: so many successive keyframes of first visits have one number.
        trained: keyframes that the network has learned from. None of them answers.
        reach: nothing so near to one of these is asked [m], even if the graph has moved since, and what is held out with it.
    """
    sides, trained = split.sides, frozenset(trained)
    clean = [id for id in layout.ids if sides[id] in (Side.HELD_OUT, Side.GAP) and id in usable and id not in trained]
    if not clean:
        nothing = np.zeros((0, 0), dtype=bool)
        return HeldOutPlaces((), (), nothing, nothing, np.zeros(0, dtype=np.int64))
    rows = np.array([layout.row[id] for id in clean], dtype=np.int64)
    same, other = _verdicts(layout, rows, settings)
    allowed = (same | other) & _is_before(layout, clean, rows, settings)
    asked = np.array([sides[id] is Side.HELD_OUT for id in clean], dtype=bool) & allowed.any(axis=1)
    asked &= ~_near(layout, rows, trained, reach)
    chosen = np.flatnonzero(asked)
    # The first visit of a place gives all visits their number: they are not independent of each other.
    first = np.where(same.any(axis=1), np.argmax(same, axis=1), np.arange(len(clean)))
    numbers = consecutive_stretches(clean, stretch)[first]
    return HeldOutPlaces(
        queries=tuple(clean[place] for place in chosen),
        database=tuple(clean),
        relevant=same[chosen],
        allowed=allowed[chosen],
        blocks=numbers[chosen],
    )


def _verdicts(layout: Layout, rows: NDArray[np.int64], settings: HeldOutSettings) -> tuple[Mask, Mask]:
    """(N, N) bool: pairs that show one place, and pairs that show two."""
    positions, rotations = layout.positions[rows], layout.rotations[rows]
    distance = cdist(positions, positions)
    # trace(A^T B) is the sum over all elements of A * B
    trace = rotations.reshape(-1, 9) @ rotations.reshape(-1, 9).T
    angle = np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))
    same = (distance <= settings.near) & (angle <= settings.near_angle)
    return same, (distance > max(settings.near, settings.far)) | (angle > max(settings.near_angle, settings.far_angle))


def _near(layout: Layout, rows: NDArray[np.int64], others: Collection[KeyframeId], reach: float) -> Mask:
    """(N,) bool: keyframes within reach of any of the others."""
    found = [layout.row[id] for id in others if id in layout.row]
    if not found or not len(rows):
        return np.zeros(len(rows), dtype=bool)
    distance, _ = cKDTree(layout.positions[found]).query(layout.positions[rows])
    return np.asarray(distance <= reach, dtype=bool)


def _is_before(layout: Layout, ids: list[KeyframeId], rows: NDArray[np.int64], settings: HeldOutSettings) -> Mask:
    """(N, N) bool: the second of a pair was taken before the first, and not just before."""
    session = np.array([id.session for id in ids], dtype=np.int64)
    number = np.array([id.keyframe for id in ids], dtype=np.int64)
    path = layout.path_m[rows]
    together = session[:, None] == session[None, :]
    just = (number[:, None] - number[None, :] <= settings.gap_frames) | (path[:, None] - path[None, :] <= settings.gap_path)
    earlier = np.tri(len(ids), k=-1, dtype=bool)  # ids are in order
    return np.asarray(earlier & ~(together & just), dtype=bool)
