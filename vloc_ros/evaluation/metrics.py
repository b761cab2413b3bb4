"""Trajectory errors: alignment, absolute (ATE) and relative (RPE) error, and the drift of the KITTI odometry benchmark.

All functions take stacks of poses that belong together row by row: ``estimate`` and ``truth`` at the same times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, unique

import numpy as np

from vloc_ros.errors import DataError
from vloc_ros.evaluation.trajectories import Array, relative, rotation_angles, translation_norms, travelled

KITTI_LENGTHS_M = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0)
KITTI_STEP = 10
SHORT_LENGTHS_M = (5.0, 10.0, 15.0, 20.0)
SHORT_PATH_M = 200.0


@unique
class Alignment(Enum):
    """Freedom that an estimate is given before it is compared with the truth."""

    NONE = "none"
    SE3 = "se3"
    SIM3 = "sim3"


@dataclass(frozen=True, slots=True)
class Similarity:
    """``target = scale * rotation @ source + translation``.

    Attributes:
        rotation: (3, 3).
        translation: (3,) [m].
        scale: 1 for a rigid alignment.
        unique: whether the points determine the rotation; False when they lie in one line or in one spot.
    """

    rotation: Array
    translation: Array
    scale: float = 1.0
    unique: bool = True

    def apply(self, poses: Array) -> Array:
        """(N, 4, 4) poses of the source expressed in the target; scale acts on positions only."""
        moved = np.array(poses, dtype=np.float64)
        moved[:, :3, :3] = self.rotation @ poses[:, :3, :3]
        moved[:, :3, 3] = self.scale * poses[:, :3, 3] @ self.rotation.T + self.translation
        return moved


def umeyama(source: Array, target: Array, *, with_scale: bool = False) -> Similarity:
    """Least-squares similarity between (N, 3) point sets; Umeyama, TPAMI 13(4), 1991, eq. 40-43.

    Raises:
        DataError: the sets are empty or differ in size.
    """
    _check_paired(source, target, 1)
    return _solve(source, target, np.zeros((3, 3)), with_scale)


def align(estimate: Array, truth: Array, alignment: Alignment = Alignment.SE3, *, lever_m: float = 0.0) -> Similarity:
    """The transform that brings (N, 4, 4) estimated poses closest to the true ones.

    With ``lever_m`` = 0 it is Umeyama's, which looks at positions only. With a lever, points that far out on the axes of each
    pose are aligned as well, so that orientations take part and a straight drive, or one pose alone, determines the rotation.

    Raises:
        DataError: there are no poses, or the numbers of poses differ.
    """
    _check_paired(estimate, truth, 1)
    if alignment is Alignment.NONE:
        return Similarity(np.eye(3), np.zeros(3))
    orientation = lever_m**2 * np.einsum("nij,nkj->ik", truth[:, :3, :3], estimate[:, :3, :3]) / len(truth)
    return _solve(estimate[:, :3, 3], truth[:, :3, 3], orientation, alignment is Alignment.SIM3)


@dataclass(frozen=True, slots=True)
class ErrorStatistics:
    """Summary of a set of non-negative errors, in their unit."""

    rmse: float
    mean: float
    median: float
    max: float
    count: int

    @classmethod
    def of(cls, errors: Array) -> ErrorStatistics:
        """Summary of (N,) errors, N >= 1."""
        rmse = float(np.sqrt(np.mean(np.square(errors))))
        return cls(rmse, float(np.mean(errors)), float(np.median(errors)), float(np.max(errors)), len(errors))


@dataclass(frozen=True, slots=True)
class PoseErrors:
    """Translation [m] and rotation [rad] errors; ``rotation`` is None where the alignment leaves it undetermined."""

    translation: ErrorStatistics
    rotation: ErrorStatistics | None


def absolute_trajectory_error(estimate: Array, truth: Array, alignment: Alignment = Alignment.SE3) -> PoseErrors:
    """ATE: distance between aligned estimate and truth, pose by pose; Sturm et al., IROS 2012, section V-B.

    Raises:
        DataError: there are no poses, or the numbers of poses differ.
    """
    similarity = align(estimate, truth, alignment)
    errors = relative(truth, similarity.apply(estimate))
    rotation = ErrorStatistics.of(rotation_angles(errors)) if similarity.unique else None
    return PoseErrors(ErrorStatistics.of(translation_norms(errors)), rotation)


def relative_pose_error(estimate: Array, truth: Array, delta: int = 1) -> PoseErrors:
    """RPE over all pairs of poses ``delta`` frames apart; Sturm et al., IROS 2012, section V-A.

    Raises:
        DataError: the numbers of poses differ, or there are not more than ``delta``.
    """
    if delta < 1:
        raise DataError(f"the relative pose error needs a distance of at least one frame, not {delta}")
    _check_paired(estimate, truth, delta + 1)
    true_motion = relative(truth[:-delta], truth[delta:])
    errors = relative(true_motion, relative(estimate[:-delta], estimate[delta:]))
    return PoseErrors(ErrorStatistics.of(translation_norms(errors)), ErrorStatistics.of(rotation_angles(errors)))


@dataclass(frozen=True, slots=True)
class Drift:
    """Mean relative error over segments of a path.

    Attributes:
        translation_percent: translation error per distance [%].
        rotation_deg_per_m: rotation error per distance [deg/m].
        segments: number of segments averaged.
        lengths_m: the lengths of which at least one segment fitted [m].
    """

    translation_percent: float
    rotation_deg_per_m: float
    segments: int
    lengths_m: tuple[float, ...]


def drift_segments(path_length_m: float) -> tuple[tuple[float, ...], int]:
    """Segment lengths [m] and start step for a path: KITTI's, or for one of up to 200 m short lengths at every frame."""
    return (SHORT_LENGTHS_M, 1) if path_length_m <= SHORT_PATH_M else (KITTI_LENGTHS_M, KITTI_STEP)


def kitti_drift(estimate: Array, truth: Array, lengths_m: Sequence[float] | None = None, step: int | None = None) -> Drift | None:
    """Drift as the KITTI odometry development kit defines it (Geiger et al., CVPR 2012).

    From every ``step``-th frame i and for every length L, the segment ends at the first frame j whose distance along the
    *true* path is more than L beyond that of i; there is none if the path ends before. Its error is that of the relative pose,
    ``E = inverse(estimated i_T_j) @ true i_T_j``: translation norm over L and rotation angle over L (the nominal L, not the
    distance reached). The drift is the mean over all segments of all lengths. The kit uses 100, 200 ... 800 m from every 10th
    frame; see :func:`drift_segments` for the defaults.

    Args:
        estimate: (N, 4, 4) poses of a body in any world frame.
        truth: (N, 4, 4) true poses of the same body in any world frame.
        lengths_m: segment lengths [m].
        step: frames from one start to the next.

    Returns:
        None if no segment fits.

    Raises:
        DataError: the numbers of poses differ, or a length or the step is not positive.
    """
    _check_paired(estimate, truth, 0)
    distance = travelled(truth)
    standard = drift_segments(float(distance[-1]) if len(distance) else 0.0)
    lengths = standard[0] if lengths_m is None else tuple(lengths_m)
    step = standard[1] if step is None else step
    if step < 1 or any(length <= 0.0 for length in lengths):
        raise DataError(f"drift needs positive segment lengths and a positive step, not {lengths} and {step}")
    starts = np.arange(0, len(truth), step)
    translation, rotation, used = [np.empty(0)], [np.empty(0)], []
    for length in lengths:
        ends = np.searchsorted(distance, distance[starts] + length, side="right")
        i, j = starts[ends < len(truth)], ends[ends < len(truth)]
        if len(i) == 0:
            continue
        errors = relative(relative(estimate[i], estimate[j]), relative(truth[i], truth[j]))
        translation.append(translation_norms(errors) / length)
        rotation.append(rotation_angles(errors) / length)
        used.append(float(length))
    if not used:
        return None
    per_metre, radians = np.concatenate(translation), np.concatenate(rotation)
    return Drift(100.0 * float(np.mean(per_metre)), float(np.degrees(np.mean(radians))), len(per_metre), tuple(used))


def _solve(source: Array, target: Array, orientation: Array, with_scale: bool) -> Similarity:
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    correlation = (target - target_mean).T @ (source - source_mean) / len(source) + orientation
    u, d, vt = np.linalg.svd(correlation)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * signs) @ vt
    variance = float(np.mean(np.sum((source - source_mean) ** 2, axis=1)))
    # A set of points in one spot has no scale.
    scale = float(d @ signs) / variance if with_scale and variance > 0.0 else 1.0
    unique = bool(d[1] > 1e-9 * d[0]) and d[0] > 0.0
    return Similarity(rotation, target_mean - scale * rotation @ source_mean, scale, unique)


def _check_paired(a: Array, b: Array, least: int) -> None:
    if a.shape != b.shape:
        raise DataError(f"estimate and truth must belong together pose by pose, but their shapes are {a.shape} and {b.shape}")
    if len(a) < least:
        raise DataError(f"this error needs at least {least} poses, but there are {len(a)}")
