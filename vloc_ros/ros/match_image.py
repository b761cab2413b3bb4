"""The picture of a match: the live image beside the keyframe it was localised against, inliers joined."""

from __future__ import annotations

import cv2
import numpy as np

from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.mapping.state import MatchView

_COLOURS = 32
_LIMIT = 150


def match_image(live: Image, remembered: Image | None, view: MatchView | None, text: str) -> Image:
    """(H + 18, 2 W, 3) RGB picture: live image left, keyframe right (grey where unknown), some inliers, and a line of text."""
    live = to_rgb(live)
    height, width = live.shape[:2]
    other = np.full_like(live, 128) if remembered is None else to_rgb(remembered)
    if other.shape != live.shape:
        other = cv2.resize(other, (width, height))
    canvas = np.zeros((height + 18, 2 * width, 3), dtype=np.uint8)
    canvas[:height, :width] = live
    canvas[:height, width:] = other
    if view is not None:
        _draw_matches(canvas, view, width)
    cv2.putText(canvas, text, (4, height + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas


def _draw_matches(canvas: Image, view: MatchView, width: int) -> None:
    count = len(view.live_pixels)
    chosen = np.linspace(0, count - 1, min(count, _LIMIT)).astype(int)
    palette = cv2.applyColorMap(np.linspace(0, 255, _COLOURS).astype(np.uint8)[:, None], cv2.COLORMAP_HSV)[:, 0, ::-1]
    for number, index in enumerate(chosen):
        colour = tuple(int(value) for value in palette[number % _COLOURS])
        start = tuple(int(value) for value in np.rint(view.live_pixels[index]))
        end = tuple(int(value) for value in np.rint(view.map_pixels[index] + np.array([width, 0], dtype=np.float32)))
        cv2.line(canvas, start, end, colour, 1, cv2.LINE_AA)
        cv2.circle(canvas, start, 2, colour, -1, cv2.LINE_AA)
        cv2.circle(canvas, end, 2, colour, -1, cv2.LINE_AA)
