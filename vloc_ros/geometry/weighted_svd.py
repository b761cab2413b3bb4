"""Closed-form alignment of matched points."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param

Array = NDArray[np.float64]


@unique
class AlignmentError(Enum):
    """What tells whether two matched points agree with a pose."""

    SPACE = "3d"
    """The distance of the points [m]."""
    IMAGE = "2d"
    """The distance of their pixels [px]."""


@dataclass(frozen=True)
class AlignmentSettings:
    """Robust alignment of points, for soft matches.

    Published for U are 15 iterations, an error of 3d with 4 m (or of 2d with 50 px), 6 inliers, and weights that know nothing of
    depth. Such gates let pass almost everything that is matched at all, and the few points far away decide; the defaults are
    tighter, and near points count more.
    """

    iterations: int = param(200, "random samples that are tried", min=1, max=100000)
    sample: int = param(6, "matches in a sample", min=3, max=100)
    error: AlignmentError = param(AlignmentError.IMAGE, "inliers are told by errors in: 3d (metres) or 2d (pixels)")
    max_error_m: float = param(0.5, "largest error of an inlier in space", unit="m", min=0.001, max=100.0)
    max_error_px: float = param(8.0, "largest error of an inlier in the image", unit="px", min=0.1, max=1000.0)
    by_noise: bool = param(True, "divide the weight of a match by the variance of its two points")
    refits: int = param(5, "at most so many alignments to the inliers of the one before", min=1, max=100)
    min_inliers: int = param(12, "fewer inliers are no pose", min=3, max=1000)


def align_points(points_a: Array, points_b: Array, weights: Array) -> Array | None:
    """``a_T_b`` that minimises the weighted squared distance of (N, 3) matched points.

    The weighted, scale-free solution of Umeyama (1991), as U's pose block uses it (Keeping an Eye on Things, sec. III).
    Points of weight 0 have no influence.

    Returns:
        (4, 4) transform, or None when the weighted points do not fix a rotation (fewer than three, or in one line).
    """
    total = float(weights.sum())
    if np.count_nonzero(weights > 0.0) < 3 or total <= 0.0:
        return None
    poses, determined = align_samples(points_a[None], points_b[None], weights[None])
    return poses[0] if determined[0] else None


def align_samples(points_a: Array, points_b: Array, weights: Array) -> tuple[Array, NDArray[np.bool_]]:
    """:func:`align_points` of (K, N, 3) samples with (K, N) weights, each of which has a positive sum.

    Returns:
        (K, 4, 4) transforms, and (K,) bool, whether the points fix them.
    """
    w = (weights / weights.sum(axis=1, keepdims=True))[:, :, None]
    centroid_a, centroid_b = (w * points_a).sum(axis=1), (w * points_b).sum(axis=1)
    spread = (points_a - centroid_a[:, None]).transpose(0, 2, 1) @ ((points_b - centroid_b[:, None]) * w)
    u, singular, vt = np.linalg.svd(spread)
    determined = singular[:, 1] > 1e-9 * np.maximum(singular[:, 0], 1e-12)
    u[:, :, 2] *= (np.linalg.det(u) * np.linalg.det(vt))[:, None]
    poses = np.tile(np.eye(4), (len(w), 1, 1))
    poses[:, :3, :3] = u @ vt
    poses[:, :3, 3] = centroid_a - (poses[:, :3, :3] @ centroid_b[:, :, None])[:, :, 0]
    return poses, determined
