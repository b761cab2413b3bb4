"""The camera of the node ``aerial``: from camera_info to a pinhole lens, from an image message to a photo without distortion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from vloc_ros.aerial.photo import Lens
from vloc_ros.data.frame import Image
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.ros.images import image_from_ros

Array = NDArray[np.float64]
_FISHEYE = ("equidistant", "fisheye")
_COEFFICIENTS = {"": (4, 5, 8, 12, 14), "plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), **dict.fromkeys(_FISHEYE, (4,))}
_LARGEST_COEFFICIENT = 1e4
_SHORTEST_PX, _LONGEST_PX = 32, 20_000
_FOCAL_PX = (10.0, 1e5)
_ALIKE = 0.02
"""Largest relative difference of the two focal lengths: a lens has one."""


@dataclass(frozen=True)
class AerialCamera:
    """One camera; equal ones have the same calibration.

    Attributes:
        size: (width, height) [px].
        matrix: nine numbers of the (3, 3) intrinsics by rows.
        distortion: coefficients; none for a rectified image.
        model: of the distortion, as camera_info names it.
    """

    size: tuple[int, int]
    matrix: tuple[float, ...]
    distortion: tuple[float, ...]
    model: str

    @classmethod
    def of_message(cls, message: CameraInfo, rectified: bool) -> AerialCamera:
        """From camera_info: by P for a rectified image, else by K and D.

        Raises:
            CalibrationError: the message is empty or makes no sense.
        """
        size = (int(message.width), int(message.height))
        matrix = np.asarray(message.p, dtype=np.float64).reshape(3, 4)[:, :3] if rectified else np.array(message.k).reshape(3, 3)
        distortion = np.zeros(0) if rectified else np.asarray(message.d, dtype=np.float64)
        _check_size(size)
        _check_matrix(matrix, size, "P" if rectified else "K")
        if distortion.any():
            _check_distortion(str(message.distortion_model), distortion)
        kept = tuple(distortion.tolist()) if distortion.any() else ()
        values = (float(matrix[0, 0]), 0.0, float(matrix[0, 2]), 0.0, float(matrix[1, 1]), float(matrix[1, 2]), 0.0, 0.0, 1.0)
        return cls(size, values, kept, str(message.distortion_model))

    @property
    def lens(self) -> Lens:
        """The pinhole camera after the distortion is taken out."""
        return Lens(0.5 * (self.matrix[0] + self.matrix[4]), (self.matrix[2], self.matrix[5]))

    def photo(self, message: Any) -> Image:
        """(H, W) or (H, W, 3) image without distortion.

        Raises:
            DataError: the message is damaged, of an unknown encoding, or of another size than camera_info says.
        """
        image = image_from_ros(message)
        height, width = image.shape[:2]
        if (width, height) != self.size:
            raise DataError(f"the image has {width}x{height} pixels, but camera_info says {self.size[0]}x{self.size[1]}")
        return image if self._maps is None else cv2.remap(image, *self._maps, cv2.INTER_LINEAR)

    @cached_property
    def _maps(self) -> tuple[Any, Any] | None:
        if not self.distortion:
            return None
        matrix, distortion = np.array(self.matrix).reshape(3, 3), np.array(self.distortion)
        if self.model in _FISHEYE:
            return cv2.fisheye.initUndistortRectifyMap(matrix, distortion[:4], np.eye(3), matrix, self.size, cv2.CV_16SC2)
        return cv2.initUndistortRectifyMap(matrix, distortion, None, matrix, self.size, cv2.CV_16SC2)


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < _SHORTEST_PX or max(size) > _LONGEST_PX:
        raise CalibrationError(f"camera_info says that images have {size[0]}x{size[1]} pixels, which no usable photo has")


def _check_matrix(matrix: Array, size: tuple[int, int], name: str) -> None:
    if not np.isfinite(matrix).all():
        raise CalibrationError(f"{name} of camera_info holds values that are not numbers; calibrate the camera")
    fx, fy = matrix[0, 0], matrix[1, 1]
    if not _FOCAL_PX[0] <= min(fx, fy) <= max(fx, fy) <= _FOCAL_PX[1] or abs(fx - fy) > _ALIKE * fx:
        raise CalibrationError(
            f"the focal lengths {fx:g} and {fy:g} px in {name} of camera_info must be alike, and be those of a camera; calibrate it"
        )
    if not (0.0 < matrix[0, 2] < size[0] and 0.0 < matrix[1, 2] < size[1]):
        raise CalibrationError(f"the principal point in {name} of camera_info lies outside of the image of {size[0]}x{size[1]}")


def _check_distortion(model: str, distortion: Array) -> None:
    if model not in _COEFFICIENTS or len(distortion) not in _COEFFICIENTS[model]:
        raise CalibrationError(
            f"the distortion model '{model}' with {len(distortion)} coefficients of camera_info is not supported; rectify first"
        )
    if not np.abs(distortion).max() < _LARGEST_COEFFICIENT:
        raise CalibrationError("the distortion in camera_info holds values that no lens has; calibrate the camera")
