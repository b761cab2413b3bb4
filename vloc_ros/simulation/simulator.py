"""A robot with cameras that drives through the world on command."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import StereoFrame
from vloc_ros.errors import ConfigError
from vloc_ros.geometry.planar import PlanarTwist, planar_pose, yaw
from vloc_ros.simulation.conditions import Condition
from vloc_ros.simulation.renderer import Renderer
from vloc_ros.simulation.rig import StereoRig
from vloc_ros.simulation.robot import Robot, RobotSettings
from vloc_ros.simulation.run import MIDNIGHT_NS, base_poses
from vloc_ros.simulation.sensor import Sensor
from vloc_ros.simulation.world import World

Array = NDArray[np.float64]


class Simulator:
    """World, light, robot and cameras, on one clock that stands still unless told to go on.

    What a robot may know comes out of :meth:`frame` and :attr:`odom_T_base`; :attr:`world_T_base` is the truth, for judging.
    The same seed and the same commands at the same times give the same images to the last bit.
    """

    def __init__(
        self,
        world: World,
        condition: Condition,
        robot: RobotSettings | None = None,
        *,
        rig: StereoRig | None = None,
        sensor: Sensor | None = None,
        seed: int = 0,
        detail: str = "full",
        threads: int = 1,
    ) -> None:
        """Put a robot at the beginning of the route.

        Args:
            world: where; in the season of the condition.
            condition: under what light and weather.
            robot: what it is like.
            rig: its cameras.
            sensor: their image sensor.
            seed: of slip, odometry errors and the noise of the images.
            detail: level of detail of the images, "full" or "fast".
            threads: 1, or 2 to render both images at the same time.

        Raises:
            ConfigError: the seed is negative, or the detail unknown.
        """
        if seed < 0:
            raise ConfigError(f"seed = {seed} of a simulated robot must not be negative")
        self.world, self.condition, self.rig, self.seed = world, condition, rig or StereoRig(), seed
        self.robot = Robot(robot or RobotSettings(), seed)
        self.covered = False
        """Whether something covers the lenses: the images are dark."""
        self._renderer = Renderer(world, condition, self.rig, sensor, detail=detail, threads=threads)
        self._start_ns = MIDNIGHT_NS + round(condition.hour * 3600e9)
        self._images = 0
        self.place(0.0)

    @property
    def now_ns(self) -> int:
        """Simulated time [ns]; it begins at the hour of the condition."""
        return self._start_ns + round(self.robot.time * 1e9)

    @property
    def world_T_base(self) -> Array:
        """(4, 4) true pose of the base, its wheels on the ground."""
        robot = self.robot
        return np.asarray(base_poses(self.world.terrain, robot.position[None], np.array([robot.heading]))[0])

    @property
    def odom_T_base(self) -> Array:
        """(4, 4) pose of the base as the wheels tell it; level, and drifting."""
        return planar_pose(*self.robot.odometry)

    def place(self, station_m: float, lateral_m: float = 0.0, turned_rad: float = 0.0) -> None:
        """Carry the robot to a station of the route [m], so far to the left and turned so far to the left of it; the wheels
        notice nothing.
        """
        station, route = np.array([station_m]), self.world.route
        self._put(route.position(station)[0], route.tangent(station)[0], lateral_m, turned_rad)

    def place_at(self, world_T_base: Array, lateral_m: float = 0.0, turned_rad: float = 0.0) -> None:
        """Carry the robot to where a (4, 4) pose is in the plane, so far to the left and turned so far to the left of it."""
        heading = yaw(world_T_base)
        self._put(world_T_base[:2, 3], np.array([np.cos(heading), np.sin(heading)]), lateral_m, turned_rad)

    def _put(self, position: Array, forward: Array, lateral_m: float, turned_rad: float) -> None:
        self.robot.stand()
        self.robot.position = position + lateral_m * np.array([-forward[1], forward[0]])
        self.robot.heading = float(np.arctan2(forward[1], forward[0])) + turned_rad

    def command(self, twist: PlanarTwist) -> None:
        """A velocity for the robot."""
        self.robot.command(twist)

    def advance(self, seconds: float) -> None:
        """Let time pass [s]."""
        self.robot.advance(seconds)

    def frame(self) -> StereoFrame:
        """Images of this moment."""
        return self.expose()()

    def expose(self) -> Callable[[], StereoFrame]:
        """Take images of this moment.

        Returns:
            Renders them when called, once; time may go on meanwhile, in another thread.
        """
        self._images += 1
        stamp_ns, number, pose = self.now_ns, self._images, self.world_T_base
        if self.covered:
            return lambda: self._dark(stamp_ns, number)
        linear, angular = self.robot.twist
        moving = np.array([linear, 0.0, 0.0, 0.0, 0.0, angular])

        def develop() -> StereoFrame:
            images = self._renderer.stereo(pose, self.seed * 1_000_003 + number, moving)
            return StereoFrame(stamp_ns, images.left, images.right)

        return develop

    def _dark(self, stamp_ns: int, number: int) -> StereoFrame:
        size = (2, self.rig.camera.height, self.rig.camera.width, 3)
        dark = np.random.default_rng([self.seed, number]).integers(0, 4, size, dtype=np.uint8)
        return StereoFrame(stamp_ns, dark[0], dark[1])
