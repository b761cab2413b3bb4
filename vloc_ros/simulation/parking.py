"""Parking spots, of which there are more than cars, and the cars on them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.plot import Plot
from vloc_ros.simulation.props import Car, add_car

Array = NDArray[np.float64]
_TAKEN = 0.6
"""Share of the spots on which a car stands."""
_SPACING_M = 24.0
"""So much route per spot."""
_RADIUS_M = 2.0
_NEAREST_M, _FARTHEST_M = 2.9, 4.2


@dataclass(frozen=True, slots=True)
class ParkingSpot:
    """A place for a car along the track.

    Attributes:
        centre: (2,) its middle [m].
        yaw: where noses point [rad].
        usual: the car that stands there on an ordinary day, or None.
    """

    centre: Array
    yaw: float
    usual: Car | None = None


def find_usual_parking(plot: Plot) -> list[ParkingSpot]:
    """The spots that are taken on an ordinary day."""
    places = plot.spots(34.0, _NEAREST_M, _FARTHEST_M, _RADIUS_M)
    return [_spot(centre, heading, side, plot.rng) for centre, heading, side in places]


def find_more_parking(plot: Plot, usual: list[ParkingSpot]) -> list[ParkingSpot]:
    """All spots: the usual ones and others, as far as there is room; on an ordinary day about 60 % are taken."""
    rng, spots = plot.own_rng(4), list(usual)
    wanted = max(round(plot.route.length_m / _SPACING_M), round(len(usual) / _TAKEN), 3)
    for station in rng.permutation(np.arange(0.0, plot.route.length_m, 2.0)):
        if len(spots) == wanted:
            break
        for side in rng.permutation([-1.0, 1.0]):
            centre, heading = plot.beside(float(station), float(side * rng.uniform(_NEAREST_M, _FARTHEST_M)))
            if plot.claim([centre], _RADIUS_M, _NEAREST_M - 0.15 - _RADIUS_M):
                spots.append(_spot(centre, heading, side, rng))
                break
    empty = range(max(round(_TAKEN * len(spots)), len(usual)), len(spots))
    return [replace(spot, usual=None) if index in empty else spot for index, spot in enumerate(spots)]


def _spot(centre: Array, heading: float, side: float, rng: np.random.Generator) -> ParkingSpot:
    yaw = heading + (0.0 if side < 0 else np.pi) + float(rng.normal(scale=0.1))
    return ParkingSpot(centre, yaw, Car.draw(rng))


def park(plot: Plot, spots: list[ParkingSpot], arrangement: int) -> None:
    """Put cars on the spots: 0 is the ordinary day, any other number other cars on a random 60 % of the spots."""
    cars = [spot.usual for spot in spots]
    if arrangement != 0:
        rng = plot.own_rng(5, arrangement)
        taken = rng.permutation(len(spots))[: max(round(_TAKEN * len(spots)), 1)]
        cars = [Car.draw(rng) if index in taken else None for index in range(len(spots))]
    for spot, car in zip(spots, cars, strict=True):
        if car is not None:
            up = plot.terrain.normal(spot.centre[None], 1.3)[0]
            add_car(plot.builder, plot.ground(spot.centre), up, spot.yaw, car)
