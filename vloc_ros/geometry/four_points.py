"""Homographies of four points, many at once, and what maps they make of other points; as networks/homography.py, without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_LEAST_AREA = 1e-2
"""Of each triangle of a quadrilateral, of that of half the square around the points: below, they are nearly on one line."""
_LEAST_DEPTH = 1e-6
"""Of a mapped point, where the middle of the four points has 1: at or below, it is at infinity or behind the camera."""


def homographies_of(source: NDArray[Any], target: NDArray[Any]) -> tuple[Array, Mask]:
    """The homographies that map four points to four others each (direct linear transform, normalised after Hartley 1997).

    Args:
        source: (B, 4, 2).
        target: (B, 4, 2).

    Returns:
        (B, 3, 3) with a depth of 1 in the middle of the source points, and (B,) whether it is one: where :func:`is_sound` says
        no, all elements are NaN.
    """
    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    good = is_sound(source, target)
    result = np.full((len(source), 3, 3), np.nan)
    if not good.any():
        return result, good
    a, a_T = _normalised(source[good])
    b, b_T = _normalised(target[good])
    one, zero = np.ones(a.shape[:2]), np.zeros(a.shape[:2])
    x, y, u, v = a[..., 0], a[..., 1], b[..., 0], b[..., 1]
    along = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=2)
    down = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=2)
    # The middle of sound points is inside the quadrilateral, never on the horizon: the last element can be 1.
    solved = np.linalg.solve(np.concatenate([along, down], axis=1), np.concatenate([u, v], axis=1)[..., None])[..., 0]
    matrix = np.concatenate([solved, np.ones((len(solved), 1))], axis=1).reshape(-1, 3, 3)
    result[good] = np.linalg.inv(b_T) @ matrix @ a_T
    good &= np.isfinite(result).all(axis=(1, 2))
    result[~good] = np.nan
    return result, good


def is_sound(source: NDArray[Any], target: NDArray[Any]) -> Mask:
    """(B,) whether both quadrilaterals are convex and turn the same way, none of their corners nearly on one line.

    A camera that looks at a plane from one side sees nothing else. (B, 4, 2) points each.
    """
    a, b = _turns(source), _turns(target)
    one_sign = ((a > 0.0) & (b > 0.0)).all(axis=1) | ((a < 0.0) & (b < 0.0)).all(axis=1)
    return np.asarray((np.abs(a) > _LEAST_AREA).all(axis=1) & (np.abs(b) > _LEAST_AREA).all(axis=1) & one_sign, dtype=bool)


def project(homographies: NDArray[Any], points: NDArray[Any]) -> tuple[Array, Mask]:
    """Where (B, 3, 3) homographies map (B, N, 2) or (N, 2) points.

    Returns:
        (B, N, 2) positions, NaN where there is none, and (B, N) whether there is one: a point at the horizon of the
        homography or beyond it has none. Homographies of positive depth where they are believed, as those of
        :func:`homographies_of`.
    """
    points = np.broadcast_to(np.asarray(points, dtype=np.float64), (len(homographies), *points.shape[-2:]))
    mapped = points @ np.swapaxes(homographies[:, :, :2], 1, 2) + homographies[:, None, :, 2]
    depth = mapped[..., 2:]
    there = depth > _LEAST_DEPTH
    return np.where(there, mapped[..., :2] / np.where(there, depth, 1.0), np.nan), there[..., 0]


def inliers_of(homographies: NDArray[Any], source: NDArray[Any], target: NDArray[Any], tolerance: float) -> Mask:
    """(B, N) whether (B, N, 2) or (N, 2) source points are mapped nearer than a tolerance to the target points, unit as these.

    False where a homography is NaN, and for points that it maps to the horizon or beyond.
    """
    mapped, there = project(homographies, source)
    distance = np.linalg.norm(np.where(there[..., None], mapped - target, np.inf), axis=2)
    return np.asarray(distance < tolerance, dtype=bool)


def is_spread(points: NDArray[Any]) -> bool:
    """Whether (N, 2) points are not all nearly on one line, nor in one spot."""
    if len(points) < 3:
        return False
    values = np.linalg.svd(np.asarray(points, dtype=np.float64) - points.mean(axis=0), compute_uv=False)
    return bool(values[1] > _LEAST_AREA * values[0])


def is_view_of_plane(homography: NDArray[Any], points: NDArray[Any]) -> bool:
    """Whether a camera could see so the part of a plane that (N, 2) points are spread over; depth must be positive there."""
    if not np.isfinite(homography).all() or not is_spread(points):
        return False
    low, high = points.min(axis=0), points.max(axis=0)
    box = np.array([low, [high[0], low[1]], high, [low[0], high[1]]], dtype=np.float64)
    mapped, there = project(homography[None], box)
    return bool(there.all() and is_sound(box[None], mapped)[0])


def _turns(points: NDArray[Any]) -> Array:
    """(B, 4) areas of the triangles at the corners, with their sign, relative to the extent of the points."""
    points = np.asarray(points, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        ahead, behind = np.roll(points, -1, axis=1) - points, np.roll(points, 1, axis=1) - points
        area = ahead[..., 0] * behind[..., 1] - ahead[..., 1] * behind[..., 0]
        extent = np.maximum(np.ptp(points, axis=1).max(axis=1, keepdims=True), 1e-12)
        return np.asarray(np.nan_to_num(area / extent**2, nan=0.0, posinf=0.0, neginf=0.0), dtype=np.float64)


def _normalised(points: Array) -> tuple[Array, Array]:
    """Points around the origin at a mean distance of sqrt(2), and the (B, 3, 3) similarities that took them there."""
    middle = points.mean(axis=1, keepdims=True)
    scale = np.sqrt(2.0) / np.maximum(np.linalg.norm(points - middle, axis=2).mean(axis=1), 1e-12)
    matrix = np.zeros((len(points), 3, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = scale
    matrix[:, :2, 2] = -scale[:, None] * middle[:, 0]
    matrix[:, 2, 2] = 1.0
    return (points - middle) * scale[:, None, None], matrix
