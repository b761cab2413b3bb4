"""Deterministic lattice noise: the source of every texture, cloud and hill.

Value noise on an integer lattice whose values come from a hash, so that nothing repeats and nothing is stored.

Filtering. A pixel sees an ellipse of a surface, given by its longer axis (mu, mv) and the lengths ``major`` and ``minor`` of
its axes [m]. An octave of noise fades out before its cells become smaller than a pixel, which is what a mip map does for a
stored texture; along the longer axis several points are averaged, which is anisotropic filtering. Without it the ground
would crawl, or be blurred away a few metres ahead of the robot.

The batch functions work on the rows P, Q (point), MP, MQ (longer axis there), MAJOR and MINOR of a table of fragments, with
one seed per fragment; see fragments.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.fragments import (
    COVER,
    HB,
    HG,
    KIND,
    MAJOR,
    MINOR,
    MP,
    MQ,
    MU,
    MV,
    SEED,
    SLOPE_P,
    SLOPE_Q,
    TAPS,
    VALUE,
    Integers,
    P,
    Q,
    Table,
    U,
    V,
)
from vloc_ros.simulation.jit import jit

# Kernels mix single and double precision; the types of their scalars are numba's business, not mypy's.
Scalar = Any
f4: Any = np.float32
i4: Any = np.int32
_A, _B, _C, _D, _E = i4(0x1B873593), i4(0x4C957F2D), i4(0x27D4EB2F), i4(0x2C1B3C6D), i4(0x297A2D39)
# Octaves are turned against each other (3-4-5 triangle), or their lattices would show as a common grid.
_COS, _SIN = 0.8, 0.6
_LACUNARITY = 0.345
_ASLEEP, _AWAKE = 1.4, 3.0
"""A pattern is invisible when its cell covers fewer pixels than the first, and complete when it covers the second."""


@jit
def _scramble(h: Scalar) -> Scalar:
    """A 32-bit mix (multiply and xor-shift)."""
    h = i4(i4(h ^ i4(h >> 15)) * _D)
    h = i4(i4(h ^ i4(h >> 13)) * _E)
    return i4(h ^ i4(h >> 16))


@jit
def _lattice(h: Scalar) -> Scalar:
    h = i4(i4(h ^ i4(h >> 15)) * _D)
    h = i4(i4(h ^ i4(h >> 13)) * _E)
    return f4(h) * f4(1.0 / 2147483648.0)


@jit
def hash01(x: Scalar, y: Scalar, seed: Scalar) -> Scalar:
    """A number in [0, 1) that depends on a lattice point (integral x, y) and a seed."""
    h = i4(i4(i4(x) * _A) + i4(i4(y) * _B) + i4(i4(seed) * _C))
    return f4(i4(_scramble(h) & 0xFFFFFF)) * f4(1.0 / 16777216.0)


@jit
def hash_bits(x: Scalar, y: Scalar, seed: Scalar) -> Scalar:
    """31 random bits that depend on a lattice point (integral x, y) and a seed."""
    return _scramble(i4(i4(i4(x) * _A) + i4(i4(y) * _B) + i4(i4(seed) * _C))) & 0x7FFFFFFF


@jit
def visible(pixels: Scalar) -> Scalar:
    """How much of a pattern survives whose cells are so many pixels wide: 0 to 1."""
    t = min(max((pixels - f4(_ASLEEP)) * f4(1.0 / (_AWAKE - _ASLEEP)), f4(0.0)), f4(1.0))
    return t * t * (f4(3.0) - f4(2.0) * t)


@jit
def smooth(low: Scalar, high: Scalar, x: Scalar) -> Scalar:
    """0 below ``low``, 1 above ``high``, smooth between; ``low`` may be the larger one."""
    t = min(max((x - f4(low)) / f4(high - low), f4(0.0)), f4(1.0))
    return t * t * (f4(3.0) - f4(2.0) * t)


@jit
def aim(w: Table, n: int, stretch: float) -> None:
    """Point the noise functions at the surface coordinates; ``stretch`` < 1 makes patterns longer along v."""
    for i in range(n):
        w[P, i], w[Q, i], w[MP, i], w[MQ, i] = w[U, i], w[V, i] * stretch, w[MU, i], w[MV, i] * stretch


@jit
def _extremes(w: Table, n: int) -> tuple[Scalar, Scalar]:
    """Largest ``major`` and smallest ``minor`` of a batch."""
    major, minor = w[MAJOR, 0], w[MINOR, 0]
    for i in range(n):
        major, minor = max(major, w[MAJOR, i]), min(minor, w[MINOR, i])
    return major, minor


@jit
def fractal(w: Table, s: Integers, n: int, cell: float, octaves: float, gain: float, salt: float) -> None:
    """Sum of octaves, each with cells 2.9 times smaller and ``gain`` times the height of the one before.

    Writes the rows VALUE (first octave in [-1, 1]) and SLOPE_P, SLOPE_Q: the slopes of a relief whose height is the value
    times the cell of each octave, so that every octave is equally steep per unit of amplitude.

    Args:
        w: the batch.
        s: its integers.
        n: its size.
        cell: cell size of the first octave [m].
        octaves: number of octaves (a float, like ``salt``: numba compiles a function anew for every literal integer).
        gain: ratio of the amplitudes of successive octaves.
        salt: added to the seeds: which noise.
    """
    for i in range(n):
        w[VALUE, i], w[SLOPE_P, i], w[SLOPE_Q, i] = f4(0.0), f4(0.0), f4(0.0)
    longest, shortest = _extremes(w, n)
    amplitude, c, d = 1.0, 1.0, 0.0
    for octave in range(int(octaves)):
        if cell <= _ASLEEP * shortest:
            break
        taps = min(max(math.ceil(longest / max(shortest, cell / _AWAKE)), 1), s[TAPS, 0])
        for k in range(taps):
            _octave(w, s, n, cell, f4(c), f4(d), f4(amplitude), int(salt) + 101 * octave, f4(taps), f4((k + 0.5) / taps - 0.5))
        amplitude *= gain
        cell *= _LACUNARITY
        c, d = c * _COS - d * _SIN, d * _COS + c * _SIN


@jit
def _octave(
    w: Table, s: Integers, n: int, cell: Scalar, c: Scalar, d: Scalar, amplitude: Scalar, salt: int, taps: Scalar, shift: Scalar
) -> None:
    """Add one octave, turned by the angle of cosine ``c`` and sine ``d``, seen at one tap of its footprint."""
    cells, frequency = f4(cell), f4(1.0 / cell)
    share = amplitude / taps
    salted = i4(salt)
    for i in range(n):
        weight = share * visible(cells * min(f4(1.0) / w[MINOR, i], taps / w[MAJOR, i]))
        p, q = w[P, i] + shift * w[MP, i], w[Q, i] + shift * w[MQ, i]
        x, y = (c * p - d * q) * frequency, (d * p + c * q) * frequency
        floor_x, floor_y = np.floor(x), np.floor(y)
        tx, ty = x - floor_x, y - floor_y
        h = i4(i4(i4(floor_x) * _A) + i4(i4(floor_y) * _B) + i4(i4(s[SEED, i] + salted) * _C))
        v00, v10 = _lattice(h), _lattice(i4(h + _A))
        v01, v11 = _lattice(i4(h + _B)), _lattice(i4(i4(h + _A) + _B))
        sx, sy = tx * tx * (f4(3.0) - f4(2.0) * tx), ty * ty * (f4(3.0) - f4(2.0) * ty)
        k1, k2, k3 = v10 - v00, v01 - v00, v00 - v10 - v01 + v11
        nx = (k1 + k3 * sy) * f4(6.0) * tx * (f4(1.0) - tx)
        ny = (k2 + k3 * sx) * f4(6.0) * ty * (f4(1.0) - ty)
        w[VALUE, i] += weight * (v00 + k1 * sx + k2 * sy + k3 * sx * sy)
        w[SLOPE_P, i] += weight * (c * nx + d * ny)
        w[SLOPE_Q, i] += weight * (c * ny - d * nx)


@jit
def speckle(w: Table, s: Integers, n: int, cell: float, density: float, salt: float) -> None:
    """Separate grains, at most one per cell: pebbles, fallen leaves, flowers, stains.

    Writes the rows COVER (coverage of the pixel, 0 to 1) and KIND (random number in [0, 1) of the grain).

    Args:
        w: the batch.
        s: its integers.
        n: its size.
        cell: cell size [m]; grains are 0.2 to 0.6 cells wide.
        density: share of the cells with a grain.
        salt: added to the seeds: which grains.
    """
    for i in range(n):
        w[COVER, i], w[KIND, i] = f4(0.0), f4(0.5)
    longest, shortest = _extremes(w, n)
    if cell <= 1.5 * _ASLEEP * shortest:
        return
    taps = min(max(math.ceil(longest / max(shortest, 0.6 * cell / _AWAKE)), 1), s[TAPS, 0])
    frequency, share = f4(1.0 / cell), f4(1.0 / taps)
    for i in range(n):  # the same for every tap: sharpness of the rims, weight
        soft = max(w[MINOR, i], w[MAJOR, i] * share) * frequency
        w[HG, i], w[HB, i] = f4(1.0) / max(soft, f4(0.03)), visible(f4(0.67) / soft) * share
    for k in range(taps):
        _grains(w, s, n, frequency, f4(density), i4(int(salt)), f4((k + 0.5) / taps - 0.5))


@jit
def _grains(w: Table, s: Integers, n: int, frequency: Scalar, density: Scalar, salt: Scalar, shift: Scalar) -> None:
    """Add the grains at one tap of the footprint, whose sharpness and weight are in the rows HG and HB."""
    unit = f4(1.0 / 1024.0)
    for i in range(n):
        u, v = (w[P, i] + shift * w[MP, i]) * frequency, (w[Q, i] + shift * w[MQ, i]) * frequency
        floor_u, floor_v = np.floor(u), np.floor(v)
        h = i4(i4(i4(floor_u) * _A) + i4(i4(floor_v) * _B) + i4(i4(s[SEED, i] + salt) * _C))
        one, two = _scramble(h), _scramble(i4(h + _E))
        radius = f4(0.10) + f4(0.24) * unit * f4(i4(one & 1023))
        room = f4(1.0) - f4(2.0) * radius
        du = u - floor_u - (radius + room * unit * f4(i4((one >> 10) & 1023)))
        dv = v - floor_v - (radius + room * unit * f4(i4((one >> 20) & 1023)))
        # Squeezed along a random diagonal: grains with a direction make better corners than discs.
        squeeze = f4(1.1) * unit * f4(i4(two & 1023)) - f4(0.55)
        reach = np.sqrt(du * du + dv * dv + f4(2.0) * squeeze * du * dv)
        cover = min(max((f4(0.85) * radius - reach) * w[HG, i] + f4(0.5), f4(0.0)), f4(1.0))
        present = unit * f4(i4((two >> 10) & 1023)) < density
        cover = w[HB, i] * cover if present else f4(0.0)
        w[KIND, i] = unit * f4(i4((two >> 20) & 1023)) if cover > f4(0.0) else w[KIND, i]
        w[COVER, i] += cover


@jit
def _noise_array(points: NDArray[np.float64], cell: float, seed: int, out: NDArray[np.float64]) -> None:
    for i in range(len(points)):
        x, y = points[i, 0] / cell, points[i, 1] / cell
        floor_x, floor_y = math.floor(x), math.floor(y)
        tx, ty = x - floor_x, y - floor_y
        h = i4(i4(i4(floor_x) * _A) + i4(i4(floor_y) * _B) + i4(i4(seed) * _C))
        v00, v10 = float(_lattice(h)), float(_lattice(i4(h + _A)))
        v01, v11 = float(_lattice(i4(h + _B))), float(_lattice(i4(i4(h + _A) + _B)))
        # Quintic blending (Perlin, "Improving noise", 2002): hills need a continuous curvature, or wheels feel the lattice.
        sx, sy = tx**3 * (tx * (6.0 * tx - 15.0) + 10.0), ty**3 * (ty * (6.0 * ty - 15.0) + 10.0)
        out[i] = v00 + (v10 - v00) * sx + (v01 - v00) * sy + (v00 - v10 - v01 + v11) * sx * sy


def noise_at(points: NDArray[np.float64], cell: float, seed: int) -> NDArray[np.float64]:
    """(N,) smooth noise in [-1, 1] with lattice cells of ``cell`` [m] at (N, 2) points [m], in double precision."""
    out = np.empty(len(points))
    _noise_array(np.ascontiguousarray(points, dtype=np.float64), cell, seed, out)
    return out
