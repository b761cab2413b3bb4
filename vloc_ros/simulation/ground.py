"""What the ground looks like: a gravel track with ruts, soil, and grass with stones, leaves and flowers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.fragments import (
    COVER,
    KIND,
    MAJOR,
    MINOR,
    MP,
    MQ,
    MU,
    MV,
    ORIGIN,
    SEED,
    SLOPE_P,
    SLOPE_Q,
    SU,
    SV,
    T0,
    T1,
    T2,
    T3,
    T4,
    TAPS,
    VALUE,
    B,
    G,
    Integers,
    P,
    Q,
    R,
    Table,
    U,
    V,
)
from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.noise import aim, f4, fractal, smooth, speckle

_FAR = 6.0
"""Distance from the centre line where the map of it ends [m]."""
_GRAVEL, _RUT, _BARE, _DRY, _KEEP = T0, T1, T2, T3, T4
_GRAVEL_ROWS = (_GRAVEL, _RUT, P, Q, MP, MQ, MAJOR, MINOR, R, G, B)


@jit
def ground_surface(
    w: Table, s: Integers, n: int, few: Table, few_s: Integers, cover: NDArray[np.float32], cover_map: NDArray[np.float64]
) -> None:
    """Reflectance and relief of ``n`` fragments of the ground.

    Args:
        w: the batch.
        s: its integers.
        n: its size.
        few: a second batch, for parts of the first.
        few_s: its integers.
        cover: layers of the ground cover, see ``GroundCover``.
        cover_map: its (origin x, origin y, cell).
    """
    _mix(w, s, n, cover, cover_map)
    aim(w, n, 1.0)
    fractal(w, s, n, 0.55, 5.0, 0.86, 60.0)
    for i in range(n):
        value, bare, gravel = w[VALUE, i], w[_BARE, i], w[_GRAVEL, i]
        relief = f4(0.42) + (f4(0.30) - f4(0.42)) * max(bare, gravel)
        w[SU, i], w[SV, i], w[_KEEP, i] = relief * w[SLOPE_P, i], relief * w[SLOPE_Q, i], value
    _grass_and_soil(w, s, n)
    _litter(w, s, n)
    for i in range(n):
        gravel, rut = w[_GRAVEL, i], w[_RUT, i]
        tone = (f4(1.0) + f4(0.26) * w[_KEEP, i]) * (f4(1.0) - f4(0.20) * rut)
        w[R, i] += (f4(0.33) * tone - w[R, i]) * gravel
        w[G, i] += (f4(0.295) * tone - w[G, i]) * gravel
        w[B, i] += (f4(0.245) * tone - w[B, i]) * gravel
    _strew_gravel(w, s, n, few, few_s)
    for i in range(n):
        w[R, i], w[G, i], w[B, i] = max(w[R, i], f4(0.008)), max(w[G, i], f4(0.008)), max(w[B, i], f4(0.008))


@jit
def _strew_gravel(w: Table, s: Integers, n: int, few: Table, few_s: Integers) -> None:
    """Pebbles, worked out only for the fragments that lie on gravel: these are brought together in another batch."""
    m = 0
    for i in range(n):
        if w[_GRAVEL, i] > f4(0.0):
            for row in _GRAVEL_ROWS:
                few[row, m] = w[row, i]
            few_s[SEED, m], few_s[ORIGIN, m] = s[SEED, i], i
            m += 1
    if m == 0:
        return
    few_s[TAPS, 0] = s[TAPS, 0]
    _pebbles(few, few_s, m, 0.038, 0.80, 70.0, 0.4)
    _pebbles(few, few_s, m, 0.115, 0.45, 80.0, 0.0)
    for i in range(m):
        at = few_s[ORIGIN, i]
        w[R, at], w[G, at], w[B, at] = few[R, i], few[G, i], few[B, i]


@jit
def _mix(w: Table, s: Integers, n: int, cover: NDArray[np.float32], cover_map: NDArray[np.float64]) -> None:
    """Slowly varying make-up of the ground: rows _GRAVEL, _RUT, _BARE, _DRY, each 0 to 1."""
    aim(w, n, 1.0)
    per_cell = 1.0 / cover_map[2]
    rows, columns = cover.shape[0], cover.shape[1]
    for i in range(n):
        x, y = (w[U, i] - cover_map[0]) * per_cell, (w[V, i] - cover_map[1]) * per_cell
        if x >= 0.0 and y >= 0.0 and x < columns - 1.0 and y < rows - 1.0:
            j, k = int(x), int(y)
            fx, fy = x - j, y - k
            a, b, c, d = (1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy
            w[R, i] = a * cover[k, j, 0] + b * cover[k, j + 1, 0] + c * cover[k + 1, j, 0] + d * cover[k + 1, j + 1, 0]
            w[G, i] = a * cover[k, j, 1] + b * cover[k, j + 1, 1] + c * cover[k + 1, j, 1] + d * cover[k + 1, j + 1, 1]
        else:
            w[R, i], w[G, i] = _FAR, 0.0
    fractal(w, s, n, 7.3, 1.0, 1.0, 50.0)
    for i in range(n):
        w[T0, i] = w[VALUE, i]
    fractal(w, s, n, 1.9, 1.0, 1.0, 51.0)
    for i in range(n):
        w[T1, i] = w[VALUE, i]
    fractal(w, s, n, 0.43, 1.0, 1.0, 52.0)
    for i in range(n):
        broad, medium, fine, distance, trodden = w[T0, i], w[T1, i], w[VALUE, i], w[R, i], w[G, i]
        worn = smooth(f4(0.28), f4(0.72), trodden + f4(0.28) * medium + f4(0.22) * fine)
        patch = smooth(f4(0.62), f4(0.85), f4(0.55) * broad + f4(0.5) * medium + f4(0.2) * fine)
        dry = smooth(-f4(0.6), f4(0.8), f4(0.75) * broad + f4(0.45) * medium + f4(0.35) * fine)
        verge = f4(0.75) * smooth(f4(2.1), f4(1.1), distance + f4(0.45) * medium + f4(0.4) * fine) * (f4(0.4) + f4(0.6) * dry)
        w[_GRAVEL, i] = smooth(f4(1.32), f4(0.98), distance + f4(0.15) * medium + f4(0.15) * fine)
        w[_RUT, i] = smooth(f4(0.34), f4(0.08), abs(distance - f4(0.58) + f4(0.05) * medium)) * (f4(0.7) + f4(0.3) * fine)
        w[_BARE, i], w[_DRY, i] = max(worn, max(patch, verge)), dry


@jit
def _grass_and_soil(w: Table, s: Integers, n: int) -> None:
    # Blades and stalks: fine streaks, lighter than the ground between them, in two crossing directions.
    aim(w, n, 0.45)
    fractal(w, s, n, 0.030, 2.0, 0.9, 64.0)
    for i in range(n):
        w[P, i], w[Q, i] = f4(0.6) * w[U, i] + f4(0.8) * w[V, i], f4(0.45) * (f4(0.6) * w[V, i] - f4(0.8) * w[U, i])
        w[MP, i], w[MQ, i] = f4(0.6) * w[MU, i] + f4(0.8) * w[MV, i], f4(0.45) * (f4(0.6) * w[MV, i] - f4(0.8) * w[MU, i])
        w[R, i] = w[VALUE, i]
    fractal(w, s, n, 0.030, 2.0, 0.9, 65.0)
    for i in range(n):
        value, dry, bare = w[_KEEP, i], w[_DRY, i], w[_BARE, i]
        blade = f4(0.82) + f4(0.62) * max(w[VALUE, i], w[R, i])
        green, straw = (f4(1.0) - dry) * (f4(1.0) + f4(0.36) * value) * blade, dry * (f4(1.0) + f4(0.26) * value) * blade
        soil = f4(1.0) + f4(0.30) * value
        r, g, b = f4(0.098) * green + f4(0.29) * straw, f4(0.155) * green + f4(0.255) * straw, f4(0.040) * green + f4(0.115) * straw
        w[R, i] = r + (f4(0.205) * soil - r) * bare
        w[G, i] = g + (f4(0.150) * soil - g) * bare
        w[B, i] = b + (f4(0.098) * soil - b) * bare


@jit
def _litter(w: Table, s: Integers, n: int) -> None:
    """Dead leaves, dark gaps, flower heads and stones in the grass."""
    aim(w, n, 1.0)
    speckle(w, s, n, 0.105, 0.45, 90.0)
    for i in range(n):
        cover, kind = f4(0.8) * w[COVER, i] * (f4(1.0) - w[_GRAVEL, i]), w[KIND, i]
        leaf, gap, flower = kind < f4(0.40), kind < f4(0.84), kind < f4(0.92)
        r = f4(0.34) if leaf else (f4(0.045) if gap else (f4(0.58) if flower else f4(0.37)))
        g = f4(0.235) + f4(0.1) * kind if leaf else (f4(0.06) if gap else (f4(0.55) if flower else f4(0.355)))
        b = f4(0.11) if leaf else (f4(0.022) if gap else (f4(0.18) + f4(4.0) * (kind - f4(0.84)) if flower else f4(0.33)))
        w[R, i] += (r - w[R, i]) * cover
        w[G, i] += (g - w[G, i]) * cover
        w[B, i] += (b - w[B, i]) * cover


@jit
def _pebbles(w: Table, s: Integers, n: int, cell: float, density: float, salt: float, pressed: float) -> None:
    """Pebbles on the track; ``pressed`` is how much of them the ruts have swallowed."""
    speckle(w, s, n, cell, density, salt)
    for i in range(n):
        cover = w[COVER, i] * w[_GRAVEL, i] * (f4(1.0) - pressed * w[_RUT, i])
        grey = f4(0.11) + f4(0.46) * w[KIND, i]
        w[R, i] += (grey - w[R, i]) * cover
        w[G, i] += (f4(0.97) * grey - w[G, i]) * cover
        w[B, i] += (f4(0.90) * grey - w[B, i]) * cover
