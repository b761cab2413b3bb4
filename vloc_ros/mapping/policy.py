"""When a frame becomes a keyframe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera


@dataclass(frozen=True)
class KeyframeSettings:
    """A frame becomes a keyframe as soon as one of these says so."""

    distance: float = param(1.0, "distance driven since the last keyframe", unit="m", min=0.01, max=100.0, live=True)
    angle: float = param(10.0, "rotation since the last keyframe", unit="deg", min=0.1, max=180.0, live=True)
    min_overlap: float = param(
        0.5,
        "smallest share of the last keyframe's landmarks that is still in view and of similar size",
        min=0.0,
        max=1.0,
        live=True,
    )
    min_inliers: int = param(30, "fewest odometry inliers, once the robot has moved", min=0, max=10000, live=True)
    image_quality: int = param(90, "JPEG quality of the stored image; 0 stores none", min=0, max=100)


def needs_keyframe(
    settings: KeyframeSettings,
    camera: StereoCamera,
    keyframe_T_camera: NDArray[np.float64],
    landmarks: NDArray[np.float64],
    inliers: int,
) -> bool:
    """Whether the camera has moved far enough from the last keyframe.

    Args:
        settings: the thresholds.
        camera: the camera of both.
        keyframe_T_camera: (4, 4) motion of the camera since the last keyframe.
        landmarks: (N, 3) landmarks of the last keyframe, in its camera frame [m].
        inliers: odometry inliers of this frame.
    """
    distance = se3.translation_norm(keyframe_T_camera)
    angle = np.degrees(se3.rotation_angle(keyframe_T_camera))
    if distance >= settings.distance or angle >= settings.angle:
        return True
    if distance < 0.1 * settings.distance and angle < 0.1 * settings.angle:
        return False  # standing still with a bad view must not fill the map
    return inliers < settings.min_inliers or overlap(camera, keyframe_T_camera, landmarks) < settings.min_overlap


def overlap(camera: StereoCamera, keyframe_T_camera: NDArray[np.float64], landmarks: NDArray[np.float64]) -> float:
    """Share of the landmarks that the moved camera still sees, at no more than twice or less than half their distance."""
    if len(landmarks) == 0:
        return 0.0
    moved = se3.transform(se3.inverse(keyframe_T_camera), landmarks)
    scale = moved[:, 2] / landmarks[:, 2]
    in_view = camera.contains(camera.project(moved)[:, :2]) & (scale > 0.5) & (scale < 2.0)
    return float(in_view.mean())
