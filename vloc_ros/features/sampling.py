"""Descriptors at key points from the maps of a network, as :mod:`vloc_ros.networks.local` computes them, in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def sample_columns(
    maps: Sequence[Array], strides: Sequence[int], keypoints: Array, size: tuple[int, int], through_pixels: bool
) -> Array:
    """(C, N) values of all maps, one above the other, at key points; see ``networks.local.sample_maps`` for the two ways.

    Args:
        maps: each (C_i, h, w).
        strides: pixels of the image from one element of each to the next.
        keypoints: (N, 2) positions (u, v) in the image [px].
        size: (width, height) of the image [px].
        through_pixels: read the maps as if they were enlarged to the size of the image.
    """
    if not through_pixels:
        return _columns(maps, strides, keypoints)
    base = np.floor(keypoints)
    u, v = (keypoints - base).T
    limit = np.array(size, dtype=np.float32) - 1
    total: Array | None = None
    for du, dv, weight in ((0, 0, (1 - u) * (1 - v)), (1, 0, u * (1 - v)), (0, 1, (1 - u) * v), (1, 1, u * v)):
        corner = np.clip(base + np.array([du, dv], dtype=np.float32), 0, limit)
        part = _columns(maps, strides, corner)
        part *= weight
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None  # four terms
    return total


def descriptors_of(columns: Array, projection: Array | None, centred: bool = True) -> Array:
    """(N, D) descriptors of unit length from (C, N) samples.

    Args:
        columns: the samples.
        projection: (D, C) from them to descriptors, or None.
        centred: whether without a projection their mean is taken away.
    """
    if projection is not None:
        columns = projection @ columns
    elif centred:
        columns = columns - columns.mean(axis=0)
    rows = np.array(columns.T, order="C")
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    rows /= np.maximum(lengths, np.float32(1e-6))[:, None]
    return rows


def _columns(maps: Sequence[Array], strides: Sequence[int], keypoints: Array) -> Array:
    result = np.empty((sum(len(one) for one in maps), len(keypoints)), dtype=np.float32)
    row = 0
    for one, stride in zip(maps, strides, strict=True):
        bilinear(one, (keypoints + np.float32(0.5)) / np.float32(stride) - np.float32(0.5), result[row : row + len(one)])
        row += len(one)
    return result


def bilinear(one: Array, points: Array, out: Array | None = None) -> Array:
    """(C, N) bilinear samples of a (C, h, w) map at (N, 2) points (u, v) of it; the border is continued outwards.

    Args:
        one: the map.
        points: in its own pixels.
        out: (C, N) array that the samples are written to, and that is returned; a new one without.
    """
    channels, height, width = one.shape
    u, v = np.clip(points[:, 0], 0, width - 1), np.clip(points[:, 1], 0, height - 1)
    left, top = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    du, dv = (u - left).astype(np.float32), (v - top).astype(np.float32)
    flat = one.reshape(channels, height * width)
    # Channel by channel, not point by point: the planes of the fine maps, but not the maps, fit into the cache.
    found: Array = np.multiply(flat.take(top * width + left, axis=1), (1 - du) * (1 - dv), out=out)
    for at, weight in (
        (top * width + right, du * (1 - dv)),
        (below * width + left, (1 - du) * dv),
        (below * width + right, du * dv),
    ):
        corner = flat.take(at, axis=1)
        corner *= weight
        found += corner
    return found
