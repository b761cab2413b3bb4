"""What light reaches: depth maps of the world as a distant light sees it.

A map looks along the rays of a distant source (sun, moon, a patch of sky). Its cell holds the largest distance towards the
source at which the world stops the light; a point further away than that is in the shade.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.mesh import NORMAL, Mesh

Array = NDArray[np.float64]
_SKY_DIRECTIONS = 16
_SKY_MAP_CELLS = 1000


class ShadowMap(NamedTuple):
    """A depth map of a distant light.

    Attributes:
        nearest: (rows, columns) float32 largest coordinate towards the light [m].
        frame: (4, 4): rows 0 to 2 turn homogeneous world points into (column, row, coordinate towards the light [m]);
            row 3 holds the cell size [m] and zeros.
    """

    nearest: NDArray[np.float32]
    frame: Array


def bake_shadow_map(mesh: Mesh, towards: Array, low: Array, high: Array, cells: int, finest_m: float) -> ShadowMap:
    """Render the shadow map of a distant light.

    Args:
        mesh: what throws shadows.
        towards: (3,) unit vector to the light.
        low: (3,) lowest corner of the box in which shadows are wanted [m].
        high: (3,) its highest corner [m].
        cells: at most so many cells along each side.
        finest_m: smallest useful cell [m].
    """
    axes = _light_axes(towards)
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    spread = corners @ axes[:2].T
    origin, extent = spread.min(axis=0), np.ptp(spread, axis=0)
    cell = max(float(extent.max()) / (cells - 1), finest_m)
    shape = np.ceil(extent / cell).astype(int)[::-1] + 2
    nearest = np.full(tuple(shape), -np.inf, dtype=np.float32)
    frame = np.zeros((4, 4))
    frame[:2, :3], frame[:2, 3] = axes[:2] / cell, -origin / cell
    frame[2, :3], frame[3, 0] = axes[2], cell
    _fill(mesh.attributes, frame, nearest)
    return ShadowMap(nearest, frame)


def _light_axes(towards: Array) -> Array:
    aside = np.array([1.0, 0.0, 0.0]) if abs(towards[0]) < 0.8 else np.array([0.0, 1.0, 0.0])
    right = np.cross(aside, towards)
    right /= np.linalg.norm(right)
    return np.ascontiguousarray(np.stack([right, np.cross(towards, right), towards]))


@jit
def _fill(attributes: NDArray[np.float32], frame: Array, nearest: NDArray[np.float32]) -> None:
    rows, columns = nearest.shape
    p = np.empty((3, 3))
    for t in range(len(attributes)):
        for i in range(3):
            x, y, z = attributes[t, 3 * i], attributes[t, 3 * i + 1], attributes[t, 3 * i + 2]
            for j in range(3):
                p[i, j] = frame[j, 0] * x + frame[j, 1] * y + frame[j, 2] * z + frame[j, 3]
        x0 = max(math.ceil(min(p[0, 0], p[1, 0], p[2, 0])), 0.0)
        x1 = min(math.floor(max(p[0, 0], p[1, 0], p[2, 0])), columns - 1.0)
        y0 = max(math.ceil(min(p[0, 1], p[1, 1], p[2, 1])), 0.0)
        y1 = min(math.floor(max(p[0, 1], p[1, 1], p[2, 1])), rows - 1.0)
        if x0 > x1 or y0 > y1:
            continue
        ax, ay = p[1, 0] - p[0, 0], p[1, 1] - p[0, 1]
        bx, by = p[2, 0] - p[0, 0], p[2, 1] - p[0, 1]
        det = ax * by - ay * bx
        if abs(det) < 1e-12:
            continue
        for row in range(int(y0), int(y1) + 1):
            for column in range(int(x0), int(x1) + 1):
                dx, dy = column - p[0, 0], row - p[0, 1]
                s, r = (dx * by - dy * bx) / det, (ax * dy - ay * dx) / det
                if s >= 0.0 and r >= 0.0 and s + r <= 1.0:
                    depth = np.float32(p[0, 2] + s * (p[1, 2] - p[0, 2]) + r * (p[2, 2] - p[0, 2]))
                    if depth > nearest[row, column]:
                        nearest[row, column] = depth


@jit
def lit_share(nearest: NDArray[np.float32], frame: Array, x: float, y: float, z: float, bias: float) -> float:
    """Share of the light that reaches a point, between 0 and 1: the four nearest cells of a map, interpolated.

    ``bias`` [m] is how far an obstacle must be in front of the point; points outside the map are lit.
    """
    u = frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z + frame[0, 3]
    v = frame[1, 0] * x + frame[1, 1] * y + frame[1, 2] * z + frame[1, 3]
    if not (u >= 0.0 and v >= 0.0 and u < nearest.shape[1] - 1.0 and v < nearest.shape[0] - 1.0):
        return 1.0
    depth = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z + bias
    i, j = int(u), int(v)
    fu, fv = u - i, v - j
    a = 1.0 if depth >= nearest[j, i] else 0.0
    b = 1.0 if depth >= nearest[j, i + 1] else 0.0
    c = 1.0 if depth >= nearest[j + 1, i] else 0.0
    d = 1.0 if depth >= nearest[j + 1, i + 1] else 0.0
    return float((a + (b - a) * fu) * (1.0 - fv) + (c + (d - c) * fu) * fv)


@jit
def _accumulate(
    attributes: NDArray[np.float32], nearest: NDArray[np.float32], frame: Array, bias: float, seen: NDArray[np.float32]
) -> None:
    for t in range(len(attributes)):
        for i in range(3):
            n = NORMAL + 3 * i
            nx, ny, nz = attributes[t, n], attributes[t, n + 1], attributes[t, n + 2]
            facing = nx * frame[2, 0] + ny * frame[2, 1] + nz * frame[2, 2]
            if facing > 0.0:
                x, y, z = attributes[t, 3 * i], attributes[t, 3 * i + 1], attributes[t, 3 * i + 2]
                reach = 2.0 * bias
                share = lit_share(nearest, frame, x + reach * nx, y + reach * ny, z + reach * nz, bias)
                seen[t, i, 0] += np.float32(facing * share)
                seen[t, i, 1] += np.float32(facing)


def bake_openness(mesh: Mesh) -> None:
    """Fill in which share of the sky (weighted by the cosine) each corner sees: soft shade under trees and along walls."""
    inner = mesh.cluster_sphere[mesh.cluster_sphere[:, 3] < 8.0]
    low, high = inner[:, :3].min(axis=0) - 2.0, inner[:, :3].max(axis=0) + 2.0
    seen = np.zeros((len(mesh), 3, 2), dtype=np.float32)
    fixed = mesh.frozen()
    for index in range(_SKY_DIRECTIONS):
        # A golden spiral over the upper hemisphere; the lowest rays count for little and would see only clutter.
        height = 1.0 - 0.88 * (index + 0.5) / _SKY_DIRECTIONS
        azimuth, flat = 2.399963229728653 * index, float(np.sqrt(1.0 - height**2))
        towards = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), height])
        shadow = bake_shadow_map(fixed, towards, low, high, _SKY_MAP_CELLS, 0.1)
        _accumulate(fixed.attributes, shadow.nearest, shadow.frame, 0.6 * float(shadow.frame[3, 0]), seen)
    weight = seen[..., 1]
    mesh.openness[:] = np.where(weight > 0.0, seen[..., 0] / np.maximum(weight, 1e-6), 1.0)
