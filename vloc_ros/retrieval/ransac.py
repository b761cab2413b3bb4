"""Homographies of matched points by RANSAC, as re-rankers report them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry.four_points import inliers_of, is_view_of_plane
from vloc_ros.retrieval.rerank import Doubt, Verification

Array = NDArray[np.float64]
_ITERATIONS = 2000
_CONFIDENCE = 0.999
_UNIT = 1000.0
"""OpenCV's tests are on absolute numbers that suit pixels."""


def verify_by_ransac(
    source: NDArray[np.float32],
    target: NDArray[np.float32],
    tolerance: float,
    sizes: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> Verification:
    """What OpenCV's RANSAC says of matched positions. Deterministic: OpenCV seeds it anew for each call.

    Args:
        source: (N, 2) positions in the query, shares of its width and height.
        target: (N, 2) positions in the candidate likewise.
        tolerance: largest error of an inlier, a share of the longer side of the candidate.
        sizes: (2,) width and height of the query and of the candidate in any unit; by default both are square.
    """
    if len(source) < 4:
        return Verification.without(Doubt.TOO_FEW_MATCHES, len(source))
    a_scale, b_scale = (np.ones(2), np.ones(2)) if sizes is None else (size / np.max(size) for size in sizes)
    a, b = (source * a_scale).astype(np.float64), (target * b_scale).astype(np.float64)
    # A circle around a point is to be one in the image, so both axes have one unit here.
    homography = _homography(a, b, tolerance)
    if isinstance(homography, Doubt):
        return Verification.without(homography, len(source))
    inliers = inliers_of(homography[None], a, b, tolerance)[0]
    if inliers.sum() < 4 or not is_view_of_plane(homography, a[inliers]):
        return Verification.without(Doubt.DEGENERATE, len(source))
    in_shares = np.diag([*(1.0 / b_scale), 1.0]) @ homography @ np.diag([*a_scale, 1.0])
    return Verification(int(inliers.sum()), len(source), in_shares, source[inliers], target[inliers])


def _homography(source: Array, target: Array, tolerance: float) -> Array | Doubt:
    """(3, 3), of depth 1 in the middle of its inliers."""
    found, mask = cv2.findHomography(
        source * _UNIT, target * _UNIT, cv2.RANSAC, tolerance * _UNIT, maxIters=_ITERATIONS, confidence=_CONFIDENCE
    )
    if found is None or not np.isfinite(found).all() or not mask.any():
        return Doubt.NO_MODEL
    scaling = np.diag([_UNIT, _UNIT, 1.0])
    homography: Array = np.linalg.inv(scaling) @ found @ scaling
    depth = float(homography[2] @ [*source[mask.ravel() > 0].mean(axis=0), 1.0])
    return homography / depth if abs(depth) > 1e-9 else Doubt.DEGENERATE
