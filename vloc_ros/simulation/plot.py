"""The land along a route while it is built on: what is free, where the track runs, and what has been collected so far."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vloc_ros.simulation.mesh import MeshBuilder
from vloc_ros.simulation.route import Route
from vloc_ros.simulation.terrain import Terrain

Array = NDArray[np.float64]
CORRIDOR_M = 1.3
"""Nothing but grass reaches closer to the centre line than this, up to the height of the robot."""


class Plot:
    """Finds places beside the route where nothing overlaps, and keeps what is built there.

    Attributes:
        route, terrain: where.
        rng: the random numbers of everything that stays the same in all seasons; a part that changes, or that was added to a
            world of old, draws from :meth:`own_rng` instead, so that the rest does not shift.
        builder: the triangles so far.
        bare: (x, y, radius) of discs without grass [m].
    """

    def __init__(self, route: Route, terrain: Terrain) -> None:
        self.route, self.terrain = route, terrain
        self.rng = np.random.default_rng([terrain.seed, 3])
        self.builder = MeshBuilder()
        self.bare: list[tuple[float, float, float]] = []
        self._line_points = route.samples(0.25)
        self._line = cKDTree(self._line_points)
        self._discs = np.empty((0, 3))
        self._rows: list[tuple[float, float]] = []

    def own_rng(self, *salt: int) -> np.random.Generator:
        """A stream of random numbers that only depends on the seed of the world and on the salt."""
        return np.random.default_rng([self.terrain.seed, *salt])

    def spots(self, every_m: float, nearest: float, farthest: float, radius: float) -> Iterator[tuple[Array, float, float]]:
        """Free places beside the track: (position, heading of the track, side), one tried per ``every_m`` of route."""
        for station in self.stations(every_m):
            side = self.side()
            centre, heading = self.beside(station, side * self.rng.uniform(nearest, farthest))
            # In a bend the track may come closer than the offset says.
            if not self.in_row(station) and self.claim([centre], radius, nearest - 0.15 - radius):
                yield centre, heading, side

    def line_with_row(self, start: float, end: float) -> None:
        """Put nothing else beside the track between two stations [m]."""
        self._rows.append((start, end))

    def in_row(self, station: float) -> bool:
        """Whether the track is lined with a row here."""
        return any(start <= station % self.route.length_m <= end for start, end in self._rows)

    def scatter(self, low: Array, high: Array, density: float, beyond: float, radius: float) -> Iterator[Array]:
        """Free places in a rectangle, at least ``beyond`` [m] from the track."""
        for centre in self.rng.uniform(low, high, (int(np.prod(high - low) * density), 2)):
            if self.claim([centre], radius, beyond - radius):
                yield centre

    def stations(self, every_m: float) -> Array:
        """(N,) random stations, one in each stretch of about ``every_m`` [m]."""
        count = max(int(self.route.length_m / every_m), 1)
        return np.asarray((np.arange(count) + self.rng.uniform(0.1, 0.9, count)) * self.route.length_m / count)

    def side(self) -> float:
        """A random side of the track: 1 for left, -1 for right."""
        return float(self.rng.choice([-1.0, 1.0]))

    def beside(self, station: float, lateral: float) -> tuple[Array, float]:
        """(2,) point at a signed distance to the left of the track [m], and the heading of the track there [rad]."""
        tangent = self.route.tangent(np.array([station]))[0]
        return self.beside_many(np.array([station]), np.array([lateral]))[0], float(np.arctan2(tangent[1], tangent[0]))

    def beside_many(self, station: Array, lateral: Array) -> Array:
        """(N, 2) points at signed distances (N,) to the left of the track [m]."""
        tangent = self.route.tangent(station)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
        return np.asarray(self.route.position(station) + normal * lateral[:, None])

    def from_track(self, points: Array) -> Array:
        """Distance from (..., 2) points to the centre line [m]."""
        return np.asarray(self._line.query(points)[0])

    def station_of(self, point: Array) -> float:
        """Station of the place of the track that is closest to a (2,) point [m]."""
        return float(self._line.query(point)[1]) * self.route.length_m / len(self._line_points)

    def room(self, centre: Array) -> float:
        """How far something at this place may reach towards the track [m]."""
        return float(self._line.query(centre)[0]) - CORRIDOR_M

    def clearance(self, centre: Array) -> float:
        """Distance to the rim of the nearest disc that is occupied [m]; negative inside."""
        if len(self._discs) == 0:
            return float("inf")
        reach = np.hypot(self._discs[:, 0] - centre[0], self._discs[:, 1] - centre[1])
        return float((reach - self._discs[:, 2]).min())

    def ground(self, centre: Array) -> Array:
        """(3,) point of the ground at a (2,) point [m]."""
        return np.asarray(self.terrain.on_ground(centre[None])[0])

    def is_free(self, centre: Array, radius: float) -> bool:
        """Whether a disc touches nothing."""
        return self.clearance(centre) > radius

    def occupy(self, centre: Array, radius: float) -> None:
        """Keep a disc free of everything that comes later."""
        self._discs = np.vstack([self._discs, [centre[0], centre[1], radius]])

    def claim(self, centres: list[Array], radius: float, from_track: float) -> bool:
        """Occupy discs if all are free and their rims at least ``from_track`` [m] away from the centre line."""
        for centre in centres:
            if self._line.query(centre)[0] < radius + from_track or not self.is_free(centre, radius):
                return False
        for centre in centres:
            self.occupy(centre, radius)
        return True
