"""Pictures of a comparison: the query beside a candidate, its frame mapped into the candidate, inliers in one colour each."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.retrieval import Verification

HEIGHT_PX = 260
MARGIN = 0.15
"""Of the width and of the height around each image: what is outside of a candidate is seen there."""
GAP_PX = 6
MARKS = 150
"""At most so many inliers are drawn, evenly chosen."""
_HALF_MARK_PX = 3
_STEPS = 24
_OUTLINE = (255, 210, 0)
_BESIDE = 235
_FAR = 1e4


def draw_verification(query: Image, candidate: Image, verification: Verification) -> Image:
    """A query on the left, a candidate on the right, and what geometry says of them.

    The frame of the query is drawn around it, and into the candidate as the homography maps it; what would be behind the camera
    of the candidate is left out. A square in each image marks an inlier, of one colour for both, which follows from its place in
    the query: a mapping is smooth where the colours run alike.

    Args:
        query: (H, W) grey or (H, W, 3) RGB uint8.
        candidate: of any other size.
        verification: of the two; without a homography the images are left as they are.

    Returns:
        (H, W, 3) RGB uint8.
    """
    left, right = _Framed(query), _Framed(candidate)
    if verification.homography is not None:
        left.outline(np.eye(3))
        right.outline(verification.homography)
    count = len(verification.query_points)
    shown = np.linspace(0, max(0, count - 1), min(MARKS, count)).round().astype(np.int64)
    colours = place_colours(verification.query_points[shown])
    left.marks(verification.query_points[shown], colours)
    right.marks(verification.candidate_points[shown], colours)
    gap = np.full((left.canvas.shape[0], GAP_PX, 3), 255, dtype=np.uint8)
    return np.hstack([left.canvas, gap, right.canvas])


def place_colours(points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(N, 3) RGB of (N, 2) positions in shares of an image: the hue follows x, lightness falls with y."""
    if len(points) == 0:
        return np.zeros((0, 3), dtype=np.uint8)
    share = np.clip(points, 0.0, 1.0)
    hsv = np.stack([150.0 * share[:, 0], np.full(len(share), 235.0), 255.0 - 110.0 * share[:, 1]], axis=1)
    rgb = cv2.cvtColor(hsv.round().astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]
    return np.asarray(rgb, dtype=np.uint8)


def outline(homography: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The frame of the query as a homography maps it: its parts in front of the camera, each (K, 2) shares of the candidate."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    steps = np.arange(_STEPS)[:, None] / _STEPS
    sides = [a + steps * (b - a) for a, b in pairwise(corners)]
    frame = np.concatenate([*sides, corners[:1]])
    mapped = np.column_stack([frame, np.ones(len(frame))]) @ homography.T
    # The sign of a homography is arbitrary; the middle of the query is in front of the camera.
    depth = mapped[:, 2] * np.sign(homography[2] @ [0.5, 0.5, 1.0])
    front = depth > 1e-6 * np.abs(depth).max(initial=0.0)
    parts = np.split(np.arange(len(frame)), np.flatnonzero(np.diff(front.astype(np.int8))) + 1)
    return [np.asarray(mapped[part, :2] / mapped[part, 2:]) for part in parts if front[part[0]] and len(part) > 1]


class _Framed:
    """An image of the height of all, with a margin around it."""

    def __init__(self, image: Image) -> None:
        width = max(1, round(image.shape[1] * HEIGHT_PX / image.shape[0]))
        # small pictures are shown as the pixels they are
        method = cv2.INTER_AREA if image.shape[0] > HEIGHT_PX else cv2.INTER_NEAREST
        sized = cv2.resize(to_rgb(image), (width, HEIGHT_PX), interpolation=method)
        across, down = round(MARGIN * width), round(MARGIN * HEIGHT_PX)
        bordered = cv2.copyMakeBorder(sized, down, down, across, across, cv2.BORDER_CONSTANT, value=(_BESIDE,) * 3)
        self.canvas = np.asarray(bordered, dtype=np.uint8)
        self._origin, self._size = np.array([across, down]), np.array([width, HEIGHT_PX])

    def outline(self, homography: NDArray[np.float64]) -> None:
        """Draw the frame of the query."""
        for part in outline(homography):
            pixels = self._pixels(part).reshape(-1, 1, 2)
            # Dark below bright: seen on any picture.
            cv2.polylines(self.canvas, [pixels], False, (0, 0, 0), 4, cv2.LINE_AA)
            cv2.polylines(self.canvas, [pixels], False, _OUTLINE, 2, cv2.LINE_AA)

    def marks(self, points: NDArray[np.float32], colours: NDArray[np.uint8]) -> None:
        """Draw squares."""
        for (x, y), colour in zip(self._pixels(points).tolist(), colours.tolist(), strict=True):
            for half, ink in ((_HALF_MARK_PX + 1, (0, 0, 0)), (_HALF_MARK_PX, tuple(colour))):
                cv2.rectangle(self.canvas, (x - half, y - half), (x + half, y + half), ink, -1)

    def _pixels(self, points: NDArray[Any]) -> NDArray[np.int32]:
        """(N, 2) pixels of (N, 2) shares of the image."""
        placed = np.asarray(points, dtype=np.float64) * self._size + self._origin - 0.5
        return np.asarray(np.clip(placed, -_FAR, _FAR).round(), dtype=np.int32)
