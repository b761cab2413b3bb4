"""Between sensor_msgs/CameraInfo and :class:`~vloc_ros.geometry.camera.StereoCamera`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from vloc_ros.data.calibration import VIRTUAL_BASELINE
from vloc_ros.errors import CalibrationError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.ros.conversions import header

Array = NDArray[np.float64]


def stereo_camera(left: CameraInfo, right: CameraInfo, baseline: float = 0.0) -> StereoCamera:
    """The rectified camera that a pair of messages describes.

    Args:
        left: of the left (or first infrared) camera.
        right: of the right camera.
        baseline: overrides the one in the messages when positive [m].

    Raises:
        CalibrationError: a message is empty or inconsistent, or the two do not describe one rectified pair.
    """
    left_P, right_P = _projection("left", left), _projection("right", right)
    if (left.width, left.height) != (right.width, right.height):
        raise CalibrationError(
            f"left camera_info is of {left.width}x{left.height} images but right camera_info of {right.width}x{right.height}; "
            "both must be of one rectified pair"
        )
    if baseline > 0.0:
        right_P = right_P.copy()
        right_P[0, 3] = left_P[0, 3] - left_P[0, 0] * baseline
    return StereoCamera.from_projection_matrices(left_P, right_P, left.width, left.height)


def rgbd_camera(rgb: CameraInfo, baseline: float) -> StereoCamera:
    """The virtual stereo camera of an RGB-D camera with registered depth.

    Args:
        rgb: of the colour camera.
        baseline: of the virtual right camera [m]; 0 for the one that all readers of RGB-D recordings use.

    Raises:
        CalibrationError: the message is empty or inconsistent.
    """
    P = _projection("rgb", rgb)
    return StereoCamera(
        rgb.width, rgb.height, float(P[0, 0]), float(P[1, 1]), float(P[0, 2]), float(P[1, 2]), baseline or VIRTUAL_BASELINE
    )


def camera_info(camera: StereoCamera, stamp_ns: int, frame_id: str) -> tuple[CameraInfo, CameraInfo]:
    """Left and right messages of a rectified camera."""
    left_P, right_P = camera.projection_matrices
    return tuple(_message(camera, P, stamp_ns, frame_id) for P in (left_P, right_P))  # type: ignore[return-value]


def _message(camera: StereoCamera, P: Array, stamp_ns: int, frame_id: str) -> CameraInfo:
    return CameraInfo(
        header=header(stamp_ns, frame_id),
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=camera.matrix.reshape(9),
        r=np.eye(3).reshape(9),
        p=P.reshape(12),
        roi=RegionOfInterest(),
    )


def _projection(name: str, message: CameraInfo) -> Array:
    P = np.asarray(message.p, dtype=np.float64).reshape(3, 4)
    if message.width < 1 or message.height < 1:
        raise CalibrationError(
            f"{name} camera_info is of {message.width}x{message.height} images; an empty one: calibrate the camera"
        )
    if not np.all(np.isfinite(P)):
        raise CalibrationError(
            f"the projection matrix of {name} camera_info holds values that are not numbers; calibrate the camera"
        )
    if P[0, 0] == 0.0:
        raise CalibrationError(f"the projection matrix of {name} camera_info is empty (fx = 0); calibrate the camera")
    if message.binning_x > 1 or message.binning_y > 1:
        raise CalibrationError(
            f"{name} camera_info asks for {message.binning_x}x{message.binning_y} binning, which is not supported; "
            "publish images and camera_info of one size"
        )
    roi = message.roi
    if (roi.width, roi.height) not in ((0, 0), (message.width, message.height)) or roi.x_offset or roi.y_offset:
        raise CalibrationError(f"{name} camera_info has a region of interest, which is not supported; publish whole images")
    return P
