"""The light of a time of day and a weather: sun or moon, sky, clouds and haze.

Light is given per colour channel, in units of the sun above the atmosphere; a white surface that faces a source of
irradiance 1 has radiance 1. One unit is about 130 000 lux.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.conditions import DECLINATION_DEG, LATITUDE_DEG, Condition

Array = NDArray[np.float64]
_OPTICAL_DEPTH = np.array([0.085, 0.145, 0.29])
"""Of a clear atmosphere for red, green and blue light."""
# How bright the sky is below 6 degrees of elevation of the sun [deg]; it falls by powers of ten after sunset.
_TWILIGHT_DEG = np.array([-18.0, -12.0, -9.0, -6.0, -4.0, -2.0, 0.0, 3.0, 6.0])
_TWILIGHT = np.log([1.0e-7, 1.0e-6, 1.2e-5, 2.0e-4, 1.5e-3, 1.2e-2, 0.06, 0.19, 0.345])
_MOON = 3.2e-5 * np.array([0.80, 0.93, 1.15])
"""A full moon, about ten times as bright as ours: the exposure of a moving robot is too short for less."""
_STREET_GLOW = 2.5e-5 * np.array([1.0, 0.70, 0.45])
"""What the lamps of a town throw into the sky above it."""

# Rows of the packed light, as the kernels read it. WEATHER holds cloud cover, haze and the seed of the clouds; SURFACE
# holds snow and wetness.
TOWARDS_SUN, SUN, ZENITH, HORIZON, AMBIENT, BOUNCE, CLOUD_BRIGHT, CLOUD_DARK, GLOW, WEATHER, SURFACE = range(11)


class Light(NamedTuple):
    """What the shader needs to know of a condition; colours are (3,) RGB.

    Attributes:
        towards_sun: (3,) unit vector to the sun, or to the moon when it is the brighter one.
        sun: irradiance of the sun or moon on a surface that faces it, behind the clouds.
        zenith, horizon: radiance of the clear sky overhead and at the horizon.
        ambient: irradiance of the whole sky on a level surface.
        bounce: irradiance from the ground on a surface that faces down.
        cloud_bright, cloud_dark: radiance of lit and shaded cloud.
        glow: brightness of the sky around the sun, also while it is just below the horizon.
        cloud_cover: share of the sky under cloud.
        haze_per_m: extinction of the air [1/m].
        seed: which clouds.
        snow: how much of what faces up is covered, 0 to 1.
        wet: how wet the ground is, 0 to 1.
    """

    towards_sun: Array
    sun: Array
    zenith: Array
    horizon: Array
    ambient: Array
    bounce: Array
    cloud_bright: Array
    cloud_dark: Array
    glow: Array
    cloud_cover: float
    haze_per_m: float
    seed: int
    snow: float
    wet: float


def sun_direction(hour: float) -> Array:
    """(3,) unit vector to the sun (x east, y north, z up) at a solar time [h]; below the horizon at night."""
    turn = np.deg2rad(15.0 * (hour - 12.0))
    latitude, declination = np.deg2rad(LATITUDE_DEG), np.deg2rad(DECLINATION_DEG)
    east = -np.cos(declination) * np.sin(turn)
    north = np.cos(latitude) * np.sin(declination) - np.sin(latitude) * np.cos(declination) * np.cos(turn)
    up = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(turn)
    return np.array([east, north, up])


def _sky_strength(elevation: float) -> float:
    """How bright the sky is, 1 with the sun overhead, by the elevation of the sun [rad]."""
    degrees = float(np.rad2deg(elevation))
    if degrees >= _TWILIGHT_DEG[-1]:
        return float(0.25 + 0.75 * np.sqrt(np.sin(elevation))) * min(0.4 + 0.05 * degrees, 1.0)
    return float(np.exp(np.interp(degrees, _TWILIGHT_DEG, _TWILIGHT)))


def illuminate(condition: Condition) -> Light:
    """The light of a condition.

    The air mass follows Kasten and Young, "Revised optical air mass tables and approximation formula", Applied Optics
    28(22), 1989. The moon is taken to be full as far as its place in the sky is concerned: opposite the sun.
    """
    towards = sun_direction(condition.hour)
    elevation = float(np.arcsin(np.clip(towards[2], -1.0, 1.0)))
    degrees = max(float(np.rad2deg(elevation)), 0.0)
    air_mass = 1.0 / (np.sin(np.deg2rad(degrees)) + 0.50572 * (degrees + 6.07995) ** -1.6364)
    fog = float(np.clip((condition.haze_per_m - 0.01) / 0.06, 0.0, 1.0))
    cover = max(condition.cloud_cover, min(2.0 * condition.rain, 1.0))
    veil = max(float(np.clip((cover - 0.45) / 0.5, 0.0, 1.0)), fog)
    beam = np.exp(-_OPTICAL_DEPTH * air_mass) * float(np.clip((elevation + 0.005) / 0.02, 0.0, 1.0))
    sun = beam * (1.0 - veil) ** 2
    height = max(float(np.sin(elevation)), 0.0)
    strength = _sky_strength(elevation) * (1.0 - 0.3 * condition.rain)
    # The morning is pink, the evening orange: its air is dustier.
    hue = np.array([2.2, 0.90, 1.15]) if condition.hour < 12.0 else np.array([1.0, 0.62, 0.36])
    blue_hour = float(np.clip(-np.rad2deg(elevation) / 3.0, 0.0, 1.0))
    zenith = strength * (np.array([0.10, 0.175, 0.34]) + blue_hour * np.array([-0.02, -0.01, 0.06]))
    horizon = strength * (np.array([0.30, 0.38, 0.46]) + blue_hour * np.array([-0.13, -0.10, 0.04]))
    horizon = horizon + 0.18 * min(strength / 0.49, 1.0) * hue * (1.0 - height) ** 6
    grey = strength * np.array([0.34, 0.345, 0.36]) + 0.20 * beam * height * (1.0 - 0.3 * condition.rain)
    lit = 0.45 * beam
    # After sunset the sky still burns where the sun has gone.
    afterglow = strength * float(np.clip(-elevation / 0.03, 0.0, 1.0)) * np.array([9.0, 4.2, 1.2]) * hue
    glow = sun + (1.0 - veil) ** 2 * afterglow
    lit = lit + 0.12 * afterglow
    moonlight = condition.moon * (1.0 - veil) ** 2 * _MOON * float(np.clip((-towards[2] - 0.02) / 0.1, 0.0, 1.0))
    if moonlight.max() > sun.max():
        towards, sun = -towards, moonlight
        glow, lit, height = 0.2 * moonlight, lit + 0.1 * moonlight, float(towards[2])
        zenith, grey = zenith + 0.04 * moonlight, grey + 0.08 * moonlight
        horizon = horizon + 0.06 * moonlight
    if condition.street_lamps:
        zenith, horizon, grey = zenith + 0.2 * _STREET_GLOW, horizon + _STREET_GLOW, grey + 0.5 * _STREET_GLOW
    ambient = (1.0 - veil) * (0.62 * zenith + 0.38 * horizon + 0.10 * cover * grey) + veil * grey
    horizon = (1.0 - veil) * horizon + veil * 0.95 * grey
    zenith = (1.0 - veil) * zenith + veil * 0.8 * grey
    ground = np.array([0.17, 0.16, 0.11]) * (1.0 - 0.4 * condition.rain)
    ground += condition.snow * (np.array([0.70, 0.73, 0.77]) - ground)
    bounce = ground * (sun * height + ambient)
    bright = (1.0 - veil) * (lit + 0.9 * grey) + veil * 1.12 * grey
    dark = (1.0 - veil) * (0.10 * beam + 0.85 * grey) + veil * 0.78 * grey
    # In fog, every direction looks like the horizon.
    zenith, bright, dark = (colour + fog * (horizon - colour) for colour in (zenith, bright, dark))
    return Light(
        towards, sun, zenith, horizon, ambient, bounce, bright, dark, glow,
        float(cover), float(condition.haze_per_m + 0.006 * condition.rain), int(condition.seed),
        float(condition.snow), float(condition.rain),
    )  # fmt: skip


def pack(light: Light) -> Array:
    """(11, 3) rows of the light in the order of the constants of this module."""
    weather = np.array([light.cloud_cover, light.haze_per_m, float(light.seed)])
    return np.ascontiguousarray(np.stack([*light[:9], weather, np.array([light.snow, light.wet, 0.0])]))
