"""Deterministic lattice noise: the source of every texture, cloud and hill.

Value noise on an integer lattice whose values come from a hash, so that nothing repeats and nothing is stored.

Filtering. A pixel sees an ellipse of a surface: its half axes are given by the longer axis (mu, mv) and the two lengths
``major`` and ``minor`` [m]. An octave of noise fades out before its cells become smaller than a pixel, which is what a mip
map does for a stored texture; along the longer axis several points are averaged, which is anisotropic filtering. Without
it the ground would crawl, or be blurred away a few metres ahead of the robot.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.jit import jit

_K1, _K2, _K3, _K4 = 0x1E3779B97F4A7C15, 0x42B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x2545F4914F6CDD1D
# Octaves are turned against each other (3-4-5 triangle), or their lattices would show as a common grid.
_COS, _SIN = 0.8, 0.6
_LACUNARITY = 0.345
_ASLEEP, _AWAKE = 1.1, 2.6
"""An octave is invisible when its cell covers fewer pixels than the first, and complete when it covers the second."""
_MAX_TAPS = 4
_FAINT = 0.04
"""Fainter contributions are not worth their time."""


@jit
def _mix(h: int) -> int:
    h ^= h >> 29
    h *= _K4
    return h ^ (h >> 31)


@jit
def hash01(ix: int, iy: int, seed: int) -> float:
    """A number in [0, 1) that depends on a lattice point and a seed."""
    return ((_mix(ix * _K1 + iy * _K2 + seed * _K3) >> 30) & 0xFFFFFF) * (1.0 / (1 << 24))


@jit
def _lattice(h: int) -> float:
    h ^= h >> 29
    h *= _K4
    return (h >> 40) * (1.0 / (1 << 23))


@jit
def value_noise(x: float, y: float, seed: int) -> tuple[float, float, float]:
    """Smooth noise in [-1, 1] at a point given in cells, and its derivatives by x and y."""
    floor_x, floor_y = math.floor(x), math.floor(y)
    tx, ty = x - floor_x, y - floor_y
    h = int(floor_x) * _K1 + int(floor_y) * _K2 + seed * _K3
    a = _lattice(h)
    b = _lattice(h + _K1)
    c = _lattice(h + _K2)
    d = _lattice(h + _K1 + _K2)
    sx, sy = tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty)
    k1, k2, k3 = b - a, c - a, a - b - c + d
    value = a + k1 * sx + k2 * sy + k3 * sx * sy
    return value, (k1 + k3 * sy) * 6.0 * tx * (1.0 - tx), (k2 + k3 * sx) * 6.0 * ty * (1.0 - ty)


@jit
def _visible(pixels: float) -> float:
    """How much of a pattern survives whose cells are so many pixels wide: 0 to 1."""
    t = min(max((pixels - _ASLEEP) / (_AWAKE - _ASLEEP), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@jit
def visibility(cell: float, footprint: float) -> float:
    """How much of a pattern of this cell size survives in a pixel of this footprint (same unit): 0 to 1."""
    return _visible(cell / footprint)


@jit
def _taps(cell: float, major: float, minor: float) -> int:
    """How many points along the longer axis are needed to see a pattern of this cell size without aliasing."""
    return min(max(int(math.ceil(major / max(minor, cell / _AWAKE))), 1), _MAX_TAPS)


@jit
def fractal(
    u: float, v: float, mu: float, mv: float, major: float, minor: float, cell: float, octaves: int, gain: float, seed: int
) -> tuple[float, float, float]:
    """Sum of octaves, each with cells 2.9 times smaller and ``gain`` times the height of the one before.

    Args:
        u, v: position [m].
        mu, mv, major, minor: the footprint of the pixel [m], see above.
        cell: cell size of the first octave [m].
        octaves: number of octaves.
        gain: ratio of the amplitudes of successive octaves.
        seed: which noise.

    Returns:
        The value (first octave in [-1, 1]), and the slopes by u and v of a relief whose height is the value times the
        cell of each octave [no unit]: every octave is equally steep per unit of amplitude.
    """
    value, slope_u, slope_v = 0.0, 0.0, 0.0
    amplitude, c, s = 1.0, 1.0, 0.0
    # Divisions are what costs time here: everything that is divided by is inverted once.
    frequency, per_minor, per_major = 1.0 / cell, 1.0 / minor, 1.0 / major
    for octave in range(octaves):
        wanted = major * min(per_minor, frequency * _AWAKE)
        taps = min(max(int(math.ceil(wanted)), 1), _MAX_TAPS)
        weight = amplitude * _visible(cell * min(per_minor, taps * per_major))
        if weight <= _FAINT:
            break
        x, y = (c * u - s * v) * frequency, (s * u + c * v) * frequency
        if taps == 1:
            n, nx, ny = value_noise(x, y, seed + 101 * octave)
        else:
            share = 1.0 / taps
            dx, dy = (c * mu - s * mv) * frequency * share, (s * mu + c * mv) * frequency * share
            x, y = x - 0.5 * (taps - 1) * dx, y - 0.5 * (taps - 1) * dy
            n, nx, ny = 0.0, 0.0, 0.0
            for k in range(taps):
                a, b, d = value_noise(x + k * dx, y + k * dy, seed + 101 * octave)
                n, nx, ny = n + a, nx + b, ny + d
            weight *= share
        value += weight * n
        slope_u += weight * (c * nx + s * ny)
        slope_v += weight * (c * ny - s * nx)
        amplitude *= gain
        cell *= _LACUNARITY
        frequency *= 1.0 / _LACUNARITY
        c, s = c * _COS - s * _SIN, s * _COS + c * _SIN
    return value, slope_u, slope_v


@jit
def _grain(u: float, v: float, sharp: float, density: float, seed: int) -> tuple[float, float]:
    """At most one round grain in the cell of a point given in cells: (coverage, random number of the grain)."""
    floor_u, floor_v = math.floor(u), math.floor(v)
    h = int(floor_u) * _K1 + int(floor_v) * _K2 + seed * _K3
    bits = _mix(h)
    if (bits & 0xFFFF) >= density * 65536.0:
        return 0.0, 0.5
    other = _mix(h + _K3)
    radius = 0.10 + 0.24 * ((bits >> 16) & 0xFFFF) * (1.0 / 65536.0)
    du = u - floor_u - (radius + (1.0 - 2.0 * radius) * ((bits >> 32) & 0xFFFF) * (1.0 / 65536.0))
    dv = v - floor_v - (radius + (1.0 - 2.0 * radius) * ((other >> 16) & 0xFFFF) * (1.0 / 65536.0))
    # Squeezed along a random diagonal: grains with a direction make better corners than discs.
    squeeze = 0.55 * ((other & 0xFFFF) * (1.0 / 32768.0) - 1.0)
    reach = math.sqrt(du * du + dv * dv + 2.0 * squeeze * du * dv)
    cover = (0.85 * radius - reach) * sharp + 0.5
    return min(max(cover, 0.0), 1.0), ((other >> 32) & 0xFFFF) * (1.0 / 65536.0)


@jit
def speckle(
    u: float, v: float, mu: float, mv: float, major: float, minor: float, cell: float, density: float, seed: int
) -> tuple[float, float]:
    """Separate grains, at most one per cell: pebbles, fallen leaves, flowers, stains.

    Args:
        u, v: position [m].
        mu, mv, major, minor: the footprint of the pixel [m], see above.
        cell: cell size [m]; grains are 0.2 to 0.6 cells wide.
        density: share of the cells with a grain.
        seed: which grains.

    Returns:
        (coverage of the pixel in [0, 1], random number in [0, 1) of the grain that covers most).
    """
    taps = _taps(0.5 * cell, major, minor)
    per_cell = 1.0 / cell
    soft = max(minor, major / taps) * per_cell
    weight = _visible(0.67 / soft)
    if weight <= _FAINT:
        return 0.0, 0.5
    sharp = 1.0 / max(soft, 0.03)
    if taps == 1:
        cover, kind = _grain(u * per_cell, v * per_cell, sharp, density, seed)
        return weight * cover, kind
    total, most, kind = 0.0, 0.0, 0.5
    share = 1.0 / taps
    for k in range(taps):
        shift = (k + 0.5) * share - 0.5
        cover, random = _grain((u + shift * mu) * per_cell, (v + shift * mv) * per_cell, sharp, density, seed)
        total += cover
        if cover > most:
            most, kind = cover, random
    return weight * total * share, kind


@jit
def _noise_array(points: NDArray[np.float64], cell: float, seed: int, out: NDArray[np.float64]) -> None:
    for i in range(len(points)):
        out[i] = value_noise(points[i, 0] / cell, points[i, 1] / cell, seed)[0]


def noise_at(points: NDArray[np.float64], cell: float, seed: int) -> NDArray[np.float64]:
    """(N,) smooth noise in [-1, 1] with lattice cells of ``cell`` [m] at (N, 2) points [m]."""
    out = np.empty(len(points))
    _noise_array(np.ascontiguousarray(points, dtype=np.float64), cell, seed, out)
    return out
