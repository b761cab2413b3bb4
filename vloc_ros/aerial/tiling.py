"""How the ground of a map is cut: levels of resolution, tiles that overlap, and blocks that do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.contract import Level
from vloc_ros.aerial.tiling_settings import TilingSettings
from vloc_ros.errors import DataError

Array = NDArray[np.float64]
BLOCK = 512
"""Side of a block [px]: local features are extracted and read one block at a time."""
MARGIN = 64
"""What an extractor sees around a block [px]; a multiple of the strides of networks and of the octaves of SIFT, as BLOCK is."""
_MOST_ENLARGED = 10.0
"""A raster is not resampled to pixels that many times smaller: they would be without end, and all made up."""


@dataclass(frozen=True, slots=True)
class Place:
    """A tile before it is described: its name, and the (2,) east and north of its centre [m]."""

    level: Level
    name: str
    centre: Array


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a level. Pixels are those of the level, from the north-west corner of the map.

    Attributes:
        level: of which it is a piece.
        low: (2,) first column and row.
        high: (2,) first column and row that are no longer in it.
        corner: (2,) east and north of the north-west corner of the map [m].
    """

    level: Level
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    corner: Array

    def box(self, margin: int = 0) -> tuple[Array, Array]:
        """(2,) west-south and (2,) east-north corner, with so many pixels more on each side [m]."""
        step = self.level.ground_per_pixel * np.array([1.0, -1.0])
        first, last = self.corner + step * (self.low - margin), self.corner + step * (self.high + margin)
        return np.array([first[0], last[1]]), np.array([last[0], first[1]])


def levels_of(settings: TilingSettings, bounds: Array, finest_m: float) -> tuple[Level, ...]:
    """The levels at which the ground between two corners fills a tile as far as settings ask for.

    Args:
        settings: how to cut.
        bounds: (2, 2) west-south and east-north corner [m].
        finest_m: resolution of the raster [m/px], taken where settings name none.

    Raises:
        DataError: there is none, or the finest one is far finer than the raster.
    """
    if 0.0 < settings.resolution_m * _MOST_ENLARGED < finest_m:
        raise DataError(
            f"a resolution of {settings.resolution_m:.3g} m/px shows no more than the {finest_m:.3g} m/px of the image: "
            "choose a coarser one"
        )
    found = []
    for index in range(settings.levels):
        step = (settings.resolution_m or finest_m) * settings.ratio**index
        level = Level(index, step, step * settings.tile)
        if np.minimum(bounds[1] - bounds[0], level.tile_m).prod() >= settings.min_known * level.tile_m**2:
            found.append(level)
    if not found or found[0].index:
        width, height = bounds[1] - bounds[0]
        side = (settings.resolution_m or finest_m) * settings.tile
        raise DataError(
            f"the map covers {width:.0f} x {height:.0f} m, less than a tile of {side:.0f} m: "
            "make tiles smaller or the resolution finer"
        )
    return tuple(found)


def places_of(level: Level, bounds: Array, overlap: float) -> list[Place]:
    """Tiles that cover the ground between two corners evenly, row by row from the north-west; the overlap is the least."""
    across = _spread(bounds[0, 0], bounds[1, 0], level.tile_m, overlap)
    down = _spread(0.0, bounds[1, 1] - bounds[0, 1], level.tile_m, overlap)
    return [
        Place(level, f"{level.index}-{row}-{column}", np.array([x, bounds[1, 1] - y]))
        for row, y in enumerate(down)
        for column, x in enumerate(across)
    ]


def blocks_of(level: Level, bounds: Array) -> list[Block]:
    """Blocks that cover the ground between two corners without gap or overlap."""
    corner = np.array([bounds[0, 0], bounds[1, 1]])
    size = np.maximum(np.ceil((bounds[1] - bounds[0]) / level.ground_per_pixel - 1e-6), 1.0).astype(np.int64)
    starts = [np.array([x, y]) for y in range(0, size[1], BLOCK) for x in range(0, size[0], BLOCK)]
    return [Block(level, low, np.minimum(low + BLOCK, size), corner) for low in starts]


def _spread(low: float, high: float, side: float, overlap: float) -> Array:
    """Centres of tiles between two ends; one in the middle where there is no room for more."""
    room = high - low - side
    if room <= 0.0:
        return np.array([(low + high) / 2.0])
    count = int(np.ceil(room / (side * (1.0 - overlap)) - 1e-6)) + 1
    return np.linspace(low + side / 2.0, high - side / 2.0, count)
