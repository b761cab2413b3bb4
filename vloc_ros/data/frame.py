"""One synchronised observation of a stereo or RGB-D camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class StereoFrame:
    """A rectified stereo pair, or an image with its registered depth. Exactly one of ``right`` and ``depth`` is given.

    Attributes:
        stamp_ns: time of exposure [ns].
        left: (H, W) grey or (H, W, 3) RGB image, uint8.
        right: image of the right camera, of the size of the left one.
        depth: (H, W) float32 depth along the optical axis [m]; NaN, infinite or <= 0 where unknown.

    Raises:
        DataError: an image has the wrong shape, type or size.
    """

    stamp_ns: int
    left: Image
    right: Image | None = None
    depth: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _check_image("left", self.left)
        if (self.right is None) == (self.depth is None):
            raise DataError("a frame needs either a right image or a depth image")
        if self.right is not None:
            _check_image("right", self.right)
        other, name = (self.right, "right") if self.right is not None else (self.depth, "depth")
        assert other is not None
        if other.shape[:2] != self.left.shape[:2]:
            raise DataError(
                f"the {name} image is {other.shape[1]}x{other.shape[0]} but the left one is "
                f"{self.left.shape[1]}x{self.left.shape[0]}; both must have the same size"
            )
        if self.depth is not None and (self.depth.ndim != 2 or self.depth.dtype != np.float32):
            raise DataError("the depth image must be one channel of float32 metres")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) [px]."""
        return self.left.shape[1], self.left.shape[0]

    @property
    def left_grey(self) -> Image:
        """(H, W) luminance of the left image."""
        return to_grey(self.left)

    @property
    def right_grey(self) -> Image:
        """(H, W) luminance of the right image.

        Raises:
            DataError: the frame is RGB-D.
        """
        if self.right is None:
            raise DataError("an RGB-D frame has no right image")
        return to_grey(self.right)


def to_grey(image: Image) -> Image:
    """(H, W) luminance of an (H, W) or (H, W, 3) RGB image."""
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def to_rgb(image: Image) -> Image:
    """(H, W, 3) image of an (H, W) grey or (H, W, 3) RGB one, which is returned itself."""
    return image if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def _check_image(name: str, image: Image) -> None:
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise DataError(f"the {name} image must be uint8, (H, W) grey or (H, W, 3) RGB, not {image.dtype} {image.shape}")
    if image.size == 0:
        raise DataError(f"the {name} image is empty")
