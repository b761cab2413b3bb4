"""How much detail the renderer draws: what a picture costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import ConfigError
from vloc_ros.simulation.mesh import Mesh
from vloc_ros.simulation.palette import Material
from vloc_ros.simulation.raster import DIAGONAL, SPREAD, Samples


@dataclass(frozen=True, slots=True)
class Detail:
    """A level of detail. The geometry is the same at every level, apart from the blades of grass that are left out.

    Attributes:
        samples: visibility samples per pixel, 4 or 2: edges of silhouettes have as many steps.
        texture_taps: at most so many points are averaged along the longer axis of a pixel on a surface, 1 to 4; with fewer, the
            ground is smoother far ahead.
        grass_m: clumps of grass whose nearest point is farther away than this are left out [m]; the texture of the ground
            remains.

    Raises:
        ConfigError: a value is out of range.
    """

    samples: int = 4
    texture_taps: int = 4
    grass_m: float = float("inf")

    def __post_init__(self) -> None:
        if self.samples not in (2, 4):
            raise ConfigError(f"samples = {self.samples} is not supported; give 2 or 4 visibility samples per pixel")
        if self.texture_taps not in (1, 2, 3, 4):
            raise ConfigError(f"texture_taps = {self.texture_taps} is out of range; give 1 to 4 points per texture lookup")
        if not self.grass_m > 0.0:
            raise ConfigError(f"grass_m = {self.grass_m} must be a positive distance in metres")

    @property
    def pattern(self) -> Samples:
        """Offsets of the samples from the centre of a pixel [px]."""
        return SPREAD if self.samples == 4 else DIAGONAL

    def reach(self, mesh: Mesh) -> NDArray[np.float64]:
        """(K,) distance up to which each cluster of a mesh is drawn [m]."""
        is_grass = (mesh.materials == Material.GRASS).astype(np.int64)
        only_grass = np.minimum.reduceat(is_grass, mesh.cluster_start[:-1]) == 1
        return np.where(only_grass, self.grass_m, np.inf)


DETAILS = {"full": Detail(), "fast": Detail(samples=2, texture_taps=2, grass_m=20.0)}
"""Named levels: all that the renderer can do, and enough for driving in a closed loop."""


def named_detail(name: str) -> Detail:
    """A level of detail by name.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in DETAILS:
        raise ConfigError(f"unknown detail '{name}'; known: {', '.join(DETAILS)}")
    return DETAILS[name]
