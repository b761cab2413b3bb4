"""What years do to a map, in pixels: other seasons, a coarser sensor, other shadows, and a decade of building. Seeds are fixed."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from vloc_ros.data.frame import Image

Change = Callable[[Image, float, np.random.Generator], Image]
Plane = NDArray[np.float32]


def patches(shape: tuple[int, int], size: float, rng: np.random.Generator) -> Plane:
    """(H, W) values from 0 to 1 that vary over so many pixels; each value is about as frequent as any other."""
    small = rng.normal(size=(max(2, round(shape[0] / size) + 2), max(2, round(shape[1] / size) + 2))).astype(np.float32)
    wide = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)
    levels = np.quantile(cv2.resize(wide, (256, 256)), np.linspace(0, 1, 65))
    return np.interp(wide, levels, np.linspace(0.0, 1.0, 65)).astype(np.float32)


def growing(image: Image) -> Plane:
    """(H, W) from 0 to 1: how green a pixel is."""
    red, green, blue = (image[..., channel].astype(np.float32) for channel in range(3))
    excess = 2.0 * green - red - blue
    return np.clip((excess - 8.0) / 30.0, 0.0, 1.0).astype(np.float32)


def autumn(image: Image, metres: float, rng: np.random.Generator) -> Image:
    """What is green turns to yellow and brown, each patch at its own time."""
    leaves = growing(image) * (0.4 + 0.6 * patches(image.shape[:2], 4.0 / metres, rng))
    light = image.astype(np.float32).mean(axis=2, keepdims=True)
    turned = light * np.array([1.45, 1.0, 0.45], np.float32) + np.array([18.0, 4.0, -6.0], np.float32)
    return mixed(image, turned, leaves)


def snow(image: Image, metres: float, rng: np.random.Generator) -> Image:
    """Snow on what grows and on most of the rest; roads are cleared here and there."""
    light = cv2.GaussianBlur(image.astype(np.float32).mean(axis=2), (0, 0), 0.3 / metres)
    lying = np.clip(0.75 * growing(image) + 0.6 * (patches(image.shape[:2], 8.0 / metres, rng) > 0.45), 0.0, 0.85)
    white = 185.0 + 0.22 * (light - light.mean()) + 14.0 * (patches(image.shape[:2], 1.0 / metres, rng) - 0.5)
    return mixed(image, white[..., None] * np.array([0.97, 1.0, 1.04], np.float32), lying.astype(np.float32))


def blurred(image: Image, metres: float, rng: np.random.Generator) -> Image:
    """As a sensor of 0.5 m sees it, and a JPEG of quality 60 keeps it."""
    small = cv2.resize(image, None, fx=metres / 0.5, fy=metres / 0.5, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return cv2.resize(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), image.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def shadows(image: Image, metres: float, rng: np.random.Generator) -> Image:
    """Shadows lie on the other side of what casts them: the dark is lit, and what it lay beside goes dark."""
    value = cv2.GaussianBlur(image.astype(np.float32).mean(axis=2), (0, 0), 0.25 / metres)
    around = cv2.blur(value, (round(12.0 / metres),) * 2)
    dark = np.clip((0.8 * around - value) / 20.0, 0.0, 1.0)
    lit = image.astype(np.float32) * (1.0 + dark * (around / np.maximum(value, 8.0) - 1.0))[..., None]
    away = np.array([[1.0, 0.0, 5.0 / metres], [0.0, 1.0, -3.5 / metres]])
    cast = cv2.warpAffine(dark, away, image.shape[1::-1])
    return np.clip(lit * (1.0 - 0.6 * cast)[..., None], 0, 255).astype(np.uint8)


def decade(image: Image, metres: float, rng: np.random.Generator) -> Image:
    """A quarter of the ground shows something else, another part has moved by some metres, and there are new roofs."""
    height, width = image.shape[:2]
    where = patches((height, width), 12.0 / metres, rng)
    other = np.roll(image[::-1, ::-1], (height // 3, width // 4), axis=(0, 1))
    made = np.where((where < 0.25)[..., None], other, image)
    east, south = ((patches((height, width), 25.0 / metres, rng) - 0.5) * np.float32(6.0 / metres) for _ in range(2))
    v, u = np.mgrid[:height, :width].astype(np.float32)
    moved = cv2.remap(made, u + east, v + south, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    made = np.where((where > 0.8)[..., None], moved, made).astype(np.uint8)
    for _ in range(round(height * width * metres**2 / 900.0)):
        centre = (float(rng.integers(width)), float(rng.integers(height)))
        sides = (float(rng.uniform(4, 12) / metres), float(rng.uniform(4, 12) / metres))
        roof = cv2.boxPoints((centre, sides, float(rng.uniform(0, 90)))).astype(np.int32)
        colour = rng.integers(70, 200) + rng.integers(-25, 26, 3)
        cv2.fillConvexPoly(made, roof, colour.tolist(), cv2.LINE_AA)
    return made


def everything(image: Image, metres: float, rng: np.random.Generator) -> Image:
    """A decade later, in autumn, with other shadows, seen by a coarser sensor."""
    for change in (decade, autumn, shadows, blurred):
        image = change(image, metres, rng)
    return image


def mixed(image: Image, other: NDArray[np.float32], share: Plane) -> Image:
    """Another image over one, as far as a share says."""
    made = image.astype(np.float32) * (1.0 - share[..., None]) + other * share[..., None]
    return np.clip(made, 0, 255).astype(np.uint8)


CHANGES: dict[str, Change] = {
    "autumn": autumn,
    "snow": snow,
    "blurred": blurred,
    "shadows": shadows,
    "decade": decade,
    "everything": everything,
}


def changed(name: str, image: Image, known: NDArray[np.uint8] | None, metres: float, seed: int = 1) -> Image:
    """A map image after a change; what is not known stays as it is.

    Args:
        name: of the change, one of :data:`CHANGES`.
        image: (H, W, 3) RGB.
        known: (H, W) 0 where nothing is known.
        metres: that a pixel sees.
        seed: of what is random.
    """
    whole = image if known is None else filled(image, known > 0)
    made = CHANGES[name](whole, metres, np.random.default_rng(seed))
    return made if known is None else np.where((known > 0)[..., None], made, image)


def filled(image: Image, known: NDArray[np.bool_]) -> Image:
    """An image whose unknown parts mirror what is known beside them, so that changes which move ground move real ground."""
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    rows, columns = np.clip(2 * nearest - np.indices(known.shape), 0, np.array(known.shape)[:, None, None] - 1)
    mirrored = known[rows, columns]
    rows, columns = np.where(mirrored, rows, nearest[0]), np.where(mirrored, columns, nearest[1])
    return np.ascontiguousarray(image[rows, columns])
