"""The camera behind the lens: exposure, blur, vignetting, noise and the tone curve."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.noise import hash_bits

Radiance = NDArray[np.float32]
_TABLE = 4096
_GAUSS = np.array([NormalDist().inv_cdf((i + 0.5) / 1024) for i in range(1024)], dtype=np.float32)
"""Quantiles of the normal distribution in equal steps of probability."""
_GAUSS /= _GAUSS.std()


@dataclass(frozen=True, slots=True)
class Sensor:
    """A colour camera with automatic exposure; both cameras of a pair share their exposure.

    Attributes:
        mean_level: linear level of full scale that the metering aims at.
        most_gain: limit of the automatic exposure: nights stay dark.
        blur_px: standard deviation of the lens blur [px]; 0 for none.
        vignetting: loss of light in the corners, 0 to 1.
        read_noise, shot_noise: standard deviation at black, and growth of the variance with the signal, of full scale.
    """

    mean_level: float = 0.19
    most_gain: float = 30.0
    blur_px: float = 0.5
    vignetting: float = 0.12
    read_noise: float = 0.0016
    shot_noise: float = 0.00012

    def exposure(self, radiance: Radiance, compensation_ev: float) -> float:
        """Gain that brings the typical brightness of an (H, W, 3) linear image to the aimed level."""
        luminance = radiance[::4, ::4] @ np.array([0.25, 0.6, 0.15], dtype=np.float32)
        # Bright sky must not black out the ground: its weight is limited, as in a centre-weighted meter.
        cap = 3.0 * float(np.median(luminance)) + 1e-9
        typical = max(float(np.minimum(luminance, cap).mean()), 1e-9)
        return min(self.mean_level / typical, self.most_gain) * float(2.0**compensation_ev)

    def develop(self, radiance: Radiance, gain: float, seed: int) -> Image:
        """(H, W, 3) uint8 RGB image of a linear one; the noise depends on the seed only."""
        blurred = cv2.GaussianBlur(radiance, (3, 3), self.blur_px) if self.blur_px > 0.0 else radiance
        image = np.empty(radiance.shape, dtype=np.uint8)
        _develop(blurred, gain, self.vignetting, self.read_noise, self.shot_noise, seed, _tone_curve(), image)
        return image


def _tone_curve() -> NDArray[np.float32]:
    """Linear level, 0 to 2 in equal steps, to 0 to 255: sRGB's curve with a soft shoulder instead of hard clipping."""
    x = np.linspace(0.0, 2.0, _TABLE)
    knee = 0.75
    soft = np.where(x < knee, x, knee + (1.0 - knee) * (1.0 - np.exp(-(x - knee) / (1.0 - knee))))
    encoded = np.where(soft <= 0.0031308, 12.92 * soft, 1.055 * np.maximum(soft, 1e-9) ** (1.0 / 2.4) - 0.055)
    return np.asarray(255.0 * encoded, dtype=np.float32)


@jit
def _develop(
    radiance: Radiance,
    gain: float,
    vignetting: float,
    read_noise: float,
    shot_noise: float,
    seed: int,
    curve: NDArray[np.float32],
    out: Image,
) -> None:
    height, width = radiance.shape[0], radiance.shape[1]
    scale = 4.0 / (height * height + width * width)
    steps = (len(curve) - 1) / 2.0
    variance, growth, zero = np.float32(read_noise * read_noise), np.float32(shot_noise), np.float32(0.0)
    for y in range(height):
        for x in range(width):
            dx, dy = x - 0.5 * (width - 1), y - 0.5 * (height - 1)
            fall = gain * (1.0 - vignetting * (dx * dx + dy * dy) * scale)
            # One hash gives three draws of ten bits, one for each channel.
            bits = hash_bits(x, y, seed)
            for c in range(3):
                level = np.float32(radiance[y, x, c] * fall)
                level += _GAUSS[(bits >> (10 * c)) & 1023] * np.sqrt(variance + growth * max(level, zero))
                t = min(max(level, 0.0), 1.9999) * steps
                i = int(t)
                f = t - i
                out[y, x, c] = np.uint8(curve[i] + (curve[i + 1] - curve[i]) * f + 0.5)
