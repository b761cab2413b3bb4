"""Pictures of matches: the live image over the map's, joined by lines."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.errors import DataError
from vloc_ros.evaluation.records import thin
from vloc_ros.mapping.state import FrameResult, MatchView

LINE_LIMIT = 120
GAP_PX = 6
JPEG_QUALITY = 85
PICTURE_WIDTH_PX = 1400


@dataclass(frozen=True, slots=True)
class MatchPicture:
    """A picture for the report: an (H, W, 3) RGB or (H, W) grey uint8 image and its caption."""

    image: Image
    caption: str


def draw_matches(live_image: Image, map_image: Image, match: MatchView, line_limit: int = LINE_LIMIT) -> Image:
    """The live image above the map's with a line for each inlier match.

    Lines are coloured by their place across the live image, so that neighbours look alike and a wrong match sticks out. Of
    more than ``line_limit`` matches an even selection gets a line; all get their points.

    Args:
        live_image: (H, W) grey or (H, W, 3) RGB uint8.
        map_image: of any other size.
        match: pixels in the two images.
        line_limit: most lines to draw.

    Returns:
        (H1 + H2 + gap, max(W1, W2), 3) RGB uint8.
    """
    live, reference = _rgb(live_image), _rgb(map_image)
    offset = live.shape[0] + GAP_PX
    canvas = np.full((offset + reference.shape[0], max(live.shape[1], reference.shape[1]), 3), 255, dtype=np.uint8)
    canvas[: live.shape[0], : live.shape[1]] = live
    canvas[offset:, : reference.shape[1]] = reference
    lines = canvas.copy()
    thickness = max(1, round(canvas.shape[1] / 900))
    # Sorted across the image, so that an even selection is one over the width.
    order = np.argsort(match.live_pixels[:, 0], kind="stable")
    shown = thin(MatchView(match.keyframe, match.live_pixels[order], match.map_pixels[order]), line_limit)
    for pixels, target, colour in _segments(shown, offset, live.shape[1]):
        cv2.line(lines, pixels, target, colour, thickness, cv2.LINE_AA)
    canvas = np.asarray(cv2.addWeighted(lines, 0.7, canvas, 0.3, 0.0), dtype=np.uint8)
    for pixels, target, colour in _segments(match, offset, live.shape[1]):
        for centre in (pixels, target):
            cv2.circle(canvas, centre, thickness + 2, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(canvas, centre, thickness + 1, colour, -1, cv2.LINE_AA)
    return canvas


def pick_fixes(frames: Sequence[FrameResult], *, with_match: bool = True) -> dict[str, int]:
    """Indices of the fixes with the most, the median and the fewest inliers, keyed ``best``, ``median``, ``worst``.

    Args:
        frames: of a run.
        with_match: look only at fixes whose match pixels are there.
    """
    fixes = [k for k, frame in enumerate(frames) if frame.fix and (frame.match is not None or not with_match)]
    ranked = sorted(fixes, key=lambda k: -frames[k].inliers)
    if not ranked:
        return {}
    return {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}


def jpeg_uri(image: Image) -> str:
    """An image as a ``data:`` address, shrunk to the width of the page.

    Raises:
        DataError: it is not an image.
    """
    rgb = _rgb(image)
    if rgb.shape[1] > PICTURE_WIDTH_PX:
        height = round(rgb.shape[0] * PICTURE_WIDTH_PX / rgb.shape[1])
        rgb = np.asarray(cv2.resize(rgb, (PICTURE_WIDTH_PX, max(height, 1)), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _segments(match: MatchView, offset: int, width: int) -> list[tuple[tuple[int, int], tuple[int, int], tuple[int, ...]]]:
    usable = np.isfinite(match.live_pixels).all(axis=1) & np.isfinite(match.map_pixels).all(axis=1)
    live = match.live_pixels[usable].round().astype(np.int64)
    other = match.map_pixels[usable].round().astype(np.int64) + np.array([0, offset])
    colours = _colours(np.clip(live[:, 0] / max(width - 1, 1), 0.0, 1.0))
    rows = zip(live.tolist(), other.tolist(), colours.tolist(), strict=True)
    return [((a[0], a[1]), (b[0], b[1]), tuple(colour)) for a, b, colour in rows]


def _colours(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    if len(share) == 0:
        return np.empty((0, 3), dtype=np.uint8)
    # Viridis without its dark end, which would drown in a dark picture.
    levels = (55 + 200 * share).astype(np.uint8).reshape(-1, 1)
    bgr = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS).reshape(-1, 3)
    return np.asarray(bgr[:, ::-1], dtype=np.uint8)


def _rgb(image: Image) -> Image:
    if image.dtype != np.uint8 or image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise DataError(f"a picture must be uint8, (H, W) grey or (H, W, 3) RGB, not {image.dtype} {image.shape}")
    return to_rgb(image)
