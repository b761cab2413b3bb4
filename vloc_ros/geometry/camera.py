"""The rectified stereo camera: projection, back-projection and their Jacobians.

The sensor frame is the left optical frame (z forward, x right, y down). Pixel (0, 0) is the centre of the top-left pixel.
An RGB-D camera is a virtual stereo camera: its depth becomes the disparity a right camera at ``baseline`` would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import CalibrationError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StereoCamera:
    """Intrinsics of a rectified stereo pair; both cameras share them.

    Attributes:
        width, height: image size [px].
        fx, fy, cx, cy: focal lengths and principal point [px].
        baseline: distance from the left to the right camera [m], > 0.

    Raises:
        CalibrationError: a value is not finite, not positive, or the principal point lies outside the image.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    baseline: float

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy, self.baseline)
        if not all(np.isfinite(v) for v in values):
            raise CalibrationError(f"camera calibration holds a value that is not a number: {self}")
        if self.width < 1 or self.height < 1:
            raise CalibrationError(f"image size {self.width}x{self.height} is not positive; is camera_info filled in?")
        if self.fx <= 0.0 or self.fy <= 0.0:
            raise CalibrationError(f"focal lengths fx={self.fx}, fy={self.fy} px must be positive; calibrate the camera")
        if self.baseline <= 0.0:
            raise CalibrationError(
                f"baseline {self.baseline} m must be positive; are the left and right images (or P matrices) swapped?"
            )
        if not (0.0 < self.cx < self.width and 0.0 < self.cy < self.height):
            raise CalibrationError(f"principal point ({self.cx}, {self.cy}) px lies outside the {self.width}x{self.height} image")

    @classmethod
    def from_projection_matrices(cls, left: Array, right: Array, width: int, height: int) -> StereoCamera:
        """From the (3, 4) rectified projection matrices of KITTI (P0, P1) or ROS CameraInfo (P).

        Raises:
            CalibrationError: the matrices are not those of one rectified pair.
        """
        left, right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
        if left.shape != (3, 4) or right.shape != (3, 4):
            raise CalibrationError(f"projection matrices must be 3x4, not {left.shape} and {right.shape}")
        if not np.allclose(left[:, :3], right[:, :3], atol=1e-3):
            raise CalibrationError("left and right projection matrices differ in their intrinsics: the pair is not rectified")
        if left[0, 0] == 0.0:
            raise CalibrationError("the left projection matrix is empty (fx = 0); is camera_info filled in?")
        baseline = (left[0, 3] - right[0, 3]) / left[0, 0]
        return cls(width, height, left[0, 0], left[1, 1], left[0, 2], left[1, 2], float(baseline))

    @property
    def matrix(self) -> Array:
        """(3, 3) intrinsic matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def projection_matrices(self) -> tuple[Array, Array]:
        """(3, 4) left and right projection matrices, as KITTI and ROS write them."""
        left = np.hstack([self.matrix, np.zeros((3, 1))])
        right = left.copy()
        right[0, 3] = -self.fx * self.baseline
        return left, right

    def project(self, points: Array) -> Array:
        """(N, 3) points of the left frame [m] to (N, 3) rows (u, v, disparity) [px]; NaN where z <= 0."""
        z = np.where(points[:, 2] > 0.0, points[:, 2], np.nan)
        u = self.fx * points[:, 0] / z + self.cx
        v = self.fy * points[:, 1] / z + self.cy
        return np.stack([u, v, self.fx * self.baseline / z], axis=1)

    def back_project(self, pixels: Array, disparity: Array) -> Array:
        """(N, 2) pixels and (N,) disparities [px] to (N, 3) points [m]; NaN where the disparity is not > 0."""
        d = np.where(disparity > 0.0, disparity, np.nan).astype(np.float64)
        z = self.fx * self.baseline / d
        x = (pixels[:, 0] - self.cx) * z / self.fx
        y = (pixels[:, 1] - self.cy) * z / self.fy
        return np.stack([x, y, z], axis=1)

    def projection_jacobian(self, points: Array) -> Array:
        """(N, 3, 3) derivative of (u, v, disparity) with respect to the point."""
        x, y, z = points.T
        jacobian = np.zeros((len(points), 3, 3))
        jacobian[:, 0, 0] = self.fx / z
        jacobian[:, 0, 2] = -self.fx * x / z**2
        jacobian[:, 1, 1] = self.fy / z
        jacobian[:, 1, 2] = -self.fy * y / z**2
        jacobian[:, 2, 2] = -self.fx * self.baseline / z**2
        return jacobian

    def disparity_of_depth(self, depth: Array) -> Array:
        """Disparity [px] of a depth [m]; NaN where the depth is not a positive number."""
        depth = np.asarray(depth, dtype=np.float64)
        safe = np.where(np.isfinite(depth) & (depth > 0.0), depth, np.nan)
        return self.fx * self.baseline / safe

    def contains(self, pixels: Array, margin: float = 0.0) -> NDArray[np.bool_]:
        """(N,) mask of the (N, 2) pixels at least ``margin`` px inside the image; NaN is outside."""
        u, v = pixels[:, 0], pixels[:, 1]
        return np.asarray((u >= margin) & (v >= margin) & (u <= self.width - 1 - margin) & (v <= self.height - 1 - margin))
