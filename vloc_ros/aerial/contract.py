"""What a locator needs of a map of the ground; files of such maps are in :mod:`vloc_ros.aerial.map_file`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.georeference import LocalFrame

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a map.

    Attributes:
        index: 0 is the finest.
        ground_per_pixel: metres that a pixel sees.
        tile_m: side of its square tiles on the ground [m].
    """

    index: int
    ground_per_pixel: float
    tile_m: float


@dataclass(frozen=True, slots=True)
class Tiles:
    """All tiles of a map, in the order of their vectors; one for each place, level and heading.

    Attributes:
        names: as the map carries them; never parsed, never a path.
        levels: (N,) indices of levels.
        headings: (N,) of the direction that is up in the tile when it is described, clockwise from north [deg].
        centres: (N, 2) east and north in the frame of the map [m].
    """

    names: tuple[str, ...]
    levels: NDArray[np.int32]
    headings: NDArray[np.float32]
    centres: Array

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class GroundFeatures:
    """Local features of a piece of the map.

    Attributes:
        points: (N, 2) east and north in the frame of the map [m].
        descriptors: (N, D) as :class:`vloc_ros.features.Features` has them.
    """

    points: Array
    descriptors: NDArray[Any]

    def __len__(self) -> int:
        return len(self.points)


class GroundMap(ABC):
    """A geo-referenced map whose tiles and features were described once. North is up on every level."""

    @property
    @abstractmethod
    def frame(self) -> LocalFrame:
        """Metres east and north of a point of the map."""

    @property
    @abstractmethod
    def bounds(self) -> Array:
        """(2, 2) west-south and east-north corner in the frame [m]."""

    @property
    @abstractmethod
    def accuracy_m(self) -> float:
        """Standard deviation of where the map's own pixels are on the earth, along each axis [m]."""

    @property
    @abstractmethod
    def levels(self) -> tuple[Level, ...]:
        """Resolutions, the finest first."""

    @property
    @abstractmethod
    def tiles(self) -> Tiles:
        """All of them."""

    @property
    @abstractmethod
    def vectors(self) -> NDArray[np.float32]:
        """(N, D) of unit length, one for each tile."""

    @property
    @abstractmethod
    def features(self) -> str:
        """Name of the local features, with which :func:`vloc_ros.features.create_extractor` makes the extractor of a photo."""

    @property
    @abstractmethod
    def descriptor(self) -> str:
        """Name of the global descriptor."""

    @abstractmethod
    def features_in(self, level: int, low: Array, high: Array) -> GroundFeatures:
        """Features of a level between two (2,) corners, west-south and east-north [m]; those read last are kept in memory."""
