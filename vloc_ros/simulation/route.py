"""The route: a smooth closed loop that a robot can drive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from vloc_ros.errors import ConfigError
from vloc_ros.simulation.route_shapes import MAX_CURVATURE, RouteShape, centre_line

Array = NDArray[np.float64]
SHORTEST_M, LONGEST_M = 30.0, 2000.0
_KNOT_SPACING_M = 1.0


@dataclass(frozen=True, slots=True)
class Route:
    """A closed centre line in the plane, parametrised by arc length (its *station*); loops are driven counter-clockwise.

    Attributes:
        length_m: length of one round [m]; stations outside [0, length) wrap around.
    """

    length_m: float
    _curve: Any  # scipy's CubicSpline, periodic: station [m] -> (x, y) [m]

    @classmethod
    def generate(cls, seed: int, length_m: float, shape: RouteShape = RouteShape.LOOP) -> Route:
        """A route of the given length and shape whose bends differ by seed and stay below ``MAX_CURVATURE``.

        Raises:
            ConfigError: the seed is negative, or the length outside 30 to 2000 m (50 to 2000 m unless it is a loop).
        """
        if seed < 0:
            raise ConfigError(f"seed = {seed} of a world must not be negative")
        if not SHORTEST_M <= length_m <= LONGEST_M:
            raise ConfigError(f"a route of {length_m} m cannot be built; choose {SHORTEST_M:g} to {LONGEST_M:g} m")
        if shape is not RouteShape.LOOP:
            return cls.through(centre_line(seed, length_m, shape), length_m)
        for strength in np.linspace(1.0, 0.0, 11):  # hardly ever is the first too tight
            route = cls.through(_loop(seed, length_m, float(strength)), length_m)
            if float(np.abs(route.curvature(np.arange(0.0, length_m, 0.1))).max()) <= MAX_CURVATURE:
                break
        return route

    @classmethod
    def through(cls, points: Array, length_m: float) -> Route:
        """A smooth closed loop along (N, 2) points, scaled to a length [m]."""
        closed = np.vstack([points, points[:1]])
        for _ in range(3):  # the arc length of a spline through knots differs a little from that of the polygon
            station = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
            closed *= length_m / station[-1]
            station *= length_m / station[-1]
            curve = CubicSpline(station, closed, bc_type="periodic")
            knots = np.linspace(0.0, length_m, max(int(length_m / _KNOT_SPACING_M), 30) + 1)
            coarse = CubicSpline(knots, np.vstack([curve(knots[:-1]), curve(0.0)[None]]), bc_type="periodic")
            closed = coarse(np.linspace(0.0, length_m, len(knots) * 20 + 1))
            closed[-1] = closed[0]
        return cls(length_m, coarse)

    def position(self, station: Array) -> Array:
        """(N, 2) points [m] at (N,) stations [m]."""
        return np.asarray(self._curve(np.mod(station, self.length_m)), dtype=np.float64)

    def tangent(self, station: Array) -> Array:
        """(N, 2) unit vectors along the route."""
        direction = np.asarray(self._curve(np.mod(station, self.length_m), 1), dtype=np.float64)
        return np.asarray(direction / np.linalg.norm(direction, axis=1, keepdims=True))

    def curvature(self, station: Array) -> Array:
        """(N,) signed curvature [1/m], positive to the left."""
        wrapped = np.mod(station, self.length_m)
        first, second = self._curve(wrapped, 1), self._curve(wrapped, 2)
        speed = np.linalg.norm(first, axis=1)
        return np.asarray((first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / speed**3, dtype=np.float64)

    def samples(self, spacing_m: float) -> Array:
        """(N, 2) points about ``spacing_m`` apart, once around."""
        return self.position(np.arange(0.0, self.length_m, spacing_m))


def _loop(seed: int, length_m: float, strength: float) -> Array:
    """(N, 2) points of a circle, of any size, with waves of several orders on it."""
    rng = np.random.default_rng([seed, 1])
    angle = np.linspace(0.0, 2.0 * np.pi, 4000, endpoint=False)
    radius = np.ones_like(angle)
    # A short loop has no room for tight bends, a long one gets more of them.
    for order in range(2, 7):
        reach = strength * min(length_m / (60.0 * order), 1.0) * 0.34 / order
        radius += reach * rng.uniform(0.5, 1.0) * np.cos(order * angle + rng.uniform(0.0, 2.0 * np.pi))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


@dataclass(frozen=True, slots=True)
class Wander:
    """How a driver strays from the centre line: a smooth lateral offset, positive to the left.

    Attributes:
        amplitude_m: the largest offset [m].
        seed: which wander.
        offset_m: constant part [m], added to it.
    """

    amplitude_m: float = 0.0
    seed: int = 0
    offset_m: float = 0.0

    def offset(self, station: Array) -> tuple[Array, Array]:
        """(N,) offsets [m] and their derivatives by the station at (N,) stations [m]."""
        rng = np.random.default_rng([self.seed, 2])
        value, slope = np.zeros_like(station), np.zeros_like(station)
        wavelengths = (rng.uniform(9.0, 14.0), rng.uniform(17.0, 25.0), rng.uniform(32.0, 50.0))
        for wavelength, share in zip(wavelengths, (0.2, 0.3, 0.5), strict=True):
            phase, k = rng.uniform(0.0, 2.0 * np.pi), 2.0 * np.pi / wavelength
            value += share * np.sin(k * station + phase)
            slope += share * k * np.cos(k * station + phase)
        return self.offset_m + self.amplitude_m * value, self.amplitude_m * slope


def track(route: Route, station: Array, wander: Wander) -> tuple[Array, Array]:
    """(N, 2) positions [m] and (N,) headings [rad] of a robot that follows a route with some wander."""
    tangent = route.tangent(station)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    offset, slope = wander.offset(station)
    forward = tangent * (1.0 - route.curvature(station) * offset)[:, None] + normal * slope[:, None]
    return route.position(station) + normal * offset[:, None], np.arctan2(forward[:, 1], forward[:, 0])
