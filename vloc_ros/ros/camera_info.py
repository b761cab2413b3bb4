"""Between sensor_msgs/CameraInfo and :class:`~vloc_ros.geometry.camera.StereoCamera`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from vloc_ros.diagnosis import calibration
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.ros.camera_facts import camera_info_facts
from vloc_ros.ros.conversions import header

Array = NDArray[np.float64]


def stereo_camera(left: CameraInfo, right: CameraInfo, baseline: float = 0.0) -> StereoCamera:
    """The rectified camera that a pair of messages describes; ``baseline`` overrides theirs when positive [m].

    Raises:
        CalibrationError: a message is empty or inconsistent, or the two do not describe one rectified pair.
    """
    return calibration.stereo_camera(camera_info_facts(left), camera_info_facts(right), baseline)


def rgbd_camera(rgb: CameraInfo, baseline: float) -> StereoCamera:
    """The virtual stereo camera of an RGB-D camera with registered depth; ``baseline`` 0 means the usual one.

    Raises:
        CalibrationError: the message is empty or inconsistent.
    """
    return calibration.rgbd_camera(camera_info_facts(rgb), baseline)


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
