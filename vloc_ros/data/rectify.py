"""Rectification of stereo pairs and of single images, with the maps computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.errors import CalibrationError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import inverse

Array = NDArray[np.float64]
FISHEYE_MODELS = ("equidistant", "fisheye")
POLYNOMIAL_MODELS = ("radial-tangential", "radtan", "plumb_bob", "rational_polynomial", "none", "")


@dataclass(frozen=True, slots=True)
class RawCamera:
    """A camera as calibrated, before rectification.

    Attributes:
        size: (width, height) [px].
        matrix: (3, 3) intrinsic matrix.
        model: name of the distortion model, ``radial-tangential``, ``plumb_bob``, ``rational_polynomial`` or ``equidistant``.
        coefficients: its (K,) coefficients in OpenCV's order.
    """

    size: tuple[int, int]
    matrix: Array
    model: str
    coefficients: Array

    def __post_init__(self) -> None:
        if self.model not in (*FISHEYE_MODELS, *POLYNOMIAL_MODELS):
            known = ", ".join(name for name in (*POLYNOMIAL_MODELS, *FISHEYE_MODELS) if name)
            raise CalibrationError(f"unknown distortion model '{self.model}'; known: {known}")
        lengths = (4,) if self.is_fisheye else (0, 4, 5, 8, 12, 14)
        if len(self.coefficients) not in lengths and np.any(self.coefficients):
            raise CalibrationError(f"distortion model '{self.model}' cannot have {len(self.coefficients)} coefficients")
        if not (np.all(np.isfinite(self.matrix)) and np.all(np.isfinite(self.coefficients))):
            raise CalibrationError("the camera calibration holds a value that is not a number")
        if self.matrix[0, 0] <= 0.0 or self.matrix[1, 1] <= 0.0:
            raise CalibrationError("the focal lengths must be positive; calibrate the camera")

    @property
    def is_fisheye(self) -> bool:
        """Whether the model is that of OpenCV's fisheye module (Kannala-Brandt)."""
        return self.model in FISHEYE_MODELS and bool(np.any(self.coefficients))

    @property
    def is_undistorted(self) -> bool:
        """Whether the lens bends nothing."""
        return not np.any(self.coefficients)


class UndistortMap:
    """Resamples images of one raw camera into a rectified one."""

    def __init__(self, raw: RawCamera, rotation: Array, matrix: Array) -> None:
        """Compute the map.

        Args:
            raw: camera of the images.
            rotation: (3, 3) rectified_R_raw.
            matrix: (3, 3) intrinsic matrix of the rectified image, which has the size of the raw one.
        """
        functions: Any = cv2.fisheye if raw.is_fisheye else cv2
        coefficients = raw.coefficients if len(raw.coefficients) else np.zeros(4)
        maps = functions.initUndistortRectifyMap(raw.matrix, coefficients, rotation, matrix, raw.size, cv2.CV_32FC1)
        self._whole, self._fraction = cv2.convertMaps(maps[0], maps[1], cv2.CV_16SC2)
        self._nearest, _ = cv2.convertMaps(maps[0], maps[1], cv2.CV_16SC2, nninterpolation=True)

    def image(self, image: Image) -> Image:
        """Resample intensities, linearly."""
        return np.asarray(cv2.remap(image, self._whole, self._fraction, cv2.INTER_LINEAR), dtype=np.uint8)

    def depth(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resample depth by nearest neighbour, for a mean of two depths is neither."""
        nothing: Any = None
        return np.asarray(cv2.remap(depth, self._nearest, nothing, cv2.INTER_NEAREST), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class StereoRectification:
    """How a raw pair becomes a rectified one.

    Attributes:
        camera: the rectified camera.
        rectified_R_left: (3, 3) rotation from the raw to the rectified left camera.
        left, right: resampling of the two images; None when they are rectified already.
    """

    camera: StereoCamera
    rectified_R_left: Array
    left: UndistortMap | None
    right: UndistortMap | None


def rectify_stereo(left: RawCamera, right: RawCamera, left_T_right: Array) -> StereoRectification:
    """Rectify a calibrated pair so that all pixels of both results are seen by the raw cameras.

    Args:
        left: the raw left camera.
        right: the raw right camera.
        left_T_right: (4, 4) pose of the right in the left camera.

    Raises:
        CalibrationError: the images differ in size or lens model, or the right camera is not to the right of the left one.
    """
    if left.size != right.size:
        raise CalibrationError(f"the left images are {left.size} px but the right ones {right.size}; they must be of one size")
    if left.is_fisheye != right.is_fisheye:
        raise CalibrationError(f"the lens models of the pair differ ('{left.model}' and '{right.model}')")
    if _is_rectified(left, right, left_T_right):
        return StereoRectification(_camera(left.matrix, left.size, left_T_right[0, 3]), np.eye(3), None, None)
    if abs(left_T_right[0, 3]) <= max(abs(left_T_right[1, 3]), abs(left_T_right[2, 3])):
        raise CalibrationError("the cameras stand above or behind each other; only pairs side by side can be used")
    R_left, R_right, P_left, P_right = _rectifying(left, right, inverse(left_T_right))
    matrix = P_left[:3, :3]
    if left.is_fisheye:
        matrix = _zoomed(matrix, ((left, R_left), (right, R_right)))
    camera = _camera(matrix, left.size, -P_right[0, 3] / P_right[0, 0])
    return StereoRectification(camera, R_left, UndistortMap(left, R_left, matrix), UndistortMap(right, R_right, matrix))


def _rectifying(left: RawCamera, right: RawCamera, right_T_left: Array) -> tuple[Array, Array, Array, Array]:
    """Rectifying rotations and (3, 4) projection matrices of both cameras (Bouguet's method)."""
    rotation, translation = right_T_left[:3, :3], right_T_left[:3, 3]
    raw = (left.matrix, left.coefficients, right.matrix, right.coefficients, left.size, rotation, translation)
    result: Any
    if left.is_fisheye:
        result = cv2.fisheye.stereoRectify(*raw, flags=cv2.CALIB_ZERO_DISPARITY, newImageSize=left.size, balance=0.0)
    else:
        result = cv2.stereoRectify(*raw, flags=cv2.CALIB_ZERO_DISPARITY, alpha=0.0, newImageSize=left.size)
    R_left, R_right, P_left, P_right = (np.asarray(matrix, dtype=np.float64) for matrix in result[:4])
    return R_left, R_right, P_left, P_right


def undistort_single(raw: RawCamera) -> tuple[Array, UndistortMap | None]:
    """(3, 3) matrix of the undistorted image, all of whose pixels the raw camera sees, and the map (None: nothing to do)."""
    if raw.is_undistorted:
        return raw.matrix, None
    if raw.is_fisheye:
        matrix = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
            raw.matrix, raw.coefficients, raw.size, np.eye(3), balance=0.0
        )
    else:
        matrix, _ = cv2.getOptimalNewCameraMatrix(raw.matrix, raw.coefficients, raw.size, 0.0)
    matrix = np.asarray(matrix, dtype=np.float64)
    if raw.is_fisheye:
        matrix = _zoomed(matrix, ((raw, np.eye(3)),))
    return matrix, UndistortMap(raw, np.eye(3), matrix)


def _zoomed(matrix: Array, views: tuple[tuple[RawCamera, Array], ...]) -> Array:
    """The matrix with focal lengths so long that the raw cameras see all pixels; OpenCV leaves black corners for fisheyes.

    Args:
        matrix: (3, 3) intrinsic matrix to begin with.
        views: raw cameras and their (3, 3) rectified_R_raw.
    """
    for zoom in np.arange(1.0, 4.0, 0.01):
        zoomed = np.asarray(matrix * [[zoom, 1.0, 1.0], [1.0, zoom, 1.0], [1.0, 1.0, 1.0]], dtype=np.float64)
        if all(_sees_all(raw, rotation, zoomed) for raw, rotation in views):
            return zoomed
    raise CalibrationError("no part of the images is free of unseen corners after rectification; is the calibration right?")


def _sees_all(raw: RawCamera, rotation: Array, matrix: Array) -> bool:
    """Whether every pixel on the border of the rectified image comes from within the raw one."""
    width, height = raw.size
    across, down = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    border = [(across, 0.0 * across), (across, 0.0 * across + height - 1), (0.0 * down, down), (0.0 * down + width - 1, down)]
    u, v = np.hstack(border)
    rays = np.linalg.solve(matrix, np.stack([u, v, np.ones_like(u)])).T @ rotation
    theta = np.arctan2(np.linalg.norm(rays[:, :2], axis=1), rays[:, 2])
    radius = theta * (1.0 + np.polynomial.polynomial.polyval(theta**2, [0.0, *raw.coefficients]))
    direction = rays[:, :2] / np.maximum(np.linalg.norm(rays[:, :2], axis=1, keepdims=True), 1e-12)
    pixels = direction * radius[:, None] * [raw.matrix[0, 0], raw.matrix[1, 1]] + raw.matrix[:2, 2]
    return bool(np.all(pixels >= 0.0) and np.all(pixels <= [width - 1, height - 1]))


def _is_rectified(left: RawCamera, right: RawCamera, left_T_right: Array) -> bool:
    parallel = np.allclose(left_T_right[:3, :3], np.eye(3), atol=1e-9)
    level = np.allclose(left_T_right[1:3, 3], 0.0, atol=1e-9)
    alike = np.allclose(left.matrix, right.matrix, atol=1e-9)
    return bool(left.is_undistorted and right.is_undistorted and parallel and level and alike)


def _camera(matrix: Array, size: tuple[int, int], baseline: float) -> StereoCamera:
    return StereoCamera(*size, float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2]), float(baseline))
