"""The world: everything that stands still, by seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vloc_ros.simulation import buildings, props, vegetation
from vloc_ros.simulation.mesh import Mesh, MeshBuilder
from vloc_ros.simulation.route import Route
from vloc_ros.simulation.shadows import bake_openness
from vloc_ros.simulation.terrain import GroundCover, Terrain

Array = NDArray[np.float64]
CORRIDOR_M = 1.3
"""Nothing but grass reaches closer to the centre line than this, up to the height of the robot."""


@dataclass(frozen=True, slots=True)
class World:
    """A place to drive in; two worlds of the same seed and length are equal to the last bit.

    The world frame has x east, y north, z up [m].

    Attributes:
        seed: what it was generated from.
        route: the centre line of the track.
        terrain: the ground.
        cover: what covers the ground.
        mesh: all triangles.
        lamps: (L, 3) positions of street lamps [m].
    """

    seed: int
    route: Route
    terrain: Terrain
    cover: GroundCover
    mesh: Mesh
    lamps: Array

    @classmethod
    def generate(cls, seed: int, length_m: float) -> World:
        """A world around a closed loop of the given length.

        Raises:
            ConfigError: the seed is negative or the length outside 30 to 2000 m.
        """
        route = Route.generate(seed, length_m)
        terrain = Terrain.around(seed, route.samples(1.0))
        site = _Site(route, terrain, np.random.default_rng([seed, 3]))
        terrain.add_to(site.builder)
        site.build_houses()
        site.build_furniture()
        site.plant()
        mesh = site.builder.build()
        cover = GroundCover.build(terrain, route.samples(0.1), np.array(site.bare).reshape(-1, 3))
        bake_openness(mesh)
        return cls(seed, route, terrain, cover, mesh.frozen(), np.array(site.lamps).reshape(-1, 3))


class _Site:
    """Places objects beside the route without letting them overlap."""

    def __init__(self, route: Route, terrain: Terrain, rng: np.random.Generator) -> None:
        self.route, self.terrain, self.rng = route, terrain, rng
        self.builder = MeshBuilder()
        self.lamps: list[Array] = []
        self.bare: list[tuple[float, float, float]] = []
        self._line = cKDTree(route.samples(0.25))
        self._discs = np.empty((0, 3))

    def build_houses(self) -> None:
        """Houses that face the track."""
        for station in self._stations(21.0):
            width, depth = self.rng.uniform(7.0, 13.0), self.rng.uniform(6.0, 9.0)
            clearance, side = self.rng.uniform(3.2, 9.0), self._side()
            for retreat in (0.0, 5.0, 10.0, 16.0, 22.0):  # in the inside of a bend a house may only fit further away
                centre, heading = self._beside(station, side * (clearance + retreat + 0.5 * depth))
                along = np.array([np.cos(heading), np.sin(heading)])
                footprint = [centre + along * t * width for t in (-0.36, 0.0, 0.36)]
                if self._claim(footprint, 0.62 * depth, 1.6):
                    break
            else:
                continue
            yaw = heading + (0.0 if side > 0 else np.pi) + self.rng.normal(scale=0.12)
            corners = centre + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.4 * width
            floor = float(np.mean(self.terrain.height(corners))) + 0.1
            storeys = int(self.rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15]))
            buildings.add_house(self.builder, np.append(centre, floor), yaw, width, depth, storeys, self.rng)
            self.bare += [(float(x), float(y), 0.62 * depth) for x, y in footprint]

    def build_furniture(self) -> None:
        """Fences, lamps, signs, cars, crates and stones."""
        rng = self.rng
        for station in self._stations(24.0):
            self._build_fence(station, self._side() * rng.uniform(2.3, 4.5), int(rng.integers(4, 8)))
        for centre, heading, side in self._spots(26.0, 1.9, 2.8, 0.3):
            yaw = heading - side * 0.5 * np.pi
            self.lamps.append(props.add_lamp_post(self.builder, self._ground(centre), yaw, rng))
        for centre, heading, side in self._spots(17.0, 2.1, 3.4, 0.3):
            props.add_sign(self.builder, self._ground(centre), heading + np.pi - side * rng.uniform(-0.3, 0.9), rng)
        for centre, heading, side in self._spots(34.0, 2.9, 4.2, 2.0):
            yaw = heading + (0.0 if side < 0 else np.pi) + rng.normal(scale=0.1)
            props.add_car(self.builder, self._ground(centre), yaw, rng)
        for centre, heading, _ in self._spots(30.0, 2.2, 5.0, 0.7):
            props.add_crates(self.builder, self._ground(centre), heading + rng.uniform(0.0, 1.0), rng)
        for centre, _, _ in self._spots(1.6, 1.6, 9.0, 0.1):
            size = min(float(np.exp(rng.uniform(-2.1, 0.0))), self._room(centre) / 0.8)
            props.add_stone(self.builder, self._ground(centre), size, rng)

    def plant(self) -> None:
        """Trees and bushes, dense in leaves near the track and coarser further away; grass at the edge of the track."""
        rng = self.rng
        for centre, _, _ in self._spots(4.0, 2.8, 12.0, 1.2):
            self._plant_tree(centre, min(rng.uniform(3.5, 9.0), self._room(centre) / 0.5))
        for centre, _, _ in self._spots(4.5, 2.2, 8.0, 0.5):
            size = min(rng.uniform(0.6, 1.7), self._room(centre) / 0.75)
            vegetation.add_bush(self.builder, self._ground(centre), size, int(rng.integers(300, 600)), rng)
        for centre in self._scatter(self.terrain.low, self.terrain.high, 1.0 / 75.0, 13.0, 1.6):
            self._plant_tree(centre, rng.uniform(6.0, 13.0))
        belt = 90.0
        for centre in self._scatter(self.terrain.low - belt, self.terrain.high + belt, 1.0 / 130.0, 36.0, 1.6):
            self._plant_tree(centre, rng.uniform(7.0, 16.0))
        station = rng.uniform(0.0, self.route.length_m, int(16.0 * self.route.length_m))
        lateral = rng.choice([-1.0, 1.0], len(station)) * (1.25 + rng.exponential(2.0, len(station)))
        tufts = self._beside_many(station, lateral)
        tufts = tufts[self._line.query(tufts)[0] > 1.15]
        vegetation.add_grass(self.builder, self.terrain.on_ground(tufts), self.terrain.normal(tufts), rng)

    def _plant_tree(self, centre: Array, height: float) -> None:
        # Broad-leaved and coniferous trees grow in groups.
        group = np.sin(centre[0] / 23.0 + self.terrain.seed) + np.sin(centre[1] / 19.0 + 2.0 * self.terrain.seed)
        add = vegetation.add_conifer if group + self.rng.normal(scale=0.5) > 0.7 else vegetation.add_broadleaf
        leaves = vegetation.leaves_at(float(self._line.query(centre)[0]))
        add(self.builder, self._ground(centre), height, leaves, self.rng)
        self.bare.append((float(centre[0]), float(centre[1]), 0.16 * height))

    def _build_fence(self, station: float, lateral: float, count: int) -> None:
        stations = np.asarray(station + 2.0 * np.arange(count), dtype=np.float64)
        posts = self._beside_many(stations, np.full(count, lateral))
        if self._line.query(posts)[0].min() < CORRIDOR_M + 0.5 or not all(self._is_free(post, 0.3) for post in posts):
            return
        for post in posts:
            self._occupy(post, 0.4)
        props.add_fence(self.builder, self.terrain.on_ground(posts), self.rng)

    def _spots(self, every_m: float, nearest: float, farthest: float, radius: float) -> Iterator[tuple[Array, float, float]]:
        """Free places beside the track: (position, heading of the track, side), one tried per ``every_m`` of route."""
        for station in self._stations(every_m):
            side = self._side()
            centre, heading = self._beside(station, side * self.rng.uniform(nearest, farthest))
            # In a bend the track may come closer than the offset says.
            if self._claim([centre], radius, nearest - 0.15 - radius):
                yield centre, heading, side

    def _scatter(self, low: Array, high: Array, density: float, beyond: float, radius: float) -> Iterator[Array]:
        """Free places in a rectangle, at least ``beyond`` [m] from the track."""
        for centre in self.rng.uniform(low, high, (int(np.prod(high - low) * density), 2)):
            if self._claim([centre], radius, beyond - radius):
                yield centre

    def _stations(self, every_m: float) -> Array:
        count = max(int(self.route.length_m / every_m), 1)
        return np.asarray((np.arange(count) + self.rng.uniform(0.1, 0.9, count)) * self.route.length_m / count)

    def _side(self) -> float:
        return float(self.rng.choice([-1.0, 1.0]))

    def _beside(self, station: float, lateral: float) -> tuple[Array, float]:
        tangent = self.route.tangent(np.array([station]))[0]
        return self._beside_many(np.array([station]), np.array([lateral]))[0], float(np.arctan2(tangent[1], tangent[0]))

    def _beside_many(self, station: Array, lateral: Array) -> Array:
        tangent = self.route.tangent(station)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
        return np.asarray(self.route.position(station) + normal * lateral[:, None])

    def _room(self, centre: Array) -> float:
        """How far something at this place may reach towards the track [m]."""
        return float(self._line.query(centre)[0]) - CORRIDOR_M

    def _ground(self, centre: Array) -> Array:
        return np.asarray(self.terrain.on_ground(centre[None])[0])

    def _is_free(self, centre: Array, radius: float) -> bool:
        reach = np.hypot(self._discs[:, 0] - centre[0], self._discs[:, 1] - centre[1])
        return bool(np.all(reach > self._discs[:, 2] + radius))

    def _occupy(self, centre: Array, radius: float) -> None:
        self._discs = np.vstack([self._discs, [centre[0], centre[1], radius]])

    def _claim(self, centres: list[Array], radius: float, from_track: float) -> bool:
        """Occupy discs if all are free and their rims at least ``from_track`` [m] away from the centre line."""
        for centre in centres:
            if self._line.query(centre)[0] < radius + from_track or not self._is_free(centre, radius):
                return False
        for centre in centres:
            self._occupy(centre, radius)
        return True
