"""Early rejection of what is hidden, by a coarse depth buffer (Greene et al., "Hierarchical Z-buffer visibility", 1993).

The image is divided into tiles. Each remembers the farthest depth in it: what is farther than that in every tile that it touches
cannot be seen. A tile is measured again only when a cluster is about to be drawn over it and it has changed since. All
bounds are conservative, so the visibility buffer is the same to the last bit as without.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.jit import jit_exact

Array = NDArray[np.float64]
Tiles = NDArray[np.float32]
NEAR_M = 0.05
"""Nothing closer than this along the optical axis is drawn [m]."""
_TILE_PX = 8
_MOST_TILES = 256
"""A cluster that may touch more tiles is drawn without being tested: it is near, and hardly ever hidden."""
_MARGIN = 1.0 + 1e-5
"""For rounding: a little more than the error of single precision."""


def make_tiles(height: int, width: int) -> Tiles:
    """(rows, columns, 2) tiles of an image: least inverse depth in it [1/m], and whether it may have changed since (0, 1)."""
    return np.zeros((-(-height // _TILE_PX), -(-width // _TILE_PX), 2), dtype=np.float32)


@jit_exact
def sphere_visible(camera: Array, spheres: Array, k: int) -> bool:
    """Whether a bounding sphere touches the frustum of a packed view (no far plane)."""
    dx, dy, dz, r = spheres[k, 0] - camera[9], spheres[k, 1] - camera[10], spheres[k, 2] - camera[11], spheres[k, 3]
    x = camera[0] * dx + camera[1] * dy + camera[2] * dz
    y = camera[3] * dx + camera[4] * dy + camera[5] * dz
    z = camera[6] * dx + camera[7] * dy + camera[8] * dz
    if z + r < NEAR_M:
        return False
    left, right = (camera[14] + 0.5) / camera[12], (camera[16] - 0.5 - camera[14]) / camera[12]
    top, bottom = (camera[15] + 0.5) / camera[13], (camera[17] - 0.5 - camera[15]) / camera[13]
    return bool(
        x + left * z > -r * math.sqrt(1.0 + left * left)
        and right * z - x > -r * math.sqrt(1.0 + right * right)
        and y + top * z > -r * math.sqrt(1.0 + top * top)
        and bottom * z - y > -r * math.sqrt(1.0 + bottom * bottom)
    )


@jit_exact
def cluster_hidden(spheres: Array, k: int, camera: Array, tiles: Tiles, inverse_depth: NDArray[np.float32]) -> bool:
    """Whether all of a cluster is hidden behind what is drawn; measures the tiles that it touches."""
    dx, dy, dz, r = spheres[k, 0] - camera[9], spheres[k, 1] - camera[10], spheres[k, 2] - camera[11], spheres[k, 3]
    z = camera[6] * dx + camera[7] * dy + camera[8] * dz
    if z - r < NEAR_M:
        return False
    x = camera[0] * dx + camera[1] * dy + camera[2] * dz
    y = camera[3] * dx + camera[4] * dy + camera[5] * dz
    j0, j1 = _tile_range(x, r, z, camera[12], camera[14], tiles.shape[1])
    i0, i1 = _tile_range(y, r, z, camera[13], camera[15], tiles.shape[0])
    if (j1 - j0 + 1) * (i1 - i0 + 1) > _MOST_TILES:
        return False
    hidden, nearest = True, _MARGIN / (z - r)
    for i in range(i0, i1 + 1):
        for j in range(j0, j1 + 1):
            if tiles[i, j, 1] > 0.0:
                _measure(tiles, i, j, inverse_depth)
            hidden = hidden and tiles[i, j, 0] > nearest
    return hidden


@jit_exact
def _tile_range(x: float, r: float, z: float, focal: float, centre: float, count: int) -> tuple[int, int]:
    """First and last tile along one axis of the image that a sphere may touch."""
    low, high = x - r, x + r
    first = centre + focal * low / (z - r if low < 0.0 else z + r)
    last = centre + focal * high / (z - r if high > 0.0 else z + r)
    most = _TILE_PX * count - 1.0
    return int(min(max(first - 1.0, 0.0), most)) // _TILE_PX, int(min(max(last + 1.0, 0.0), most)) // _TILE_PX


@jit_exact
def _measure(tiles: Tiles, i: int, j: int, inverse_depth: NDArray[np.float32]) -> None:
    height, width, samples = inverse_depth.shape
    farthest = inverse_depth[_TILE_PX * i, _TILE_PX * j, 0]
    for y in range(_TILE_PX * i, min(_TILE_PX * (i + 1), height)):
        for x in range(_TILE_PX * j, min(_TILE_PX * (j + 1), width)):
            for s in range(samples):
                farthest = min(farthest, inverse_depth[y, x, s])
    tiles[i, j, 0], tiles[i, j, 1] = farthest, 0.0


@jit_exact
def box_hidden(tiles: Tiles, box: Array, nearest: float) -> bool:
    """Whether something with an inverse depth of at most ``nearest`` [1/m] is hidden in a box (x0, x1, y0, y1) of pixels."""
    limit = _MARGIN * nearest
    for i in range(int(box[2]) // _TILE_PX, int(box[3]) // _TILE_PX + 1):
        for j in range(int(box[0]) // _TILE_PX, int(box[1]) // _TILE_PX + 1):
            if tiles[i, j, 0] <= limit:
                return False
    return True


@jit_exact
def mark(tiles: Tiles, box: Array) -> None:
    """Note that something was drawn in a box of pixels."""
    for i in range(int(box[2]) // _TILE_PX, int(box[3]) // _TILE_PX + 1):
        for j in range(int(box[0]) // _TILE_PX, int(box[1]) // _TILE_PX + 1):
            tiles[i, j, 1] = 1.0
