"""What is left of trees and bushes when the leaves have fallen: branches that end in ever finer twigs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.shapes import Patch, join, tubes

Array = NDArray[np.float64]
_FINE = 0.3
"""Share of the detail of the nearest trees above which branches are round."""


def crown_twigs(
    spine: Array, clouds: Array, radii: Array, branched: int, girth: float, detail: float, rng: np.random.Generator
) -> Patch:
    """The inside of a crown whose leaves filled C balls.

    Args:
        spine: (N, 3) points of the trunk from the root upwards [m].
        clouds: (C, 3) centres of the balls [m].
        radii: (C,) their radii [m].
        branched: so many of the first balls have a branch already.
        girth: radius of the trunk at its foot [m].
        detail: 0 to 1; a tree far away gets fewer and thicker twigs.
        rng: source of their shape.
    """
    fine = detail > _FINE
    bare = clouds[branched:]
    start = spine[rng.integers(len(spine) // 2, len(spine) - 1, len(bare))]
    middle = 0.5 * (start + bare) - [0.0, 0.0, 0.08] * np.linalg.norm(bare - start, axis=1, keepdims=True)
    branches = np.stack([start, middle, bare], axis=1)
    per_cloud = 3 + round(8.0 * detail)
    boughs = _sprays(np.repeat(clouds, per_cloud, axis=0), np.repeat(radii, per_cloud) * 0.75, rng)
    thick = girth * rng.uniform(0.8, 1.3, (len(bare), 1))
    coarseness = min(1.0 / np.sqrt(max(detail, 1e-3)), 3.0)
    if not fine:  # a few hundred triangles must do: one per branch and bough
        wood = [_spikes(branches[:, 0], branches[:, 2], 0.4 * thick, rng)]
        return join([*wood, _spikes(boughs[:, 0], boughs[:, 2], np.full((len(boughs), 1), 0.02 * coarseness), rng)])
    parts = [tubes(boughs, np.full((len(boughs), 1), 0.05 * girth * coarseness) * [1.0, 0.65, 0.3], 3)]
    if len(bare) > 0:
        parts.append(tubes(branches, 0.2 * thick * [1.0, 0.7, 0.35], 3))
    return join([*parts, _slivers(boughs, 2 + round(6.0 * detail), 0.45 * float(radii.mean()), 0.012 * coarseness, rng)])


def bush_twigs(ground: Array, clouds: Array, radii: Array, stems: int, rng: np.random.Generator) -> Patch:
    """Stems from a point (3,) of the ground to the rims of C balls, which the leaves of a bush filled, and their twigs."""
    which = rng.integers(len(clouds), size=stems)
    foot = ground + rng.normal(scale=0.12, size=(stems, 3)) * radii.mean() * [1.0, 1.0, 0.0] - [0.0, 0.0, 0.05]
    up = rng.normal(size=(stems, 3))
    up[:, 2] = np.abs(up[:, 2])
    tip = clouds[which] + up / np.linalg.norm(up, axis=1, keepdims=True) * radii[which, None] * rng.uniform(0.5, 1.0, (stems, 1))
    middle = 0.5 * (foot + tip)
    middle[:, 2] += 0.12 * np.linalg.norm(tip - foot, axis=1)
    paths = np.stack([foot, middle, tip], axis=1)
    wood = tubes(paths, np.full((stems, 1), 0.009) * [1.0, 0.7, 0.3], 3)
    return join([wood, _slivers(paths, 7, 0.6 * float(radii.mean()), 0.008, rng)])


def _sprays(start: Array, length: Array, rng: np.random.Generator) -> Array:
    """(M, 3, 3) paths of about ``length`` (M,) [m] from (M, 3) points, outwards in all directions and curving up to the light."""
    count = len(start)
    along = rng.normal(size=(count, 3)) + np.array([0.0, 0.0, 0.35])
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    reach = (length * rng.uniform(0.7, 1.25, count))[:, None]
    lift = np.array([0.0, 0.0, 1.0]) * reach
    return np.stack([start, start + 0.5 * reach * along + 0.04 * lift, start + 0.95 * reach * along + 0.2 * lift], axis=1)


def _slivers(paths: Array, each: int, length: float, breadth: float, rng: np.random.Generator) -> Patch:
    """The finest twigs: ``each`` slender triangles along the outer part of every path of (M, 3, 3)."""
    count = len(paths) * each
    start, middle, end = (np.repeat(paths[:, i], each, axis=0) for i in range(3))
    t = rng.uniform(0.1, 1.0, (count, 1))
    outer = rng.uniform(size=(count, 1)) < 0.7
    root = np.where(outer, middle + t * (end - middle), start + (0.4 + 0.6 * t) * (middle - start))
    along = (end - start) / np.maximum(np.linalg.norm(end - start, axis=1, keepdims=True), 1e-9)
    along = along + rng.normal(scale=0.65, size=(count, 3)) + [0.0, 0.0, 0.2]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return _spikes(root, root + length * rng.uniform(0.5, 1.3, (count, 1)) * along, np.full((count, 1), breadth), rng)


def _spikes(root: Array, tip: Array, breadth: Array, rng: np.random.Generator) -> Patch:
    """One slender triangle from each of (M, 3) roots, (M, 1) broad [m], to its tip."""
    along = tip - root
    across = np.cross(along, rng.normal(size=along.shape))
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    normals = np.cross(across, along)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    uv = np.zeros((len(root), 3, 2))
    uv[:, 1, 0], uv[:, 2, 1] = breadth[:, 0], np.linalg.norm(along, axis=1)
    vertices = np.stack([root - 0.5 * breadth * across, root + 0.5 * breadth * across, tip], axis=1)
    return Patch(vertices, uv, np.repeat(normals[:, None], 3, axis=1))
