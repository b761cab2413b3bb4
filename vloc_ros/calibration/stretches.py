"""Which places of a route may be trained on, and which are held out to judge by.

A place belongs to the side of its first visit. New ground is cut into stretches of equal length along the path; of so many
successive stretches of a session one, drawn by the seed, is held out. Whoever comes by again (a later lap, a later session) gets
the side of the place. So a place that was trained on is never held out as the map grows, as long as the poses of the graph
stand: what an earlier model learned from is not what a later one is judged by. Training keyframes near a held-out place, along
the path, in the graph, or by an inlier, are used by neither side.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vloc_ros.calibration.layout import Layout, Partners, partners_of
from vloc_ros.calibration.tuples import TupleSet
from vloc_ros.config import param
from vloc_ros.errors import DataError
from vloc_ros.mapping.keyframe import KeyframeId


@dataclass(frozen=True)
class StretchSettings:
    """How a route is split."""

    length: float = param(30.0, "length of a stretch along the path", unit="m", min=0.1, max=10000.0)
    every: int = param(4, "one of so many successive stretches is held out", min=2, max=1000)
    gap: float = param(10.0, "keyframes this near to a held-out one along the path are used by neither side", unit="m", min=0.0)
    radius: float = param(10.0, "keyframes this near to each other in the optimised graph show one place", unit="m", min=0.0)
    seed: int = param(1, "draws the stretches", min=0)


@unique
class Side(Enum):
    """What a keyframe may be used for."""

    TRAINING = "training"
    HELD_OUT = "held_out"
    GAP = "gap"
    """Too near to a held-out place to be trained on."""
    UNJOINED = "unjoined"
    """No inlier joins it to the route that is split, so that it may show a held-out place."""


@dataclass(frozen=True, slots=True)
class Split:
    """The side of each keyframe.

    Attributes:
        sides: of every keyframe of the layout, in its order.
    """

    sides: dict[KeyframeId, Side]

    def of(self, side: Side) -> tuple[KeyframeId, ...]:
        """The keyframes of a side, in order; none are held out where the route is shorter than a stretch."""
        return tuple(id for id, its in self.sides.items() if its is side)

    @property
    def training(self) -> tuple[KeyframeId, ...]:
        """Keyframes that may be trained on."""
        return self.of(Side.TRAINING)

    @property
    def held_out(self) -> tuple[KeyframeId, ...]:
        """Keyframes to judge by."""
        return self.of(Side.HELD_OUT)

    def training_tuples(self, tuples: TupleSet) -> TupleSet:
        """What may be trained on: no keyframe of it, negatives included, shows a held-out place."""
        return tuples.within(self.training)

    def held_out_tuples(self, tuples: TupleSet) -> TupleSet:
        """What may be judged by: all keyframes of it are held out."""
        return tuples.within(self.held_out)


def split_route(layout: Layout, settings: StretchSettings, session: int | None = None) -> Split:
    """Split the keyframes of a map into training and held-out ones, deterministically.

    Only the part of the graph that holds most keyframes (the earliest of equals), or that of a session, is split: where the others
    lie to it is not known.

    Args:
        layout: of the map.
        settings: lengths and seed.
        session: the route is what inliers join to its first keyframe.

    Raises:
        DataError: the map has no such session.
    """
    component = _component(layout, session)
    rows = np.flatnonzero(layout.component == component)
    # By visit: sessions and keyframes count up.
    held = np.zeros(len(layout.ids), dtype=bool)
    mixed = np.zeros(len(layout.ids), dtype=bool)
    drawn = np.array([_is_drawn(layout.ids[row], float(layout.path_m[row]), settings) for row in rows.tolist()], dtype=bool)
    earlier = _earlier_visits(layout, rows, settings)
    for place, row in enumerate(rows.tolist()):
        seen = earlier[place]
        if not seen:
            held[row] = drawn[place]
            continue
        sides = {bool(held[other]) for other in seen if not mixed[other]}
        mixed[row] = len(sides) != 1
        held[row] = sides == {True}
    # What shows a bit of both sides is used by neither, and decides nothing for those that come by later.
    gap = mixed | _near_held_out(layout, rows, held, settings)
    return Split({id: _side(component == layout.component[row], held[row], gap[row]) for row, id in enumerate(layout.ids)})


def _component(layout: Layout, session: int | None) -> int:
    if session is None:
        # The first of equal counts: components are numbered by their first keyframe.
        return int(np.bincount(layout.component).argmax())
    first = next((row for row, id in enumerate(layout.ids) if id.session == session), None)
    if first is None:
        raise DataError(f"the map has no keyframe of session {session}, so its route cannot be split; name another session")
    return int(layout.component[first])


def _is_drawn(id: KeyframeId, path_m: float, settings: StretchSettings) -> bool:
    """Whether a keyframe of new ground lies on a stretch that is held out."""
    group, stretch = divmod(int(path_m // settings.length), settings.every)
    drawn = np.random.default_rng([settings.seed, id.session, group]).integers(settings.every)
    return bool(stretch == drawn)


def _earlier_visits(layout: Layout, rows: NDArray[np.int64], settings: StretchSettings) -> list[list[int]]:
    """Rows of earlier keyframes that show the place of each row: by an inlier, or near in the graph and not just before."""
    partners = partners_of(layout.inliers)
    found = [_partner_rows(layout, partners, int(row)) for row in rows]
    if settings.radius > 0.0:
        for first, second in cKDTree(layout.positions[rows]).query_pairs(settings.radius):
            earlier, later = min(first, second), max(first, second)
            a, b = layout.ids[rows[earlier]], layout.ids[rows[later]]
            # What was passed just before is near without being another visit: the way on is new ground.
            if layout.path_apart(a, b) > 3.0 * settings.radius:
                found[later].append(int(rows[earlier]))
    return [[other for other in others if other < row] for others, row in zip(found, rows.tolist(), strict=True)]


def _near_held_out(
    layout: Layout, rows: NDArray[np.int64], held: NDArray[np.bool_], settings: StretchSettings
) -> NDArray[np.bool_]:
    """(N,) bool: keyframes that are not held out but near one that is."""
    near = np.zeros(len(layout.ids), dtype=bool)
    chosen = np.flatnonzero(held)
    if len(chosen) == 0:
        return near
    partners = partners_of(layout.inliers)
    for row in chosen.tolist():
        near[[layout.row[id] for id in layout.within_path(layout.ids[row], settings.gap)]] = True
        near[_partner_rows(layout, partners, row)] = True
    if settings.radius > 0.0:
        distance, _ = cKDTree(layout.positions[chosen]).query(layout.positions[rows])
        near[rows[distance <= settings.radius]] = True
    return near & ~held


def _partner_rows(layout: Layout, partners: Partners, row: int) -> list[int]:
    return [layout.row[id] for id in partners.get(layout.ids[row], frozenset())]


def _side(joined: bool, held: bool, gap: bool) -> Side:
    if not joined:
        return Side.UNJOINED
    if held:
        return Side.HELD_OUT
    return Side.GAP if gap else Side.TRAINING
