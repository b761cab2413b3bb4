"""What the weather lays on surfaces: snow, and the wet of rain.

The kernels change the reflectance (R, G, B) and relief (SU, SV) of a batch after its surface is known and before light falls
on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.fragments import (
    EX,
    EY,
    EZ,
    NX,
    NY,
    NZ,
    OPEN,
    SIDE,
    SLOPE_P,
    SLOPE_Q,
    SU,
    SV,
    T0,
    T1,
    T4,
    VALUE,
    B,
    G,
    Integers,
    R,
    Table,
    V,
)
from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.light import HORIZON
from vloc_ros.simulation.noise import aim, fractal, smooth

Array = NDArray[np.float64]
_GRAVEL, _RUT = T0, T1
"""Where ``ground_surface`` leaves the make-up of the track."""
_GLOSS = T4
_WHITE = (0.80, 0.84, 0.90)


@jit
def lay_snow(w: Table, s: Integers, n: int, amount: float, on_ground: bool) -> None:
    """Snow on what faces up; on the ground the track is partly driven clear.

    Args:
        w: the batch.
        s: its integers.
        n: its size.
        amount: how much snow, 0 to 1: more covers more.
        on_ground: whether the batch is ground, with the make-up of the track in T0 and T1.
    """
    aim(w, n, 1.0)
    fractal(w, s, n, 1.1, 4.0, 0.62, 140.0)
    for i in range(n):
        value = w[VALUE, i]
        driven = 0.40 * w[_GRAVEL, i] + 0.95 * w[_RUT, i] if on_ground else 0.0
        flat = smooth(0.18, 0.60, w[SIDE, i] * w[NZ, i] + 0.12 * value)
        cover = flat * smooth(-0.18, 0.22, 2.2 * amount - 0.92 + 0.42 * value - driven)
        # Where snow was driven over, it is thin and grey.
        tone = (1.0 + 0.07 * value) * (1.0 - 0.22 * min(driven, 1.0))
        w[R, i] += (_WHITE[0] * tone - w[R, i]) * cover
        w[G, i] += (_WHITE[1] * tone - w[G, i]) * cover
        w[B, i] += (_WHITE[2] * tone - w[B, i]) * cover
        w[SU, i] += (0.26 * w[SLOPE_P, i] - w[SU, i]) * cover
        w[SV, i] += (0.26 * w[SLOPE_Q, i] - w[SV, i]) * cover


@jit
def dust_leaves(w: Table, n: int, amount: float, grass: bool) -> None:
    """Snow on leaves that face up, and between blades of grass, whose tips stand out of it."""
    for i in range(n):
        cover = smooth(1.0, 0.35, w[V, i]) if grass else 0.9 * smooth(-0.1, 0.8, w[NZ, i])
        cover *= amount
        w[R, i] += (_WHITE[0] - w[R, i]) * cover
        w[G, i] += (_WHITE[1] - w[G, i]) * cover
        w[B, i] += (_WHITE[2] - w[B, i]) * cover


@jit
def soak(w: Table, n: int, wet: float) -> None:
    """Wet ground: darker, and water in the ruts; how much it shines goes to T4."""
    for i in range(n):
        puddle = smooth(0.30, 0.75, w[_RUT, i]) * w[_GRAVEL, i]
        dark = 1.0 - wet * (0.50 + 0.25 * puddle)
        w[R, i], w[G, i], w[B, i] = w[R, i] * dark, w[G, i] * dark, w[B, i] * dark
        smoothed = 1.0 - 0.8 * wet * puddle
        w[SU, i], w[SV, i] = w[SU, i] * smoothed, w[SV, i] * smoothed
        w[_GLOSS, i] = wet * (0.10 + 0.22 * w[_GRAVEL, i] + 0.68 * puddle)


@jit
def add_sheen(w: Table, n: int, light: Array) -> None:
    """The grey sky mirrored in wet ground (Schlick's approximation of Fresnel's equations, for water)."""
    for i in range(n):
        miss = 1.0 - min(max(-(w[EX, i] * w[NX, i] + w[EY, i] * w[NY, i] + w[EZ, i] * w[NZ, i]), 0.0), 1.0)
        mirrored = w[_GLOSS, i] * w[OPEN, i] * (0.02 + 0.98 * miss * miss * miss * miss * miss)
        w[R, i] += mirrored * light[HORIZON, 0]
        w[G, i] += mirrored * light[HORIZON, 1]
        w[B, i] += mirrored * light[HORIZON, 2]
