"""Disparity of key points: along the epipolar line, from a dense disparity map, or from a depth image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.frame import Image, StereoFrame
from vloc_ros.geometry.camera import StereoCamera

FloatArray = NDArray[np.float32]


@unique
class StereoMethod(Enum):
    """How the disparity of a key point is found in a stereo pair."""

    BLOCK = "block"
    """Coarse block matching at half resolution, then sub-pixel Lucas-Kanade alignment of each key point."""
    SGBM = "sgbm"
    """Semi-global matching with the parameters of U, sampled at the nearest pixel."""


@dataclass(frozen=True)
class StereoSettings:
    """Stereo matching of key points."""

    method: StereoMethod = param(StereoMethod.BLOCK, "how disparities are found: block or sgbm")
    min_depth: float = param(1.5, "nearest depth that a stereo pair is searched for", unit="m", min=0.05, max=100.0)
    max_depth: float = param(50.0, "farthest depth that is used", unit="m", min=1.0, max=10000.0)
    max_row_difference: float = param(
        1.0, "largest vertical disagreement of a pair; a larger one is no match", unit="px", min=0.1, max=10.0
    )


def dense_disparity(frame: StereoFrame, grey: Image, camera: StereoCamera, settings: StereoSettings) -> FloatArray:
    """What :func:`match_stereo` starts from, made once per frame: the disparity image of the configured method [px].

    (H, W) for a depth image and for SGBM, (H // 2, W // 2) of the halved pair for BLOCK; NaN or negative where unknown.
    """
    if frame.depth is not None:
        return camera.disparity_of_depth(frame.depth.astype(np.float64)).astype(np.float32)
    if settings.method is StereoMethod.SGBM:
        return _sgbm(grey, frame.right_grey)
    return _coarse_disparity(grey, frame.right_grey, camera, settings)


def match_stereo(
    frame: StereoFrame,
    grey: Image,
    dense: FloatArray,
    keypoints: FloatArray,
    camera: StereoCamera,
    settings: StereoSettings,
) -> FloatArray:
    """Disparities of key points.

    Args:
        frame: the pair, or the image with its depth.
        grey: (H, W) its left image.
        dense: :func:`dense_disparity` of the frame.
        keypoints: (N, 2) pixels of the left image.
        camera: the rectified camera.
        settings: method and depth range.

    Returns:
        (N,) disparities [px]; NaN where there is none in the depth range.
    """
    if len(keypoints) == 0:
        return np.zeros(0, dtype=np.float32)
    focal_baseline = camera.fx * camera.baseline
    nearest = settings.min_depth
    if frame.depth is not None:
        disparity = _nearest(dense, keypoints)
        nearest = 0.0  # the sensor knows its own near limit
    elif settings.method is StereoMethod.SGBM:
        disparity = _nearest(dense, keypoints)
    else:
        guess = 2.0 * _nearest(dense, (keypoints + 0.5) / 2.0 - 0.5)
        disparity = _aligned(grey, frame.right_grey, keypoints, guess, settings)
    valid = (disparity >= focal_baseline / settings.max_depth) & (disparity * nearest <= focal_baseline)
    return np.where(valid, disparity, np.float32(np.nan)).astype(np.float32)


def _nearest(image: NDArray[np.float32], keypoints: FloatArray) -> FloatArray:
    height, width = image.shape
    columns = np.clip(np.rint(keypoints[:, 0]), 0, width - 1).astype(np.int64)
    rows = np.clip(np.rint(keypoints[:, 1]), 0, height - 1).astype(np.int64)
    return image[rows, columns]


def _sgbm(left: Image, right: Image) -> FloatArray:
    matcher = cv2.StereoSGBM_create(
        minDisparity=0,
        numDisparities=48,
        blockSize=5,
        P1=200,
        P2=800,
        disp12MaxDiff=-1,
        preFilterCap=30,
        uniquenessRatio=20,
        speckleWindowSize=200,
        speckleRange=1,
    )
    return np.asarray(matcher.compute(left, right), dtype=np.float32) / np.float32(16.0)


def _aligned(left: Image, right: Image, keypoints: FloatArray, guess: FloatArray, settings: StereoSettings) -> FloatArray:
    """Sub-pixel disparity from a guess of about one pixel: Lucas-Kanade alignment of the patch around each key point."""
    start = keypoints.copy()
    start[:, 0] -= np.nan_to_num(guess, nan=0.0)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        left,
        right,
        keypoints.reshape(-1, 1, 2),
        start.reshape(-1, 1, 2).copy(),
        winSize=(11, 11),
        maxLevel=1,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 15, 0.01),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    shift = keypoints - moved.reshape(-1, 2)
    good = (found.ravel() == 1) & np.isfinite(guess)
    good &= np.abs(shift[:, 1]) <= settings.max_row_difference
    # The alignment may only polish the coarse match (whose grid is 2 px), not wander to another one.
    good &= np.abs(shift[:, 0] - np.nan_to_num(guess)) <= 2.5
    return np.where(good, shift[:, 0], np.nan).astype(np.float32)


def _coarse_disparity(left: Image, right: Image, camera: StereoCamera, settings: StereoSettings) -> FloatArray:
    """(H // 2, W // 2) disparities of the halved images by block matching [px of those]; NaN where ambiguous."""
    half = (left.shape[1] // 2, left.shape[0] // 2)
    even = (slice(2 * half[1]), slice(2 * half[0]))
    small_left, small_right = (cv2.resize(i[even], half, interpolation=cv2.INTER_AREA) for i in (left, right))
    largest = camera.fx * camera.baseline / settings.min_depth / 2.0
    disparities = int(np.clip(np.ceil((largest + 2.0) / 16.0) * 16, 16, max(16, half[0] // 16 * 16)))
    matcher = cv2.StereoBM_create(numDisparities=disparities, blockSize=9)
    matcher.setUniquenessRatio(8)
    matcher.setTextureThreshold(4)
    matcher.setMinDisparity(-1)  # a point at infinity shifted by noise is still a match
    # Block matching answers nothing in the first columns; a margin on the left gives them back.
    border = disparities + 4
    padded = [cv2.copyMakeBorder(i, 4, 4, border, 4, cv2.BORDER_REPLICATE) for i in (small_left, small_right)]
    dense = matcher.compute(*padded)[4:-4, border:-4].astype(np.float32) / np.float32(16.0)
    dense[dense <= -1.0] = np.nan
    return np.asarray(dense, dtype=np.float32)
