"""The camera behind the lens: exposure, blur, vignetting, noise and the tone curve."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

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
_MOST_EXCESS = 25.0
"""Times full scale."""


class Exposure(NamedTuple):
    """What the automatic exposure chose for an image.

    Attributes:
        scale: level of full scale per unit of radiance.
        exposure_s: how long the shutter is open [s].
        gain: amplification of the signal and of the read noise.
    """

    scale: float
    exposure_s: float
    gain: float


@dataclass(frozen=True, slots=True)
class Sensor:
    """A colour camera with automatic exposure; both cameras of a pair share their exposure.

    The exposure time is raised first, then the gain; where both are at their limits, the image stays dark.

    Attributes:
        mean_level: linear level of full scale that the metering aims at.
        sensitivity_per_s: level of full scale per unit of radiance and second of exposure, at gain 1.
        longest_exposure_s: limit of the exposure time [s].
        most_gain: limit of the gain.
        blur_px: standard deviation of the lens blur [px]; 0 for none.
        vignetting: loss of light in the corners, 0 to 1.
        bloom: share of the light above full scale that lands beside its pixel; 0 for none.
        read_noise: standard deviation at black and gain 1, of full scale; it grows with the gain.
        shot_noise: growth of the variance with the signal at gain 1, of full scale; it grows with the gain.
    """

    mean_level: float = 0.19
    sensitivity_per_s: float = 3200.0
    longest_exposure_s: float = 0.022
    most_gain: float = 12.0
    blur_px: float = 0.5
    vignetting: float = 0.12
    bloom: float = 0.05
    read_noise: float = 0.0009
    shot_noise: float = 0.00012

    def exposure(self, radiance: Radiance, compensation_ev: float) -> Exposure:
        """Exposure that brings the typical brightness of an (H, W, 3) linear image to the aimed level, or close to it."""
        luminance = radiance[::4, ::4] @ np.array([0.25, 0.6, 0.15], dtype=np.float32)
        # Bright sky must not black out the ground: its weight is limited, as in a centre-weighted meter.
        # At night, most of the image is black, and what the lamps light counts.
        cap = max(3.0 * float(np.median(luminance)), 1.5 * float(luminance.mean())) + 1e-9
        typical = max(float(np.minimum(luminance, cap).mean()), 1e-9)
        wanted_s = self.mean_level / typical * 2.0**compensation_ev / self.sensitivity_per_s
        exposure_s = min(wanted_s, self.longest_exposure_s)
        gain = min(max(wanted_s / exposure_s, 1.0), self.most_gain)
        return Exposure(self.sensitivity_per_s * exposure_s * gain, exposure_s, gain)

    def develop(self, radiance: Radiance, scale: float, seed: int, gain: float = 1.0) -> Image:
        """(H, W, 3) uint8 RGB image of a linear one; ``scale`` and ``gain`` as in :class:`Exposure`.

        The noise depends on the seed only.
        """
        blurred = cv2.GaussianBlur(radiance, (3, 3), self.blur_px) if self.blur_px > 0.0 else radiance
        if self.bloom > 0.0:
            blurred = _bloom(blurred, scale, self.bloom)
        image = np.empty(radiance.shape, dtype=np.uint8)
        noise = (self.read_noise * gain, self.shot_noise * gain)
        _develop(blurred, scale, self.vignetting, noise[0], noise[1], seed, _tone_curve(), image)
        return image


def _bloom(radiance: Radiance, scale: float, share: float) -> Radiance:
    """Let light above full scale spread: a small core and a wide veil around lamps and the sun."""
    full = 1.0 / scale
    if float(radiance.max()) <= full:
        return radiance
    height, width = radiance.shape[:2]
    # A pixel cannot hold more than some charge; the rest drains away.
    excess = np.clip(radiance - np.float32(full), 0.0, np.float32(_MOST_EXCESS * full))
    small = cv2.resize(excess, (max(width // 4, 1), max(height // 4, 1)), interpolation=cv2.INTER_AREA)
    core = cv2.GaussianBlur(small, (0, 0), max(width / 512.0, 0.3))
    veil = cv2.GaussianBlur(small, (0, 0), max(width / 64.0, 0.3))
    spread = cv2.resize(core + veil, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(radiance + np.float32(share) * spread, dtype=np.float32)


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
