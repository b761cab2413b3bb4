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
from vloc_ros.simulation.lamplight import NO_LAMPS, headlights, street_lamps
from vloc_ros.simulation.lens import drops_on_lens, look_through
from vloc_ros.simulation.light import illuminate, pack
from vloc_ros.simulation.mesh import Mesh
from vloc_ros.simulation.motion_blur import blur_by_motion, camera_twist
from vloc_ros.simulation.occlusion import make_tiles
from vloc_ros.simulation.raster import CENTRED, Samples, front_to_back, pack_view, rasterise
from vloc_ros.simulation.rig import StereoRig
from vloc_ros.simulation.sensor import Exposure, Sensor
from vloc_ros.simulation.shading import Shader
from vloc_ros.simulation.shadows import ShadowMap, bake_shadow_map
from vloc_ros.simulation.world import World

Array = NDArray[np.float64]
T = TypeVar("T")
_SHADOW_CELLS, _SHADOW_CELL_M = 4096, 0.03


@dataclass(frozen=True, slots=True)
class StereoImages:
    """What a rig sees.

    Attributes:
        left, right: (H, W, 3) uint8 RGB images.
        exposure: that of both.
    """

    left: Image
    right: Image
    exposure: Exposure


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

    def stereo(self, world_T_base: Array, seed: int, motion: Array | None = None) -> StereoImages:
        """Images of the rig.

        Args:
            world_T_base: (4, 4) pose of the base.
            seed: chooses the noise of the sensor; it also counts the moments of the rain on the lenses, whose drops change
                little from one seed to the next.
            motion: (6,) twist of the base in the base frame: vx, vy, vz [m/s], wx, wy, wz [rad/s]; by default it stands still.
        """
        base_T_left = self.rig.base_T_camera
        base_T_right = base_T_left @ self.rig.left_T_right
        moving = motion if motion is not None and bool(np.any(motion)) else None
        first, last = self._eyes[0], self._eyes[-1]  # the same with one thread
        left, right = self._both(
            lambda: self._look(first, world_T_base, base_T_left, moving is not None),
            lambda: self._look(last, world_T_base, base_T_right, moving is not None),
        )
        exposure = self._sensor.exposure(left.radiance, self.condition.exposure_ev)
        images = self._both(
            lambda: self._expose(left, 0, base_T_left, moving, exposure, seed),
            lambda: self._expose(right, 1, base_T_right, moving, exposure, seed),
        )
        return StereoImages(*images, exposure)

    def left(self, world_T_base: Array, seed: int) -> Image:
        """(H, W, 3) left image of a robot that stands still: that of :meth:`stereo`, at half the cost."""
        sight = self._look(self._eyes[0], world_T_base, self.rig.base_T_camera, False)
        exposure = self._sensor.exposure(sight.radiance, self.condition.exposure_ev)
        return self._expose(sight, 0, self.rig.base_T_camera, None, exposure, seed)

    def _look(self, eye: _Eye, world_T_base: Array, base_T_camera: Array, with_depth: bool) -> _Sight:
        world_T_camera = world_T_base @ base_T_camera
        radiance = eye.radiance(world_T_camera, self._lamps(world_T_camera, world_T_base))
        return _Sight(radiance, eye.inverse_depth.copy() if with_depth else None)

    def _expose(self, sight: _Sight, side: int, base_T_camera: Array, motion: Array | None, exposure: Exposure, seed: int) -> Image:
        """The image of one camera, from what comes to its lens."""
        radiance, camera = sight.radiance, self.rig.camera
        if motion is not None and sight.inverse_depth is not None:
            twist = camera_twist(motion, base_T_camera)
            radiance = blur_by_motion(radiance, sight.inverse_depth, camera, twist, exposure.exposure_s)
        if self.condition.rain > 0.0:
            radiance = look_through(radiance, drops_on_lens(self.condition.rain, side, seed, camera.width, camera.height))
        return self._sensor.develop(radiance, exposure.scale, 6 * seed + 3 * side, exposure.gain)

    def _both(self, left: Callable[[], T], right: Callable[[], T]) -> tuple[T, T]:
        """Results of two pieces of work, side by side if there is a second thread."""
        if self._helper is None:
            return left(), right()
        pending = self._helper.submit(right)
        return left(), pending.result()

    def radiance(self, world_T_camera: Array, world_T_base: Array | None = None) -> NDArray[np.float32]:
        """(H, W, 3) linear radiance that reaches a camera with the intrinsics of the rig.

        Args:
            world_T_camera: (4, 4) pose of the camera.
            world_T_base: (4, 4) pose of the robot that carries the headlights; by default the camera is its left one.
        """
        if world_T_base is None:
            world_T_base = world_T_camera @ np.linalg.inv(self.rig.base_T_camera)
        return self._eyes[0].radiance(world_T_camera, self._lamps(world_T_camera, world_T_base))

    def _lamps(self, world_T_camera: Array, world_T_base: Array) -> Array:
        """Table of the lamps whose light a camera may see."""
        own = headlights(world_T_base) if self.condition.headlights else NO_LAMPS
        street = street_lamps(self.world.lamps, world_T_camera) if self.condition.street_lamps else NO_LAMPS
        return np.vstack([own, street])

    def depth(self, world_T_camera: Array) -> NDArray[np.float32]:
        """(H, W) exact depth along the optical axis at the pixel centres [m]; infinite in the sky."""
        return render_depth(self.world, self.rig.camera, world_T_camera)


class _Eye:
    """The buffers and the shader of one thread."""

    def __init__(self, world: World, camera: StereoCamera, light: Array, shadow: ShadowMap, detail: Detail) -> None:
        self._mesh, self._camera, self._samples, self._reach = world.mesh, camera, detail.pattern, detail.reach(world.mesh)
        self._shader = Shader(world.mesh, world.cover, light, shadow, camera.height * camera.width, detail)
        self._buffer = VisibilityBuffer.empty(camera, self._samples)

    def radiance(self, world_T_camera: Array, lamps: Array) -> NDArray[np.float32]:
        camera = pack_view(self._camera, world_T_camera)
        _look(self._mesh, camera, self._samples, self._buffer, self._reach)
        return self._shader.shade(camera, self._buffer.inverse_depth, self._buffer.triangle, lamps)

    @property
    def inverse_depth(self) -> NDArray[np.float32]:
        """(H, W) of the last image, at the first sample of each pixel [1/m]; a view that the next image overwrites."""
        return self._buffer.inverse_depth[..., 0]


class _Sight(NamedTuple):
    """What comes to one lens: (H, W, 3) radiance, and (H, W) inverse depth [1/m] where it is needed."""

    radiance: NDArray[np.float32]
    inverse_depth: NDArray[np.float32] | None


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


def render_depth(world: World, camera: StereoCamera, world_T_camera: Array, detail: Detail | None = None) -> NDArray[np.float32]:
    """(H, W) exact depth along the optical axis at the pixel centres [m]; infinite in the sky.

    With a level of detail, what an image of that level leaves out is left out here too.
    """
    buffer = VisibilityBuffer.empty(camera, CENTRED)
    reach = None if detail is None else detail.reach(world.mesh)
    _look(world.mesh, pack_view(camera, world_T_camera), CENTRED, buffer, reach)
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
