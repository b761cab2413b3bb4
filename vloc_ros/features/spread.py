"""Choice of key points that cover the image: a pose needs them everywhere, not only on the best-textured wall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CELLS = (16, 10)


def spread_evenly(
    keypoints: NDArray[np.float32], scores: NDArray[np.float32], size: tuple[int, int], count: int
) -> NDArray[np.int64]:
    """Indices of at most ``count`` key points: the best of each cell first, then the second best, and so on.

    Args:
        keypoints: (N, 2) pixels.
        scores: (N,) larger is better.
        size: (width, height) of the image [px].
        count: how many to keep.

    Returns:
        (min(N, count),) indices, best score first.
    """
    order = np.argsort(-scores, kind="stable")
    if len(order) > count:
        columns = np.clip(keypoints[order, 0] * _CELLS[0] / size[0], 0, _CELLS[0] - 1).astype(np.int64)
        rows = np.clip(keypoints[order, 1] * _CELLS[1] / size[1], 0, _CELLS[1] - 1).astype(np.int64)
        cell = rows * _CELLS[0] + columns
        by_cell = np.argsort(cell, kind="stable")
        first = np.searchsorted(cell[by_cell], cell[by_cell])
        rank = np.empty(len(order), dtype=np.int64)
        rank[by_cell] = np.arange(len(order)) - first
        order = order[np.sort(np.argsort(rank, kind="stable")[:count])]
    return np.asarray(order, dtype=np.int64)
