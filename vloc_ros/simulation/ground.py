"""What the ground looks like: a gravel track with ruts, soil, and grass with stones, leaves and flowers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.noise import fractal, speckle, value_noise, visibility

_FAR = 6.0
"""Distance from the centre line where the map of it ends [m]."""


@jit
def smooth(low: float, high: float, x: float) -> float:
    """0 below ``low``, 1 above ``high``, smooth between; ``low`` may be the larger one."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@jit
def _cover_at(layers: NDArray[np.float32], x: float, y: float) -> tuple[float, float]:
    """(distance from the centre line [m], bareness) at a position in cells."""
    if not (x >= 0.0 and y >= 0.0 and x < layers.shape[1] - 1.0 and y < layers.shape[0] - 1.0):
        return _FAR, 0.0
    i, j = int(x), int(y)
    fx, fy = x - i, y - j
    a, b, c, d = (1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy
    distance = a * layers[j, i, 0] + b * layers[j, i + 1, 0] + c * layers[j + 1, i, 0] + d * layers[j + 1, i + 1, 0]
    bareness = a * layers[j, i, 1] + b * layers[j, i + 1, 1] + c * layers[j + 1, i, 1] + d * layers[j + 1, i + 1, 1]
    return distance, bareness


@jit
def ground_mix(
    x: float, y: float, cx: float, cy: float, layers: NDArray[np.float32], seed: int, footprint: float
) -> tuple[float, float, float, float]:
    """Slowly varying make-up of the ground: (gravel, rut, bare soil, dryness), each 0 to 1.

    Args:
        x, y: position in the world [m].
        cx, cy: the same in cells of the cover map.
        layers: the cover map, see ``GroundCover``.
        seed: which ground.
        footprint: mean width of the pixel [m].
    """
    distance, bare = _cover_at(layers, cx, cy)
    broad = value_noise(x / 7.3, y / 7.3, seed + 50)[0]
    medium = value_noise(x / 1.9, y / 1.9, seed + 51)[0] * visibility(1.9, footprint)
    fine = value_noise(x / 0.43, y / 0.43, seed + 52)[0] * visibility(0.43, footprint)
    gravel, rut = 0.0, 0.0
    if distance < 1.6:
        gravel = smooth(1.32, 0.98, distance + 0.15 * medium + 0.15 * fine)
        rut = smooth(0.34, 0.08, abs(distance - 0.58 + 0.05 * medium)) * (0.7 + 0.3 * fine)
    worn = smooth(0.28, 0.72, bare + 0.28 * medium + 0.22 * fine)
    patch = smooth(0.62, 0.85, 0.55 * broad + 0.5 * medium + 0.2 * fine)
    verge = 0.75 * smooth(2.1, 1.1, distance + 0.45 * medium + 0.4 * fine)
    dry = smooth(-0.6, 0.8, 0.75 * broad + 0.45 * medium + 0.35 * fine)
    return gravel, rut, max(worn, patch, verge * (0.4 + 0.6 * dry)), dry


@jit
def ground_surface(
    x: float,
    y: float,
    mu: float,
    mv: float,
    major: float,
    minor: float,
    gravel: float,
    rut: float,
    bare: float,
    dry: float,
    seed: int,
) -> tuple[float, float, float, float, float]:
    """(r, g, b, slope by x, slope by y) of the ground at a point; the slopes are those of its relief."""
    value, su, sv = fractal(x, y, mu, mv, major, minor, 0.55, 5, 0.86, seed + 60)
    lush = 1.0 - dry
    tone = 1.0 + 0.36 * value
    dry_tone = 1.0 + 0.26 * value
    r = 0.098 * lush * tone + 0.29 * dry * dry_tone
    g = 0.155 * lush * tone + 0.255 * dry * dry_tone
    b = 0.040 * lush * tone + 0.115 * dry * dry_tone
    relief = 0.42
    if gravel < 1.0 and bare < 1.0:
        # Blades and stalks: fine streaks, lighter than the ground between them, that turn from patch to patch.
        c = 1.0 if dry > 0.5 else 0.6
        e = math.sqrt(1.0 - c * c)
        across, along = c * x + e * y, 0.25 * (c * y - e * x)
        streak = fractal(across, along, c * mu + e * mv, 0.25 * (c * mv - e * mu), major, minor, 0.028, 1, 1.0, seed + 64)[0]
        blade = 0.95 + 0.55 * streak
        r, g, b = r * blade, g * blade, b * blade
    if bare > 0.0:
        tone = 1.0 + 0.30 * value
        r, g, b = r + (0.205 * tone - r) * bare, g + (0.150 * tone - g) * bare, b + (0.098 * tone - b) * bare
        relief += (0.30 - relief) * bare
    if gravel < 1.0:
        clump, kind = speckle(x, y, mu, mv, major, minor, 0.105, 0.45, seed + 90)
        clump *= 1.0 - gravel
        if clump > 0.0:
            if kind < 0.40:  # a dead leaf or a stalk
                pr, pg, pb = 0.34, 0.235 + 0.1 * kind, 0.11
            elif kind < 0.84:  # a dark gap
                pr, pg, pb = 0.045, 0.06, 0.022
            elif kind < 0.92:  # a flower head
                pr, pg, pb = 0.58, 0.55, 0.18 + 4.0 * (kind - 0.84)
            else:  # a stone
                pr, pg, pb = 0.37, 0.355, 0.33
            clump *= 0.8
            r, g, b = r + (pr - r) * clump, g + (pg - g) * clump, b + (pb - b) * clump
    if gravel > 0.0:
        tone = (1.0 + 0.26 * value) * (1.0 - 0.20 * rut)
        r, g, b = r + (0.33 * tone - r) * gravel, g + (0.295 * tone - g) * gravel, b + (0.245 * tone - b) * gravel
        relief += (0.30 - relief) * gravel
        small, shade = speckle(x, y, mu, mv, major, minor, 0.038, 0.80, seed + 70)
        large, other = speckle(x, y, mu, mv, major, minor, 0.115, 0.45, seed + 80)
        cover = max(small * (1.0 - 0.4 * rut), large) * gravel
        grey = 0.11 + 0.46 * (shade if small > large else other)
        r, g, b = r + (grey - r) * cover, g + (grey * 0.97 - g) * cover, b + (grey * 0.90 - b) * cover
    return max(r, 0.008), max(g, 0.008), max(b, 0.008), relief * su, relief * sv
