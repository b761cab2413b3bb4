"""Wheel odometry between frames: a short history of stamped poses, interpolated at the stamps of the images."""

from __future__ import annotations

import threading
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry import se3
from vloc_ros.geometry.motion import Drift, Motion

Array = NDArray[np.float64]
EXTRAPOLATION_NS = 100_000_000
"""How far beyond the last sample a pose is extrapolated [ns]."""
_FASTEST_MPS = 100.0
WHEEL_DRIFT = Drift(0.03, 0.03)
"""Of wheels on loose ground: radii that are 1 % wrong, and slip that lasts, turn a robot of a metre's width by so much."""


@dataclass(frozen=True, slots=True)
class _Sample:
    stamp_ns: int
    odom_T_base: Array
    twist_covariance: Array | None


def interpolate(start_ns: int, a_T_start: Array, end_ns: int, a_T_end: Array, stamp_ns: int) -> Array:
    """(4, 4) pose at a stamp between two, along the motion of constant twist."""
    if end_ns == start_ns:
        return a_T_start
    fraction = (stamp_ns - start_ns) / (end_ns - start_ns)
    return np.asarray(a_T_start @ se3.exp(fraction * se3.log(se3.between(a_T_start, a_T_end))))


class MotionBuffer:
    """Stamped odometry poses of the last seconds; one thread may add while another asks.

    Args:
        length_s: how long poses are kept [s].
        max_gap_s: two samples further apart than this are not interpolated [s].
        noise: standard deviation of a motion where the messages carry no covariance, as (metres per metre, radians per metre,
            radians per radian), each with a floor of 1 mm and 0.001 rad.
    """

    def __init__(
        self, length_s: float = 10.0, max_gap_s: float = 0.5, noise: tuple[float, float, float] = (0.1, 0.05, 0.1)
    ) -> None:
        self._length_ns, self._max_gap_ns, self._noise = int(length_s * 1e9), int(max_gap_s * 1e9), noise
        self._lock = threading.Lock()
        self._samples: list[_Sample] = []

    def add(self, stamp_ns: int, odom_T_base: Array, twist_covariance: Array | None = None) -> None:
        """Append a pose, with the (6, 6) covariance of its twist when known; a much older stamp empties the buffer."""
        with self._lock:
            if self._samples and stamp_ns <= self._samples[-1].stamp_ns:
                if stamp_ns > self._samples[-1].stamp_ns - int(1e9):
                    return  # late or repeated
                self._samples.clear()
            self._samples.append(_Sample(stamp_ns, odom_T_base, twist_covariance))
            while self._samples[0].stamp_ns < stamp_ns - self._length_ns:
                self._samples.pop(0)

    def motion(self, from_ns: int, to_ns: int) -> Motion | None:
        """Motion of the base between two stamps; None when the buffer does not cover them, or nothing on wheels moves so fast."""
        with self._lock:
            start, end = self._at(from_ns), self._at(to_ns)
        if start is None or end is None or to_ns <= from_ns:
            return None
        a_T_b = se3.between(start[0], end[0])
        if se3.translation_norm(a_T_b) > _FASTEST_MPS * (to_ns - from_ns) * 1e-9:
            return None
        return Motion(a_T_b, self._covariance(a_T_b, end[1], (to_ns - from_ns) * 1e-9), WHEEL_DRIFT)

    def _at(self, stamp_ns: int) -> tuple[Array, Array | None] | None:
        index = bisect_right([sample.stamp_ns for sample in self._samples], stamp_ns)
        if index == 0:
            return None
        before = self._samples[index - 1]
        if before.stamp_ns == stamp_ns:
            return before.odom_T_base, before.twist_covariance
        if index == len(self._samples):
            # Wheel odometry of the same instant often arrives just after the image: continue the last motion for a moment.
            if index < 2 or stamp_ns - before.stamp_ns > EXTRAPOLATION_NS:
                return None
            before, after = self._samples[-2], before
        else:
            after = self._samples[index]
        if after.stamp_ns - before.stamp_ns > self._max_gap_ns:
            return None
        pose = interpolate(before.stamp_ns, before.odom_T_base, after.stamp_ns, after.odom_T_base, stamp_ns)
        return pose, after.twist_covariance

    def _covariance(self, a_T_b: Array, twist_covariance: Array | None, duration_s: float) -> Array:
        if twist_covariance is not None and np.all(np.isfinite(twist_covariance)) and np.all(np.diag(twist_covariance) > 0.0):
            return np.asarray(twist_covariance * duration_s**2)
        distance, angle = se3.translation_norm(a_T_b), se3.rotation_angle(a_T_b)
        metre_per_metre, radian_per_metre, radian_per_radian = self._noise
        translation = max(metre_per_metre * distance, 1e-3)
        rotation = max(radian_per_metre * distance + radian_per_radian * angle, 1e-3)
        return np.diag([translation**2] * 3 + [rotation**2] * 3)
