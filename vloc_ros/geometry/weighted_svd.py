"""Closed-form alignment of matched points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry import se3

Array = NDArray[np.float64]


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
    w = weights / total
    centroid_a, centroid_b = w @ points_a, w @ points_b
    spread = (points_a - centroid_a).T @ ((points_b - centroid_b) * w[:, None])
    u, singular, vt = np.linalg.svd(spread)
    if singular[1] <= 1e-9 * max(singular[0], 1e-12):
        return None
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u) * np.linalg.det(vt)]) @ vt
    return se3.from_rotation_translation(rotation, centroid_a - rotation @ centroid_b)
