"""Making frames from image files, with every size checked against the calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, StereoFrame
from vloc_ros.data.images import read_depth, read_image
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry.camera import StereoCamera


def stereo_frame(stamp_ns: int, left: Path, right: Path, camera: StereoCamera) -> StereoFrame:
    """Read a rectified pair.

    Raises:
        DataError: an image is missing, damaged, or not of the size of the camera; the text names the file.
    """
    size = (camera.width, camera.height)
    return StereoFrame(stamp_ns, sized(left, read_image(left), size), right=sized(right, read_image(right), size))


def depth_frame(stamp_ns: int, left: Path, depth: Path, scale: float, camera: StereoCamera) -> StereoFrame:
    """Read an image and its registered depth of ``scale`` steps per metre.

    Raises:
        DataError: an image is missing, damaged, or not of the size of the camera; the text names the file.
    """
    size = (camera.width, camera.height)
    image, metres = sized(left, read_image(left), size), read_depth(depth, scale)
    check_size(depth, metres, size)
    return StereoFrame(stamp_ns, image, depth=metres)


def sized(path: Path | str, image: Image, size: tuple[int, int]) -> Image:
    """The image itself, when it is of ``size`` (width, height) [px].

    Raises:
        DataError: it is not; the text names the file.
    """
    check_size(path, image, size)
    return image


def check_size(path: Path | str, image: NDArray[np.uint8] | NDArray[np.float32], size: tuple[int, int]) -> None:
    """Check that an image is of ``size`` (width, height) [px].

    Raises:
        DataError: it is not; the text names the file.
    """
    height, width = image.shape[:2]
    if (width, height) != size:
        raise DataError(f"{path} is {width}x{height} px but the camera of this recording is {size[0]}x{size[1]}")


def check_calibrated_size(path: Path, camera: StereoCamera, calibration: Path) -> None:
    """Check that the first image of a recording is of the size that the calibration gives.

    Raises:
        CalibrationError: it is not; the text names both files.
        DataError: the image cannot be read.
    """
    height, width = read_image(path).shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise CalibrationError(
            f"{calibration} is of {camera.width}x{camera.height} images but {path} is {width}x{height}; is it another camera's?"
        )
