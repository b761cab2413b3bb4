"""Random views of a flat image: what makes pairs of pictures whose geometry is known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.frame import Image
from vloc_ros.training.pairs import TrainingPair
from vloc_ros.training.sources.warp import warp_through

Array = NDArray[np.float64]


@dataclass(frozen=True)
class HomographySettings:
    """How far views of one image differ."""

    width: int = param(512, "width of the images of a pair", unit="px", min=32, max=4096)
    height: int = param(384, "height of the images of a pair", unit="px", min=32, max=4096)
    rotation_deg: float = param(15.0, "largest rotation in the image", unit="deg", min=0.0, max=180.0)
    min_scale: float = param(0.75, "smallest magnification", min=0.1, max=1.0)
    max_scale: float = param(1.4, "largest magnification", min=1.0, max=10.0)
    perspective: float = param(0.08, "largest change of the scale from the centre to a border", min=0.0, max=0.5)
    shift: float = param(0.2, "largest shift of the centre, of the side of the image", min=0.0, max=1.0)
    plain_share: float = param(0.5, "so many of the first or second views are only moved, not turned or scaled", min=0.0, max=1.0)


def random_view(size: tuple[int, int], rng: np.random.Generator, settings: HomographySettings, plain: bool = False) -> Array:
    """(3, 3) homography from pixels of an image of ``size`` (width, height) to those of a view of it.

    At magnification 1 and without shift the image covers the view, centre on centre.
    """
    width, height = settings.width, settings.height
    cover = max(width / size[0], height / size[1])
    du, dv = rng.uniform(-1.0, 1.0, 2) * settings.shift * np.array([width, height])
    turn = np.deg2rad(rng.uniform(-1.0, 1.0) * settings.rotation_deg)
    scale = float(np.exp(rng.uniform(np.log(settings.min_scale), np.log(settings.max_scale))))
    tilt = rng.uniform(-1.0, 1.0, 2) * 2.0 * settings.perspective / np.array([width, height])
    if plain:
        turn, scale, tilt = 0.0, 1.0, np.zeros(2)
    c, s = scale * cover * np.cos(turn), scale * cover * np.sin(turn)
    from_centre = np.array([[1.0, 0.0, -0.5 * (size[0] - 1)], [0.0, 1.0, -0.5 * (size[1] - 1)], [0.0, 0.0, 1.0]])
    turned = np.array([[c, -s, du], [s, c, dv], [0.0, 0.0, 1.0]])
    tilted = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [tilt[0], tilt[1], 1.0]])
    to_corner = np.array([[1.0, 0.0, 0.5 * (width - 1)], [0.0, 1.0, 0.5 * (height - 1)], [0.0, 0.0, 1.0]])
    return np.asarray(to_corner @ tilted @ turned @ from_centre)


def random_views(size: tuple[int, int], rng: np.random.Generator, settings: HomographySettings) -> tuple[Array, Array]:
    """Homographies of the two views of a pair; at most one of them is plain."""
    plain = rng.random() < settings.plain_share
    first = rng.random() < 0.5
    return (
        random_view(size, rng, settings, plain and first),
        random_view(size, rng, settings, plain and not first),
    )


def look(image: Image, homography: Array, settings: HomographySettings) -> Image:
    """The view of an (H, W) or (H, W, 3) image through a homography; beyond its border the image is mirrored."""
    scale = np.sqrt(abs(np.linalg.det(homography[:2, :2])))
    if scale < 0.75:  # what shrinks is averaged first, or it would flicker
        factor = max(scale, 0.05)
        size = (max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1))
        sx, sy = size[0] / image.shape[1], size[1] / image.shape[0]
        # Pixel (0, 0) is a pixel centre: the image spans from -0.5, which is the point that scaling leaves in place.
        shrink = np.array([[sx, 0.0, 0.5 * sx - 0.5], [0.0, sy, 0.5 * sy - 0.5], [0.0, 0.0, 1.0]])
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        homography = homography @ np.linalg.inv(shrink)
    size = (settings.width, settings.height)
    view = cv2.warpPerspective(image, homography, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(view, dtype=np.uint8)


def warp_between(a_H_image: Array, b_H_image: Array, size: tuple[int, int], settings: HomographySettings) -> NDArray[np.float32]:
    """(H, W, 2) positions in view b of the pixels of view a [px]; NaN where b does not show them, or beyond the image."""
    return warp_through(b_H_image @ np.linalg.inv(a_H_image), a_H_image, size, (settings.width, settings.height))


def views_of(images: tuple[Image, Image], rng: np.random.Generator, settings: HomographySettings, tag: str) -> TrainingPair:
    """A pair of random views: the first of one image, the second of another whose pixels show the same, or of the same image."""
    size = (images[0].shape[1], images[0].shape[0])
    a, b = random_views(size, rng, settings)
    return TrainingPair(look(images[0], a, settings), look(images[1], b, settings), warp_between(a, b, size, settings), tag=tag)
