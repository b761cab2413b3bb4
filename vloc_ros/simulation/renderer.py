"""Renders a world: depth, linear radiance, and the images of a stereo rig."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.simulation.conditions import Condition
from vloc_ros.simulation.lamplight import NO_LAMPS, headlights, street_lamps
from vloc_ros.simulation.lens import drops_on_lens, look_through
from vloc_ros.simulation.light import illuminate, pack
from vloc_ros.simulation.motion_blur import blur_by_motion, camera_twist
from vloc_ros.simulation.raster import CENTRED, SPREAD, Samples, front_to_back, pack_view, rasterise
from vloc_ros.simulation.rig import StereoRig
from vloc_ros.simulation.sensor import Exposure, Sensor
from vloc_ros.simulation.shading import Shader
from vloc_ros.simulation.shadows import bake_shadow_map
from vloc_ros.simulation.world import World

Array = NDArray[np.float64]
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

    def __init__(self, world: World, condition: Condition, rig: StereoRig, sensor: Sensor | None = None) -> None:
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
        size = (rig.camera.height, rig.camera.width)
        self._shader = Shader(world.mesh, world.cover, pack(self._light), self._shadow, size[0] * size[1])
        self._inverse_depth = np.empty((*size, 4), dtype=np.float32)
        self._triangle = np.empty((*size, 4), dtype=np.int32)

    def stereo(self, world_T_base: Array, seed: int, motion: Array | None = None) -> StereoImages:
        """Images of the rig.

        Args:
            world_T_base: (4, 4) pose of the base.
            seed: chooses the noise of the sensor; it also counts the moments of the rain on the lenses, whose drops change
                little from one seed to the next.
            motion: (6,) twist of the base in the base frame: vx, vy, vz [m/s], wx, wy, wz [rad/s]; by default it stands still.
        """
        moving = motion is not None and bool(np.any(motion))
        base_T_cameras = (self.rig.base_T_camera, self.rig.base_T_camera @ self.rig.left_T_right)
        radiances, inverse_depths = [], []
        for base_T_camera in base_T_cameras:
            radiances.append(self.radiance(world_T_base @ base_T_camera, world_T_base))
            inverse_depths.append(self._inverse_depth[..., 0].copy() if moving else self._inverse_depth[..., 0])
        exposure = self._sensor.exposure(radiances[0], self.condition.exposure_ev)
        images = []
        for side, radiance in enumerate(radiances):
            if motion is not None and moving:
                twist = camera_twist(motion, base_T_cameras[side])
                radiance = blur_by_motion(radiance, inverse_depths[side], self.rig.camera, twist, exposure.exposure_s)
            if self.condition.rain > 0.0:
                drops = drops_on_lens(self.condition.rain, side, seed, self.rig.camera.width, self.rig.camera.height)
                radiance = look_through(radiance, drops)
            images.append(self._sensor.develop(radiance, exposure.scale, 6 * seed + 3 * side, exposure.gain))
        return StereoImages(images[0], images[1], exposure)

    def radiance(self, world_T_camera: Array, world_T_base: Array | None = None) -> NDArray[np.float32]:
        """(H, W, 3) linear radiance that reaches a camera with the intrinsics of the rig.

        Args:
            world_T_camera: (4, 4) pose of the camera.
            world_T_base: (4, 4) pose of the robot that carries the headlights; by default the camera is its left one.
        """
        camera = pack_view(self.rig.camera, world_T_camera)
        _look(self.world, camera, SPREAD, self._inverse_depth, self._triangle)
        if world_T_base is None:
            world_T_base = world_T_camera @ np.linalg.inv(self.rig.base_T_camera)
        return self._shader.shade(camera, self._inverse_depth, self._triangle, self._lamps(world_T_camera, world_T_base))

    def _lamps(self, world_T_camera: Array, world_T_base: Array) -> Array:
        """Table of the lamps whose light a camera may see."""
        own = headlights(world_T_base) if self.condition.headlights else NO_LAMPS
        street = street_lamps(self.world.lamps, world_T_camera) if self.condition.street_lamps else NO_LAMPS
        return np.vstack([own, street])

    def depth(self, world_T_camera: Array) -> NDArray[np.float32]:
        """(H, W) exact depth along the optical axis at the pixel centres [m]; infinite in the sky."""
        return render_depth(self.world, self.rig.camera, world_T_camera)


def render_depth(world: World, camera: StereoCamera, world_T_camera: Array) -> NDArray[np.float32]:
    """(H, W) exact depth along the optical axis at the pixel centres [m]; infinite in the sky."""
    inverse = np.empty((camera.height, camera.width, 4), dtype=np.float32)
    triangle = np.empty((camera.height, camera.width, 4), dtype=np.int32)
    _look(world, pack_view(camera, world_T_camera), CENTRED, inverse, triangle)
    seen = inverse[..., 0] > 0.0
    depth = np.full(seen.shape, np.inf, dtype=np.float32)
    np.divide(1.0, inverse[..., 0], out=depth, where=seen)
    return depth


def _look(world: World, camera: Array, samples: Samples, inverse_depth: NDArray[np.float32], triangle: NDArray[np.int32]) -> None:
    """Fill a visibility buffer from a packed view."""
    mesh = world.mesh
    order = front_to_back(mesh.cluster_sphere, camera)
    rasterise(mesh.attributes, mesh.cluster_start, mesh.cluster_sphere, order, camera, samples, inverse_depth, triangle)
