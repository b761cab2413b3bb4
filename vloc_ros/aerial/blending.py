"""From placed photos to one picture, north up: each pixel comes mostly from the photo in whose middle it is seen best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.georeference import Georeference
from vloc_ros.aerial.ortho import Mosaic
from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.data.images import read_image
from vloc_ros.errors import DataError

Array = NDArray[np.float64]
_SHARPNESS = 8.0
"""Power of the distance to the edge of a photo that it counts with: a seam of some per cent of a photo, no double edges."""
_MOST_PIXELS = 400_000_000
_GAIN_STEP = 8
"""Exposures are compared in every so many pixels."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A mosaic.

    Attributes:
        image: (H, W, 3) RGB.
        known: (H, W) where a photo saw it.
        georeference: where it is, in degrees of WGS84.
    """

    image: Image
    known: NDArray[np.bool_]
    georeference: Georeference


def blend(mosaic: Mosaic, resolution_m: float = 0.0, on_photo: Callable[[], None] | None = None) -> Picture:
    """Draw a mosaic.

    Args:
        mosaic: placed photos.
        resolution_m: of a pixel; 0 takes that of the photos.
        on_photo: called after each photo.

    Raises:
        DataError: it would be too large, or a photo cannot be read.
    """
    step = resolution_m or mosaic.ground_per_pixel
    to_ground = [mosaic.placement.homography(n) @ _centred(size) for n, size in enumerate(mosaic.sizes)]
    outlines = [_outline(H, size) for H, size in zip(to_ground, mosaic.sizes, strict=True)]
    low, high = np.vstack(outlines).min(axis=0), np.vstack(outlines).max(axis=0)
    width, height = (int(value) for value in np.ceil((high - low) / step))
    if width * height > _MOST_PIXELS:
        raise DataError(f"the mosaic would have {width}x{height} pixels: choose a coarser --resolution than {step:.3g} m")
    sums, weights = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    to_pixels = np.array([[1.0 / step, 0.0, -low[0] / step - 0.5], [0.0, -1.0 / step, high[1] / step - 0.5], [0.0, 0.0, 1.0]])
    for photo, size, H, outline in zip(mosaic.photos, mosaic.sizes, to_ground, outlines, strict=True):
        corner = np.maximum(np.floor(np.array([outline[:, 0].min() - low[0], high[1] - outline[:, 1].max()]) / step).astype(int), 0)
        end = np.ceil(np.array([outline[:, 0].max() - low[0], high[1] - outline[:, 1].min()]) / step).astype(int)
        end = np.minimum(end, (width, height))
        shift = np.array([[1.0, 0.0, -corner[0]], [0.0, 1.0, -corner[1]], [0.0, 0.0, 1.0]])
        part = (slice(corner[1], end[1]), slice(corner[0], end[0]))
        _add(sums[part], weights[part], to_rgb(read_image(photo.path)), size, shift @ to_pixels @ H)
        if on_photo is not None:
            on_photo()
    known = weights > 0.0
    np.divide(sums, weights[..., None], out=sums, where=known[..., None])
    image = np.clip(np.rint(sums), 0.0, 255.0).astype(np.uint8)
    return Picture(image, known, _georeference(mosaic, low, high, step))


def _add(sums: NDArray[np.float32], weights: NDArray[np.float32], image: Image, size: tuple[int, int], H: Array) -> None:
    """Add a photo to a part of the mosaic, H maps its pixels to those of the part; its exposure follows what is there already."""
    height, width = sums.shape[:2]
    if np.abs(np.linalg.det(H[:2, :2])) < 0.5:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / np.sqrt(np.abs(np.linalg.det(H[:2, :2])))), dtype=np.uint8)
    there = np.asarray(cv2.warpPerspective(image, H, (width, height), flags=cv2.INTER_LINEAR), dtype=np.float32)
    weight = np.asarray(cv2.warpPerspective(_weight(size), H, (width, height), flags=cv2.INTER_LINEAR), dtype=np.float32)
    weight = weight**_SHARPNESS
    weight[weight < 1e-12] = 0.0
    there *= _gain(sums, weights, there, weight)
    sums += there * weight[..., None]
    weights += weight


def _gain(
    sums: NDArray[np.float32], weights: NDArray[np.float32], there: NDArray[np.float32], weight: NDArray[np.float32]
) -> float:
    """By how much a photo is to be brightened to look like what is there, within a fifth."""
    rows = slice(None, None, _GAIN_STEP)
    both = (weights[rows, rows] > 1e-4) & (weight[rows, rows] > 1e-4)
    if both.sum() < 100:
        return 1.0
    before = (sums[rows, rows][both] / weights[rows, rows][both][:, None]).mean(axis=1)
    after = there[rows, rows][both].mean(axis=1)
    lit = (before > 5.0) & (after > 5.0) & (before < 250.0) & (after < 250.0)
    return float(np.clip(np.median(before[lit] / after[lit]), 0.8, 1.25)) if lit.any() else 1.0


def _weight(size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) one in the middle of a photo, nothing at its edge."""
    across, down = (1.0 - np.abs((np.arange(n) + 0.5) / n * 2.0 - 1.0) for n in size)
    made: NDArray[np.float32] = np.minimum.outer(down, across).astype(np.float32)
    return made


def _centred(size: tuple[int, int]) -> Array:
    """From pixels of an image to those from its centre."""
    return np.array([[1.0, 0.0, 0.5 - size[0] / 2.0], [0.0, 1.0, 0.5 - size[1] / 2.0], [0.0, 0.0, 1.0]])


def _outline(H: Array, size: tuple[int, int]) -> Array:
    width, height = size
    corners = (
        np.array([[-0.5, -0.5, 1.0], [width - 0.5, -0.5, 1.0], [width - 0.5, height - 0.5, 1.0], [-0.5, height - 0.5, 1.0]]) @ H.T
    )
    made: Array = corners[:, :2] / corners[:, 2:]
    return made


def _georeference(mosaic: Mosaic, low: Array, high: Array, step: float) -> Georeference:
    """A frame is linear in degrees, so that what is north-up in it is north-up in them."""
    north_west = np.array([low[0] + 0.5 * step, high[1] - 0.5 * step])
    steps = np.array([[0.0, 0.0], [0.0, -step], [step, 0.0]])
    (lat, lon), (south, _), (_, east) = mosaic.frame.latlon(north_west + steps)
    return Georeference(np.array([[east - lon, 0.0, lon], [0.0, south - lat, lat]]))
