"""Street lamps, close enough to each other that a drive at night goes from one pool of light to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation import props
from vloc_ros.simulation.plot import Plot

Array = NDArray[np.float64]
_WIDEST_M = 30.0
"""A longer stretch without a lamp gets one more, or several."""
_SHIFTS_M = np.arange(-7.0, 7.5, 1.0)
_LATERALS_M = (1.95, 2.4, 2.9, 3.4)
_RADIUS_M = 0.3


def fill_with_lamps(plot: Plot, lamps: list[Array]) -> list[Array]:
    """Add lamps where the stretch between two is long; returns the (3,) positions of all lights in the order of their stations."""
    rng = plot.own_rng(6)
    stations = sorted(plot.station_of(lamp[:2]) for lamp in lamps) or [0.0]
    gaps = np.diff(np.append(stations, stations[0] + plot.route.length_m)) if lamps else [plot.route.length_m]
    for start, gap in zip(stations, gaps, strict=True):
        pieces = int(np.ceil(float(gap) / _WIDEST_M))
        for piece in range(1 if lamps else 0, pieces):
            placed = _freest_spot(plot, start + gap * piece / pieces)
            if placed is not None:
                centre, yaw = placed
                plot.occupy(centre, _RADIUS_M)
                lamps = [*lamps, props.add_lamp_post(plot.builder, plot.ground(centre), yaw, rng)]
    return sorted(lamps, key=lambda lamp: plot.station_of(lamp[:2]))


def _freest_spot(plot: Plot, station: float) -> tuple[Array, float] | None:
    """The place near a station that is furthest from trees and walls, and the direction to the track [rad] there."""
    best, best_score = None, -np.inf
    for shift in _SHIFTS_M:
        for side in (-1.0, 1.0):
            for lateral in _LATERALS_M:
                centre, heading = plot.beside(station + shift, side * lateral)
                clearance = plot.clearance(centre)
                if clearance <= _RADIUS_M or plot.from_track(centre) < _LATERALS_M[0] - 0.15:
                    continue
                score = min(clearance, 2.5) - 0.15 * abs(shift) - 0.2 * lateral
                if score > best_score:
                    best, best_score = (centre, heading - side * 0.5 * np.pi), score
    return best
