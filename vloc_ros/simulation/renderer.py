"""Renders a world: depth, linear radiance, and the images of a stereo rig."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.simulation.conditions import Condition
from vloc_ros.simulation.detail import Detail, named_detail
from vloc_ros.simulation.light import illuminate, pack
from vloc_ros.simulation.mesh import Mesh
from vloc_ros.simulation.occlusion import make_tiles
from vloc_ros.simulation.raster import CENTRED, Samples, front_to_back, pack_view, rasterise
from vloc_ros.simulation.rig import StereoRig
from vloc_ros.simulation.sensor import Sensor
from vloc_ros.simulation.shading import Shader
from vloc_ros.simulation.shadows import ShadowMap, bake_shadow_map
from vloc_ros.simulation.world import World

Array = NDArray[np.float64]
T = TypeVar("T")
_SHADOW_CELLS, _SHADOW_CELL_M = 4096, 0.03


@dataclass(frozen=True, slots=True)
class StereoImages:
    """What a rig sees: left and right (H, W, 3) uint8 RGB images."""

    left: Image
    right: Image


class Renderer:
    """Renders one world in one condition through one rig. Every image is a function of pose and seed alone.

    The work is done in two steps, so that more lights and weather can be added in the second: which surface does each
    sample of each pixel see, then what light comes from there.
    """

    def __init__(
        self,
        world: World,
        condition: Condition,
        rig: StereoRig,
        sensor: Sensor | None = None,
        *,
        detail: str | Detail = "full",
        threads: int = 1,
    ) -> None:
        """Bake the shadows.

        Args:
            world: what is seen.
            condition: in what light.
            rig: by which cameras.
            sensor: their image sensor.
            detail: level of detail, by name ("full" or "fast") or in full.
            threads: 1, or 2 to render the left and the right image at the same time; the images are the same.

        Raises:
            ConfigError: the detail is unknown, or ``threads`` neither 1 nor 2.
        """
        if threads not in (1, 2):
            raise ConfigError(f"threads = {threads} is not supported; give 1, or 2 for the left and right image in parallel")
        self.detail = named_detail(detail) if isinstance(detail, str) else detail
        self.world, self.condition, self.rig = world, condition, rig
        self._sensor = sensor or Sensor()
        self._light = illuminate(condition)
        heights = world.terrain.height(world.route.samples(1.0))
        low = np.append(world.terrain.low, heights.min() - 3.0)
        high = np.append(world.terrain.high, heights.max() + 14.0)
        towards = self._light.towards_sun
        if self._light.sun.max() <= 0.0:
            towards = np.array([0.0, 0.0, 1.0])
        self._shadow = bake_shadow_map(world.mesh, towards, low, high, _SHADOW_CELLS, _SHADOW_CELL_M)
        light = pack(self._light)
        self._eyes = [_Eye(world, rig.camera, light, self._shadow, self.detail) for _ in range(threads)]
        self._helper = ThreadPoolExecutor(1, "render") if threads == 2 else None

    def stereo(self, world_T_base: Array, seed: int) -> StereoImages:
        """Images of the rig with its base at a (4, 4) pose; ``seed`` chooses the noise of the sensor."""
        world_T_left = world_T_base @ self.rig.base_T_camera
        world_T_right = world_T_left @ self.rig.left_T_right
        first, last = self._eyes[0], self._eyes[-1]  # the same with one thread
        left, right = self._both(lambda: first.radiance(world_T_left), lambda: last.radiance(world_T_right))
        gain = self._sensor.exposure(left, self.condition.exposure_ev)
        return StereoImages(
            *self._both(lambda: self._sensor.develop(left, gain, 6 * seed), lambda: self._sensor.develop(right, gain, 6 * seed + 3))
        )

    def _both(self, left: Callable[[], T], right: Callable[[], T]) -> tuple[T, T]:
        """Results of two pieces of work, side by side if there is a second thread."""
        if self._helper is None:
            return left(), right()
        pending = self._helper.submit(right)
        return left(), pending.result()

    def radiance(self, world_T_camera: Array) -> NDArray[np.float32]:
        """(H, W, 3) linear radiance that reaches a camera with the intrinsics of the rig."""
        return self._eyes[0].radiance(world_T_camera)

    def depth(self, world_T_camera: Array) -> NDArray[np.float32]:
        """(H, W) exact depth along the optical axis at the pixel centres [m]; infinite in the sky."""
        return render_depth(self.world, self.rig.camera, world_T_camera)


class _Eye:
    """The buffers and the shader of one thread."""

    def __init__(self, world: World, camera: StereoCamera, light: Array, shadow: ShadowMap, detail: Detail) -> None:
        self._mesh, self._camera, self._samples, self._reach = world.mesh, camera, detail.pattern, detail.reach(world.mesh)
        self._shader = Shader(world.mesh, world.cover, light, shadow, camera.height * camera.width, detail)
        self._buffer = VisibilityBuffer.empty(camera, self._samples)

    def radiance(self, world_T_camera: Array) -> NDArray[np.float32]:
        camera = pack_view(self._camera, world_T_camera)
        _look(self._mesh, camera, self._samples, self._buffer, self._reach)
        return self._shader.shade(camera, self._buffer.inverse_depth, self._buffer.triangle)


class VisibilityBuffer(NamedTuple):
    """What each sample of each pixel sees.

    Attributes:
        inverse_depth: (H, W, S) 1 / depth [1/m]; 0 where nothing is seen.
        triangle: (H, W, S) triangle number; -1 where nothing is seen.
    """

    inverse_depth: NDArray[np.float32]
    triangle: NDArray[np.int32]

    @classmethod
    def empty(cls, camera: StereoCamera, samples: Samples) -> VisibilityBuffer:
        """An unfilled buffer for images of a camera."""
        size = (camera.height, camera.width, len(samples) // 2)
        return cls(np.empty(size, dtype=np.float32), np.empty(size, dtype=np.int32))


def render_depth(world: World, camera: StereoCamera, world_T_camera: Array) -> NDArray[np.float32]:
    """(H, W) exact depth along the optical axis at the pixel centres [m]; infinite in the sky."""
    buffer = VisibilityBuffer.empty(camera, CENTRED)
    _look(world.mesh, pack_view(camera, world_T_camera), CENTRED, buffer)
    inverse = buffer.inverse_depth
    seen = inverse[..., 0] > 0.0
    depth = np.full(seen.shape, np.inf, dtype=np.float32)
    np.divide(1.0, inverse[..., 0], out=depth, where=seen)
    return depth


def _look(mesh: Mesh, camera: Array, samples: Samples, buffer: VisibilityBuffer, reach: Array | None = None) -> None:
    """Fill a visibility buffer from a packed view."""
    order = front_to_back(mesh.cluster_sphere, camera, reach)
    tiles = make_tiles(*buffer.triangle.shape[:2])
    rasterise(mesh.attributes, mesh.cluster_start, mesh.cluster_sphere, order, camera, samples, tiles, *buffer)
