"""The light of a time of day and a weather: sun, sky, clouds and haze.

Light is given per colour channel, in units of the sun above the atmosphere; a white surface that faces a source of
irradiance 1 has radiance 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.conditions import Condition

Array = NDArray[np.float64]
LATITUDE_DEG, DECLINATION_DEG = 44.0, 21.0
"""A place in the middle of Europe or North America, in early summer."""
_OPTICAL_DEPTH = np.array([0.085, 0.145, 0.29])
"""Of a clear atmosphere for red, green and blue light."""

# Rows of the packed light, as the kernels read it. WEATHER holds cloud cover, haze and the seed of the clouds.
TOWARDS_SUN, SUN, ZENITH, HORIZON, AMBIENT, BOUNCE, CLOUD_BRIGHT, CLOUD_DARK, WEATHER = range(9)


class Light(NamedTuple):
    """What the shader needs to know of a condition; colours are (3,) RGB.

    Attributes:
        towards_sun: (3,) unit vector.
        sun: irradiance of the sun on a surface that faces it, behind the clouds.
        zenith, horizon: radiance of the clear sky overhead and at the horizon.
        ambient: irradiance of the whole sky on a level surface.
        bounce: irradiance from the ground on a surface that faces down.
        cloud_bright, cloud_dark: radiance of lit and shaded cloud.
        cloud_cover: share of the sky under cloud.
        haze_per_m: extinction of the air [1/m].
        seed: which clouds.
    """

    towards_sun: Array
    sun: Array
    zenith: Array
    horizon: Array
    ambient: Array
    bounce: Array
    cloud_bright: Array
    cloud_dark: Array
    cloud_cover: float
    haze_per_m: float
    seed: int


def sun_direction(hour: float) -> Array:
    """(3,) unit vector to the sun (x east, y north, z up) at a solar time [h]; below the horizon at night."""
    turn = np.deg2rad(15.0 * (hour - 12.0))
    latitude, declination = np.deg2rad(LATITUDE_DEG), np.deg2rad(DECLINATION_DEG)
    east = -np.cos(declination) * np.sin(turn)
    north = np.cos(latitude) * np.sin(declination) - np.sin(latitude) * np.cos(declination) * np.cos(turn)
    up = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(turn)
    return np.array([east, north, up])


def illuminate(condition: Condition) -> Light:
    """The light of a condition.

    The air mass follows Kasten and Young, "Revised optical air mass tables and approximation formula", Applied Optics
    28(22), 1989.
    """
    towards = sun_direction(condition.hour)
    elevation = float(np.arcsin(np.clip(towards[2], -1.0, 1.0)))
    degrees = max(float(np.rad2deg(elevation)), 0.0)
    air_mass = 1.0 / (np.sin(np.deg2rad(degrees)) + 0.50572 * (degrees + 6.07995) ** -1.6364)
    veil = float(np.clip((condition.cloud_cover - 0.45) / 0.5, 0.0, 1.0))
    day = float(np.clip((elevation + 0.10) / 0.12, 0.0, 1.0)) ** 2
    beam = np.exp(-_OPTICAL_DEPTH * air_mass) * float(np.clip((elevation + 0.005) / 0.02, 0.0, 1.0))
    sun = beam * (1.0 - veil) ** 2
    height = max(float(np.sin(elevation)), 0.0)
    strength = day * (0.25 + 0.75 * np.sqrt(height)) + 0.0006
    warm = np.array([1.0, 0.62, 0.36]) * (1.0 - height) ** 6
    zenith = strength * np.array([0.10, 0.175, 0.34])
    horizon = strength * (np.array([0.30, 0.38, 0.46]) + 0.18 * day * warm)
    grey = strength * np.array([0.34, 0.345, 0.36]) + 0.20 * beam * height
    ambient = (1.0 - veil) * (0.62 * zenith + 0.38 * horizon + 0.10 * condition.cloud_cover * grey) + veil * grey
    horizon = (1.0 - veil) * horizon + veil * 0.95 * grey
    zenith = (1.0 - veil) * zenith + veil * 0.8 * grey
    bounce = np.array([0.17, 0.16, 0.11]) * (sun * height + ambient)
    bright = (1.0 - veil) * (0.45 * beam + 0.9 * grey) + veil * 1.12 * grey
    dark = (1.0 - veil) * (0.10 * beam + 0.85 * grey) + veil * 0.78 * grey
    return Light(
        towards, sun, zenith, horizon, ambient, bounce, bright, dark,
        float(condition.cloud_cover), float(condition.haze_per_m), int(condition.seed),
    )  # fmt: skip


def pack(light: Light) -> Array:
    """(9, 3) rows of the light in the order of the constants of this module."""
    weather = np.array([light.cloud_cover, light.haze_per_m, float(light.seed)])
    return np.ascontiguousarray(np.stack([*light[:8], weather]))
