"""A drive through the world, as a recording."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.reader import DatasetReader, Trajectory
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.simulation.conditions import Condition, named_condition
from vloc_ros.simulation.detail import Detail, named_detail
from vloc_ros.simulation.renderer import Renderer
from vloc_ros.simulation.rig import StereoRig
from vloc_ros.simulation.route import Route, Wander, track
from vloc_ros.simulation.season import season_of
from vloc_ros.simulation.sensor import Sensor
from vloc_ros.simulation.terrain import Terrain
from vloc_ros.simulation.world import World

Array = NDArray[np.float64]
MIDNIGHT_NS = 1_750_464_000_000_000_000
"""2025-06-21 00:00:00 UTC: the clock of a simulated recording agrees with its sun."""
MAX_DEVIATION_M = 0.8
"""How far a robot may stray from the centre line: beyond, it would touch what stands beside the track."""
_WHEELS = np.array([[0.4, 0.3], [0.4, -0.3], [-0.4, 0.3], [-0.4, -0.3]])
"""Where the wheels touch the ground, in the base frame [m]."""


def base_poses(terrain: Terrain, positions: Array, headings: Array) -> Array:
    """(N, 4, 4) world_T_base of a robot that stands with its four wheels on the ground.

    Args:
        terrain: the ground.
        positions: (N, 2) [m].
        headings: (N,) [rad].
    """
    c, s = np.cos(headings), np.sin(headings)
    turn = np.stack([np.stack([c, -s], axis=1), np.stack([s, c], axis=1)], axis=1)
    contacts = positions[:, None] + np.einsum("nij,wj->nwi", turn, _WHEELS)
    heights = terrain.wheel_height(contacts.reshape(-1, 2)).reshape(-1, len(_WHEELS))
    design = np.hstack([_WHEELS, np.ones((len(_WHEELS), 1))])
    slope_x, slope_y, height = (heights @ np.linalg.pinv(design).T).T  # the plane that fits the wheels best
    up = np.stack([-slope_x, -slope_y, np.ones_like(height)], axis=1)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    forward = np.stack([np.ones_like(height), np.zeros_like(height), slope_x], axis=1)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    level_R_base = np.stack([forward, np.cross(up, forward), up], axis=2)
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, :2, :2] = turn
    poses[:, :3, :3] = poses[:, :3, :3] @ level_R_base
    poses[:, :2, 3], poses[:, 2, 3] = positions, height
    return poses


class SimulatedRun(DatasetReader):
    """A robot drives along a route of a simulated world; frames are rendered when asked for, with exact truth."""

    name: ClassVar[str] = "simulation"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Never: a simulation is not a file."""
        return False

    def __init__(
        self,
        world: World,
        route: Route | None = None,
        *,
        condition: str | Condition = "noon",
        step_m: float = 0.25,
        start_m: float = 0.0,
        stop_m: float | None = None,
        lateral_wander_m: float = 0.0,
        lateral_offset_m: float = 0.0,
        rate_hz: float = 10.0,
        seed: int = 0,
        rig: StereoRig | None = None,
        sensor: Sensor | None = None,
        detail: str | Detail = "full",
        threads: int = 1,
    ) -> None:
        """Plan a drive; nothing is rendered yet.

        Args:
            world: where; it is taken into the season of the condition.
            route: along what; by default the track of the world.
            condition: under what light, by name or in full.
            step_m: distance between frames along the route [m].
            start_m: station of the first frame [m].
            stop_m: frames lie before this station [m]; by default one round after the start. More than one round is fine.
            lateral_wander_m: largest deviation of the driver from the centre line [m]; smooth, by seed.
            lateral_offset_m: constant offset to the left [m].
            rate_hz: frames per second.
            seed: of the wander and of the sensor noise.
            rig: the cameras; by default U's, a metre above the ground.
            sensor: the image sensor.
            detail: level of detail of the images, by name ("full" or "fast") or in full.
            threads: 1, or 2 to render left and right at the same time.

        Raises:
            ConfigError: a value is out of range, or the condition or detail unknown.
        """
        self.route = route or world.route
        stop_m = start_m + self.route.length_m if stop_m is None else stop_m
        _check(step_m, rate_hz, start_m, stop_m, seed, abs(lateral_offset_m) + abs(lateral_wander_m))
        self.condition = named_condition(condition) if isinstance(condition, str) else condition
        self.world = world.in_season(season_of(self.condition))
        self.rig, self.seed = rig or StereoRig(), seed
        self.stations_m: Array = np.arange(start_m, stop_m - 1e-9, step_m)
        wander = Wander(lateral_wander_m, seed, lateral_offset_m)
        self.world_T_base: Array = base_poses(world.terrain, *track(self.route, self.stations_m, wander))
        """(N, 4, 4) true poses of the base."""
        start_ns = MIDNIGHT_NS + round(self.condition.hour * 3600e9)
        self._stamps = start_ns + np.round(np.arange(len(self.stations_m)) * (1e9 / rate_hz)).astype(np.int64)
        self._sensor, self._threads = sensor, threads
        self.detail = named_detail(detail) if isinstance(detail, str) else detail
        self._renderer: Renderer | None = None

    @property
    def camera(self) -> StereoCamera:
        """The left camera of the rig, with its baseline."""
        return self.rig.camera

    @property
    def base_T_camera(self) -> Array:
        """(4, 4) pose of the left optical frame in the base frame."""
        return self.rig.base_T_camera

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) strictly increasing stamps [ns], starting at the hour of the condition."""
        return self._stamps

    @property
    def ground_truth(self) -> Trajectory:
        """Exact world_T_camera of every frame."""
        return Trajectory(self._stamps, self.world_T_base @ self.rig.base_T_camera)

    @property
    def renderer(self) -> Renderer:
        """The renderer of this run; baking its shadows takes a moment the first time."""
        if self._renderer is None:
            self._renderer = Renderer(self.world, self.condition, self.rig, self._sensor, detail=self.detail, threads=self._threads)
        return self._renderer

    def frame(self, index: int) -> StereoFrame:
        """Render one frame, in colour.

        Raises:
            DataError: there is no frame of that index.
        """
        index = self._checked(index)
        images = self.renderer.stereo(self.world_T_base[index], self.seed * 1_000_003 + index)
        return StereoFrame(int(self._stamps[index]), images.left, images.right)

    def depth(self, index: int) -> NDArray[np.float32]:
        """(H, W) exact depth of the left image of a frame [m]; infinite in the sky.

        Raises:
            DataError: there is no frame of that index.
        """
        return self.renderer.depth(self.world_T_base[self._checked(index)] @ self.rig.base_T_camera)

    def _checked(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise DataError(f"frame {index} does not exist: the simulated run has {len(self)} frames")
        return index % len(self)


def _check(step_m: float, rate_hz: float, start_m: float, stop_m: float, seed: int, deviation_m: float) -> None:
    if not step_m > 0.0 or not np.isfinite(step_m):
        raise ConfigError(f"step_m = {step_m} must be a positive distance between frames in metres")
    if not rate_hz > 0.0 or not np.isfinite(rate_hz):
        raise ConfigError(f"rate_hz = {rate_hz} must be a positive number of frames per second")
    if not (np.isfinite(start_m) and np.isfinite(stop_m) and start_m < stop_m):
        raise ConfigError(f"start_m = {start_m} must lie before stop_m = {stop_m}; a drive needs at least one frame")
    if seed < 0:
        raise ConfigError(f"seed = {seed} must not be negative")
    if not deviation_m <= MAX_DEVIATION_M:
        raise ConfigError(
            f"wander and offset add up to {deviation_m} m; at most {MAX_DEVIATION_M} m beside the centre line are free"
        )
