"""Rows of equal houses and avenues of equal trees: places that look alike on purpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation import buildings, props, vegetation
from vloc_ros.simulation.furnishing import claim_house, house_floor
from vloc_ros.simulation.plot import Plot

Array = NDArray[np.float64]
_ROW_M, _GAP_M = 44.0, 14.0
"""Lengths of a row and of the ordinary stretch after it."""
HOUSE_SPACING_M, TREE_SPACING_M = 13.5, 6.0
_WIDTH_M, _DEPTH_M, _SETBACK_M = 8.0, 5.0, 3.7
_TREE_FROM_TRACK_M, _TREE_HEIGHT_M = 3.4, 4.2
_LAMP_FROM_TRACK_M = 2.2


@dataclass(frozen=True, slots=True)
class Rows:
    """What has been put up: lights of lamps (3,), poses of houses (x, y, z, yaw), feet of trees (3,)."""

    lamps: list[Array]
    houses: list[Array]
    trees: list[Array]


def build_rows(plot: Plot, bare: bool) -> Rows:
    """Line stretches of the route with equal houses on the right, and equal trees on the left, wherever there is room.

    Each house draws the same random numbers as the others, and so does each tree and each lamp: only their poses differ.
    """
    rows = Rows([], [], [])
    count = max(round(plot.route.length_m / (_ROW_M + _GAP_M)), 1)
    for index in range(count):
        start = (index + 0.1) * plot.route.length_m / count
        end = start + min(_ROW_M, plot.route.length_m / count - _GAP_M)
        _build_row(plot, start, end, bare, rows)
        plot.line_with_row(start, end)
    return rows


def _build_row(plot: Plot, start: float, end: float, bare: bool, rows: Rows) -> None:
    for station in np.arange(start + 0.5 * HOUSE_SPACING_M, end, HOUSE_SPACING_M):
        centre, heading = plot.beside(float(station), -_SETBACK_M - 0.5 * _DEPTH_M)
        if claim_house(plot, centre, heading, _WIDTH_M, _DEPTH_M):
            origin = np.append(centre, house_floor(plot, centre, _WIDTH_M))
            buildings.add_house(plot.builder, origin, heading + np.pi, _WIDTH_M, _DEPTH_M, 2, plot.own_rng(8))
            rows.houses.append(np.append(origin, heading + np.pi))
    for station in np.arange(start, end, 2.0 * HOUSE_SPACING_M):
        centre, heading = plot.beside(float(station), -_LAMP_FROM_TRACK_M)
        if plot.claim([centre], 0.3, _LAMP_FROM_TRACK_M - 0.45):
            rows.lamps.append(props.add_lamp_post(plot.builder, plot.ground(centre), heading + 0.5 * np.pi, plot.own_rng(9)))
    for station in np.arange(start, end, TREE_SPACING_M):
        centre, _ = plot.beside(float(station), _TREE_FROM_TRACK_M)
        if plot.claim([centre], 1.2, _TREE_FROM_TRACK_M - 1.35):
            ground, leaves = plot.ground(centre), vegetation.leaves_at(_TREE_FROM_TRACK_M)
            vegetation.add_broadleaf(plot.builder, ground, _TREE_HEIGHT_M, leaves, plot.own_rng(10), bare=bare)
            rows.trees.append(ground)
