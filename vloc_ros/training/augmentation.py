"""Photometric augmentation of grey or RGB images: light, lens, sensor and coding, each by chance and to a random degree.

In the order in which they happen: shadows, headlights and vignetting change the light; motion and focus blur it; the sensor
multiplies it and adds shot and read noise; camera software changes colour balance, contrast and gamma and codes the image as JPEG.
Both images of a pair get their own, as by day and by night.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.frame import Image

FloatArray = NDArray[np.float32]
_GAMMA = 2.2  # of the light that pixel values stand for
_LINEAR = ((np.arange(256) / 255.0) ** _GAMMA).astype(np.float32)
_LEVELS = 4095
_ENCODED = ((np.arange(_LEVELS + 1) / _LEVELS) ** (1.0 / _GAMMA)).astype(np.float32)


@dataclass(frozen=True)
class AugmentationSettings:
    """How much training images are altered."""

    strength: float = param(1.0, "0 leaves images as they are (as published for U), 1 is as found outdoors", min=0.0, max=2.0)
    probability: float = param(0.2, "of each of the effects", min=0.0, max=1.0)


def augment(image: Image, rng: np.random.Generator, settings: AugmentationSettings) -> Image:
    """An altered copy, of the same shape; with strength 0 the image itself.

    Args:
        image: (H, W) grey or (H, W, 3) RGB uint8.
        rng: decides.
        settings: how much.
    """
    strength = settings.strength
    if strength == 0.0:
        return image

    def chance(factor: float = 1.0) -> bool:
        return bool(rng.random() < settings.probability * factor)

    light = _LINEAR[image]
    if chance():
        light = shadow(light, rng, strength)
    if chance(0.7):
        light = lamps(light, rng, strength)
    if chance():
        light = vignette(light, rng, strength)
    if chance(0.7):
        light = motion_blur(light, rng, strength) if rng.random() < 0.5 else blur(light, rng, strength)
    if chance(1.5):
        light = expose(light, rng, strength)
    if chance():
        light = sensor_noise(light, rng, strength)
    if image.ndim == 3 and chance():
        light = light * np.exp(rng.normal(0.0, 0.15 * strength, 3)).astype(np.float32)
    values = _ENCODED[np.clip(light * _LEVELS + 0.5, 0.0, _LEVELS).astype(np.int16)]
    if chance(1.5):
        values = tone(values, rng, strength)
    altered = np.clip(values * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    return jpeg(altered, rng, strength) if chance(0.7) else altered


def _wide(mask: FloatArray, light: FloatArray) -> FloatArray:
    """A (H, W) mask with as many axes as the image."""
    return mask if light.ndim == 2 else mask[..., None]


def shadow(light: FloatArray, rng: np.random.Generator, strength: float) -> FloatArray:
    """A polygon with a soft edge inside which, or outside of which, less light arrives."""
    height, width = light.shape[:2]
    angles = np.sort(rng.uniform(0.0, 2.0 * np.pi, int(rng.integers(3, 8))))
    radius = rng.uniform(0.2, 0.8, len(angles)) * max(width, height)
    centre = rng.uniform(0.0, 1.0, 2) * (width, height)
    points = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None]
    mask = np.zeros((height, width), dtype=np.uint8)
    cv2.fillPoly(mask, [points.round().astype(np.int32)], 255)
    edge = float(np.exp(rng.uniform(np.log(0.5), np.log(8.0))))
    soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), edge), dtype=np.float32) / 255.0
    if rng.random() < 0.5:
        soft = 1.0 - soft
    dark = float(np.exp(-strength * rng.uniform(0.3, 1.8)))
    left = np.asarray(1.0 - (1.0 - dark) * soft, dtype=np.float32)
    return np.asarray(light * _wide(left, light), dtype=np.float32)


def lamps(light: FloatArray, rng: np.random.Generator, strength: float) -> FloatArray:
    """Darkness but for one to three cones of light, or glare on top of the scene."""
    height, width = light.shape[:2]
    glow = np.zeros((height, width), dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        u0, v0 = rng.uniform(0.0, width), rng.uniform(0.2, 1.0) * height
        across, along = rng.uniform(0.1, 0.5, 2) * max(width, height)
        v, u = np.ogrid[:height, :width]
        squares = ((u - u0) / across) ** 2 + ((v - v0) / along) ** 2
        glow += np.exp(-0.5 * np.asarray(squares, dtype=np.float32))
    if rng.random() < 0.6:
        ambient = float(np.exp(-strength * rng.uniform(0.5, 3.0)))
        lit = np.asarray(ambient + (1.0 - ambient) * np.minimum(glow, 1.5), dtype=np.float32)
        return np.asarray(light * _wide(lit, light), dtype=np.float32)
    return np.asarray(
        light + _wide(np.asarray(strength * rng.uniform(0.05, 0.5) * glow, dtype=np.float32), light), dtype=np.float32
    )


def vignette(light: FloatArray, rng: np.random.Generator, strength: float) -> FloatArray:
    """Less light towards the corners, as the fourth power of the cosine."""
    height, width = light.shape[:2]
    tangent = strength * rng.uniform(0.2, 0.9) * 2.0 / width
    v, u = np.ogrid[:height, :width]
    squares = ((u - 0.5 * width) ** 2 + (v - 0.5 * height) ** 2) * tangent**2
    return np.asarray(light * _wide(np.asarray(1.0 / (1.0 + squares) ** 2, dtype=np.float32), light), dtype=np.float32)


def blur(light: FloatArray, rng: np.random.Generator, strength: float) -> FloatArray:
    """Out of focus."""
    sigma = 0.3 + strength * rng.uniform(0.0, 1.2)
    return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), dtype=np.float32)


def motion_blur(light: FloatArray, rng: np.random.Generator, strength: float) -> FloatArray:
    """A straight line of light for each point; its middle is where the point was, so that the truth holds."""
    half = 0.5 * strength * rng.uniform(1.0, 8.0)
    angle = rng.uniform(0.0, np.pi)
    side = 2 * int(np.ceil(half)) + 3
    kernel = np.zeros((side, side), dtype=np.float32)
    middle = side // 2
    for t in np.linspace(-half, half, 8 * side + 1):
        u, v = middle + t * np.cos(angle), middle + t * np.sin(angle)
        left, top = int(np.floor(u)), int(np.floor(v))
        a, b = u - left, v - top
        kernel[top : top + 2, left : left + 2] += np.outer([1 - b, b], [1 - a, a])
    return np.asarray(cv2.filter2D(light, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), dtype=np.float32)


def expose(light: FloatArray, rng: np.random.Generator, strength: float) -> FloatArray:
    """Longer or shorter exposure, up to about three stops; what becomes too bright stays white."""
    return np.asarray(np.minimum(light * float(2.0 ** (strength * rng.uniform(-3.0, 1.8))), 1.0), dtype=np.float32)


def sensor_noise(light: FloatArray, rng: np.random.Generator, strength: float) -> FloatArray:
    """Shot and read noise of a sensor that has counted few photons; half of the time amplified back to a usable brightness."""
    full = float(np.exp(rng.uniform(np.log(300.0), np.log(8000.0)))) / max(strength, 0.1)  # electrons of white
    read = rng.uniform(1.0, 6.0)  # electrons
    sigma = np.sqrt(np.maximum(light, 0.0) / full + (read / full) ** 2)
    # float32 normals take half the time of float64 ones
    noisy = light + sigma * rng.standard_normal(light.shape, dtype=np.float32)
    if rng.random() < 0.5:
        noisy = noisy * float(np.clip(0.18 / max(float(light.mean()), 1e-4), 0.7, 8.0))
    return np.asarray(np.clip(noisy, 0.0, 1.0), dtype=np.float32)


def tone(values: FloatArray, rng: np.random.Generator, strength: float) -> FloatArray:
    """Gamma, contrast around the mean, and brightness of encoded values from 0 to 1."""
    gamma = float(np.exp(strength * rng.uniform(-0.5, 0.5)))
    contrast = float(np.exp(strength * rng.uniform(-0.6, 0.4)))
    bent = np.asarray(cv2.pow(values, gamma), dtype=np.float32)
    mean = float(bent.mean())
    return np.asarray((bent - mean) * contrast + mean + strength * rng.uniform(-0.08, 0.08), dtype=np.float32)


def jpeg(image: Image, rng: np.random.Generator, strength: float) -> Image:
    """Coded and decoded."""
    quality = int(np.clip(100.0 - strength * rng.uniform(5.0, 70.0), 15.0, 95.0))
    encoded, buffer = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        return image
    flag = cv2.IMREAD_GRAYSCALE if image.ndim == 2 else cv2.IMREAD_COLOR
    return np.asarray(cv2.imdecode(buffer, flag), dtype=np.uint8)
