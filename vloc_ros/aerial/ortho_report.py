"""A picture of how a mosaic was put together: outlines of the photos, where they were taken, and where satellites said so."""

from __future__ import annotations

import cv2
import numpy as np

from vloc_ros.aerial.blending import Picture, outlines_of
from vloc_ros.aerial.ortho import Mosaic
from vloc_ros.data.frame import Image

_LONGEST = 1600
_OUTLINE, _PLACE, _GPS = (255, 220, 0), (0, 90, 255), (255, 0, 60)


def draw_report(mosaic: Mosaic, picture: Picture) -> Image:
    """(H, W, 3) RGB: yellow outlines, a blue dot where a photo fits, and a red line from there to its satellite position."""
    height, width = picture.known.shape
    factor = min(1.0, _LONGEST / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    image = np.where(picture.known[..., None], picture.image, np.uint8(255)).astype(np.uint8)
    image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def drawn(metres: np.ndarray) -> list[tuple[int, int]]:
        pixels = (picture.georeference.pixels(mosaic.frame.latlon(metres)) + 0.5) * [size[0] / width, size[1] / height] - 0.5
        return [(round(u), round(v)) for u, v in pixels.tolist()]

    for outline in outlines_of(mosaic):
        cv2.polylines(image, [np.array(drawn(outline), np.int32)], True, _OUTLINE, 1, cv2.LINE_AA)
    places = mosaic.placement.values[:, :2]
    satellites = drawn(places - mosaic.placement.from_gps)
    for photo, place, satellite in zip(mosaic.photos, drawn(places), satellites, strict=True):
        cv2.circle(image, place, 5, _PLACE, -1, cv2.LINE_AA)
        cv2.line(image, place, satellite, _GPS, 2, cv2.LINE_AA)
        for colour, thick in (((255, 255, 255), 3), ((0, 0, 0), 1)):
            at = (place[0] + 7, place[1] - 7)
            cv2.putText(image, photo.path.stem, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thick, cv2.LINE_AA)
    return image
