"""A robot that follows its taught path by its own localisation, in lock-step with the simulated world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vloc_ros.closed_loop.events import Event
from vloc_ros.closed_loop.memory import resident_mib
from vloc_ros.closed_loop.record import DriveStep
from vloc_ros.closed_loop.settings import DriveSettings
from vloc_ros.closed_loop.supervisor import Supervisor
from vloc_ros.data.frame import StereoFrame
from vloc_ros.geometry.motion_buffer import MotionBuffer
from vloc_ros.localization import FrameResult, Localizer
from vloc_ros.path_following import DriveCommand, DriveState, PathFollower, TaughtPath
from vloc_ros.simulation import Simulator

_GIVE_UP_SPEED = 0.05
"""A drive that on the average is slower than this [m/s] is not going to end."""


@dataclass(frozen=True, slots=True)
class DrivePlan:
    """How far to go.

    Attributes:
        laps: rounds of a closed path; an open one has one.
        seconds: or so long, round after round [s]; None for no limit.
        events: what befalls the robot.
    """

    laps: int = 1
    seconds: float | None = None
    events: Sequence[Event] = ()


class ClosedLoop:
    """Simulated robot, localisation and path follower, wired as the ROS nodes are.

    The follower gets poses, odometry and the path; localisation gets images and wheel odometry. The truth goes to the
    supervisor, who drives where the robot would be stuck, and into the record.
    """

    def __init__(
        self, simulator: Simulator, localizer: Localizer, taught: TaughtPath, settings: DriveSettings, plan: DrivePlan
    ) -> None:
        """Wire everything.

        Args:
            simulator: world and robot.
            localizer: with the map of the taught path.
            taught: the true taught path in the world: for the supervisor only.
            settings: rhythm and limits.
            plan: how far to go.
        """
        self._simulator, self._localizer, self._settings, self._plan = simulator, localizer, settings, plan
        self._follower = PathFollower(settings.follower, TaughtPath([k.map_T_base for k in localizer.route]))
        self.supervisor = Supervisor(taught, settings, plan.laps, simulator.world_T_base)
        self._goes_round = plan.seconds is not None or plan.laps > 1
        self._wheels = MotionBuffer()
        self._pending: list[tuple[int, FrameResult]] = []
        self._last_ns: int | None = None

    def run(self) -> Iterator[DriveStep]:
        """Drive to the end; yields a step for each camera frame.

        Raises:
            ConfigError: more than one lap was asked for on a path that is not closed.
        """
        simulator, supervisor = self._simulator, self.supervisor
        period, seconds = 1.0 / self._settings.camera_rate, 0.0
        limit = self._plan.seconds or supervisor.total_m / _GIVE_UP_SPEED + 60.0
        self._wheels.add(simulator.now_ns, simulator.odom_T_base)
        beginning = self._follower.beginning()
        if self._settings.from_start and beginning is not None:
            self._localizer.set_pose(*beginning)
        while seconds < limit and (self._plan.seconds is not None or not supervisor.finished):
            for event in self._plan.events:
                event.apply(simulator, seconds)
            truth, twist, operating = simulator.world_T_base, simulator.robot.twist, supervisor.operating
            frame = simulator.frame()
            result = self._localise(frame)
            command = self._advance(period)
            seconds += period
            intervention = supervisor.watch(simulator.world_T_base, period, command.twist)
            yield DriveStep(
                result, truth, twist, command.state, command.reason, operating, intervention, resident_mib(), frame.left
            )
            if command.state is DriveState.ARRIVED:
                if self._goes_round and not (self._plan.seconds is None and supervisor.near_end):
                    self._localizer.set_pose(*self._follower.next_round())
                elif supervisor.near_end:
                    return

    def _localise(self, frame: StereoFrame) -> FrameResult:
        """The result of an image; the follower gets it after the latency."""
        motion = None
        if self._settings.use_wheels and self._last_ns is not None:
            motion = self._wheels.motion(self._last_ns, frame.stamp_ns)
        self._last_ns = frame.stamp_ns
        result = self._localizer.process(frame, motion)
        self._pending.append((frame.stamp_ns + round(self._settings.latency * 1e9), result))
        return result

    def _advance(self, period: float) -> DriveCommand:
        """Control the robot until the next frame."""
        ticks = max(round(period * self._settings.control_rate), 1)
        simulator, follower = self._simulator, self._follower
        for _ in range(ticks):
            now = simulator.now_ns
            follower.add_odometry(now, simulator.odom_T_base)
            self._deliver(now)
            command = follower.command(now)
            simulator.command(self.supervisor.twist(now, simulator.world_T_base, command.twist))
            simulator.advance(period / ticks)
            self._wheels.add(simulator.now_ns, simulator.odom_T_base)
        return command

    def _deliver(self, now_ns: int) -> None:
        """Hand the follower the poses that have been computed by now."""
        while self._pending and self._pending[0][0] <= now_ns:
            _, result = self._pending.pop(0)
            if result.map_T_base is not None and result.map_covariance is not None:
                self._follower.add_pose(result.stamp_ns, result.map_T_base, result.map_covariance)
