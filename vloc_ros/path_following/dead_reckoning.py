"""The pose now, from the last believed pose and the odometry since."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry import se3
from vloc_ros.geometry.motion_buffer import interpolate
from vloc_ros.path_following.settings import FollowerSettings

Array = NDArray[np.float64]
_KEPT_NS = 5_000_000_000
_JUMP_BACK_NS = 1_000_000_000


class Age(NamedTuple):
    """How old the newest pose and the newest odometry are [s]; None when there is none."""

    pose: float | None
    odometry: float | None


class Sigma(NamedTuple):
    """Standard deviations of a pose in the plane of the base [m], [rad]."""

    position: float
    heading: float


class DeadReckoning:
    """Carries a believed pose on by odometry, and counts how far the robot has gone since it was last sure."""

    def __init__(self, settings: FollowerSettings) -> None:
        self._settings = settings
        self._odometry: list[tuple[int, Array]] = []
        self._pose_ns: int | None = None
        self._map_T_odom: Array | None = None
        self._pending: tuple[int, Array] | None = None
        self.sigma = Sigma(np.inf, np.inf)
        """Of the newest believed pose."""
        self.blind_distance = 0.0
        """Driven since the last sure pose [m]; counted by the odometry."""

    @property
    def map_T_base(self) -> Array | None:
        """(4, 4) pose at the newest odometry; None when pose and odometry have not met."""
        if self._map_T_odom is None or not self._odometry:
            return None
        return np.asarray(self._map_T_odom @ self._odometry[-1][1])

    def tune(self, settings: FollowerSettings) -> None:
        """Another limit counts for the poses that come from now on."""
        self._settings = settings

    def age(self, now_ns: int) -> Age:
        """Ages at a time; negative when a stamp lies in the future."""
        return Age(
            None if self._pose_ns is None else (now_ns - self._pose_ns) * 1e-9,
            None if not self._odometry else (now_ns - self._odometry[-1][0]) * 1e-9,
        )

    def add_odometry(self, stamp_ns: int, odom_T_base: Array) -> None:
        """A pose of the base in the odometry frame."""
        if not np.all(np.isfinite(odom_T_base)):
            return
        if self._odometry and stamp_ns <= self._odometry[-1][0]:
            if stamp_ns > self._odometry[-1][0] - _JUMP_BACK_NS:
                return  # late or repeated
            self._forget()
        if self._odometry:
            self.blind_distance += se3.translation_norm(se3.between(self._odometry[-1][1], odom_T_base))
        self._odometry.append((stamp_ns, odom_T_base))
        while self._odometry[0][0] < stamp_ns - _KEPT_NS:
            self._odometry.pop(0)
        if self._pending is not None:
            self._join(*self._pending)

    def add_pose(self, stamp_ns: int, map_T_base: Array, covariance: Array) -> None:
        """A believed pose; one that is older than the last is ignored, one that is not finite too."""
        if not (np.all(np.isfinite(map_T_base)) and np.all(np.isfinite(covariance))):
            return
        if self._pose_ns is not None and stamp_ns <= self._pose_ns:
            if stamp_ns > self._pose_ns - _JUMP_BACK_NS:
                return
            self._forget()
        variance = np.maximum(np.diag(covariance), 0.0)
        self.sigma = Sigma(float(np.sqrt(variance[:2].max())), float(np.sqrt(variance[5])))
        self._pose_ns = stamp_ns
        self._join(stamp_ns, map_T_base)

    def forget_pose(self) -> None:
        """Do as if no pose had come yet."""
        self._pose_ns = self._map_T_odom = self._pending = None
        self.sigma, self.blind_distance = Sigma(np.inf, np.inf), 0.0

    def _join(self, stamp_ns: int, map_T_base: Array) -> None:
        """Tie the map to the odometry frame at the time of a pose, as soon as odometry of that time is there."""
        odom_T_base = self._odometry_at(stamp_ns)
        if odom_T_base is None:
            newer = bool(self._odometry) and self._odometry[0][0] > stamp_ns
            self._pending = None if newer else (stamp_ns, map_T_base)
            return
        self._pending = None
        self._map_T_odom = map_T_base @ se3.inverse(odom_T_base)
        settings, since = self._settings, self._odometry[-1][1]
        if self.sigma.position <= settings.slow_sigma and self.sigma.heading <= settings.slow_sigma_rad:
            self.blind_distance = se3.translation_norm(se3.between(odom_T_base, since))

    def _odometry_at(self, stamp_ns: int) -> Array | None:
        """(4, 4) odom_T_base at a time, interpolated; None when the odometry does not cover it."""
        index = bisect_right([stamp for stamp, _ in self._odometry], stamp_ns)
        if index == 0:
            return None
        start_ns, start = self._odometry[index - 1]
        if start_ns == stamp_ns:
            return start
        if index == len(self._odometry):
            return None
        end_ns, end = self._odometry[index]
        return interpolate(start_ns, start, end_ns, end, stamp_ns)

    def _forget(self) -> None:
        """Time has begun again (a bag in a loop, a restarted simulation): what is known is of another time."""
        self._odometry.clear()
        self.forget_pose()
