"""The sky: a gradient, the sun with its glow, and clouds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.light import CLOUD_BRIGHT, CLOUD_DARK, HORIZON, SUN, TOWARDS_SUN, WEATHER, ZENITH
from vloc_ros.simulation.noise import fractal

Array = NDArray[np.float64]
_CLOUD_BASE_M = 900.0


@jit
def clear_sky(light: Array, dx: float, dy: float, dz: float) -> tuple[float, float, float]:
    """Radiance of the sky without clouds in a unit direction; below the horizon that of the horizon."""
    low = 1.0 - max(dz, 0.0)
    low *= low
    low *= low
    toward = max(dx * light[TOWARDS_SUN, 0] + dy * light[TOWARDS_SUN, 1] + dz * light[TOWARDS_SUN, 2], 0.0)
    toward *= toward
    glow = toward * toward * toward
    sharp = glow * glow * glow
    glow = 0.10 * glow + 0.22 * sharp * sharp
    return (
        light[ZENITH, 0] + (light[HORIZON, 0] - light[ZENITH, 0]) * low + glow * light[SUN, 0],
        light[ZENITH, 1] + (light[HORIZON, 1] - light[ZENITH, 1]) * low + glow * light[SUN, 1],
        light[ZENITH, 2] + (light[HORIZON, 2] - light[ZENITH, 2]) * low + glow * light[SUN, 2],
    )


@jit
def sky_radiance(light: Array, dx: float, dy: float, dz: float, pixel: float) -> tuple[float, float, float]:
    """Radiance of the sky in a unit direction as a pixel that spans ``pixel`` [rad] sees it."""
    r, g, b = clear_sky(light, dx, dy, dz)
    toward = dx * light[TOWARDS_SUN, 0] + dy * light[TOWARDS_SUN, 1] + dz * light[TOWARDS_SUN, 2]
    if toward > 0.99995:
        r, g, b = r + 30.0 * light[SUN, 0], g + 30.0 * light[SUN, 1], b + 30.0 * light[SUN, 2]
    if dz <= 0.015:
        return r, g, b
    reach = _CLOUD_BASE_M / dz
    footprint = pixel * reach / math.sqrt(dz)
    value, slope_x, slope_y = fractal(
        dx * reach, dy * reach, footprint, 0.0, footprint, footprint, 700.0, 5, 0.55, int(light[WEATHER, 2])
    )
    threshold = 0.75 - 1.75 * light[WEATHER, 0]
    cover = min(max((value - threshold) / 0.7, 0.0), 1.0)
    cover = cover * cover * (3.0 - 2.0 * cover) * min(dz / 0.10, 1.0)
    # Clouds are brighter on the side of the sun.
    shade = 0.5 + 0.35 * value - 0.10 * (slope_x * light[TOWARDS_SUN, 0] + slope_y * light[TOWARDS_SUN, 1])
    shade = min(max(shade, 0.0), 1.0)
    cr = light[CLOUD_DARK, 0] + (light[CLOUD_BRIGHT, 0] - light[CLOUD_DARK, 0]) * shade
    cg = light[CLOUD_DARK, 1] + (light[CLOUD_BRIGHT, 1] - light[CLOUD_DARK, 1]) * shade
    cb = light[CLOUD_DARK, 2] + (light[CLOUD_BRIGHT, 2] - light[CLOUD_DARK, 2]) * shade
    return r + (cr - r) * cover, g + (cg - g) * cover, b + (cb - b) * cover
