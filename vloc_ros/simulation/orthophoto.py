"""Orthophotos of a world: what a survey of it would hand over, north up, in one light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.simulation.conditions import Condition
from vloc_ros.simulation.renderer import Renderer
from vloc_ros.simulation.rig import StereoRig
from vloc_ros.simulation.season import season_of
from vloc_ros.simulation.sensor import Sensor
from vloc_ros.simulation.terrain import Terrain
from vloc_ros.simulation.world import World

Array = NDArray[np.float64]
NADIR = np.diag([1.0, -1.0, -1.0])
"""world_R_camera of a camera that looks straight down with north up: x east, y south, z down."""
_ABOVE_M = 10_000.0
"""From up here a house of 8 m leans by 3 cm at the edge of a view: the picture is orthographic."""
_VIEW_PX = 384
_LARGEST_PX = 8192
_SENSOR = Sensor(vignetting=0.0, bloom=0.0)
"""Mosaics are balanced: their views are equally bright from edge to edge."""


@dataclass(frozen=True, slots=True)
class GroundArea:
    """A rectangle on the ground of a world, and the pixels of a picture of it; pixel (0, 0) is the centre of the north-west one.

    Attributes:
        low: (2,) south-west corner (east, north) [m].
        high: (2,) north-east corner [m].
        resolution_m: side of a pixel on the ground [m].

    Raises:
        ConfigError: the area is empty, or larger than 8192 pixels along a side.
    """

    low: Array
    high: Array
    resolution_m: float

    def __post_init__(self) -> None:
        if not self.resolution_m > 0.0 or not (np.asarray(self.high) - self.low >= self.resolution_m).all():
            raise ConfigError(f"an area of {self.low} to {self.high} m at {self.resolution_m} m per pixel holds no pixel")
        if max(self.width, self.height) > _LARGEST_PX:
            raise ConfigError(
                f"an orthophoto of {self.width}x{self.height} pixels is too large: choose a coarser resolution than "
                f"{self.resolution_m} m or a smaller area, for at most {_LARGEST_PX} pixels along a side"
            )

    @classmethod
    def of_world(cls, world: World, resolution_m: float, inset_m: float = 2.0) -> GroundArea:
        """The part of a world where something stands, less a rim."""
        return cls(world.terrain.low + inset_m, world.terrain.high - inset_m, resolution_m)

    @property
    def width(self) -> int:
        """Columns, as many as fit."""
        return int((self.high[0] - self.low[0]) / self.resolution_m + 1e-9)

    @property
    def height(self) -> int:
        """Rows, as many as fit."""
        return int((self.high[1] - self.low[1]) / self.resolution_m + 1e-9)

    def metres(self, pixels: Array) -> Array:
        """(N, 2) points (east, north) [m] of (N, 2) pixels (u, v)."""
        corner = np.array([self.low[0], self.high[1]])
        made: Array = corner + (np.atleast_2d(pixels) + 0.5) * [self.resolution_m, -self.resolution_m]
        return made

    def pixels(self, metres: Array) -> Array:
        """(N, 2) pixels (u, v) of (N, 2) points (east, north) [m]."""
        corner = np.array([self.low[0], self.high[1]])
        made: Array = (np.atleast_2d(metres) - corner) / [self.resolution_m, -self.resolution_m] - 0.5
        return made


def orthophoto(
    world: World, condition: Condition, area: GroundArea, seed: int = 0, on_view: Callable[[int, int], None] | None = None
) -> Image:
    """A north-up picture of a world from straight above, all of it at one exposure.

    Headlights and drops of rain are those of a robot on the ground, and haze is taken out of a mosaic: there is none of them here.

    Args:
        world: where; it is taken into the season of the condition.
        condition: in what light.
        area: of what.
        seed: of the noise of the sensor.
        on_view: told how many views of how many are rendered.

    Returns:
        (area.height, area.width, 3) uint8 RGB; the same area is the same pixels in every condition.
    """
    clear = replace(condition, haze_per_m=0.0, rain=0.0, headlights=False)
    radiance = _radiance(world.in_season(season_of(clear)), clear, area, on_view or (lambda done, total: None))
    exposure = _SENSOR.exposure(radiance, clear.exposure_ev)
    return _SENSOR.develop(radiance, exposure.scale, seed, exposure.gain)


def _radiance(world: World, condition: Condition, area: GroundArea, on_view: Callable[[int, int], None]) -> NDArray[np.float32]:
    """(H, W, 3) light that comes straight up, put together of narrow views from very high."""
    size, focal = _VIEW_PX, _ABOVE_M / area.resolution_m
    camera = StereoCamera(size, size, focal, focal, 0.5 * (size - 1), 0.5 * (size - 1), 0.2)
    renderer = Renderer(world, condition, StereoRig(camera))
    whole = np.empty((area.height, area.width, 3), dtype=np.float32)
    pose = np.eye(4)
    pose[:3, :3] = NADIR
    pose[2, 3] = mean_height(world.terrain) + _ABOVE_M
    corners = [(top, left) for top in range(0, area.height, size) for left in range(0, area.width, size)]
    for number, (top, left) in enumerate(corners, 1):
        pose[:2, 3] = area.metres(np.array([left, top]) + 0.5 * (size - 1))[0]
        part = whole[top : top + size, left : left + size]
        part[:] = renderer.radiance(pose)[: part.shape[0], : part.shape[1]]
        on_view(number, len(corners))
    return whole


def mean_height(terrain: Terrain) -> float:
    """Mean height of the ground of the core [m]: the datum of heights of flight."""
    xs, ys = (np.linspace(low, high, 40) for low, high in zip(terrain.low, terrain.high, strict=True))
    return float(terrain.height(np.stack(np.meshgrid(xs, ys), axis=2).reshape(-1, 2)).mean())
