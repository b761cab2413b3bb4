"""The baseline of the odometry benchmark: SIFT in both images of every frame, matched left-right and frame-frame, PnP by RANSAC."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry import se3

Array = NDArray[np.float64]


def plain_odometry(recording: Any) -> Array:
    """(N, 4, 4) odom_T_base of a recording's N frames; NaN from the first failure on."""
    camera, base_T_camera = recording.camera, recording.base_T_camera
    sift, matcher = cv2.SIFT_create(2000), cv2.BFMatcher(cv2.NORM_L2)
    odom_T_camera, previous, poses = np.eye(4), None, []
    for index in range(len(recording)):
        frame = recording.frame(index)
        pixels, descriptors = _extract(sift, frame.left_grey)
        if previous is not None:
            odom_T_camera = odom_T_camera @ _motion(camera, matcher, previous, pixels, descriptors)
        previous = _with_depth(camera, matcher, pixels, descriptors, _extract(sift, frame.right_grey))
        poses.append(base_T_camera @ odom_T_camera @ se3.inverse(base_T_camera))
    return np.stack(poses)


def _extract(sift: Any, image: NDArray[np.uint8]) -> tuple[Array, NDArray[np.float32]]:
    keypoints, descriptors = sift.detectAndCompute(image, None)
    return np.array([point.pt for point in keypoints]).reshape(-1, 2), descriptors


def _ratio_matches(matcher: Any, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.int64]:
    pairs = [(m.queryIdx, m.trainIdx) for m, n in matcher.knnMatch(a, b, k=2) if m.distance < 0.75 * n.distance]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _with_depth(camera: Any, matcher: Any, pixels: Array, descriptors: Any, right: tuple[Array, Any]) -> tuple[Array, Any]:
    of_left, of_right = _ratio_matches(matcher, descriptors, right[1]).T
    shift = pixels[of_left] - right[0][of_right]
    good = (np.abs(shift[:, 1]) < 1.0) & (shift[:, 0] > 1.0)
    return camera.back_project(pixels[of_left[good]], shift[good, 0]), descriptors[of_left[good]]


def _motion(camera: Any, matcher: Any, previous: tuple[Array, Any], pixels: Array, descriptors: Any) -> Array:
    of_previous, of_current = _ratio_matches(matcher, previous[1], descriptors).T
    cv2.setRNGSeed(0)
    found, rotation, translation, _ = cv2.solvePnPRansac(
        previous[0][of_previous], pixels[of_current], camera.matrix, None, iterationsCount=300, reprojectionError=1.5
    )
    if not found:
        return np.full((4, 4), np.nan)
    return se3.inverse(se3.from_rotation_translation(cv2.Rodrigues(rotation)[0], translation.ravel()))
