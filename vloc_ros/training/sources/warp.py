"""Where each pixel of an image is in another one: from depth and poses, or through homographies."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.simulation.jit import jit_exact

Array = NDArray[np.float64]
Map = NDArray[np.float32]
_RELATIVE, _ABSOLUTE_PER_M = 0.02, 5e-4
"""Tolerance of the depth test, of the inverse depth: beyond, the pixel shows something else."""


def warp_by_depth(camera: StereoCamera, inverse_a: Map, inverse_b: Map, b_T_a: Array) -> Map:
    """Where b shows what the pixels of a show.

    A point is visible in b when b's inverse depth there is its own, within 2 %. Inverse depth is linear in the image of a plane,
    so that interpolating it is exact on the ground even where that is seen at a grazing angle; at the edge of an object one of the
    four pixels around is enough.

    Args:
        camera: of both images.
        inverse_a: (H, W) inverse depth of a [1/m]; 0, negative or NaN where unknown or in the sky.
        inverse_b: likewise, of b.
        b_T_a: (4, 4) pose of camera a in camera b.

    Returns:
        (H, W, 2) positions (u, v) in b [px], NaN where unknown, out of view or hidden.
    """
    # A homogeneous point divided by its depth in a is R ray + t / depth.
    projection = camera.matrix @ b_T_a[:3, :3] @ np.linalg.inv(camera.matrix)
    warp = np.full((*inverse_a.shape, 2), np.nan, dtype=np.float32)
    _project(projection, camera.matrix @ b_T_a[:3, 3], inverse_a, inverse_b, warp)
    return warp


@jit_exact
def _project(projection: Array, shift: Array, inverse_a: Map, inverse_b: Map, warp: Map) -> None:
    """Fill in the positions that are known; the rest of ``warp`` stays as it is."""
    height, width = inverse_b.shape
    for row in range(inverse_a.shape[0]):
        for column in range(inverse_a.shape[1]):
            inverse = inverse_a[row, column]
            if not inverse > 0.0:  # NaN as well
                continue
            x = projection[0, 0] * column + projection[0, 1] * row + projection[0, 2] + shift[0] * inverse
            y = projection[1, 0] * column + projection[1, 1] * row + projection[1, 2] + shift[1] * inverse
            z = projection[2, 0] * column + projection[2, 1] * row + projection[2, 2] + shift[2] * inverse
            if z < 1e-3:
                continue
            u, v = x / z, y / z
            # Where two camera poses are equal, the border must not be lost to rounding.
            if u < -1e-3 or v < -1e-3 or u > width - 1 + 1e-3 or v > height - 1 + 1e-3:
                continue
            u, v = min(max(u, 0.0), width - 1.0), min(max(v, 0.0), height - 1.0)
            if _visible(u, v, inverse / z, inverse_b):
                warp[row, column, 0] = u
                warp[row, column, 1] = v


@jit_exact
def _visible(u: float, v: float, expected: float, inverse_b: Map) -> bool:
    """Whether the inverse depth at a position in b, or at a pixel next to it, is about the expected one."""
    height, width = inverse_b.shape
    left, top = min(int(u), width - 2), min(int(v), height - 2)
    right_share, down_share = u - left, v - top
    tolerance = _RELATIVE * expected + _ABSOLUTE_PER_M
    between = 0.0
    for down in range(2):
        for right in range(2):
            near = inverse_b[top + down, left + right]
            if abs(near - expected) <= tolerance:
                return True
            share = (right_share if right == 1 else 1.0 - right_share) * (down_share if down == 1 else 1.0 - down_share)
            between += share * near
    return abs(between - expected) <= tolerance


def warp_through(b_H_a: Array, a_H_image: Array, image_size: tuple[int, int], view_size: tuple[int, int]) -> Map:
    """Where view b of an image shows what the pixels of view a show.

    Args:
        b_H_a: (3, 3) homography from pixels of view a to those of view b.
        a_H_image: (3, 3) homography from pixels of the image to those of view a.
        image_size: (width, height) of the image [px]; beyond its border nothing is known.
        view_size: (width, height) of both views [px].

    Returns:
        (H, W, 2) positions (u, v) in b [px], NaN where unknown or out of view.
    """
    width, height = view_size
    warp = np.full((height, width, 2), np.nan, dtype=np.float32)
    image_H_a = np.linalg.inv(a_H_image)
    # Both are known up to a scale; with a positive one at the centre of view a, what lies in front has a positive third row.
    centre = np.array([0.5 * (width - 1), 0.5 * (height - 1), 1.0])
    _map(b_H_a / (b_H_a[2] @ centre), image_H_a / (image_H_a[2] @ centre), image_size[0], image_size[1], warp)
    return warp


@jit_exact
def _map(b_H_a: Array, image_H_a: Array, image_width: int, image_height: int, warp: Map) -> None:
    height, width = warp.shape[:2]
    for row in range(height):
        for column in range(width):
            x, y, inside = _mapped(image_H_a, column, row, image_width, image_height)
            if not inside:
                continue
            x, y, inside = _mapped(b_H_a, column, row, width, height)
            if inside:
                warp[row, column, 0] = x
                warp[row, column, 1] = y


@jit_exact
def _mapped(homography: Array, u: float, v: float, width: int, height: int) -> tuple[float, float, bool]:
    """A position through a homography, and whether it is in front and inside an image."""
    z = homography[2, 0] * u + homography[2, 1] * v + homography[2, 2]
    if z < 1e-9:
        return 0.0, 0.0, False
    x = (homography[0, 0] * u + homography[0, 1] * v + homography[0, 2]) / z
    y = (homography[1, 0] * u + homography[1, 1] * v + homography[1, 2]) / z
    return x, y, 0.0 <= x <= width - 1 and 0.0 <= y <= height - 1


def positions_at(warp: Map, keypoints: NDArray[np.floating[Any]]) -> Array:
    """(N, 2) where b shows (N, 2) key points of a [px], NaN where unknown.

    Between pixels the warp is interpolated; next to unknown pixels it is that of the nearest one, moved along by what is left
    over, which loses no key point at the edge of what is known.
    """
    height, width = warp.shape[:2]
    u, v = (np.ascontiguousarray(keypoints[:, k], dtype=np.float32).reshape(-1, 1) for k in (0, 1))
    between = cv2.remap(warp, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(-1, 2)
    nearest = np.rint(keypoints).astype(np.intp)
    rows, columns = np.clip(nearest[:, 1], 0, height - 1), np.clip(nearest[:, 0], 0, width - 1)
    beside = warp[rows, columns] + (keypoints - nearest)
    return np.asarray(np.where(np.isfinite(between), between, beside), dtype=np.float64)
