"""Houses and sheds: walls with recessed windows and doors, plinths, roofs and chimneys.

A house is built in its own frame: the origin on the ground in the middle of its footprint, the front facing -y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation import palette
from vloc_ros.simulation.mesh import MeshBuilder
from vloc_ros.simulation.palette import Material
from vloc_ros.simulation.shapes import Patch, box, join, moved, quad, triangle

Array = NDArray[np.float64]
_Z = np.array([0.0, 0.0, 1.0])
_RECESS_M = 0.14


@dataclass(frozen=True, slots=True)
class Opening:
    """A rectangular hole in a wall, in the coordinates of that wall [m]."""

    left: float
    bottom: float
    width: float
    height: float
    is_door: bool


class _House:
    """Collects the parts of one house by material."""

    def __init__(self) -> None:
        self.parts: list[tuple[Material, Patch, Array]] = []

    def add(self, material: Material, patch: Patch, tint: Array) -> None:
        self.parts.append((material, patch, tint))


def add_house(
    builder: MeshBuilder, origin: Array, yaw: float, width: float, depth: float, storeys: int, rng: np.random.Generator
) -> None:
    """Add a house.

    Args:
        builder: where the triangles go.
        origin: (3,) middle of the footprint, at the height of the floor [m].
        yaw: direction of its x axis (along the front) [rad].
        width: length of the front [m].
        depth: extent behind the front [m].
        storeys: number of floors.
        rng: source of everything that differs between houses.
    """
    house = _House()
    eaves = 2.75 * storeys + rng.uniform(0.1, 0.5)
    wall, wall_tint = _wall_finish(rng)
    frame = palette.FRAMES[rng.integers(len(palette.FRAMES))]
    window = (rng.uniform(0.8, 1.25), rng.uniform(1.1, 1.5))
    corners = np.array([[-width, -depth], [width, -depth], [width, depth], [-width, depth]]) * 0.5
    for side in range(4):
        start = np.append(corners[side], 0.0)
        along = np.append(corners[(side + 1) % 4] - corners[side], 0.0)
        length = float(np.linalg.norm(along))
        openings = _openings(length, storeys, side == 0, window, rng)
        _add_wall(house, start, along / length, length, eaves, openings, (wall, wall_tint), frame, side * 40.0, rng)
    _add_roof(house, width, depth, eaves, (wall, wall_tint), rng)
    plinth = box((width + 0.10, depth + 0.10, 2.2), (0.0, 0.0, -0.78))
    house.add(Material.STONE, plinth, palette.STONES[rng.integers(len(palette.STONES))])
    seed = int(rng.integers(1 << 30))
    for index, (material, patch, tint) in enumerate(house.parts):
        placed = moved(patch, origin, yaw)
        # One texture seed per material, or every pane and brick course would break at the seams of its parts.
        salt = index if material is Material.GLASS else int(material)
        builder.add(material, placed.vertices, placed.uv, tint, seed + 7919 * salt, placed.normals)


def _wall_finish(rng: np.random.Generator) -> tuple[Material, Array]:
    kind = rng.choice(3, p=[0.45, 0.38, 0.17])
    material, tints = (
        (Material.BRICK, palette.BRICKS),
        (Material.PLASTER, palette.PLASTERS),
        (Material.PLANK, palette.TIMBERS),
    )[kind]
    return material, tints[rng.integers(len(tints))] * rng.uniform(0.85, 1.15)


def _openings(length: float, storeys: int, front: bool, window: tuple[float, float], rng: np.random.Generator) -> list[Opening]:
    """A regular grid of windows with some left out, and a door in the front."""
    columns = max(int((length - 0.8) / rng.uniform(2.1, 3.0)), 1)
    pitch = length / columns
    door_column = int(rng.integers(columns)) if front else -1
    openings = []
    for storey in range(storeys):
        for column in range(columns):
            middle = (column + 0.5) * pitch
            if storey == 0 and column == door_column:
                openings.append(Opening(middle - 0.5, 0.32, 1.0, 2.05, True))
            elif rng.uniform() < (0.9 if front else 0.6):
                width, height = min(window[0], pitch - 0.5), window[1]
                openings.append(Opening(middle - width / 2, 2.75 * storey + 1.0, width, height, False))
    return openings


def _add_wall(
    house: _House,
    start: Array,
    along: Array,
    length: float,
    height: float,
    openings: list[Opening],
    finish: tuple[Material, Array],
    frame: Array,
    uv_offset: float,
    rng: np.random.Generator,
) -> None:
    """A wall from ``start`` along a unit vector, cut into panels around its openings."""

    def panel(u0: float, v0: float, u1: float, v1: float) -> Patch:
        return quad(start + along * u0 + _Z * v0, along * (u1 - u0), _Z * (v1 - v0), (uv_offset + u0, v0))

    panels = []
    u = 0.0
    for column in _columns(openings):
        left, right = min(o.left for o in column), max(o.left + o.width for o in column)
        panels.append(panel(u, 0.0, left, height))
        v = 0.0
        for opening in column:
            end, top = opening.left + opening.width, opening.bottom + opening.height
            panels.append(panel(left, v, right, opening.bottom))
            if opening.left > left:
                panels.append(panel(left, opening.bottom, opening.left, top))
            if end < right:
                panels.append(panel(end, opening.bottom, right, top))
            v = top
        panels.append(panel(left, v, right, height))
        u = right
    panels.append(panel(u, 0.0, length, height))
    house.add(finish[0], join(panels), finish[1])
    for opening in sorted(openings, key=lambda o: (o.left, o.left + o.width, o.bottom)):
        _add_opening(house, start, along, opening, finish, frame, rng)


def _columns(openings: list[Opening]) -> list[list[Opening]]:
    """Openings above each other, from the ground upwards, from left to right; a door need not be as wide as its window."""
    columns: list[list[Opening]] = []
    for opening in sorted(openings, key=lambda o: o.left):
        if columns and opening.left < max(o.left + o.width for o in columns[-1]):
            columns[-1].append(opening)
        else:
            columns.append([opening])
    return [sorted(column, key=lambda o: o.bottom) for column in columns]


def _add_opening(
    house: _House,
    start: Array,
    along: Array,
    opening: Opening,
    finish: tuple[Material, Array],
    frame: Array,
    rng: np.random.Generator,
) -> None:
    """Reveals, frame bars and glass (or a door leaf) of one opening."""
    inward = np.cross(_Z, along) * _RECESS_M
    origin = start + along * opening.left + _Z * opening.bottom
    across, up = along * opening.width, _Z * opening.height
    reveals = [
        quad(origin, inward, up),
        quad(origin + across + inward, -inward, up),
        quad(origin + up, across, inward),
        quad(origin + inward, across, -inward),
    ]
    house.add(Material.PLASTER, join(reveals), 0.8 * finish[1] + 0.08)
    if opening.is_door:
        house.add(Material.PLANK, quad(origin + inward, across, up), palette.DOORS[rng.integers(len(palette.DOORS))])
        return
    pane = quad(origin + inward, across, up)
    house.add(Material.GLASS, pane, palette.rgb(0.05, 0.06, 0.07) * rng.uniform(0.5, 1.6))
    bar, near = 0.07, origin + inward * 0.78
    bars = [
        quad(near, along * bar, up),
        quad(near + across - along * bar, along * bar, up),
        quad(near, across, _Z * bar),
        quad(near + up - _Z * bar, across, _Z * bar),
        quad(near + 0.5 * across - 0.4 * bar * along, along * 0.8 * bar, up),
    ]
    if opening.height > 1.25:
        bars.append(quad(near + 0.62 * up, across, _Z * 0.8 * bar))
    house.add(Material.PAINT, join(bars), frame)
    sill = moved(box((opening.width + 0.16, 0.16, 0.06), (0.0, 0.0, 0.0)), np.zeros(3), float(np.arctan2(along[1], along[0])))
    offset = origin + 0.5 * across - inward * 0.4 - _Z * 0.03
    house.add(Material.STONE, Patch(sill.vertices + offset, sill.uv, sill.normals), palette.STONES[1])


def _add_roof(
    house: _House, width: float, depth: float, eaves: float, finish: tuple[Material, Array], rng: np.random.Generator
) -> None:
    tint = palette.ROOFS[rng.integers(len(palette.ROOFS))] * rng.uniform(0.85, 1.15)
    if rng.uniform() < 0.2:
        house.add(Material.TILE, box((width + 0.3, depth + 0.3, 0.35), (0.0, 0.0, eaves)), tint)
        return
    rise, over = depth * rng.uniform(0.28, 0.48), 0.45
    half, slope = 0.5 * width + over, rise / (0.5 * depth)
    front, back = -0.5 * depth - over, 0.5 * depth + over
    low, ridge = eaves - over * slope, eaves + rise
    along = np.array([2.0 * half, 0.0, 0.0])
    roof = [
        quad(np.array([-half, front, low]), along, np.array([0.0, -front, ridge - low])),
        quad(np.array([half, back, low]), -along, np.array([0.0, -back, ridge - low]), (50.0, 0.0)),
        quad(np.array([-half, front, low - 0.16]), along, _Z * 0.16),
        quad(np.array([half, back, low - 0.16]), -along, _Z * 0.16),
    ]
    house.add(Material.TILE, join(roof), tint)
    gables = []
    for sign in (-1.0, 1.0):
        foot = np.array([sign * 0.5 * width, -sign * 0.5 * depth, eaves])
        gables.append(triangle(foot, foot * [1.0, -1.0, 1.0], np.array([sign * 0.5 * width, 0.0, ridge])))
    house.add(finish[0], join(gables), finish[1])
    place = rng.uniform(-0.3, 0.3) * width
    chimney = box((0.7, 0.6, rise + 1.0), (place, 0.18 * depth, eaves + 0.5 * rise + 0.3))
    house.add(Material.BRICK, chimney, palette.BRICKS[rng.integers(len(palette.BRICKS))])
