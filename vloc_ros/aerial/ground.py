"""Views of a raster from straight above, at any resolution and heading: each is resampled once, from the pixels of the file."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.georeference import Georeference, LatLon, LocalFrame
from vloc_ros.aerial.raster import Raster
from vloc_ros.data.frame import Image

Array = NDArray[np.float64]
_UNSEEN = 250
"""A pixel of a view is known where all that it was resampled from is: 255, less what rounding takes."""
_SHRINK = 1.25
"""A view that is coarser by more than this sees averages of pixels, as single ones would flicker."""


@dataclass(frozen=True, slots=True)
class Surface:
    """The pixels of a map at one resolution, as they lie in the file, and their place in a frame."""

    image: Image
    known: NDArray[np.uint8] | None
    georeference: Georeference
    frame: LocalFrame

    def view(self, corners: Array, size: tuple[int, int]) -> tuple[Image, NDArray[np.bool_]]:
        """What is between four points of the ground.

        Args:
            corners: (4, 2) outer corners of the view, east and north [m], from its top left clockwise.
            size: (width, height) of the view [px].

        Returns:
            The view, and (height, width) whether each of its pixels is known; those that are not have the mean of those that are.
        """
        width, height = size
        there = self.georeference.pixels(self.frame.latlon(corners))
        low = np.clip(np.floor(there.min(axis=0)).astype(int) - 2, 0, (self.image.shape[1], self.image.shape[0]))
        high = np.clip(np.ceil(there.max(axis=0)).astype(int) + 3, 0, (self.image.shape[1], self.image.shape[0]))
        if (high <= low).any():
            return np.zeros((height, width, *self.image.shape[2:]), np.uint8), np.zeros((height, width), bool)
        part = (slice(low[1], high[1]), slice(low[0], high[0]))
        here = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
        warp = cv2.getPerspectiveTransform((there - low).astype(np.float32), here.astype(np.float32))
        seen = np.full((high[1] - low[1], high[0] - low[0]), 255, np.uint8) if self.known is None else self.known[part]
        known = np.asarray(cv2.warpPerspective(seen, warp, size, flags=cv2.INTER_LINEAR)) >= _UNSEEN
        image = np.asarray(cv2.warpPerspective(self.image[part], warp, size, flags=cv2.INTER_LINEAR), dtype=np.uint8)
        if not known.all():
            image[~known] = np.asarray(image[known].mean(axis=0), np.uint8) if known.any() else 0
        return image, known

    def shrunk(self, ground_per_pixel: float) -> Surface:
        """The same at about another resolution [m/px], for views of that; itself where that is finer, or little coarser."""
        width, height = self.image.shape[1], self.image.shape[0]
        factor = ground_per_pixel / self.georeference.metres_per_pixel(np.array([width, height]) / 2.0)
        if factor < _SHRINK:
            return self
        size = max(1, round(width / factor)), max(1, round(height / factor))
        image = np.asarray(cv2.resize(self.image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        known = None if self.known is None else np.asarray(cv2.resize(self.known, size, interpolation=cv2.INTER_AREA), np.uint8)
        scale = np.array([width / size[0], height / size[1]])
        affine = np.column_stack(
            [
                self.georeference.affine[:, :2] * scale,
                self.georeference.affine[:, 2] + self.georeference.affine[:, :2] @ (0.5 * scale - 0.5),
            ]
        )
        return Surface(image, known, Georeference(affine, self.georeference.crs), self.frame)


@dataclass(frozen=True, slots=True)
class Ground:
    """A raster in a frame whose origin is its middle.

    Attributes:
        frame: metres east and north of the middle.
        bounds: (2, 2) west-south and east-north corner of all pixels [m].
        surface: the pixels of the file.
    """

    frame: LocalFrame
    bounds: Array
    surface: Surface

    @classmethod
    def of(cls, raster: Raster) -> Ground:
        """Of a raster, which is not copied."""
        width, height = raster.size
        u, v = np.array([-0.5, (width - 1) / 2.0, width - 0.5]), np.array([-0.5, (height - 1) / 2.0, height - 0.5])
        outline = raster.georeference.latlon(np.array([(a, b) for a in u for b in v]))
        middle = (outline.min(axis=0) + outline.max(axis=0)) / 2.0
        frame = LocalFrame(LatLon(float(middle[0]), float(middle[1])))
        metres = frame.metres(outline)
        bounds = np.array([metres.min(axis=0), metres.max(axis=0)])
        return cls(frame, bounds, Surface(raster.image, raster.known, raster.georeference, frame))


def square(centre: Array, side: float, heading_deg: float = 0.0) -> Array:
    """(4, 2) corners of a square on the ground, from top left clockwise, where a heading is up [m]."""
    turn = np.deg2rad(heading_deg)
    up, right = np.array([np.sin(turn), np.cos(turn)]), np.array([np.cos(turn), -np.sin(turn)])
    signs = np.array([[-1.0, 1.0], [1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    made: Array = centre + 0.5 * side * (signs[:, :1] * right + signs[:, 1:] * up)
    return made
