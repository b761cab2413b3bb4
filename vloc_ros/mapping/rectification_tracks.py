"""Points tracked through the four images of two stereo frames, to a tenth of a pixel, without any stereo calibration."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, StereoFrame
from vloc_ros.features import FeatureExtractor, Features, MatchSettings, match
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.rectification_fit import StereoTracks

Array = NDArray[np.float64]
_MATCHING = MatchSettings()
_LK_WINDOW = (15, 15)
_LK_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.005)
_LK_REACH_PX = 2.5
"""Alignment may only polish a match, not wander to another one."""
_ROTATION_ITERATIONS = 10


@dataclass(frozen=True, slots=True)
class PairFeatures:
    """Features of the left image of one frame and, by sub-pixel alignment, where the right image shows them.

    Attributes:
        frame: the images.
        left: features of the left image that the right image shows too.
        right: (N, 2) their pixels in the right image.
    """

    frame: StereoFrame
    left: Features
    right: Array


def describe_pair(frame: StereoFrame, extractor: FeatureExtractor, max_row_px: float) -> PairFeatures:
    """Match the two images of a frame whose rows may disagree by ``max_row_px``."""
    grey_left, grey_right = frame.left_grey, frame.right_grey
    left, right = extractor.extract(grey_left), extractor.extract(grey_right)
    a, b = match(left, right, extractor.metric, _MATCHING).indices.T
    start, guess = left.keypoints[a].astype(np.float64), right.keypoints[b].astype(np.float64)
    aligned, good = _align(grey_left, grey_right, start, guess)
    difference = start - aligned
    good &= (np.abs(difference[:, 1]) <= max_row_px) & (difference[:, 0] >= -2.0 * max_row_px)
    return PairFeatures(frame, left.select(a[good]), aligned[good])


def track(before: PairFeatures, after: PairFeatures, extractor: FeatureExtractor) -> StereoTracks:
    """Follow the features of one frame into the next."""
    a, b = match(before.left, after.left, extractor.metric, _MATCHING).indices.T
    start = before.left.keypoints[a].astype(np.float64)
    moved, good = _align(before.frame.left_grey, after.frame.left_grey, start, after.left.keypoints[b].astype(np.float64))
    # The disparity is measured at the aligned pixel, which is not quite where the feature of the second frame was found.
    guess = after.right[b] + moved - after.left.keypoints[b]
    right, found = _align(after.frame.left_grey, after.frame.right_grey, moved, guess)
    good &= found
    return StereoTracks(
        before_left=start[good],
        before_right=before.right[a[good]],
        after_left=moved[good],
        after_right=right[good],
        row_left=np.concatenate([before.left.keypoints, after.left.keypoints]).astype(np.float64),
        row_right=np.concatenate([before.right, after.right]),
    )


def parallax_px(camera: StereoCamera, tracks: StereoTracks) -> float:
    """Median length of the image motion that no rotation of the camera explains [px]; needs no disparity."""
    if len(tracks) < 3:
        return 0.0
    rays = camera.back_project(tracks.before_left, np.full(len(tracks), camera.fx * camera.baseline))
    seen = camera.back_project(tracks.after_left, np.full(len(tracks), camera.fx * camera.baseline))
    unit, unit_seen = (p / np.linalg.norm(p, axis=1, keepdims=True) for p in (rays, seen))
    weight = np.ones(len(rays))
    distance = np.zeros(len(rays))
    for _ in range(_ROTATION_ITERATIONS):  # Kabsch's rotation, reweighted towards the least absolute deviation
        u, _, vt = np.linalg.svd((unit_seen * weight[:, None]).T @ unit)
        rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
        turned = camera.project(rays @ rotation.T)[:, :2]
        distance = np.nan_to_num(np.linalg.norm(turned - tracks.after_left, axis=1), nan=float(camera.width))
        weight = 1.0 / np.maximum(distance, 0.1)
    return float(np.median(distance))


def _align(source: Image, target: Image, start: Array, guess: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Lucas-Kanade alignment of (N, 2) pixels from (N, 2) guesses: where they are in the target, and whether to trust it."""
    if len(start) == 0:
        return guess, np.zeros(0, dtype=bool)
    initial = guess.astype(np.float32).reshape(-1, 1, 2).copy()
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        source,
        target,
        start.astype(np.float32).reshape(-1, 1, 2),
        initial,
        winSize=_LK_WINDOW,
        maxLevel=0,
        criteria=_LK_STOP,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    aligned = moved.reshape(-1, 2).astype(np.float64)
    good = (found.ravel() == 1) & (np.linalg.norm(aligned - guess, axis=1) <= _LK_REACH_PX)
    return aligned, good
