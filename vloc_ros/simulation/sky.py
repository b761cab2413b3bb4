"""The sky: a gradient, the sun with its glow, and clouds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.fragments import (
    DEPTH,
    DX,
    EX,
    EY,
    EZ,
    HB,
    HG,
    HR,
    LX,
    LY,
    LZ,
    MAJOR,
    MINOR,
    MP,
    MQ,
    SEED,
    SLOPE_P,
    SLOPE_Q,
    VALUE,
    B,
    G,
    Integers,
    P,
    Q,
    R,
    Table,
)
from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.light import CLOUD_BRIGHT, CLOUD_DARK, GLOW, HORIZON, SUN, TOWARDS_SUN, WEATHER, ZENITH
from vloc_ros.simulation.noise import fractal

Array = NDArray[np.float64]
_CLOUD_BASE_M = 900.0
_LOWEST = 0.015
"""No clouds closer to the horizon than this (sine of the elevation)."""


@jit
def clear_sky(light: Array, w: Table, n: int, floor: float) -> None:
    """Radiance of the sky without clouds in the unit directions LX, LY, LZ, into HR, HG, HB.

    ``floor`` is the least sine of the elevation that is looked up: at 0, the ground shows the colour of the horizon.
    """
    for i in range(n):
        low = 1.0 - max(w[LZ, i], floor)
        low *= low
        low *= low
        toward = w[LX, i] * light[TOWARDS_SUN, 0] + w[LY, i] * light[TOWARDS_SUN, 1] + w[LZ, i] * light[TOWARDS_SUN, 2]
        toward = max(toward, 0.0)
        glow = toward * toward
        glow *= glow * glow
        sharp = glow * glow * glow
        glow = 0.10 * glow + 0.22 * sharp * sharp
        w[HR, i] = light[ZENITH, 0] + (light[HORIZON, 0] - light[ZENITH, 0]) * low + glow * light[GLOW, 0]
        w[HG, i] = light[ZENITH, 1] + (light[HORIZON, 1] - light[ZENITH, 1]) * low + glow * light[GLOW, 1]
        w[HB, i] = light[ZENITH, 2] + (light[HORIZON, 2] - light[ZENITH, 2]) * low + glow * light[GLOW, 2]


@jit
def look_ahead(w: Table, n: int) -> None:
    """Point the lookups of the sky along the rays."""
    for i in range(n):
        w[LX, i], w[LY, i], w[LZ, i] = w[EX, i], w[EY, i], w[EZ, i]


@jit
def shade_sky(light: Array, w: Table, s: Integers, n: int, pixel: float) -> None:
    """Radiance (R, G, B) of the sky along the unit rays of a batch whose pixels span ``pixel`` [rad]."""
    look_ahead(w, n)
    clear_sky(light, w, n, 0.0)
    for i in range(n):
        up = max(w[EZ, i], _LOWEST)
        reach = _CLOUD_BASE_M / up
        w[P, i], w[Q, i] = w[EX, i] * reach, w[EY, i] * reach
        w[MP, i], w[MQ, i] = 0.0, 0.0
        w[MAJOR, i] = pixel * reach / np.sqrt(up)
        w[MINOR, i], s[SEED, i] = w[MAJOR, i], int(light[WEATHER, 2])
    fractal(w, s, n, 700.0, 5.0, 0.55, 0.0)
    threshold = 0.75 - 1.75 * light[WEATHER, 0]
    for i in range(n):
        toward = w[EX, i] * light[TOWARDS_SUN, 0] + w[EY, i] * light[TOWARDS_SUN, 1] + w[EZ, i] * light[TOWARDS_SUN, 2]
        disc = 30.0 if toward > 0.99995 else 0.0
        cover = min(max((w[VALUE, i] - threshold) / 0.7, 0.0), 1.0)
        cover = cover * cover * (3.0 - 2.0 * cover) * min(max((w[EZ, i] - _LOWEST) / 0.09, 0.0), 1.0)
        # Clouds are brighter on the side of the sun.
        side = w[SLOPE_P, i] * light[TOWARDS_SUN, 0] + w[SLOPE_Q, i] * light[TOWARDS_SUN, 1]
        shade = min(max(0.5 + 0.35 * w[VALUE, i] - 0.10 * side, 0.0), 1.0)
        r, g, b = w[HR, i] + disc * light[SUN, 0], w[HG, i] + disc * light[SUN, 1], w[HB, i] + disc * light[SUN, 2]
        cr = light[CLOUD_DARK, 0] + (light[CLOUD_BRIGHT, 0] - light[CLOUD_DARK, 0]) * shade
        cg = light[CLOUD_DARK, 1] + (light[CLOUD_BRIGHT, 1] - light[CLOUD_DARK, 1]) * shade
        cb = light[CLOUD_DARK, 2] + (light[CLOUD_BRIGHT, 2] - light[CLOUD_DARK, 2]) * shade
        w[R, i], w[G, i], w[B, i] = r + (cr - r) * cover, g + (cg - g) * cover, b + (cb - b) * cover


@jit
def finish(light: Array, w: Table, places: Integers, shares: Table, at: int, n: int, out: Table) -> None:
    """Add ``n`` fragments, the first of which is number ``at``, to the (H * W, 3) image, seen through the air between."""
    if places[1, at] >= 0:
        _add_haze(light, w, n)
    for i in range(n):
        pixel, share = places[0, at + i], shares[0, at + i]
        out[pixel, 0] += share * w[R, i]
        out[pixel, 1] += share * w[G, i]
        out[pixel, 2] += share * w[B, i]


@jit
def _add_haze(light: Array, w: Table, n: int) -> None:
    """The air between: things far away take the colour of the horizon."""
    look_ahead(w, n)
    clear_sky(light, w, n, 0.03)
    for i in range(n):
        # exp(-x) as (1 - x/16)^16, which the compiler can vectorise.
        dx, dy, dz = w[DX, i], w[DX + 1, i], w[DX + 2, i]
        x = light[WEATHER, 1] * w[DEPTH, i] * np.sqrt(dx * dx + dy * dy + dz * dz)
        clear = max(1.0 - 0.0625 * x, 0.0)
        clear *= clear
        clear *= clear
        clear *= clear
        clear *= clear
        w[R, i] = w[HR, i] + (w[R, i] - w[HR, i]) * clear
        w[G, i] = w[HG, i] + (w[G, i] - w[HG, i]) * clear
        w[B, i] = w[HB, i] + (w[B, i] - w[HB, i]) * clear
