"""Key points in a map of probabilities, as published for SuperPoint: a threshold, the best within a radius, and between pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.features.keypoints import KeyPoints

Map = NDArray[np.float32]
_SIDE = 5  # of the patch whose centre of mass is the key point [px]


def probable(probabilities: Map, threshold: float = 0.015, radius: int = 4, border: int = 4) -> KeyPoints:
    """Key points, best first, each with its probability.

    Pixels are taken by falling probability, and whatever lies within ``radius`` along both axes of one that was taken is not. The
    position between pixels is the centre of mass of the 5 x 5 pixels around.

    Args:
        probabilities: (H, W) of a key point at each pixel; what is not finite counts as 0.
        threshold: less probable pixels are none.
        radius: of the neighbourhood of which the best is taken [px].
        border: rows and columns along the border where nothing is found [px].
    """
    clean = np.nan_to_num(probabilities, nan=0.0, posinf=0.0, neginf=0.0)
    taken = greedy_maxima(np.where(clean >= threshold, clean, np.float32(0.0)), radius)
    inner = np.zeros_like(taken)
    height, width = taken.shape
    inner[border : height - border, border : width - border] = True
    rows, columns = np.nonzero(taken & inner)
    values = clean[rows, columns]
    order = np.argsort(-values, kind="stable")
    at = np.column_stack([columns, rows])[order]
    return KeyPoints((at + _centres(clean, at)).astype(np.float32), values[order])


def greedy_maxima(values: Map, radius: int) -> NDArray[np.bool_]:
    """(H, W) of the positive pixels that are taken by falling value, each of which excludes those within a radius along both axes.

    In rounds: what is the largest around is taken, and what it excludes counts no more. Of equal neighbours the first is taken.
    """
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    left = _distinct(values)
    taken = np.zeros(values.shape, dtype=bool)
    while left.any():
        best = (left >= cv2.dilate(left, kernel)) & (left > 0.0)
        taken |= best
        left[cv2.dilate(best.view(np.uint8), kernel).view(bool)] = 0.0
    return taken


def _distinct(values: Map) -> Map:
    """Ranks in place of values, so that no two pixels are equal; 0 for what is not positive."""
    ranks = np.zeros(values.size, dtype=np.float32)
    flat = values.ravel()
    positive = np.flatnonzero(flat > 0.0)
    order = positive[np.argsort(-flat[positive], kind="stable")]  # of equal ones the first comes first
    # float32 counts exactly to 2^24, which is a map of 4096 x 4096 pixels all above the threshold.
    ranks[order] = np.arange(len(order), 0, -1, dtype=np.float32)
    return ranks.reshape(values.shape)


def _centres(values: Map, at: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, 2) offsets of the centre of mass of the patches around (N, 2) pixels; what lies outside has no mass."""
    half = _SIDE // 2
    padded = np.pad(values, half)
    patches = np.lib.stride_tricks.sliding_window_view(padded, (_SIDE, _SIDE))[at[:, 1], at[:, 0]]
    masses = patches.reshape(len(at), _SIDE, _SIDE).astype(np.float64)
    offsets = np.arange(-half, half + 1)
    total = masses.sum(axis=(1, 2))
    made: NDArray[np.float64] = np.column_stack([masses.sum(axis=1) @ offsets, masses.sum(axis=2) @ offsets]) / total[:, None]
    return made
