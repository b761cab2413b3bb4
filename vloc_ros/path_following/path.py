"""A taught path: smooth poses by distance along it, and where a robot is on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, RotationSpline

from vloc_ros.errors import DataError
from vloc_ros.geometry import se3
from vloc_ros.geometry.planar import yaw

Array = NDArray[np.float64]
_SPACING_M = 0.1
_SHORTEST_STEP_M = 0.02
_CURVATURE_SMOOTHING_M = 0.5
_METRES_PER_RADIAN = 2.0
"""How many metres of distance a radian of heading error counts when the nearest part of a path is looked for."""
_ABOUT_EQUAL_M = 0.3
_CLOSED_M = 3.0


class PathPoint(NamedTuple):
    """Where a robot is relative to a path.

    Attributes:
        station: distance along the path [m].
        lateral: how far it is to the left of the path [m].
        heading: how far it is turned to the left of the path [rad], -pi to pi.
        height: how far it is above the path [m].
    """

    station: float
    lateral: float
    heading: float
    height: float


class TaughtPath:
    """A path through the poses of a robot base that was driven forwards, in any frame; slopes are fine.

    Args:
        poses: (4, 4) poses of the base in the order in which they were driven.

    Raises:
        DataError: they cover less than 0.2 m, or hold a number that is not finite.
    """

    def __init__(self, poses: Sequence[Array]) -> None:
        kept = _spaced(np.asarray(poses, dtype=np.float64).reshape(-1, 4, 4))
        knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(kept[:, :3, 3], axis=0), axis=1))])
        self.length = float(knots[-1])
        if len(kept) < 2 or self.length < 2.0 * _SPACING_M:
            raise DataError(f"a path of {len(kept)} poses and {self.length:.2f} m is too short to follow; teach a longer one")
        self.stations: Array = np.linspace(0.0, self.length, max(round(self.length / _SPACING_M), 2) + 1)
        rotations = RotationSpline(knots, Rotation.from_matrix(kept[:, :3, :3]))
        self.poses: Array = np.tile(np.eye(4), (len(self.stations), 1, 1))
        self.poses[:, :3, 3] = CubicSpline(knots, kept[:, :3, 3])(self.stations)
        self.poses[:, :3, :3] = rotations(self.stations).as_matrix()
        turning = np.asarray(rotations(self.stations, 1), dtype=np.float64)[:, 2]  # about the z axis of the base itself
        self.curvatures: Array = gaussian_filter1d(turning, _CURVATURE_SMOOTHING_M / _SPACING_M, mode="nearest")
        """Change of heading by distance, positive to the left [1/m]."""

    @property
    def closed(self) -> bool:
        """Whether it ends where it begins, in the same direction."""
        end = se3.between(self.poses[0], self.poses[-1])
        return bool(se3.translation_norm(end) < _CLOSED_M and abs(yaw(end)) < 0.7 and self.length > 4.0 * _CLOSED_M)

    def locate(self, frame_T_base: Array, near: float | None = None, window: float = 3.0) -> PathPoint:
        """The point of the path that a pose belongs to: the nearest, where a wrong heading counts as distance.

        Args:
            frame_T_base: (4, 4) pose in the frame of the path.
            near: station [m] about which the point is expected; None looks everywhere, and of equally near parts takes the first.
                A path may cross itself, or run beside itself: where it has been is what tells the parts apart.
            window: how far around ``near`` is looked [m].
        """
        first, last = 0, len(self.stations)
        if near is not None:
            first = int(np.searchsorted(self.stations, near - window, side="left"))
            last = int(np.searchsorted(self.stations, near + window, side="right"))
            first, last = min(first, len(self.stations) - 1), max(last, 1)
        poses = self.poses[first:last]
        distance = np.linalg.norm(poses[:, :3, 3] - frame_T_base[:3, 3], axis=1)
        cosine = np.clip(poses[:, :3, 0] @ frame_T_base[:3, 0], -1.0, 1.0)
        cost = distance + _METRES_PER_RADIAN * np.arccos(cosine)
        return self._relative(frame_T_base, first + _first_minimum(cost))

    def _relative(self, frame_T_base: Array, index: int) -> PathPoint:
        """Relative to the path at the foot of the perpendicular next to a sample."""
        path_T_base = se3.between(self.poses[index], frame_T_base)
        curvature = float(self.curvatures[index])
        ahead, lateral = float(path_T_base[0, 3]), float(path_T_base[1, 3])
        # The sample is about half a spacing away at most, unless the robot is before the start or beyond the end.
        ahead /= max(1.0 - curvature * lateral, 0.2)
        station = float(np.clip(self.stations[index] + ahead, 0.0, self.length))
        turned = curvature * (station - float(self.stations[index]))
        heading = (yaw(path_T_base) - turned + np.pi) % (2.0 * np.pi) - np.pi
        return PathPoint(station, lateral - 0.5 * curvature * ahead**2, float(heading), float(path_T_base[2, 3]))

    def curvature(self, station: float) -> float:
        """Curvature [1/m] at a station [m]; beyond the ends, that of the ends."""
        return float(np.interp(station, self.stations, self.curvatures))

    def sharpest(self, station: float, reach: float) -> float:
        """Largest curvature, without sign [1/m], from a station over a distance ahead [m]."""
        first, last = np.searchsorted(self.stations, [station, station + reach])
        return float(np.max(np.abs(self.curvatures[min(first, len(self.stations) - 1) : last + 1])))


def _first_minimum(cost: Array) -> int:
    """The place of the minimum, within the first stretch that is about as good as the best."""
    good = cost <= cost.min() + _ABOUT_EQUAL_M
    start = int(np.argmax(good))
    length = int(np.argmin(good[start:])) or len(good) - start
    return start + int(np.argmin(cost[start : start + length]))


def _spaced(poses: Array) -> Array:
    """The poses without those that hardly differ from the one before: the robot stood still."""
    if not np.all(np.isfinite(poses)):
        raise DataError("a pose of the path holds a number that is not finite; check the map with `vloc map check`")
    kept = list(range(min(len(poses), 1)))
    for index in range(1, len(poses)):
        if np.linalg.norm(poses[index, :3, 3] - poses[kept[-1], :3, 3]) >= _SHORTEST_STEP_M:
            kept.append(index)
    return np.asarray(poses[kept])
