"""Mutual nearest neighbours of the patches of two images, for many candidates at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mutual_matches(query: NDArray[np.float32], candidates: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    """Which patches are each other's nearest by their cosine; the first one where several are as near.

    Args:
        query: (N, C) descriptors of unit length.
        candidates: (B, M, C) likewise.

    Returns:
        For each candidate (K, 2) rows (patch of the query, patch of the candidate), in the order of the query.
    """
    found = []
    for candidate in candidates:
        cosine = query @ candidate.T
        of_query, of_candidate = cosine.argmax(axis=1), cosine.argmax(axis=0)
        kept = np.flatnonzero(of_candidate[of_query] == np.arange(len(query)))
        found.append(np.stack([kept, of_query[kept]], axis=1).astype(np.int64))
    return found


def patch_centres(side: int) -> NDArray[np.float32]:
    """(side * side, 2) centres (x, y) of patches row by row, shares of the width and height of an image: (k + 0.5) / side.

    At 24 patches of 16 px that is 8, 24, ..., 376 px, as published.
    """
    along = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)
    return np.asarray(np.stack(np.meshgrid(along, along), axis=2).reshape(-1, 2), dtype=np.float32)


def padded(points: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """(B, K, 2) of B arrays of up to K points, NaN behind the last one of each."""
    result = np.full((len(points), max((len(one) for one in points), default=0), 2), np.nan)
    for row, one in enumerate(points):
        result[row, : len(one)] = one
    return result
