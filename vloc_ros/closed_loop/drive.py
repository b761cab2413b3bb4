"""A robot that follows its taught path by its own localisation, in lock-step with the simulated world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.closed_loop.events import Event
from vloc_ros.closed_loop.memory import resident_mib
from vloc_ros.closed_loop.operator import Operator
from vloc_ros.closed_loop.record import DriveStep, Intervention
from vloc_ros.closed_loop.settings import DriveSettings
from vloc_ros.geometry.motion_buffer import MotionBuffer
from vloc_ros.localization import FrameResult, Localizer
from vloc_ros.path_following import DriveCommand, DriveState, PathFollower, TaughtPath
from vloc_ros.simulation import Simulator

Array = NDArray[np.float64]
_GIVE_UP_SPEED = 0.05
"""A drive that on the average is slower than this [m/s] is not going to end."""


@dataclass(frozen=True, slots=True)
class DrivePlan:
    """How far to go.

    Attributes:
        laps: rounds of a closed path; the first counts from wherever the robot begins.
        seconds: or so long [s]; None for no limit.
        events: what befalls the robot.
    """

    laps: int = 1
    seconds: float | None = None
    events: Sequence[Event] = ()


class ClosedLoop:
    """Simulated robot, localisation and path follower, wired as the ROS nodes are.

    The follower gets poses, odometry and the path; localisation gets images and wheel odometry. The truth goes to the operator,
    who steps in where the robot would be stuck, and into the record.
    """

    def __init__(self, simulator: Simulator, localizer: Localizer, taught: TaughtPath, settings: DriveSettings, plan: DrivePlan):
        """Wire everything.

        Args:
            simulator: world and robot.
            localizer: with the map of the taught path.
            taught: the true taught path in the world: for the operator and for knowing where the end is.
            settings: rhythm and limits.
            plan: how far to go.
        """
        self._simulator, self._localizer, self._taught = simulator, localizer, taught
        self._settings, self._plan = settings, plan
        follower = PathFollower(settings.follower, TaughtPath([k.map_T_base for k in localizer.route]))
        self._follower = follower
        self._operator: Operator | None = None
        self._operator_m = 0.0
        self._wheels = MotionBuffer()
        self._pending: list[tuple[int, FrameResult]] = []
        self._still_s = 0.0
        self._station, self._lap_m = 0.0, 0.0
        self._seconds = 0.0

    @property
    def progress_m(self) -> float:
        """How far the robot has come along the path, all laps together [m]."""
        return self._lap_m + self._station

    @property
    def total_m(self) -> float:
        """How far it shall go [m]."""
        return self._plan.laps * self._taught.length

    def run(self) -> Iterator[DriveStep]:
        """Drive to the end; yields a step for each camera frame."""
        simulator, period = self._simulator, 1.0 / self._settings.camera_rate
        limit = self._plan.seconds or self.total_m / _GIVE_UP_SPEED + 60.0
        self._station = self._taught.locate(simulator.world_T_base).station
        self._wheels.add(simulator.now_ns, simulator.odom_T_base)
        last_ns: int | None = None
        while self._seconds < limit:
            for event in self._plan.events:
                event.apply(simulator, self._seconds)
            frame, truth, twist = simulator.frame(), simulator.world_T_base, simulator.robot.twist
            motion = None
            if self._settings.use_wheels and last_ns is not None:
                motion = self._wheels.motion(last_ns, frame.stamp_ns)
            result = self._localizer.process(frame, motion)
            last_ns = frame.stamp_ns
            self._pending.append((frame.stamp_ns + round(self._settings.latency * 1e9), result))
            command = self._advance(period)
            self._seconds += period
            before = self._operator
            intervention = self._supervise(command, truth, period)
            if command.state is DriveState.ARRIVED and self._goes_round_again():
                self._localizer.set_pose(*self._follower.next_round())
            yield DriveStep(result, truth, twist, command.state, command.reason, before is not None, intervention, resident_mib())
            if self._is_over(command):
                return

    def _advance(self, period: float) -> DriveCommand:
        """Control the robot until the next frame."""
        ticks = max(round(period * self._settings.control_rate), 1)
        simulator, follower = self._simulator, self._follower
        for _ in range(ticks):
            now = simulator.now_ns
            follower.add_odometry(now, simulator.odom_T_base)
            self._deliver(now)
            command = follower.command(now)
            if self._operator is None:
                simulator.command(command.twist)
            else:
                simulator.command(self._operator.command(now, simulator.world_T_base))
            simulator.advance(period / ticks)
            self._wheels.add(simulator.now_ns, simulator.odom_T_base)
        return command

    def _deliver(self, now_ns: int) -> None:
        """Hand the follower the poses that have been computed by now."""
        while self._pending and self._pending[0][0] <= now_ns:
            _, result = self._pending.pop(0)
            if result.map_T_base is not None and result.map_covariance is not None:
                self._follower.add_pose(result.stamp_ns, result.map_T_base, result.map_covariance)

    def _supervise(self, command: DriveCommand, before: Array, period: float) -> Intervention | None:
        """Keep account of the way, and let the operator step in or hand over."""
        truth = self._simulator.world_T_base
        moved = float(np.linalg.norm(truth[:3, 3] - before[:3, 3]))
        point = self._taught.locate(truth, self._station)
        if abs(point.lateral) > 3.0 or self._at_seam(point.station):
            point = self._taught.locate(truth)
        if point.station < self._station - 0.5 * self._taught.length:
            self._lap_m += self._taught.length
        self._station = point.station
        if self._operator is not None:
            self._operator_m += moved
            drives = command.state in (DriveState.FOLLOWING, DriveState.SLOWED)
            if drives and self._operator_m >= self._settings.operator_distance and abs(point.lateral) < 0.3:
                self._operator = None
            return None
        self._still_s = self._still_s + period if moved < 0.02 * period else 0.0
        if abs(point.lateral) > self._settings.free_corridor:
            return self._step_in(Intervention.LEFT_CORRIDOR)
        if self._still_s > self._settings.patience and not self._at_end():
            return self._step_in(Intervention.STUCK)
        return None

    def _step_in(self, why: Intervention) -> Intervention:
        self._operator = Operator(self._taught, self._settings.follower)
        self._operator_m = self._still_s = 0.0
        self._follower.restart()
        return why

    def _at_seam(self, station: float) -> bool:
        return self._taught.closed and self._taught.length - station < 0.3

    def _at_end(self) -> bool:
        return self.progress_m > self.total_m - 1.0

    def _goes_round_again(self) -> bool:
        return self._taught.closed and (self._plan.seconds is not None or self.progress_m < self.total_m - 1.0)

    def _is_over(self, command: DriveCommand) -> bool:
        if self._plan.seconds is not None:
            return False
        arrived = command.state is DriveState.ARRIVED or self._operator is not None
        return self.progress_m > self.total_m - 0.05 or (self._at_end() and arrived)
