"""The ground: gently rolling near the route, hills around, and a map of what covers it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vloc_ros.simulation.mesh import MeshBuilder
from vloc_ros.simulation.noise import noise_at
from vloc_ros.simulation.palette import Material

Array = NDArray[np.float64]
_MARGIN_M = 38.0
"""The finely meshed core reaches this far beyond the route."""
_SPACING_M = 1.6
_HORIZON_M = 900.0
_RELIEF_CELL_M, _RELIEF_VARIANTS, _HIGHEST_RELIEF_M = 34.0, 16, 32.0
_COVER_CELL_M = 0.25
TRACK_REACH_M = 6.0
"""Distances from the centre line are known up to here; the cover map saturates beyond."""


@dataclass(frozen=True, slots=True)
class Terrain:
    """A height field over the whole plane.

    Attributes:
        seed: which hills.
        low, high: (2,) corners of the core, the area around the route [m].
        relief_m: how high the slopes are that come on top of the gentle roll [m].
        variant: which slopes.
    """

    seed: int
    low: Array
    high: Array
    relief_m: float = 0.0
    variant: int = 0

    @classmethod
    def around(cls, seed: int, points: Array) -> Terrain:
        """The ground around (N, 2) points of a route [m]."""
        return cls(seed, points.min(axis=0) - _MARGIN_M, points.max(axis=0) + _MARGIN_M)

    def with_grade(self, points: Array, steepest: float) -> Terrain:
        """The same ground with as much relief as makes a closed line through (N, 2) points so steep at its steepest place.

        Of several reliefs, that with the gentlest slopes across the line. Where the gentle roll alone is steeper, it stays.
        """
        reliefs = (self._graded(points, steepest, variant) for variant in range(_RELIEF_VARIANTS))
        return max(reliefs, key=lambda terrain: float(terrain.normal(points)[:, 2].min()))

    def _graded(self, points: Array, steepest: float, variant: int) -> Terrain:
        least, most = 0.0, 1.0
        while replace(self, relief_m=most, variant=variant).grade(points) < steepest and most < _HIGHEST_RELIEF_M:
            least, most = most, 2.0 * most
        for _ in range(20):
            middle = 0.5 * (least + most)
            flat = replace(self, relief_m=middle, variant=variant).grade(points) < steepest
            least, most = (middle, most) if flat else (least, middle)
        return replace(self, relief_m=least, variant=variant)

    def grade(self, points: Array) -> float:
        """The steepest slope along a closed line through (N, 2) points, rise over run."""
        rise = np.abs(np.diff(self.height(points), append=self.height(points[:1])))
        return float((rise / np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)).max())

    def height(self, points: Array) -> Array:
        """(N,) heights [m] at (N, 2) points [m]."""
        key = self.seed * 1000
        rolling = 1.9 * noise_at(points, 46.0, key + 1) + 0.30 * noise_at(points, 17.0, key + 2)
        if self.relief_m > 0.0:
            rolling = rolling + self.relief_m * noise_at(points, _RELIEF_CELL_M, key + 10 + self.variant)
        beyond = np.maximum(np.maximum(self.low - points, points - self.high).max(axis=1), 0.0)
        rise = np.minimum(beyond / 350.0, 1.0) ** 1.5
        hills = 30.0 + 34.0 * noise_at(points, 230.0, key + 3) + 9.0 * noise_at(points, 70.0, key + 4)
        return np.asarray(rolling + rise * np.maximum(hills, 0.0))

    def normal(self, points: Array, reach: float = 0.4) -> Array:
        """(N, 3) upward unit normals at (N, 2) points, from differences over ``reach`` [m]."""
        dx, dy = np.array([reach, 0.0]), np.array([0.0, reach])
        gx = (self.height(points + dx) - self.height(points - dx)) / (2.0 * reach)
        gy = (self.height(points + dy) - self.height(points - dy)) / (2.0 * reach)
        n = np.stack([-gx, -gy, np.ones_like(gx)], axis=1)
        return np.asarray(n / np.linalg.norm(n, axis=1, keepdims=True))

    def on_ground(self, points: Array) -> Array:
        """(N, 3) points of the surface above or below (N, 2) points [m]."""
        return np.hstack([points, self.height(points)[:, None]])

    def wheel_height(self, points: Array) -> Array:
        """(N,) heights [m] that a wheel feels: ruts and stones of a centimetre on top of the surface."""
        key = self.seed * 1000
        return self.height(points) + 0.010 * noise_at(points, 0.9, key + 5) + 0.006 * noise_at(points, 0.37, key + 6)

    def add_to(self, builder: MeshBuilder) -> None:
        """Add the surface as one grid without T-junctions: fine in the core, ever coarser towards the horizon."""
        xs, ys = (_axis(self.low[i], self.high[i]) for i in range(2))
        grid = np.stack(np.meshgrid(xs, ys), axis=2).reshape(-1, 2)
        points, normals = self.on_ground(grid), self.normal(grid)
        corner = (np.arange(len(ys) - 1)[:, None] * len(xs) + np.arange(len(xs) - 1)).ravel()
        a, b, c, d = corner, corner + 1, corner + len(xs) + 1, corner + len(xs)
        index = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
        builder.add(Material.GROUND, points[index], grid[index], np.ones(3), seed=self.seed, normals=normals[index])


def _axis(low: float, high: float) -> Array:
    core = np.linspace(low, high, max(int(np.ceil((high - low) / _SPACING_M)), 2) + 1)
    steps: list[float] = []
    step = _SPACING_M
    while sum(steps) < _HORIZON_M:
        step *= 1.25
        steps.append(step)
    outward = np.cumsum(steps)
    return np.concatenate([low - outward[::-1], core, high + outward])


@dataclass(frozen=True, slots=True)
class GroundCover:
    """What lies on the ground of the core, on a raster.

    Attributes:
        origin: (2,) position of the first cell centre [m].
        cell_m: cell size [m].
        layers: (rows of y, columns of x, 2) float32: distance from the route's centre line [m] up to ``TRACK_REACH_M``,
            and bareness in [0, 1] (soil under trees and along walls).
    """

    origin: Array
    cell_m: float
    layers: NDArray[np.float32]

    @classmethod
    def build(cls, terrain: Terrain, centre_line: Array, bare: Array) -> GroundCover:
        """From dense (N, 2) points of the centre line and (M, 3) bare discs (x, y, radius) [m]."""
        shape = np.ceil((terrain.high - terrain.low) / _COVER_CELL_M).astype(int)[::-1] + 1
        layers = np.zeros((*shape, 2), dtype=np.float32)
        xs = terrain.low[0] + _COVER_CELL_M * np.arange(shape[1])
        ys = terrain.low[1] + _COVER_CELL_M * np.arange(shape[0])
        cells = np.stack(np.meshgrid(xs, ys), axis=2).reshape(-1, 2)
        distance, _ = cKDTree(centre_line).query(cells, distance_upper_bound=TRACK_REACH_M)
        layers[..., 0] = np.minimum(distance, TRACK_REACH_M).reshape(shape)
        for x, y, radius in bare:
            c0, c1 = np.searchsorted(xs, [x - 2.0 * radius, x + 2.0 * radius])
            r0, r1 = np.searchsorted(ys, [y - 2.0 * radius, y + 2.0 * radius])
            square = (xs[None, c0:c1] - x) ** 2 + (ys[r0:r1, None] - y) ** 2
            patch = layers[r0:r1, c0:c1, 1]
            np.maximum(patch, np.exp(-square / radius**2).astype(np.float32), out=patch)
        layers.setflags(write=False)
        return cls(terrain.low.copy(), _COVER_CELL_M, layers)
