"""The camera of a bag, from its camera_info messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.calibration import VIRTUAL_BASELINE
from vloc_ros.data.frame import Image
from vloc_ros.data.rectify import RawCamera, UndistortMap
from vloc_ros.errors import CalibrationError
from vloc_ros.geometry.camera import StereoCamera

Array = NDArray[np.float64]


class BagCamera:
    """The rectified camera, and the resampling of the images when they are not rectified."""

    def __init__(self, left: Any, right: Any | None, rectified: bool) -> None:
        """From sensor_msgs/CameraInfo messages of ROS 1 or 2.

        Args:
            left: camera_info of the left or colour image.
            right: camera_info of the right image; None for RGB-D.
            rectified: whether the images are rectified, so that only ``P`` counts.

        Raises:
            CalibrationError: a message is empty or contradicts the other one.
        """
        self.size = (int(left.width), int(left.height))
        P = _field(left, "p", (3, 4))
        if right is None:
            if not np.any(P):
                P = np.hstack([_field(left, "k", (3, 3)), np.zeros((3, 1))])
            self.camera = _rgbd_camera(P, self.size)
        else:
            if (int(right.width), int(right.height)) != self.size:
                raise CalibrationError(
                    f"the left camera_info is of {self.size[0]}x{self.size[1]} images but the right one of "
                    f"{right.width}x{right.height}; both must have the same size"
                )
            self.camera = StereoCamera.from_projection_matrices(P, _field(right, "p", (3, 4)), *self.size)
        self._left = None if rectified else _map(left, self.camera.matrix)
        self._right = None if rectified or right is None else _map(right, self.camera.matrix)

    def rectify_left(self, image: Image) -> Image:
        """The left or colour image, rectified."""
        return image if self._left is None else self._left.image(image)

    def rectify_right(self, image: Image) -> Image:
        """The right image, rectified."""
        return image if self._right is None else self._right.image(image)

    def rectify_depth(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth registered to the colour image, rectified like that."""
        return depth if self._left is None else self._left.depth(depth)


def _rgbd_camera(P: Array, size: tuple[int, int]) -> StereoCamera:
    return StereoCamera(
        *size, float(P[0, 0]), float(P[1, 1]), float(P[0, 2]), float(P[1, 2]), VIRTUAL_BASELINE
    )  # fmt: skip


def _field(info: Any, name: str, shape: tuple[int, int]) -> Array:
    """A matrix of a camera_info; ROS 1 writes their names in capitals."""
    values = np.asarray(getattr(info, name, getattr(info, name.upper(), None)), dtype=np.float64)
    if values.size != shape[0] * shape[1]:
        raise CalibrationError(f"the matrix {name.upper()} of a camera_info has {values.size} numbers instead of {shape}")
    return values.reshape(shape)


def _map(info: Any, matrix: Array) -> UndistortMap | None:
    """Resampling of a raw image; None when its camera_info says that nothing is to be done."""
    K, rotation = _field(info, "k", (3, 3)), _field(info, "r", (3, 3))
    if not np.any(rotation):
        rotation = np.eye(3)  # Left empty by drivers of single cameras.
    coefficients = np.asarray(getattr(info, "d", getattr(info, "D", ())), dtype=np.float64)
    if not np.any(K) or (not np.any(coefficients) and np.allclose(rotation, np.eye(3)) and np.allclose(K, matrix)):
        return None
    raw = RawCamera((int(info.width), int(info.height)), K, str(info.distortion_model), coefficients)
    return UndistortMap(raw, rotation, matrix)
