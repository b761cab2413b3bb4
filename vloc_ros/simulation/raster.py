"""Which triangle does each sample of each pixel see: a visibility buffer.

Edge functions in homogeneous screen coordinates (Olano and Greer, "Triangle scan conversion using 2D homogeneous
coordinates", 1997): no triangle needs to be cut at the near plane, and neighbours share their edges without gaps.
Depth along the optical axis is exact at every sample, because its inverse is linear on the screen.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.simulation.jit import jit_exact
from vloc_ros.simulation.occlusion import NEAR_M, Tiles, box_hidden, cluster_hidden, mark, sphere_visible

Array = NDArray[np.float64]
_NEAREST = 1.0 / NEAR_M

# Offsets (x0, y0, x1, y1, ...) of the samples from the centre of a pixel; their mean is the centre, so that filtering moves
# nothing. Tuples, because their length is then known to the compiler.
Samples = tuple[float, ...]
SPREAD: Samples = (-0.125, -0.375, 0.375, -0.125, -0.375, 0.125, 0.125, 0.375)
"""Four in a rotated grid, so that near-vertical and near-horizontal edges both get four steps."""
DIAGONAL: Samples = (-0.25, -0.25, 0.25, 0.25)
"""Two: half the work, and two steps along each edge."""
CENTRED: Samples = (0.0, 0.0)
"""One in the middle: for the exact depth at pixel centres."""


def pack_view(camera: StereoCamera, world_T_camera: Array) -> Array:
    """(18,) view of a camera, as the kernels read it: camera_R_world by rows, position, fx, fy, cx, cy, width, height."""
    intrinsics = [camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height]
    return np.concatenate([world_T_camera[:3, :3].T.ravel(), world_T_camera[:3, 3], intrinsics])


def front_to_back(cluster_sphere: Array, camera: Array, reach: Array | None = None) -> NDArray[np.int64]:
    """Numbers of the clusters that touch the frustum of a packed view, the nearest first.

    Args:
        cluster_sphere: (K, 4) bounding spheres.
        camera: see :func:`pack_view`.
        reach: (K,) clusters whose nearest point is farther away than this are left out [m]; by default none.
    """
    count = len(cluster_sphere)
    number, distance = np.empty(count, dtype=np.int64), np.empty(count)
    count = _in_view(cluster_sphere, camera, np.full(count, np.inf) if reach is None else reach, number, distance)
    return np.asarray(number[np.argsort(distance[:count], kind="stable")], dtype=np.int64)


@jit_exact
def _in_view(cluster_sphere: Array, camera: Array, reach: Array, number: NDArray[np.int64], distance: Array) -> int:
    """List the clusters that are to be drawn and the distance of their nearest point [m]; returns how many."""
    count = 0
    for k in range(len(cluster_sphere)):
        x, y, z = cluster_sphere[k, 0] - camera[9], cluster_sphere[k, 1] - camera[10], cluster_sphere[k, 2] - camera[11]
        nearest = math.sqrt(x * x + y * y + z * z) - cluster_sphere[k, 3]
        if nearest <= reach[k] and sphere_visible(camera, cluster_sphere, k):
            number[count], distance[count] = k, nearest
            count += 1
    return count


@jit_exact
def rasterise(
    attributes: NDArray[np.float32],
    cluster_start: NDArray[np.int64],
    cluster_sphere: Array,
    order: NDArray[np.int64],
    camera: Array,
    samples: Samples,
    tiles: Tiles,
    inverse_depth: NDArray[np.float32],
    triangle: NDArray[np.int32],
) -> int:
    """Fill the buffers with the nearest triangle.

    What is hidden is rejected early: see occlusion.py. That changes no sample.

    Args:
        attributes: (T, >= 9) triangles; the first nine columns are their corners in the world [m].
        cluster_start: (K + 1,) first triangle of each cluster.
        cluster_sphere: (K, 4) bounding spheres.
        order: clusters to draw, the nearest first.
        camera: see :func:`pack_view`.
        samples: S offsets of the samples from pixel centres [px], each within half a pixel.
        tiles: scratch, see ``occlusion.make_tiles``.
        inverse_depth: (H, W, S) output, 1 / depth [1/m]; 0 where nothing is seen.
        triangle: (H, W, S) output, triangle number; -1 where nothing is seen.

    Returns:
        How many triangles were scan-converted.
    """
    inverse_depth[:] = 0.0
    triangle[:] = -1
    tiles[:] = 0.0
    corner, edge, box = np.empty((3, 3)), np.empty((3, 3)), np.empty(4)
    drawn = 0
    for k in order:
        if cluster_hidden(cluster_sphere, k, camera, tiles, inverse_depth):
            continue
        for t in range(cluster_start[k], cluster_start[k + 1]):
            if not _project(attributes, t, camera, corner) or not _bounds(corner, camera, box):
                continue
            nearest = 1.0 / max(min(corner[0, 2], corner[1, 2], corner[2, 2]), NEAR_M)
            if box_hidden(tiles, box, nearest):
                continue
            det = _edges(corner, edge)
            if det == 0.0:
                continue
            drawn += 1
            if _scan(t, edge, det, box, samples, inverse_depth, triangle):
                mark(tiles, box)
    return drawn


@jit_exact
def _scan(
    t: int,
    edge: Array,
    det: float,
    box: Array,
    samples: Samples,
    inverse_depth: NDArray[np.float32],
    triangle: NDArray[np.int32],
) -> bool:
    """Draw triangle ``t`` within a box of pixels; whether any sample sees it."""
    a0, b0, c0 = edge[0, 0], edge[0, 1], edge[0, 2]
    a1, b1, c1 = edge[1, 0], edge[1, 1], edge[1, 2]
    a2, b2, c2 = edge[2, 0], edge[2, 1], edge[2, 2]
    za, zb, zc = (a0 + a1 + a2) / det, (b0 + b1 + b2) / det, (c0 + c1 + c2) / det
    # How far the edge functions may rise within a pixel: rejects whole pixels at once.
    mz = 0.5 * (abs(za) + abs(zb))
    m0, m1, m2 = 0.5 * (abs(a0) + abs(b0)), 0.5 * (abs(a1) + abs(b1)), 0.5 * (abs(a2) + abs(b2))
    # Where an edge crosses a row: the box is narrowed to what lies between, without a branch or a division per row. Rounding
    # is harmless, because no sample is as far from the centre of its pixel as the bounds allow.
    n0, n1, n2 = _inverse(a0), _inverse(a1), _inverse(a2)
    changed = False
    for y in range(int(box[2]), int(box[3]) + 1):
        r0, r1, r2, rz = b0 * y + c0, b1 * y + c1, b2 * y + c2, zb * y + zc
        x0, x1, x2 = -(r0 + m0) * n0, -(r1 + m1) * n1, -(r2 + m2) * n2
        low = max(max(x0 if a0 > 0.0 else box[0], x1 if a1 > 0.0 else box[0]), max(x2 if a2 > 0.0 else box[0], box[0]))
        high = min(min(x0 if a0 < 0.0 else box[1], x1 if a1 < 0.0 else box[1]), min(x2 if a2 < 0.0 else box[1], box[1]))
        if low > high:
            continue
        for x in range(math.ceil(low), int(high) + 1):
            e0, e1, e2 = a0 * x + r0, a1 * x + r1, a2 * x + r2
            iz = za * x + rz
            farthest = inverse_depth[y, x, 0]
            for s in range(1, len(samples) // 2):
                farthest = min(farthest, inverse_depth[y, x, s])
            if iz + mz < farthest:
                continue
            for s in range(len(samples) // 2):
                sx, sy = samples[2 * s], samples[2 * s + 1]
                d0, d1, d2 = e0 + (a0 * sx + b0 * sy), e1 + (a1 * sx + b1 * sy), e2 + (a2 * sx + b2 * sy)
                value, old = np.float32(iz + (za * sx + zb * sy)), inverse_depth[y, x, s]
                seen = (d0 >= 0.0) & (d1 >= 0.0) & (d2 >= 0.0) & (value > old) & (value < _NEAREST)
                inverse_depth[y, x, s] = value if seen else old
                triangle[y, x, s] = t if seen else triangle[y, x, s]
                changed |= seen
    return changed


@jit_exact
def _project(attributes: NDArray[np.float32], t: int, camera: Array, corner: Array) -> bool:
    """Corners in homogeneous pixels (u z, v z, z); False when all are behind the near plane."""
    ahead = False
    for i in range(3):
        dx = attributes[t, 3 * i] - camera[9]
        dy = attributes[t, 3 * i + 1] - camera[10]
        dz = attributes[t, 3 * i + 2] - camera[11]
        z = camera[6] * dx + camera[7] * dy + camera[8] * dz
        corner[i, 0] = camera[12] * (camera[0] * dx + camera[1] * dy + camera[2] * dz) + camera[14] * z
        corner[i, 1] = camera[13] * (camera[3] * dx + camera[4] * dy + camera[5] * dz) + camera[15] * z
        corner[i, 2] = z
        ahead = ahead or z >= NEAR_M
    return ahead


@jit_exact
def _bounds(corner: Array, camera: Array, box: Array) -> bool:
    """Pixels that the part in front of the near plane may touch: (x0, x1, y0, y1), inclusive; False if none."""
    x0, x1, y0, y1 = math.inf, -math.inf, math.inf, -math.inf
    for i in range(3):
        j = (i + 1) % 3
        zi, zj = corner[i, 2], corner[j, 2]
        if zi >= NEAR_M:
            x, y = corner[i, 0] / zi, corner[i, 1] / zi
            x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
        if (zi >= NEAR_M) != (zj >= NEAR_M):
            t = (NEAR_M - zi) / (zj - zi)
            x = (corner[i, 0] + t * (corner[j, 0] - corner[i, 0])) / NEAR_M
            y = (corner[i, 1] + t * (corner[j, 1] - corner[i, 1])) / NEAR_M
            x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
    box[0] = max(math.floor(x0 + 0.5), 0.0)
    box[1] = min(math.floor(x1 + 0.5), camera[16] - 1.0)
    box[2] = max(math.floor(y0 + 0.5), 0.0)
    box[3] = min(math.floor(y1 + 0.5), camera[17] - 1.0)
    return bool(box[0] <= box[1] and box[2] <= box[3])


@jit_exact
def _edges(corner: Array, edge: Array) -> float:
    """Rows (a, b, c) of the edge functions a x + b y + c, positive inside; returns their common determinant."""
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        edge[i, 0] = corner[j, 1] * corner[k, 2] - corner[j, 2] * corner[k, 1]
        edge[i, 1] = corner[j, 2] * corner[k, 0] - corner[j, 0] * corner[k, 2]
        edge[i, 2] = corner[j, 0] * corner[k, 1] - corner[j, 1] * corner[k, 0]
    det = edge[0, 0] * corner[0, 0] + edge[0, 1] * corner[0, 1] + edge[0, 2] * corner[0, 2]
    if det < 0.0:
        for i in range(3):
            for j in range(3):
                edge[i, j] = -edge[i, j]
        return float(-det)
    return float(det)


@jit_exact
def _inverse(a: float) -> float:
    return 1.0 / a if a != 0.0 else 0.0
