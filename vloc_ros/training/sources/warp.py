"""Where each pixel of an image is in another one: from depth and poses, or through homographies."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry.camera import StereoCamera

Array = NDArray[np.float64]
Map = NDArray[np.float32]
_RELATIVE, _ABSOLUTE_PER_M = 0.02, 5e-4
"""Tolerance of the depth test, of the inverse depth: beyond, the pixel shows something else."""
_NEIGHBOURS = ((0, 0), (0, 1), (1, 0), (1, 1))


def warp_by_depth(camera: StereoCamera, inverse_a: Map, inverse_b: Map, b_T_a: Array) -> Map:
    """Where b shows what the pixels of a show.

    A point is visible in b when b's inverse depth there is its own. Inverse depth is linear in the image of a plane, so that
    interpolating it is exact on the ground even where that is seen at a grazing angle; at the edge of an object one of the four
    pixels around is enough.

    Args:
        camera: of both images.
        inverse_a: (H, W) inverse depth of a [1/m]; 0, negative or NaN where unknown or in the sky.
        inverse_b: likewise, of b.
        b_T_a: (4, 4) pose of camera a in camera b.

    Returns:
        (H, W, 2) positions (u, v) in b [px], NaN where unknown, out of view or hidden.
    """
    height, width = inverse_a.shape
    columns = np.arange(width, dtype=np.float32)[None, :]
    rows = np.arange(height, dtype=np.float32)[:, None]
    # Homogeneous points divided by the depth in a: R ray + t / depth.
    projection = (camera.matrix @ b_T_a[:3, :3] @ np.linalg.inv(camera.matrix)).astype(np.float32)
    shift = (camera.matrix @ b_T_a[:3, 3]).astype(np.float32)
    known = np.isfinite(inverse_a) & (inverse_a > 0.0)
    inverse = np.where(known, inverse_a, np.float32(0.0))
    x, y, z = (projection[k, 0] * columns + projection[k, 1] * rows + projection[k, 2] + shift[k] * inverse for k in range(3))
    ahead = known & (z > 1e-3)
    z = np.where(ahead, z, np.float32(1.0))
    warp = np.stack([x / z, y / z], axis=2)
    inside = ahead & contains(warp, width, height)
    warp[~(inside & _visible(warp, inverse / z, inverse_b, inside))] = np.nan
    return warp


def _visible(warp: Map, expected: Map, inverse_b: Map, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) mask of the pixels whose inverse depth in b is about the expected one."""
    height, width = inverse_b.shape
    tolerance = np.float32(_RELATIVE) * expected + np.float32(_ABSOLUTE_PER_M)
    clean = np.where(np.isfinite(inverse_b), inverse_b, np.float32(0.0))
    u, v = (np.where(inside, warp[..., k], np.float32(0.0)) for k in (0, 1))
    visible = np.abs(cv2.remap(clean, u, v, cv2.INTER_LINEAR) - expected) <= tolerance
    left, top = u.astype(np.intp), v.astype(np.intp)
    for down, right in _NEIGHBOURS:
        near = clean[np.minimum(top + down, height - 1), np.minimum(left + right, width - 1)]
        visible |= np.abs(near - expected) <= tolerance
    return np.asarray(visible)


def contains(warp: NDArray[np.floating[Any]], width: int, height: int) -> NDArray[np.bool_]:
    """(...) mask of the (..., 2) positions inside an image; NaN is outside."""
    u, v = warp[..., 0], warp[..., 1]
    return np.asarray((u >= 0.0) & (v >= 0.0) & (u <= width - 1) & (v <= height - 1))


def through_homography(homography: Array, pixels: NDArray[np.floating[Any]]) -> Array:
    """(..., 2) positions of (..., 2) pixels; NaN behind the camera."""
    mapped = pixels @ homography[:, :2].T + homography[:, 2]
    scale = np.where(mapped[..., 2:] > 1e-9, mapped[..., 2:], np.nan)
    return np.asarray(mapped[..., :2] / scale)


def pixel_grid(width: int, height: int) -> Array:
    """(H, W, 2) positions (u, v) of all pixels."""
    u, v = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    return np.stack([u, v], axis=2)
