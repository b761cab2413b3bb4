"""What each building material looks like at a point of its surface, filtered to what a pixel sees of it.

Every function takes surface coordinates (u, v) [m], the footprint of the pixel (mu, mv, major, minor) [m] as noise.py
describes it, a seed and a base tint, and returns ``(r, g, b, slope_u, slope_v)``: linear reflectance and the slopes of the
relief, which the shader turns into light and shade. The relief is why a wall looks different when the sun has moved, and
not only darker.
"""

from __future__ import annotations

import math

from vloc_ros.simulation.ground import smooth
from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.noise import fractal, hash01, speckle, visibility
from vloc_ros.simulation.palette import Material

Surface = tuple[float, float, float, float, float]
_BRICK, _PLASTER = int(Material.BRICK), int(Material.PLASTER)
_PLANK, _TILE, _BARK = int(Material.PLANK), int(Material.TILE), int(Material.BARK)
_STONE, _SIGN = int(Material.STONE), int(Material.SIGN)


@jit
def _line(x: float, period: float, width: float, footprint: float) -> float:
    """Share of a pixel covered by lines of a width that repeat with a period (box filter of a pulse train)."""
    half = 0.5 * max(footprint, 1e-4)
    a, b = (x - half) / period, (x + half) / period
    duty = width / period
    floor_a, floor_b = math.floor(a), math.floor(b)
    return ((floor_b - floor_a) * duty + min(b - floor_b, duty) - min(a - floor_a, duty)) / (b - a)


@jit
def _brick(
    u: float, v: float, mu: float, mv: float, major: float, minor: float, seed: int, r: float, g: float, b: float
) -> Surface:
    fu, fv = max(abs(mu), minor), max(abs(mv), minor)
    course = int(math.floor(v / 0.085))
    shifted = u + 0.125 * (course % 2) + 0.012 * (hash01(course, 1, seed) - 0.5)
    brick = int(math.floor(shifted / 0.25))
    seen = visibility(0.25, fu) * visibility(0.085, fv)
    tone = 1.0 + seen * 0.75 * (hash01(brick, course, seed) - 0.5)
    warm = seen * 0.18 * (hash01(brick, course, seed + 1) - 0.5)
    stain, su, sv = fractal(u, v, mu, mv, major, minor, 1.1, 6, 0.68, seed + 2)
    tone *= 1.0 + 0.24 * stain
    mortar = max(_line(v, 0.085, 0.012, fv), _line(shifted, 0.25, 0.012, fu))
    grey = 0.36 * (1.0 + 0.2 * stain)
    # The relief of the joints themselves: light catches the upper edge of each brick.
    lip = visibility(0.03, fv) * (_line(v - 0.010, 0.085, 0.008, fv) - _line(v + 0.004, 0.085, 0.008, fv))
    return (
        r * tone * (1.0 + warm) * (1.0 - mortar) + grey * mortar,
        g * tone * (1.0 - mortar) + grey * 0.97 * mortar,
        b * tone * (1.0 - warm) * (1.0 - mortar) + grey * 0.90 * mortar,
        0.13 * su,
        0.13 * sv + 0.5 * lip,
    )


@jit
def _plaster(
    u: float, v: float, mu: float, mv: float, major: float, minor: float, seed: int, r: float, g: float, b: float
) -> Surface:
    stain, su, sv = fractal(u, v, mu, mv, major, minor, 1.7, 6, 0.70, seed)
    streak = fractal(u, v * 0.13, mu, mv * 0.13, major, minor, 0.5, 3, 0.6, seed + 11)[0]
    chip, tone = speckle(u, v, mu, mv, major, minor, 0.45, 0.40, seed + 12)
    dirt = smooth(1.2, 0.2, v + 0.4 * stain)  # splashes above the ground
    base = (1.0 + 0.15 * stain + 0.09 * streak) * (1.0 - 0.32 * dirt)
    bare = chip * (0.35 + 0.4 * tone)
    return (
        r * base * (1.0 - bare) + 0.30 * bare,
        g * base * (1.0 - bare) + 0.24 * bare,
        b * base * (1.0 - bare) + 0.19 * bare,
        0.15 * su,
        0.15 * sv,
    )


@jit
def _plank(
    u: float, v: float, mu: float, mv: float, major: float, minor: float, seed: int, r: float, g: float, b: float
) -> Surface:
    fu = max(abs(mu), minor)
    board = int(math.floor(u / 0.145))
    tone = 1.0 + visibility(0.145, fu) * 0.55 * (hash01(board, 0, seed) - 0.5)
    grain, su, _ = fractal(u + 7.3 * board, v * 0.12, mu, mv * 0.12, major, minor, 0.05, 3, 0.7, seed + 1)
    stain = fractal(u, v, mu, mv, major, minor, 0.7, 5, 0.65, seed + 2)[0]
    knot, _ = speckle(u + 3.1 * board, v * 0.7, mu, mv * 0.7, major, minor, 0.29, 0.40, seed + 3)
    gap = _line(u, 0.145, 0.012, fu)
    tone *= (1.0 + 0.26 * grain + 0.22 * stain) * (1.0 - 0.6 * knot) * (1.0 - 0.8 * gap)
    return r * tone, g * tone, b * tone, 0.15 * su, 0.0


@jit
def _tile(
    u: float, v: float, mu: float, mv: float, major: float, minor: float, seed: int, r: float, g: float, b: float
) -> Surface:
    fu, fv = max(abs(mu), minor), max(abs(mv), minor)
    course = int(math.floor(v / 0.30))
    shifted = u + 0.11 * (course % 2)
    seen = visibility(0.22, fu) * visibility(0.30, fv)
    tone = 1.0 + seen * 0.55 * (hash01(int(math.floor(shifted / 0.22)), course, seed) - 0.5)
    moss = fractal(u, v, mu, mv, major, minor, 0.9, 5, 0.62, seed + 1)[0]
    green = 0.8 * smooth(0.25, 0.9, moss)
    dark = 1.0 - 0.55 * max(_line(v, 0.30, 0.035, fv), 0.7 * _line(shifted, 0.22, 0.02, fu))
    tone *= (1.0 + 0.18 * moss) * dark
    return (
        r * tone * (1.0 - green) + 0.11 * green * dark,
        g * tone * (1.0 - green) + 0.12 * green * dark,
        b * tone * (1.0 - green) + 0.06 * green * dark,
        0.0,
        -0.35 * visibility(0.06, fv) * _line(v, 0.30, 0.05, fv),
    )


@jit
def _bark(
    u: float, v: float, mu: float, mv: float, major: float, minor: float, seed: int, r: float, g: float, b: float
) -> Surface:
    value, su, sv = fractal(u, v * 0.22, mu, mv * 0.22, major, minor, 0.055, 3, 0.65, seed)
    patch = fractal(u, v, mu, mv, major, minor, 0.35, 4, 0.65, seed + 3)[0]
    tone = (1.0 + 0.40 * value) * (1.0 + 0.34 * patch)
    moss = 0.45 * smooth(0.2, 0.8, patch)
    return r * tone * (1.0 - moss), g * tone, b * tone * (1.0 - 0.6 * moss), 0.28 * su, 0.06 * sv


@jit
def _stone(
    u: float, v: float, mu: float, mv: float, major: float, minor: float, seed: int, r: float, g: float, b: float
) -> Surface:
    value, su, sv = fractal(u, v, mu, mv, major, minor, 0.32, 5, 0.72, seed)
    lichen, tone = speckle(u, v, mu, mv, major, minor, 0.11, 0.5, seed + 9)
    grey = 1.0 + 0.34 * value
    pale = lichen * 0.5
    return (
        r * grey * (1.0 - pale) + (0.26 + 0.25 * tone) * pale,
        g * grey * (1.0 - pale) + (0.30 + 0.20 * tone) * pale,
        b * grey * (1.0 - pale) + 0.18 * pale,
        0.25 * su,
        0.25 * sv,
    )


@jit
def _ink(u: float, v: float, seed: int) -> float:
    """Blocky letters: 1 on a stroke."""
    row, column = int(math.floor(v / 0.12)), int(math.floor(u / 0.072))
    x, y = (u / 0.072 - column) * 4.0, (v / 0.12 - row) * 5.0
    if not (x < 3.0 and 0.8 < y < 4.0) or hash01(row, column, seed) > 0.8:
        return 0.0
    return 1.0 if hash01(int(x) + 5 * (641 * row + column), int(y), seed + 1) < 0.58 else 0.0


@jit
def _sign(
    u: float, v: float, mu: float, mv: float, major: float, minor: float, seed: int, r: float, g: float, b: float
) -> Surface:
    ink = 0.0
    ou, ov = (-mv, mu) if major <= 0.0 else (-mv * minor / major, mu * minor / major)
    for i in range(-1, 2):
        for j in range(-1, 2):
            ink += _ink(u + (i * mu + j * ou) / 3.0, v + (i * mv + j * ov) / 3.0, seed)
    ink /= 9.0
    wear = fractal(u, v, mu, mv, major, minor, 0.25, 4, 0.6, seed + 2)[0]
    paint = 0.04 if 0.30 * r + 0.59 * g + 0.11 * b > 0.25 else 0.62
    tone = 1.0 + 0.12 * wear
    pale = 1.0 - ink
    return (r * pale + paint * ink) * tone, (g * pale + paint * ink) * tone, (b * pale + paint * ink) * tone, 0.0, 0.0


@jit
def object_surface(
    material: int,
    u: float,
    v: float,
    mu: float,
    mv: float,
    major: float,
    minor: float,
    seed: int,
    r: float,
    g: float,
    b: float,
) -> Surface:
    """Surface of anything but the ground, leaves and glass."""
    if material == _BRICK:
        return _brick(u, v, mu, mv, major, minor, seed, r, g, b)
    if material == _PLASTER:
        return _plaster(u, v, mu, mv, major, minor, seed, r, g, b)
    if material == _PLANK:
        return _plank(u, v, mu, mv, major, minor, seed, r, g, b)
    if material == _TILE:
        return _tile(u, v, mu, mv, major, minor, seed, r, g, b)
    if material == _BARK:
        return _bark(u, v, mu, mv, major, minor, seed, r, g, b)
    if material == _STONE:
        return _stone(u, v, mu, mv, major, minor, seed, r, g, b)
    if material == _SIGN:
        return _sign(u, v, mu, mv, major, minor, seed, r, g, b)
    tone = 1.0 + 0.14 * fractal(u, v, mu, mv, major, minor, 0.4, 4, 0.6, seed)[0]
    return r * tone, g * tone, b * tone, 0.0, 0.0
