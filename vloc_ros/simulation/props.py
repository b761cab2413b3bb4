"""Small things along the route: fences, poles, signs, stones, parked cars, crates."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation import palette
from vloc_ros.simulation.mesh import MeshBuilder
from vloc_ros.simulation.palette import Material
from vloc_ros.simulation.shapes import Patch, box, join, lump, moved, quad, rise, tube

Array = NDArray[np.float64]


def _add(builder: MeshBuilder, material: Material, patch: Patch, tint: Array, seed: int) -> None:
    builder.add(material, patch.vertices, patch.uv, tint, seed, patch.normals)


def _upright(ground: Array, height: float, radius: float, top: float, sides: int) -> Patch:
    path = ground + np.array([rise(-0.3), rise(0.5 * height), rise(height)])
    return tube(path, np.array([radius, 0.5 * (radius + top), top]), sides)


def add_fence(builder: MeshBuilder, posts: Array, rng: np.random.Generator) -> None:
    """A wooden fence along (N, 3) ground points of its posts: two or three rails, sometimes pickets."""
    seed = int(rng.integers(1 << 30))
    tint = palette.TIMBERS[rng.integers(len(palette.TIMBERS))] * rng.uniform(0.9, 1.3)
    height = rng.uniform(0.9, 1.3)
    _add(builder, Material.PLANK, join([_upright(post, height, 0.06, 0.05, 6) for post in posts]), tint, seed)
    rails = []
    for level in np.linspace(0.35, 0.92, int(rng.integers(2, 4))) * height:
        for a, b in itertools.pairwise(posts):
            sag = rng.normal(scale=0.02, size=2)
            start, end = a + rise(level + sag[0]), b + rise(level + sag[1])
            rails.append(_beam(start, end, 0.04, 0.11))
    _add(builder, Material.PLANK, join(rails), tint * rng.uniform(0.85, 1.2), seed + 1)
    if rng.uniform() < 0.4:
        pickets = []
        for a, b in itertools.pairwise(posts):
            for t in np.arange(0.08, 1.0, 0.16 / float(np.linalg.norm(b - a))):
                foot = a + t * (b - a) + rise(0.08 + rng.uniform(0.0, 0.03))
                pickets.append(_beam(foot, foot + rise(height * rng.uniform(0.9, 1.0)), 0.02, 0.09, b - a))
        _add(builder, Material.PLANK, join(pickets), tint, seed + 2)


def _beam(start: Array, end: Array, thickness: float, breadth: float, wide: Array | None = None) -> Patch:
    """A rectangular beam: ``breadth`` along z (or along ``wide``), ``thickness`` across."""
    along = end - start
    up = rise(1.0) if wide is None else wide / np.linalg.norm(wide)
    side = np.cross(along, up)
    side *= 0.5 * thickness / np.linalg.norm(side)
    up = up * 0.5 * breadth
    a = start - side - up
    return join(
        [
            quad(start + side - up, along, 2.0 * up),
            quad(a + along, -along, 2.0 * up, (3.0, 0.0)),
            quad(start - side + up, along, 2.0 * side, (6.0, 0.0)) if wide is None else quad(a, 2.0 * side, 2.0 * up),
            quad(end + side - up, -2.0 * side, 2.0 * up, (9.0, 0.0)),
        ]
    )


def add_lamp_post(builder: MeshBuilder, ground: Array, yaw: float, rng: np.random.Generator) -> Array:
    """A street lamp whose arm points along ``yaw`` [rad]; returns the (3,) position of its light."""
    height, arm = rng.uniform(4.2, 5.2), 0.9
    pole = _upright(ground, height, 0.075, 0.045, 8)
    reach = arm * np.array([np.cos(yaw), np.sin(yaw), 0.0])
    top = ground + rise(height - 0.1)
    beam = tube(np.array([top, top + 0.5 * reach + rise(0.18), top + reach + rise(0.15)]), np.full(3, 0.035), 6)
    _add(builder, Material.PAINT, join([pole, beam]), palette.METAL * rng.uniform(0.4, 1.0), int(rng.integers(1 << 30)))
    head = moved(box((0.5, 0.22, 0.12), (0.0, 0.0, 0.0)), top + reach + rise(0.12), yaw)
    _add(builder, Material.PAINT, head, palette.METAL * 0.5, 3)
    return np.asarray(top + reach + rise(0.04))


def add_sign(builder: MeshBuilder, ground: Array, yaw: float, rng: np.random.Generator) -> None:
    """A board with lettering on a pole; it faces the direction ``yaw`` [rad]."""
    height, width, tall = rng.uniform(1.7, 2.3), rng.uniform(0.5, 1.1), rng.uniform(0.4, 0.75)
    _add(builder, Material.PAINT, _upright(ground, height, 0.03, 0.03, 6), palette.METAL, int(rng.integers(1 << 30)))
    centre = ground + rise(height - 0.5 * tall + 0.05)
    front = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    along = np.array([-front[1], front[0], 0.0]) * width
    up = rise(tall)
    corner = centre + 0.04 * front - 0.5 * along - 0.5 * up
    seed = int(rng.integers(1 << 30))
    _add(builder, Material.SIGN, quad(corner, along, up), palette.SIGN_PAINTS[rng.integers(len(palette.SIGN_PAINTS))], seed)
    _add(builder, Material.PAINT, quad(corner + along - 0.01 * front, -along, up), palette.METAL, seed)


def add_stone(builder: MeshBuilder, ground: Array, size: float, rng: np.random.Generator) -> None:
    """A stone of about ``size`` [m], half sunk into the ground."""
    axes = size * rng.uniform(0.35, 0.65, 3) * [1.2, 1.0, 0.8]
    patch = lump(axes, 3 if size > 0.35 else 2, 0.42, rng)
    placed = moved(patch, ground + rise(0.25 * axes[2]), rng.uniform(0.0, 2.0 * np.pi))
    tint = palette.STONES[rng.integers(len(palette.STONES))] * rng.uniform(0.7, 1.15)
    _add(builder, Material.STONE, placed, tint, int(rng.integers(1 << 30)))


def add_crates(builder: MeshBuilder, ground: Array, yaw: float, rng: np.random.Generator) -> None:
    """A small stack of wooden crates."""
    seed = int(rng.integers(1 << 30))
    base = 0.0
    for level in range(int(rng.integers(1, 4))):
        size = rng.uniform(0.45, 0.8)
        patch = box((size * 1.2, size, size * 0.8), (rng.normal(scale=0.08), rng.normal(scale=0.08), base + size * 0.4))
        tint = palette.TIMBERS[1] * rng.uniform(0.8, 1.5)
        _add(builder, Material.PLANK, moved(patch, ground, yaw + rng.normal(scale=0.15)), tint, seed + level)
        base += size * 0.8


_PROFILE = np.array(  # side view of a car: x forward, z up [m]
    [
        [-2.05, 0.35], [-2.1, 0.75], [-2.0, 0.95], [-1.35, 1.02], [-0.75, 1.46], [0.45, 1.48],
        [1.0, 1.0], [1.85, 0.88], [2.08, 0.65], [2.05, 0.35],
    ]
)  # fmt: skip
_ROOF, _GLAZED = slice(3, 7), (3, 5)


@dataclass(frozen=True, slots=True)
class Car:
    """What tells one car from another: its tint (3,), the seed of its texture, and how it is stretched (length, 1, height)."""

    tint: Array
    seed: int
    stretch: Array

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Car:
        """A random car."""
        tint, seed = palette.CAR_PAINTS[rng.integers(len(palette.CAR_PAINTS))], int(rng.integers(1 << 30))
        return cls(tint, seed, np.array([rng.uniform(0.9, 1.08), 1.0, rng.uniform(0.95, 1.15)]))


def add_car(builder: MeshBuilder, ground: Array, up: Array, yaw: float, car: Car) -> None:
    """A parked car at (3,) ``ground``, upright along the unit vector ``up``, whose nose points along ``yaw`` [rad]."""
    tint, seed = car.tint, car.seed
    half = np.full(len(_PROFILE), 0.85)
    half[4:6] = 0.62  # the cabin is narrower at the roof
    left = np.stack([_PROFILE[:, 0], half, _PROFILE[:, 1]], axis=1) * car.stretch
    right = left * [1.0, -1.0, 1.0]
    body: list[Patch] = []
    glass: list[Patch] = []
    for i in range(len(left) - 1):
        strip = quad(right[i], left[i] - right[i], right[i + 1] - right[i])
        strip = strip._replace(vertices=np.array([[right[i], left[i], left[i + 1]], [right[i], left[i + 1], right[i + 1]]]))
        (glass if i in _GLAZED else body).append(strip)
    for side in (left, right[::-1]):
        body.append(_fan(side))
        cabin = side[_ROOF] if side is left else side[len(side) - 7 : len(side) - 3]
        window = cabin.mean(axis=0) + 0.80 * (cabin - cabin.mean(axis=0)) + [0.0, 0.012 * np.sign(side[0, 1]), 0.02]
        glass.append(_fan(window))
    _add(builder, Material.PAINT, moved(join(body), ground, yaw, up), tint, seed)
    _add(builder, Material.GLASS, moved(join(glass), ground, yaw, up), palette.rgb(0.03, 0.035, 0.04), seed)
    wheels, hubs = [], []
    for x in (-1.3, 1.3):
        for sign in (-1.0, 1.0):
            axle = np.array([[x, sign * 0.66, 0.33], [x, sign * 0.885, 0.33]])
            wheels.append(tube(axle, np.full(2, 0.33), 14))
            rim = np.linspace(0.0, 2.0 * np.pi, 13)[:-1] * sign
            ring = np.stack([np.cos(rim), np.zeros(12), -np.sin(rim)], axis=1)
            wheels.append(_fan(axle[1] + 0.33 * ring))
            hubs.append(_fan(axle[1] + 0.2 * ring + [0.0, 0.01 * sign, 0.0]))
    _add(builder, Material.PAINT, moved(join(wheels), ground, yaw, up), palette.RUBBER, seed)
    _add(builder, Material.PAINT, moved(join(hubs), ground, yaw, up), palette.METAL * 0.8, seed)


def _fan(ring: Array) -> Patch:
    """A flat polygon from its (N, 3) corners."""
    n = len(ring)
    middle = ring.mean(axis=0)
    vertices = np.stack([np.broadcast_to(middle, (n, 3)), ring, np.roll(ring, -1, axis=0)], axis=1)
    normal = np.cross(ring[0] - middle, ring[1] - middle)
    uv = vertices[:, :, [0, 2]]
    return Patch(vertices, uv, np.broadcast_to(normal / np.linalg.norm(normal), (n, 3, 3)).copy())
