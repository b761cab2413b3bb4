"""Trees, bushes and grass: leaves are small triangles, so that crowns have parallax, gaps and corners."""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.mesh import MeshBuilder
from vloc_ros.simulation.palette import BARKS, BROADLEAVES, NEEDLES, Material
from vloc_ros.simulation.shapes import Patch, join, rise, tube, tubes
from vloc_ros.simulation.twigs import bush_twigs, crown_twigs

Array = NDArray[np.float64]
_NEAR_M, _NEAREST_LEAVES, _FEWEST_LEAVES = 8.0, 2800, 200


def leaves_at(distance: float) -> int:
    """Leaves of a tree that stands so far from the track [m]: they are larger where there are fewer."""
    return max(int(_NEAREST_LEAVES * min(_NEAR_M / max(distance, 0.1), 1.0) ** 0.9), _FEWEST_LEAVES)


def _unit(v: Array) -> Array:
    return np.asarray(v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9))


def _add_leaves(
    builder: MeshBuilder, centres: Array, outward: Array, length: float, tint: Array, rng: np.random.Generator, whole: bool
) -> None:
    """Add a leaf of about ``length`` [m] at each of (N, 3) points, tinted (3,): a rhombus, or if not ``whole`` half of one."""
    count = len(centres)
    lengths = length * rng.uniform(0.6, 1.35, (count, 1))
    facing = _unit(0.8 * outward + rng.normal(scale=0.75, size=(count, 3)))
    along = _unit(np.cross(facing, rng.normal(size=(count, 3))))
    along[:, 2] -= 0.35  # leaves hang
    along = _unit(along)
    across = _unit(np.cross(facing, along))
    tail, tip = centres - 0.5 * lengths * along, centres + 0.5 * lengths * along
    breadth = 0.30 if whole else 0.60
    belly = centres - 0.08 * lengths * along
    left, right = belly + breadth * lengths * across, belly - 0.30 * lengths * across
    halves = [np.stack([tail, tip, left], axis=1)]
    if whole:
        halves.append(np.stack([tail, right, tip], axis=1))
    # Shading normals of the crown rather than of each leaf: this is what makes it look round.
    normals = _unit(outward + 0.45 * facing + rng.normal(scale=0.15, size=(count, 3)))
    tints = tint * rng.uniform(0.72, 1.3, (count, 1)) * (1.0 + rng.normal(scale=0.06, size=(count, 3)))
    builder.add(
        Material.LEAF,
        np.concatenate(halves),
        np.zeros((count * len(halves), 3, 2)),
        np.concatenate([tints] * len(halves)),
        normals=np.repeat(np.concatenate([normals] * len(halves))[:, None], 3, axis=1),
    )


def _limbs(root: Array, height: float, targets: Array, radius: float, rng: np.random.Generator) -> tuple[Patch, Array]:
    """A bent trunk up to ``height`` [m] and a branch towards each of (N, 3) points of the crown; and (6, 3) points of the trunk."""
    t = np.linspace(0.0, 1.0, 6)[:, None]
    bend = rng.normal(scale=0.04 * height, size=3) * [1.0, 1.0, 0.0]
    spine = root + t * [0.0, 0.0, height] + (t**2) * bend
    spine[0, 2] -= 0.4
    taper = radius * (1.0 - 0.75 * t[:, 0]) * np.where(t[:, 0] == 0.0, 1.35, 1.0)
    trunk = tube(spine, taper, 8)
    if len(targets) == 0:
        return trunk, spine
    base = rng.uniform(0.45, 0.85, (len(targets), 1))
    start = root + base * np.array([0.0, 0.0, height]) + base**2 * bend
    middle = 0.5 * (start + targets)
    middle[:, 2] -= 0.08 * np.linalg.norm(targets - start, axis=1)
    thick = 0.42 * radius * (1.0 - 0.6 * base)
    return join([trunk, tubes(np.stack([start, middle, targets], axis=1), thick * [1.0, 0.7, 0.25], 4)]), spine


def _add_wood(builder: MeshBuilder, wood: Patch, rng: np.random.Generator) -> tuple[Array, int]:
    """Add bark; returns its tint and the seed of its texture."""
    tint, seed = BARKS[rng.integers(len(BARKS))] * rng.uniform(0.85, 1.15), int(rng.integers(1 << 30))
    builder.add(Material.BARK, wood.vertices, wood.uv, tint, seed, wood.normals)
    return tint, seed


def add_broadleaf(
    builder: MeshBuilder, ground: Array, height: float, leaves: int, rng: np.random.Generator, *, bare: bool = False
) -> None:
    """A broad-leaved tree of ``height`` [m] on a point (3,) of the ground, its crown of overlapping leaf clouds.

    A bare tree draws as many random numbers as one in leaf, and has the same trunk and limbs.
    """
    spread, clear = height * rng.uniform(0.24, 0.36), height * rng.uniform(0.22, 0.36)
    count = int(rng.integers(9, 15))
    heart = ground + rise(0.5 * (clear + height))
    half = np.array([spread, spread, 0.5 * (height - clear)])
    clouds = heart + _unit(rng.normal(size=(count, 3))) * rng.uniform(0.35, 0.85, (count, 1)) * half
    radii = rng.uniform(0.30, 0.50, count) * half.mean()
    which = rng.choice(count, size=leaves, p=radii**2 / (radii**2).sum())
    direction = _unit(rng.normal(size=(leaves, 3)))
    depth = rng.uniform(0.25, 1.0, (leaves, 1)) ** 0.4
    centres = clouds[which] + direction * depth * radii[which, None]
    outward = _unit(0.9 * direction + _unit(centres - heart))
    area = 4.0 * np.pi * float((radii**2).sum())
    tint = BROADLEAVES[rng.integers(len(BROADLEAVES))] * rng.uniform(0.85, 1.2)
    foliage = MeshBuilder() if bare else builder
    _add_leaves(foliage, centres, outward, float(np.sqrt(1.5 * area / leaves)), tint, rng, leaves == _NEAREST_LEAVES)
    branches = clouds[: 8 if leaves > 1000 else (3 if leaves > 400 else 0)]
    girth = 0.022 * height + 0.05
    limbs, spine = _limbs(ground, clear + 0.45 * (height - clear), branches, girth, rng)
    bark, seed = _add_wood(builder, limbs, rng)
    if bare:
        twigs = crown_twigs(spine, clouds, radii, len(branches), girth, leaves / _NEAREST_LEAVES, copy.deepcopy(rng))
        builder.add(Material.BARK, twigs.vertices, twigs.uv, bark, seed, twigs.normals)


def add_conifer(builder: MeshBuilder, ground: Array, height: float, leaves: int, rng: np.random.Generator) -> None:
    """A conifer of ``height`` [m]: whorls of drooping boughs around a straight trunk."""
    foot, reach = 0.1 * height, height * rng.uniform(0.17, 0.24)
    boughs = int(rng.integers(38, 60))
    level = np.sort(rng.uniform(0.0, 1.0, boughs) ** 1.15)
    azimuth = np.arange(boughs) * 2.4 + rng.uniform(-0.4, 0.4, boughs)
    span = reach * (1.0 - level) * rng.uniform(0.75, 1.1, boughs) + 0.12
    which = rng.choice(boughs, size=leaves, p=span / span.sum())
    t = np.sqrt(rng.uniform(0.03, 1.0, leaves))
    side = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)[which]
    swing = rng.normal(scale=0.11, size=leaves) * t * span[which]
    xy = side * (t * span[which])[:, None] + np.stack([-side[:, 1], side[:, 0]], axis=1) * swing[:, None]
    z = foot + level[which] * (0.97 * height - foot) - 0.32 * t**1.5 * span[which] + rng.normal(scale=0.05, size=leaves)
    centres = ground + np.hstack([xy, z[:, None]])
    outward = _unit(np.hstack([side, np.full((leaves, 1), 0.55)]))
    tint = NEEDLES[rng.integers(len(NEEDLES))] * rng.uniform(0.9, 1.25)
    length = float(np.sqrt(1.5 * np.pi * reach * height / leaves))
    _add_leaves(builder, centres, outward, length, tint, rng, leaves == _NEAREST_LEAVES)
    spine = ground + np.array([rise(-0.4), rise(0.4 * height), rise(0.96 * height)])
    _add_wood(builder, tube(spine, np.array([1.0, 0.6, 0.1]) * (0.014 * height + 0.05), 7), rng)


def add_bush(
    builder: MeshBuilder, ground: Array, size: float, leaves: int, rng: np.random.Generator, *, bare: bool = False
) -> None:
    """A bush about ``size`` [m] wide; a bare one draws as many random numbers as one in leaf."""
    count = int(rng.integers(3, 6))
    offset = rng.uniform(-0.27, 0.27, (count, 3)) * size * [1.0, 1.0, 0.4]
    radii = size * rng.uniform(0.24, 0.38, count)
    clouds = ground + offset + np.stack([np.zeros(count), np.zeros(count), 0.75 * radii], axis=1)
    which = rng.integers(count, size=leaves)
    direction = _unit(rng.normal(size=(leaves, 3)))
    direction[:, 2] = np.where(direction[:, 2] < -0.5, -direction[:, 2], direction[:, 2])
    centres = clouds[which] + direction * radii[which, None] * rng.uniform(0.35, 1.0, (leaves, 1)) ** 0.35
    length = float(np.sqrt(1.7 * 4.0 * np.pi * float((radii**2).sum()) / leaves))
    tint = BROADLEAVES[rng.integers(len(BROADLEAVES))] * rng.uniform(0.7, 1.15)
    _add_leaves(MeshBuilder() if bare else builder, centres, direction, length, tint, rng, True)
    if bare:
        own = copy.deepcopy(rng)
        twigs = bush_twigs(ground, clouds, radii, leaves // 8, own)
        bark = BARKS[own.integers(len(BARKS))] * own.uniform(0.6, 1.0)
        builder.add(Material.BARK, twigs.vertices, twigs.uv, bark, int(own.integers(1 << 30)), twigs.normals)


def add_grass(builder: MeshBuilder, ground: Array, normals: Array, rng: np.random.Generator, *, pale: bool = False) -> None:
    """A tuft of blades on each of (N, 3) ground points with (N, 3) ground normals; they are lit like the ground."""
    blades = 7
    count = len(ground) * blades
    root = np.repeat(ground, blades, axis=0) + np.hstack([rng.normal(scale=0.07, size=(count, 2)), np.zeros((count, 1))])
    size = np.repeat(rng.uniform(0.6, 1.5, len(ground)), blades)[:, None]
    height = size * rng.uniform(0.10, 0.24, (count, 1))
    lean = rng.normal(scale=0.55, size=(count, 2)) * height
    angle = rng.uniform(0.0, np.pi, count)
    half = 0.5 * size * rng.uniform(0.012, 0.026, (count, 1)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    left, right = root.copy(), root.copy()
    left[:, :2] += half
    right[:, :2] -= half
    left[:, 2] -= 0.03
    right[:, 2] -= 0.03
    tip = root + np.hstack([lean, height])
    dry = np.repeat(rng.uniform(0.0, 1.0, len(ground)) ** 2, blades)[:, None] * rng.uniform(0.3, 1.0, (count, 1))
    if pale:
        dry = 0.45 + 0.55 * dry
    tint = (1.0 - dry) * np.array([0.11, 0.18, 0.045]) + dry * np.array([0.36, 0.31, 0.15])
    uv = np.broadcast_to(np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 1.0]]), (count, 3, 2))
    shading = _unit(np.repeat(normals, blades, axis=0) + rng.normal(scale=0.25, size=(count, 3)))
    builder.add(
        Material.GRASS,
        np.stack([left, right, tip], axis=1),
        uv,
        tint * rng.uniform(0.75, 1.25, (count, 1)),
        int(rng.integers(1 << 30)),
        np.repeat(shading[:, None], 3, axis=1),
    )
