"""What the pixels of one pair tell: whether it is rectified, and whether the camera lights the scene with a pattern."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import StereoFrame
from vloc_ros.diagnosis.facts import Pixels
from vloc_ros.diagnosis.finding import Check, Finding, error, fine, warning
from vloc_ros.features import create_extractor
from vloc_ros.mapping.rectification_tracks import describe_pair

_FEATURES, _MOST_FEATURES, _ENOUGH = "sift_fast", 500, 30
_WORST_ROWS_PX = 1.5
"""Stereo matching looks in the same row, and a key point is good to a pixel."""
_REACH = 0.1
"""Rows can disagree by this part of the height, and be measured."""
_SWAPPED_PX = -1.0
_CORNERS, _LARGEST_SPREAD_PX = 120, 0.8
_FROM_MIDDLE = 1.0 / 6.0
"""Points nearer to the middle row than this part of the height say nothing of a spread."""
_SPOT_CONTRAST = 6.0
_SMALLEST_SIDE, _LARGEST_SIDE = 100, 1000
_TILE = 32


@dataclass(frozen=True, slots=True)
class Rows:
    """How the points of a left image lie in the right one.

    Attributes:
        points: matched points.
        row_px: median of the absolute difference of their rows [px].
        disparity_px: median of their disparities [px].
    """

    points: int
    row_px: float
    disparity_px: float


def measure_rows(left: Pixels, right: Pixels) -> Rows:
    """Match the two images of a pair without any calibration."""
    frame = StereoFrame(0, left, right)
    extractor = create_extractor(_FEATURES, _MOST_FEATURES)
    pair = describe_pair(frame, extractor, _REACH * left.shape[0])
    if len(pair.left) == 0:
        return Rows(0, 0.0, 0.0)
    apart = pair.left.keypoints.astype(np.float64) - pair.right
    return Rows(len(apart), float(np.median(np.abs(apart[:, 1]))), float(np.median(apart[:, 0])))


def check_rows(left: Pixels, right: Pixels) -> Finding | None:
    """Whether a pair is rectified as far as one pair shows it: its rows agree, and left is left; None when too little is seen."""
    if left.shape[:2] != right.shape[:2]:
        return None
    rows = measure_rows(left, right)
    if rows.points < _ENOUGH:
        return None
    if rows.row_px > _WORST_ROWS_PX:
        return warning(
            Check.ROWS,
            f"the pair is not rectified: {rows.points} points lie {rows.row_px:.1f} px (median) higher or lower in the right image",
            "use rectified images (stereo_image_proc), and calibrate the pair anew if they are",
        )
    if rows.disparity_px < _SWAPPED_PX:
        return error(
            Check.ROWS,
            f"left and right images are swapped: {rows.points} points lie {-rows.disparity_px:.1f} px (median) further right "
            "in the right one",
            "swap the topics",
        )
    return fine(Check.ROWS, f"rows agree to {rows.row_px:.2f} px (median of {rows.points} points)")


def measure_spread(left: Pixels, right: Pixels) -> float | None:
    """How far points lie from the middle row in the right image, more than in the left one: median [px]; None: too few are seen.

    A few corners are followed from one image to the other, which takes some milliseconds. Rows that are off by the same amount
    everywhere, or turned, cancel out; what is left is that one image was taken nearer to the scene.
    """
    grey = [image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (left, right)]
    corners = cv2.goodFeaturesToTrack(grey[0], _CORNERS, 0.01, left.shape[0] / 30.0)
    if corners is None:
        return None
    there, found, _ = cv2.calcOpticalFlowPyrLK(grey[0], grey[1], corners, None, winSize=(15, 15), maxLevel=4)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(grey[1], grey[0], there, None, winSize=(15, 15), maxLevel=4)
    same = (found.ravel() == 1) & (found_back.ravel() == 1) & (np.linalg.norm((back - corners).reshape(-1, 2), axis=1) < 0.5)
    from_middle = corners[same, 0, 1] - (left.shape[0] - 1) / 2.0
    down = there[same, 0, 1] - corners[same, 0, 1]
    halves = [down[from_middle < -_FROM_MIDDLE * left.shape[0]], down[from_middle > _FROM_MIDDLE * left.shape[0]]]
    if min(map(len, halves)) < _ENOUGH // 3:
        return None
    return float(np.median(halves[1]) - np.median(halves[0])) / 2.0


def check_moment(left: Pixels, right: Pixels) -> Finding | None:
    """Whether left and right are of one moment, as far as a robot that moves shows it; None when too little is seen."""
    spread = None if left.shape[:2] != right.shape[:2] else measure_spread(left, right)
    if spread is None:
        return None
    if abs(spread) <= _LARGEST_SPREAD_PX:
        return fine(Check.MOMENT, "left and right are of one moment, or the robot stands")
    return warning(
        Check.MOMENT,
        "left and right are not of one moment: one of them was taken further ahead, as if its stamp were that of another frame",
        "let the driver trigger both together, and stamp them by their exposure",
    )


@dataclass(frozen=True, slots=True)
class Spots:
    """Small isolated spots of an image.

    Attributes:
        bright, dark: of each kind per 10 000 pixels.
        bright_tiles, dark_tiles: part of the tiles of 32x32 pixels that hold one.
    """

    bright: float
    dark: float
    bright_tiles: float
    dark_tiles: float

    @property
    def pattern(self) -> bool:
        """Whether they are the dots of an emitter: many, nearly everywhere, and few dark ones.

        In a lit scene specks are bright and dark alike, and neither is everywhere (snow and foliage come nearest).
        """
        return self.bright >= 12.0 and self.bright_tiles >= 0.6 and self.bright >= 4.0 * self.dark


def measure_spots(image: Pixels) -> Spots:
    """Count the spots of an (H, W) or (H, W, 3) image that stand out from all of the ring around them.

    A large image is halved first, so that the dots of a projector, which grow with the resolution, stay two or three pixels wide.
    """
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    while max(grey.shape) > _LARGEST_SIDE:
        grey = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    bright, dark = _peaks(grey), _peaks(np.asarray(255 - grey, dtype=np.uint8))
    area = grey.size / 1e4
    return Spots(float(bright.sum()) / area, float(dark.sum()) / area, _tiles(bright), _tiles(dark))


def check_emitter(name: str, image: Pixels) -> Finding | None:
    """Whether the dots of a projector are seen, which move with the camera and would be taken for the world; None: too small."""
    if min(image.shape[:2]) < _SMALLEST_SIDE:
        return None
    spots = measure_spots(image)
    if not spots.pattern:
        return fine(Check.EMITTER, f"no pattern of an emitter in the {name} image")
    return warning(
        Check.EMITTER,
        f"the {name} image looks as if the emitter's pattern were on: {spots.bright:.0f} bright dots "
        f"and {spots.dark:.0f} dark ones in 100x100 px, in {100.0 * spots.bright_tiles:.0f} % of it",
        "switch it off (RealSense: ros2 param set /camera/camera depth_module.emitter_enabled 0)",
    )


def _peaks(grey: Pixels) -> NDArray[np.bool_]:
    """Pixels brighter than their neighbours, and clearly brighter than the brightest one 3 to 4 px away."""
    ring = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    ring[2:7, 2:7] -= cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (3, 3), 0.8)
    around = cv2.dilate(grey, ring).astype(np.float32)
    highest = cv2.dilate(smooth, np.ones((5, 5), dtype=np.uint8))
    return np.asarray((smooth == highest) & (smooth - around > _SPOT_CONTRAST))


def _tiles(spots: NDArray[np.bool_]) -> float:
    rows, columns = spots.shape[0] // _TILE, spots.shape[1] // _TILE
    tiles = spots[: rows * _TILE, : columns * _TILE].reshape(rows, _TILE, columns, _TILE)
    return float(tiles.any(axis=(1, 3)).mean())
