"""Following a taught path by a pose that is believed, as long as it is believed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import ConfigError
from vloc_ros.geometry.planar import STANDSTILL, PlanarTwist
from vloc_ros.geometry.uncertainty import isotropic
from vloc_ros.path_following.dead_reckoning import DeadReckoning
from vloc_ros.path_following.path import PathPoint, TaughtPath
from vloc_ros.path_following.settings import FollowerSettings

Array = NDArray[np.float64]
_GLOBAL_AFTER_M = 1.5
"""A pose that lies so far from where the robot was expected on the path [m] is looked for on all of it: it was carried."""
_START_SIGMA_M, _START_SIGMA_RAD = 0.3, 0.08


@unique
class DriveState(Enum):
    """What the follower does."""

    FOLLOWING = "following"
    SLOWED = "slowed"
    """Drives, slower than the path would allow: the pose is not sure."""
    STOPPED = "stopped"
    """Stands still, or brakes, for a reason that may pass."""
    ARRIVED = "arrived"
    """At the end of the path."""


@unique
class StopReason(Enum):
    """Why the robot does not drive."""

    DISABLED = "driving is not enabled"
    DEAD_MAN = "the dead man's switch is not held"
    NO_PATH = "no path has arrived"
    NO_POSE = "no believed pose has arrived"
    STALE_POSE = "the last believed pose is too old"
    NO_ODOMETRY = "no odometry has arrived"
    STALE_ODOMETRY = "the odometry is too old"
    UNCERTAIN = "the pose is too uncertain"
    BLIND_TOO_FAR = "the last sure pose is too far back"
    OFF_PATH = "the robot is too far beside the path"
    TURNED_AWAY = "the robot is turned away from the path"


@dataclass(frozen=True, slots=True)
class DriveCommand:
    """What the robot shall do now, and why.

    Attributes:
        twist: velocity to drive.
        state: what the follower does.
        reason: why it does not drive; None while it drives, and at the end of the path.
        point: where the robot believes to be on the path; None when unknown.
    """

    twist: PlanarTwist
    state: DriveState
    reason: StopReason | None = None
    point: PathPoint | None = None


class PathFollower:
    """Steers a robot along a path and says why when it does not.

    Poses come at the rate of the camera and late; odometry carries them to the present. The follower needs nothing else, and
    stands still when it lacks either. It has no clock and no thread: whoever owns it calls :meth:`command` regularly.
    """

    def __init__(self, settings: FollowerSettings, path: TaughtPath | None = None) -> None:
        self.settings, self._path = settings, path
        self._reckoning = DeadReckoning(settings)
        self._station: float | None = None
        self._speed = 0.0
        self._commanded_ns: int | None = None
        self._arrived = False

    @property
    def path(self) -> TaughtPath | None:
        """What is followed."""
        return self._path

    def tune(self, settings: FollowerSettings) -> None:
        """Drive by other settings from the next command on; where the robot is stays known."""
        self.settings = settings
        self._reckoning.tune(settings)

    def set_path(self, path: TaughtPath) -> None:
        """Follow another path, from wherever the robot is on it."""
        self._path, self._station, self._arrived = path, None, False

    def restart(self) -> None:
        """Look for the robot on all of the path, and drive on after an arrival."""
        self._station, self._arrived = None, False

    def beginning(self) -> tuple[Array, Array] | None:
        """The (4, 4) pose and (6, 6) covariance of a robot that was put at the beginning of the path; None without a path.

        It is so uncertain that the robot stands until localisation confirms it.
        """
        if self._path is None:
            return None
        return self._path.poses[0], isotropic(_START_SIGMA_M, _START_SIGMA_RAD)

    def next_round(self) -> tuple[Array, Array]:
        """Begin a closed path again.

        Returns:
            The (4, 4) pose and (6, 6) covariance to tell localisation: the end of the path is the place where it began, but the
            map, whose odometry drifted on the way, holds that place twice.

        Raises:
            ConfigError: the path is not closed, or there is none.
        """
        if self._path is None or not self._path.closed:
            raise ConfigError("loop is set, but the taught path does not end where it begins; teach a closed one")
        self._station, self._arrived = 0.0, False
        self._reckoning.forget_pose()
        return self._path.poses[0], isotropic(_START_SIGMA_M, _START_SIGMA_RAD)

    def add_pose(self, stamp_ns: int, map_T_base: Array, covariance: Array) -> None:
        """A believed pose (4, 4) with its (6, 6) covariance (right perturbation), of the moment of the exposure."""
        self._reckoning.add_pose(stamp_ns, map_T_base, covariance)

    def add_odometry(self, stamp_ns: int, odom_T_base: Array) -> None:
        """A pose (4, 4) of the base in a frame that is smooth and drifts."""
        self._reckoning.add_odometry(stamp_ns, odom_T_base)

    @property
    def blind_distance(self) -> float:
        """Driven since the last sure pose [m]."""
        return self._reckoning.blind_distance

    def stand(self, now_ns: int, reason: StopReason) -> DriveCommand:
        """Stand still now, for a reason that only the owner knows; the next command speeds up from rest."""
        self._commanded_ns, self._speed = now_ns, 0.0
        return DriveCommand(STANDSTILL, DriveState.STOPPED, reason)

    def command(self, now_ns: int) -> DriveCommand:
        """The velocity for now."""
        seconds = 0.0 if self._commanded_ns is None else max((now_ns - self._commanded_ns) * 1e-9, 0.0)
        self._commanded_ns = now_ns
        command = self._decide(now_ns, min(seconds, 1.0))
        self._speed = command.twist.linear
        return command

    def _decide(self, now_ns: int, seconds: float) -> DriveCommand:
        reason = self._missing(now_ns)
        if reason is not None:
            return DriveCommand(STANDSTILL, DriveState.STOPPED, reason)
        assert self._path is not None and self._reckoning.map_T_base is not None
        point = self._locate(self._path, self._reckoning.map_T_base)
        if self._arrived or self._path.length - point.station < self.settings.goal_tolerance:
            self._arrived = True
            return DriveCommand(STANDSTILL, DriveState.ARRIVED, None, point)
        if abs(point.lateral) > self.settings.corridor:
            return DriveCommand(STANDSTILL, DriveState.STOPPED, StopReason.OFF_PATH, point)
        if abs(point.heading) > self.settings.max_heading_error:
            return DriveCommand(STANDSTILL, DriveState.STOPPED, StopReason.TURNED_AWAY, point)
        return self._drive(self._path, point, seconds)

    def _missing(self, now_ns: int) -> StopReason | None:
        """What there is not, or what is too old, for driving at all."""
        if self._path is None:
            return StopReason.NO_PATH
        age = self._reckoning.age(now_ns)
        if age.pose is None:
            return StopReason.NO_POSE
        if age.odometry is None:
            return StopReason.NO_ODOMETRY
        if abs(age.odometry) > self.settings.odometry_timeout:
            return StopReason.STALE_ODOMETRY
        if abs(age.pose) > self.settings.pose_timeout or self._reckoning.map_T_base is None:
            return StopReason.STALE_POSE
        return None

    def _locate(self, path: TaughtPath, map_T_base: Array) -> PathPoint:
        point = path.locate(map_T_base, self._station)
        if self._station is not None and abs(point.lateral) > _GLOBAL_AFTER_M:
            point = path.locate(map_T_base)
        self._station = point.station
        return point

    def _drive(self, path: TaughtPath, point: PathPoint, seconds: float) -> DriveCommand:
        settings = self.settings
        on_path, unsure = min(self._limits_of_path(path, point)), min(self._limits_of_pose())
        target = min(on_path, unsure)
        if target < settings.min_speed:
            target = 0.0
        step = settings.max_acceleration * seconds
        speed = float(np.clip(target, self._speed - step, self._speed + step))
        if speed <= 0.0 and target <= 0.0:
            return DriveCommand(STANDSTILL, DriveState.STOPPED, self._why_unsure(), point)
        curvature = steering_curvature(path, point, speed, settings)
        speed = min(speed, settings.max_turn_rate / max(abs(curvature), 1e-6))
        state = DriveState.SLOWED if unsure < min(on_path, settings.speed) else DriveState.FOLLOWING
        return DriveCommand(PlanarTwist(speed, speed * curvature), state, None, point)

    def _limits_of_path(self, path: TaughtPath, point: PathPoint) -> Iterator[float]:
        """Speeds that the path allows [m/s]."""
        settings = self.settings
        yield settings.speed
        braking = self._speed**2 / (2.0 * settings.max_acceleration) + settings.look_ahead
        yield math.sqrt(settings.max_lateral_acceleration / max(path.sharpest(point.station, braking), 1e-6))
        left = path.length - point.station - 0.5 * settings.goal_tolerance
        yield max(self._stops_within(left), settings.min_speed)

    def _limits_of_pose(self) -> Iterator[float]:
        """Speeds that the trust in the pose allows [m/s]."""
        settings, sigma = self.settings, self._reckoning.sigma
        yield settings.speed * _fall(sigma.position, settings.slow_sigma, settings.stop_sigma)
        yield settings.speed * _fall(sigma.heading, settings.slow_sigma_rad, settings.stop_sigma_rad)
        yield self._stops_within(settings.blind_distance - self._reckoning.blind_distance)

    def _why_unsure(self) -> StopReason:
        blind = self._stops_within(self.settings.blind_distance - self._reckoning.blind_distance)
        return StopReason.BLIND_TOO_FAR if blind < self.settings.min_speed else StopReason.UNCERTAIN

    def _stops_within(self, distance: float) -> float:
        """The speed from which the robot, after its reaction time, comes to rest within a distance [m]."""
        if distance <= 0.0:
            return 0.0
        lag = self.settings.max_acceleration * self.settings.reaction
        return math.sqrt(lag**2 + 2.0 * self.settings.max_acceleration * distance) - lag


def steering_curvature(path: TaughtPath, point: PathPoint, speed: float, settings: FollowerSettings) -> float:
    """Curvature to drive [1/m], so that the lateral error falls off over the look-ahead distance without overshoot.

    Path coordinates after Samson, "Control of chained systems: application to path following and time-varying point-stabilization
    of mobile robots", IEEE Transactions on Automatic Control 40(1), 1995: with distance as the variable, the lateral error obeys
    e'' + 2 e' / l + e / l^2 = 0, which is critically damped for any speed.
    """
    length = settings.look_ahead
    curvature = path.curvature(point.station + speed * settings.reaction)
    # A large error is approached at an angle of 25 degrees, not head-on.
    error = float(np.clip(point.lateral / length, -1.0, 1.0))
    cosine = math.cos(point.heading)
    along = curvature * cosine / max(1.0 - curvature * point.lateral, 0.2)
    back = (2.0 * math.sin(point.heading) + error * cosine**2) / length
    return float(np.clip(along - back, -settings.max_curvature, settings.max_curvature))


def _fall(value: float, start: float, end: float) -> float:
    """1 up to the start, then linearly to 0 at the end."""
    return float(np.clip((end - value) / max(end - start, 1e-9), 0.0, 1.0))
