"""The homography from pixels to metres on the ground that most matches agree on, and how uncertain what it maps is.

MAGSAC++ (Barath et al., CVPR 2020) of OpenCV finds it, and least squares over its inliers finish it. Uncertainty to first order, as
in Hartley and Zisserman, Multiple View Geometry, section 5.2.4: the covariance of the eight parameters is (J^T J)^-1 sigma^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.nadir import apply

Array = NDArray[np.float64]
LEAST = 4
"""Matches that a homography takes."""
_ROUNDS, _ITERATIONS, _CONFIDENCE = 10, 20_000, 0.9999
_SMALLEST_SINGULAR = 1e-7
"""Of the normalised Jacobian in its largest: below it the matches leave a direction open."""


@unique
class HomographyFailure(Enum):
    """Why there is none."""

    TOO_FEW = "fewer than four matches"
    NONE = "no homography that more than its own four matches agree on"
    DEGENERATE = "the matches that agree lie on a line or at a point"


@dataclass(frozen=True, slots=True)
class GroundHomography:
    """From pixels of a view to metres.

    Attributes:
        matrix: (3, 3), its last element 1 in the normalised coordinates that it was solved in; positive depth is in front.
        inliers: (N,) matches that agree.
        sigma_m: standard deviation of one coordinate of an inlier [m].
        condition: of the homography in normalised coordinates: 1 for a similarity, large for a fold.
        normal: (3, 3) from pixels to normalised ones.
        metric: (3, 3) from metres to normalised ones, the second of which points south.
        parameters: (8, 8) covariance of the first eight elements in normalised coordinates.
    """

    matrix: Array
    inliers: NDArray[np.bool_]
    sigma_m: float
    condition: float
    normal: Array
    metric: Array
    parameters: Array

    @property
    def count(self) -> int:
        """How many matches agree."""
        return int(self.inliers.sum())

    def ground(self, pixels: Array) -> Array:
        """(N, 2) metres of (N, 2) pixels."""
        return apply(self.matrix, pixels)

    def depths(self, pixels: Array) -> Array:
        """(N,) third coordinates; where they are not positive, pixels see no ground."""
        made: Array = np.atleast_2d(pixels) @ self.matrix[2, :2] + self.matrix[2, 2]
        return made

    def jacobian(self, pixel: Array) -> Array:
        """(2, 2) derivative of metres by pixels at a (2,) pixel."""
        return derivative(self.matrix, pixel)

    def covariance(self, pixel: Array) -> Array:
        """(2, 2) covariance of the metres of a (2,) pixel, from what the inliers leave open [m^2]."""
        normalised = self.metric @ self.matrix @ np.linalg.inv(self.normal)
        at = apply(self.normal, pixel)
        rows = _jacobian(normalised / normalised[2, 2], at)
        back = np.linalg.inv(self.metric[:2, :2])
        made: Array = back @ rows @ self.parameters @ rows.T @ back.T
        return made


def derivative(matrix: Array, point: Array) -> Array:
    """(2, 2) derivative of a homography at a (2,) point."""
    x, y, w = matrix @ np.append(point, 1.0)
    made: Array = (matrix[:2, :2] - np.outer([x / w, y / w], matrix[2, :2])) / w
    return made


def estimate(pixels: Array, metres: Array, threshold_m: float) -> GroundHomography | HomographyFailure:
    """The homography that most matches agree on. Deterministic.

    Args:
        pixels: (N, 2) of a view.
        metres: (N, 2) where they are on the ground, east and north. A mirrored view of it is not found.
        threshold_m: farthest that an inlier may be from where the homography puts it [m].

    Returns:
        It, or why there is none.
    """
    if len(pixels) < LEAST:
        return HomographyFailure.TOO_FEW
    if _collinear(pixels) or _collinear(metres):
        return HomographyFailure.DEGENERATE
    # North points up and v down: OpenCV refuses samples that are mirrored, so both must turn the same way.
    normal, metric = _normalising(pixels), np.diag([1.0, -1.0, 1.0]) @ _normalising(metres)
    source, target = apply(normal, pixels), apply(metric, metres)
    threshold = threshold_m * metric[0, 0]
    matrix = _robust(source, target, threshold)
    if matrix is None:
        return HomographyFailure.NONE
    fitted, inliers = _refined(matrix, source, target, threshold)
    if fitted is None:
        return HomographyFailure.DEGENERATE if inliers.sum() >= LEAST else HomographyFailure.NONE
    return _described(fitted, inliers, (normal, metric), source, target)


def _robust(source: Array, target: Array, threshold: float) -> Array | None:
    """What OpenCV finds, with a last element of 1; None when it finds nothing."""
    # OpenCV's thresholds are meant for pixels: with points of about 1 its internal tolerances would not fit.
    blow = 100.0
    try:
        found, _ = cv2.findHomography(
            blow * source, blow * target, cv2.USAC_MAGSAC, blow * threshold, maxIters=_ITERATIONS, confidence=_CONFIDENCE
        )
    except cv2.error:  # no sample of four that is not degenerate
        return None
    if found is None or found.shape != (3, 3) or not np.isfinite(found).all():
        return None
    matrix: Array = np.diag([1.0, 1.0, blow]) @ found @ np.diag([1.0, 1.0, 1.0 / blow])
    return None if abs(matrix[2, 2]) < 1e-9 else matrix / matrix[2, 2]


def _refined(matrix: Array, source: Array, target: Array, threshold: float) -> tuple[Array | None, NDArray[np.bool_]]:
    """Gauss-Newton over the inliers, which are chosen anew in each round; None when they do not determine a homography."""
    inliers = _agreeing(matrix, source, target, threshold)
    for _ in range(_ROUNDS):
        if inliers.sum() < LEAST:
            return None, inliers
        residuals = (target[inliers] - apply(matrix, source[inliers])).ravel()
        step, _, _, singular = np.linalg.lstsq(_jacobian(matrix, source[inliers]), residuals, rcond=None)
        if singular[-1] < _SMALLEST_SINGULAR * singular[0]:
            return None, inliers
        matrix = matrix + np.append(step, 0.0).reshape(3, 3)
        before, inliers = inliers, _agreeing(matrix, source, target, threshold)
        if np.abs(step).max() < 1e-10 and bool((before == inliers).all()):
            break
    return (matrix, inliers) if inliers.sum() >= LEAST else (None, inliers)


def _described(
    matrix: Array, inliers: NDArray[np.bool_], scales: tuple[Array, Array], source: Array, target: Array
) -> GroundHomography | HomographyFailure:
    normal, metric = scales
    jacobian = _jacobian(matrix, source[inliers])
    singular = np.linalg.svd(jacobian, compute_uv=False)
    if singular[-1] < _SMALLEST_SINGULAR * singular[0]:
        return HomographyFailure.DEGENERATE
    residuals = (target[inliers] - apply(matrix, source[inliers])).ravel()
    variance = float(residuals @ residuals) / max(1, residuals.size - 8)
    whole = np.linalg.inv(metric) @ matrix @ normal
    return GroundHomography(
        matrix=whole,
        inliers=inliers,
        sigma_m=float(np.sqrt(variance)) / float(metric[0, 0]),
        condition=float(np.linalg.cond(matrix)),
        normal=normal,
        metric=metric,
        parameters=np.asarray(np.linalg.inv(jacobian.T @ jacobian) * variance, dtype=np.float64),
    )


def _agreeing(matrix: Array, source: Array, target: Array, threshold: float) -> NDArray[np.bool_]:
    """(N,) whether a match is within the threshold and in front."""
    in_front = source @ matrix[2, :2] + matrix[2, 2] > 0.0
    distance = np.linalg.norm(target - apply(matrix, source), axis=1)
    made: NDArray[np.bool_] = in_front & (distance <= threshold)
    return made


def _jacobian(matrix: Array, source: Array) -> Array:
    """(2N, 8) derivatives of mapped points by the first eight elements of a homography whose last is 1."""
    points = np.atleast_2d(source)
    ones = np.column_stack([points, np.ones(len(points))])
    w = ones @ matrix[2]
    mapped = apply(matrix, points)
    rows = np.zeros((len(points), 2, 8))
    rows[:, 0, 0:3] = rows[:, 1, 3:6] = ones / w[:, None]
    rows[:, :, 6:8] = -mapped[:, :, None] * points[:, None, :] / w[:, None, None]
    return rows.reshape(-1, 8)


def _normalising(points: Array) -> Array:
    """(3, 3) that brings points to zero mean and a root mean square distance of sqrt(2) (Hartley 1997)."""
    mean = points.mean(axis=0)
    scale = np.sqrt(2.0) / max(float(np.sqrt(((points - mean) ** 2).sum(axis=1).mean())), 1e-12)
    return np.array([[scale, 0.0, -scale * mean[0]], [0.0, scale, -scale * mean[1]], [0.0, 0.0, 1.0]])


def _collinear(points: Array) -> bool:
    """Whether points lie on a line or at a point."""
    if not np.isfinite(points).all():
        return True
    singular = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(singular[-1] <= 1e-6 * max(float(singular[0]), 1e-12))
