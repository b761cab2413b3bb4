"""Keeping account of a drive by the truth: how far the robot has come, and when its operator must step in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.closed_loop.operator import Operator
from vloc_ros.closed_loop.record import Intervention
from vloc_ros.closed_loop.settings import DriveSettings
from vloc_ros.geometry.planar import PlanarTwist
from vloc_ros.path_following import TaughtPath

Array = NDArray[np.float64]
_STILL_MPS = 0.02
_NEAR_END_M = 1.0
_LOST_TRACK_M = 3.0
_SEAM_M = 0.3
_HAND_OVER_M = 0.3
_CARRIED_M = 0.5


class Supervisor:
    """Watches the true pose of a robot on its taught path, and drives where the robot cannot.

    Args:
        taught: the true taught path in the world.
        settings: when to step in.
        laps: how often the path is driven.
        world_T_base: (4, 4) where the robot begins.
    """

    def __init__(self, taught: TaughtPath, settings: DriveSettings, laps: int, world_T_base: Array) -> None:
        self._taught, self._settings = taught, settings
        self.total_m = laps * taught.length
        """How far the robot shall come along the path [m]."""
        self._operator: Operator | None = None
        self._operator_m = self._still_s = self._done_m = 0.0
        self._last = world_T_base
        self._station = taught.locate(world_T_base).station

    @property
    def operating(self) -> bool:
        """Whether the operator drives."""
        return self._operator is not None

    @property
    def progress_m(self) -> float:
        """How far the robot has come along the path, all laps together [m]."""
        return self._done_m + self._station

    @property
    def near_end(self) -> bool:
        """Whether only the last metre is left."""
        return self.progress_m > self.total_m - _NEAR_END_M

    @property
    def finished(self) -> bool:
        """Whether the end is reached."""
        return self.progress_m > self.total_m - 0.05 or (self.near_end and self.operating)

    def twist(self, now_ns: int, world_T_base: Array, wanted: PlanarTwist) -> PlanarTwist:
        """What the wheels get: the robot's own command, or that of the operator while he drives."""
        return wanted if self._operator is None else self._operator.command(now_ns, world_T_base)

    def watch(self, world_T_base: Array, seconds: float, wanted: PlanarTwist) -> Intervention | None:
        """Look at the robot again.

        Args:
            world_T_base: (4, 4) true pose now.
            seconds: since the last look [s].
            wanted: the robot's own last command.

        Returns:
            Why the operator steps in now, if he does.
        """
        moved = float(np.linalg.norm(world_T_base[:3, 3] - self._last[:3, 3]))
        self._last = world_T_base
        carried = moved > self._settings.robot.max_speed * seconds + _CARRIED_M
        lateral = self._follow(world_T_base, carried)
        if self._operator is not None:
            self._operator_m += moved
            if wanted.linear > 0.0 and self._operator_m >= self._settings.operator_distance and lateral < _HAND_OVER_M:
                self._operator = None
            return None
        self._still_s = self._still_s + seconds if moved < _STILL_MPS * seconds else 0.0
        if lateral > self._settings.free_corridor:
            return self._step_in(Intervention.LEFT_CORRIDOR)
        if self._still_s > self._settings.patience and not self.near_end:
            return self._step_in(Intervention.STUCK)
        return None

    def _follow(self, world_T_base: Array, carried: bool) -> float:
        """Keep the station up to date; returns the distance from the path [m].

        A robot that was carried is looked for on all of the path, and has not finished a lap by it.
        """
        taught = self._taught
        point = taught.locate(world_T_base, None if carried else self._station)
        if abs(point.lateral) > _LOST_TRACK_M or (taught.closed and taught.length - point.station < _SEAM_M):
            point = taught.locate(world_T_base)
        if taught.closed and not carried and point.station < self._station - 0.5 * taught.length:
            self._done_m += taught.length
        self._station = point.station
        return abs(point.lateral)

    def _step_in(self, why: Intervention) -> Intervention:
        self._operator = Operator(self._taught, self._settings.follower)
        self._operator_m = self._still_s = 0.0
        return why
