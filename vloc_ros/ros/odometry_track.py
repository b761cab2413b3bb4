"""What a nav_msgs/Odometry needs beside the pose: the velocity, and the covariance that has grown since the start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry import se3
from vloc_ros.localization import FrameResult

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OdometrySample:
    """One odometry of the base.

    Attributes:
        odom_T_base: (4, 4) pose.
        covariance: (6, 6) of that pose (right perturbation), grown since the start.
        twist: (6,) mean velocity since the previous sample, in the base frame [m/s, rad/s]; None for the first.
        twist_covariance: (6, 6) of it; None with it.
    """

    odom_T_base: Array
    covariance: Array
    twist: Array | None
    twist_covariance: Array | None


class OdometryTrack:
    """Accumulates the covariances of the motions between frames; the odometry frame begins at the first, which is certain."""

    def __init__(self) -> None:
        self._last: tuple[int, Array, Array] | None = None

    def add(self, result: FrameResult) -> OdometrySample | None:
        """The odometry of a frame; None when the frame gave none."""
        if result.odom_T_base is None:
            return None
        step = np.zeros((6, 6)) if result.odom_covariance is None else result.odom_covariance
        if self._last is None or result.stamp_ns <= self._last[0]:
            sample = OdometrySample(result.odom_T_base, step, None, None)
        else:
            stamp_ns, pose, covariance = self._last
            motion = se3.between(pose, result.odom_T_base)
            seconds = (result.stamp_ns - stamp_ns) * 1e-9
            grown = se3.compose_covariance(covariance, motion, step)
            sample = OdometrySample(result.odom_T_base, grown, se3.log(motion) / seconds, step / seconds**2)
        self._last = (result.stamp_ns, sample.odom_T_base, sample.covariance)
        return sample
