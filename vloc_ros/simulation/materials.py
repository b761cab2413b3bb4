"""What building materials look like, filtered to what a pixel sees of them.

The kernels turn the surface coordinates of a batch (rows U, V, footprint in MU, MV, MAJOR, MINOR; see fragments.py) into
linear reflectance (rows R, G, B, which hold the tint before) and the slopes of the relief (SU, SV). The relief is why a wall
looks different when the sun has moved, and not only darker.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.fragments import (
    COVER,
    KIND,
    MINOR,
    MU,
    MV,
    SEED,
    SLOPE_P,
    SLOPE_Q,
    SU,
    SV,
    T0,
    VALUE,
    B,
    G,
    Integers,
    P,
    R,
    Table,
    U,
    V,
)
from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.noise import Scalar, aim, fractal, hash01, smooth, speckle, visible

Array = NDArray[np.float64]
# Where the parts of a packed recipe start.
_COARSE, _FINE, _SPOTS, _COURSES, _GROWTH = 0, 6, 12, 20, 30


@jit
def _line(x: Scalar, period: float, width: float, footprint: Scalar) -> Scalar:
    """Share of a pixel covered by lines of a width that repeat with a period (box filter of a pulse train)."""
    half = 0.5 * max(footprint, 1e-4)
    a, b = (x - half) / period, (x + half) / period
    duty = width / period
    floor_a, floor_b = np.floor(a), np.floor(b)
    return ((floor_b - floor_a) * duty + min(b - floor_b, duty) - min(a - floor_a, duty)) / (b - a)


@jit
def object_surface(recipe: Array, w: Table, s: Integers, n: int) -> None:
    """Surface of ``n`` fragments of one material, whose recipe is packed (see recipes.py)."""
    aim(w, n, 1.0)
    fractal(w, s, n, recipe[_COARSE], recipe[_COARSE + 1], recipe[_COARSE + 2], 2.0)
    tone, relief = recipe[_COARSE + 4], recipe[_COARSE + 5]
    threshold, amount, splashes = recipe[_GROWTH], recipe[_GROWTH + 1], recipe[_GROWTH + 5]
    r, g, b = recipe[_GROWTH + 2], recipe[_GROWTH + 3], recipe[_GROWTH + 4]
    for i in range(n):
        value = w[VALUE, i]
        moss = amount * smooth(threshold, threshold + 0.65, value)
        bright = (1.0 + tone * value) * (1.0 - splashes * smooth(1.2, 0.2, w[V, i] + 0.4 * value))
        w[R, i], w[G, i], w[B, i] = w[R, i] * bright, w[G, i] * bright, w[B, i] * bright
        w[R, i] += (r * bright - w[R, i]) * moss
        w[G, i] += (g * bright - w[G, i]) * moss
        w[B, i] += (b * bright - w[B, i]) * moss
        w[SU, i], w[SV, i] = relief * w[SLOPE_P, i], relief * w[SLOPE_Q, i]
    if recipe[_FINE + 1] > 0.0:
        _add_fine(recipe, w, s, n)
    if recipe[_SPOTS + 1] > 0.0:
        _add_spots(recipe, w, s, n)
    if recipe[_COURSES + 2] > 0.0:
        _add_courses(recipe, w, s, n)


@jit
def _add_fine(recipe: Array, w: Table, s: Integers, n: int) -> None:
    aim(w, n, recipe[_FINE + 3])
    if recipe[_COURSES + 1] == 0.0:
        pitch = 1.0 / recipe[_COURSES]
        for i in range(n):
            w[P, i] += 7.3 * np.floor(w[U, i] * pitch)  # the grain breaks at every board
    fractal(w, s, n, recipe[_FINE], recipe[_FINE + 1], recipe[_FINE + 2], 1.0)
    tone, relief, stretch = recipe[_FINE + 4], recipe[_FINE + 5], recipe[_FINE + 3]
    for i in range(n):
        bright = 1.0 + tone * w[VALUE, i]
        w[R, i], w[G, i], w[B, i] = w[R, i] * bright, w[G, i] * bright, w[B, i] * bright
        w[SU, i] += relief * w[SLOPE_P, i]
        w[SV, i] += relief * stretch * w[SLOPE_Q, i]


@jit
def _add_spots(recipe: Array, w: Table, s: Integers, n: int) -> None:
    aim(w, n, recipe[_SPOTS + 2])
    speckle(w, s, n, recipe[_SPOTS], recipe[_SPOTS + 1], 9.0)
    strength, spread = recipe[_SPOTS + 3], recipe[_SPOTS + 7]
    r, g, b = recipe[_SPOTS + 4], recipe[_SPOTS + 5], recipe[_SPOTS + 6]
    for i in range(n):
        cover, lighter = strength * w[COVER, i], spread * w[KIND, i]
        w[R, i] += (r + lighter - w[R, i]) * cover
        w[G, i] += (g + lighter - w[G, i]) * cover
        w[B, i] += (b + 0.8 * lighter - w[B, i]) * cover


@jit
def _add_courses(recipe: Array, w: Table, s: Integers, n: int) -> None:
    width, joint, stagger = recipe[_COURSES], recipe[_COURSES + 2], recipe[_COURSES + 3]
    height = recipe[_COURSES + 1] if recipe[_COURSES + 1] > 0.0 else 1e6
    tone, opaque, lip = recipe[_COURSES + 4], recipe[_COURSES + 5], recipe[_COURSES + 9]
    r, g, b = recipe[_COURSES + 6], recipe[_COURSES + 7], recipe[_COURSES + 8]
    for i in range(n):
        fu, fv = max(abs(w[MU, i]), w[MINOR, i]), max(abs(w[MV, i]), w[MINOR, i])
        course = np.floor(w[V, i] / height)
        shifted = w[U, i] + stagger * (course - 2.0 * np.floor(0.5 * course))
        piece = hash01(np.floor(shifted / width), course, s[SEED, i]) - 0.5
        bright = 1.0 + visible(width / fu) * visible(height / fv) * tone * piece
        cover = opaque * max(_line(w[V, i], height, joint, fv), _line(shifted, width, joint, fu))
        w[T0, i] = visible(2.5 * joint / fv)
        w[R, i] = w[R, i] * bright * (1.0 - cover) + r * cover
        w[G, i] = w[G, i] * bright * (1.0 - cover) + g * cover
        w[B, i] = w[B, i] * bright * (1.0 - cover) + b * cover
        # The relief of the joints themselves: light catches the edge of each course.
        edge = _line(w[V, i] - 0.8 * joint, height, 0.7 * joint, fv) - _line(w[V, i] + 0.4 * joint, height, 0.7 * joint, fv)
        w[SV, i] += lip * w[T0, i] * edge


@jit
def _ink(u: Scalar, v: Scalar, seed: Scalar) -> float:
    """Blocky letters: 1 on a stroke."""
    row, column = np.floor(v / 0.12), np.floor(u / 0.072)
    x, y = (u / 0.072 - column) * 4.0, (v / 0.12 - row) * 5.0
    stroke = hash01(np.floor(x) + 5.0 * column, np.floor(y) + 7.0 * row, seed + 1) < 0.58
    written = x < 3.0 and y > 0.8 and y < 4.0 and hash01(column, row, seed) < 0.8
    return 1.0 if stroke and written else 0.0


@jit
def add_letters(w: Table, s: Integers, n: int) -> None:
    """Rows of letters, light on dark paint or dark on light."""
    for i in range(n):
        mu, mv, seed = w[MU, i], w[MV, i], s[SEED, i]
        scale = w[MINOR, i] / np.sqrt(mu * mu + mv * mv + 1e-20)
        ou, ov = -mv * scale, mu * scale
        ink = 0.0
        for j in range(9):  # averaged over the pixel: letters have hard edges
            a, b = (j // 3 - 1) / 3.0, (j % 3 - 1) / 3.0
            ink += _ink(w[U, i] + a * mu + b * ou, w[V, i] + a * mv + b * ov, seed) / 9.0
        paint = 0.04 if 0.30 * w[R, i] + 0.59 * w[G, i] + 0.11 * w[B, i] > 0.25 else 0.62
        w[R, i] += (paint - w[R, i]) * ink
        w[G, i] += (paint - w[G, i]) * ink
        w[B, i] += (paint - w[B, i]) * ink
