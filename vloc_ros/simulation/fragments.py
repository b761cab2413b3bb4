"""Fragments: the pieces of surface that pixels see, sorted by material and handed to the shader in batches.

A batch is a table with one column per fragment and one row per quantity. Every row has a fixed number, so that the compiler
knows that two rows never overlap and turns each loop over a batch into vector instructions; this is ten times faster than
shading pixel by pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.palette import Material
from vloc_ros.simulation.raster import Samples

Array = NDArray[np.float64]
Table = NDArray[np.float32]
Integers = NDArray[np.int32]
f4: Any = np.float32

BATCH = 400
SKY = max(Material) + 1
KINDS = SKY + 1

# Rows of the table. Ray: direction with length 1 along the optical axis; unit ray; depth; world position.
DX, DY, DZ, EX, EY, EZ, DEPTH, PX, PY, PZ = range(10)
# Surface coordinates; longer axis of the footprint on the surface; lengths of its axes; gradients of u and v in the world.
U, V, MU, MV, MAJOR, MINOR, GU, GV = 10, 11, 12, 13, 14, 15, 16, 19
# Shading normal; share of the sky; +1 where the front is seen and -1 where the back; reflectance; relief; light of the sun.
NX, NY, NZ, OPEN, SIDE, R, G, B, SU, SV, LIT = range(22, 33)
# Arguments and results of the noise functions: a point, the longer axis there; value and slopes; coverage and kind.
P, Q, MP, MQ, VALUE, SLOPE_P, SLOPE_Q, COVER, KIND = range(33, 42)
# A direction, and the sky there; scratch of the materials.
LX, LY, LZ, HR, HG, HB, T0, T1, T2, T3, T4 = range(42, 53)
# Facet normal; barycentric coordinates of corners 1 and 2, and their gradients; Jacobian of (u, v) by pixels. Last, the
# attributes of the triangle (see Mesh).
FX, W1, W2, G1, G2, J, ATTRIBUTES = 53, 56, 57, 58, 61, 64, 68
ROWS = ATTRIBUTES + 30
# Rows of the table of integers: seed of the texture; number in another batch; in column 0, the most taps of a texture lookup.
SEED, ORIGIN, TAPS = 0, 1, 2
INTEGER_ROWS = 3


@jit
def collect(
    samples: Samples,
    inverse_depth: NDArray[np.float32],
    triangle: Integers,
    labels: Integers,
    start: NDArray[np.int64],
    places: Integers,
    shares: Table,
) -> None:
    """List the fragments of a visibility buffer, sorted by material.

    Args:
        samples: offsets of the S samples [px].
        inverse_depth: (H, W, S) of the visibility buffer.
        triangle: (H, W, S) of the visibility buffer.
        labels: (T, 2) material and seed of the triangles.
        start: (KINDS + 1,) output, first fragment of each material, and their number.
        places: (2, N) output, pixel (row * W + column) and triangle.
        shares: (4, N) output, share of the pixel, column and row of the fragment [px], inverse depth [1/m].
    """
    height, width = triangle.shape[:2]
    start[:] = 0
    for y in range(height):
        for x in range(width):
            for s in range(len(samples) // 2):
                t = triangle[y, x, s]
                if not _listed(samples, triangle, y, x, s):
                    start[(SKY if t < 0 else labels[t, 0]) + 1] += 1
    for kind in range(KINDS):
        start[kind + 1] += start[kind]
    for y in range(height):
        for x in range(width):
            for s in range(len(samples) // 2):
                if not _listed(samples, triangle, y, x, s):
                    t = triangle[y, x, s]
                    kind = SKY if t < 0 else labels[t, 0]
                    _place(samples, inverse_depth, triangle, y, x, s, start[kind], places, shares)
                    start[kind] += 1
    for kind in range(KINDS, 0, -1):
        start[kind] = start[kind - 1]
    start[0] = 0


@jit
def _listed(samples: Samples, triangle: Integers, y: int, x: int, s: int) -> bool:
    """Whether an earlier sample of the same pixel sees the same triangle."""
    known = False
    for k in range(len(samples) // 2 - 1):
        known |= (k < s) & (triangle[y, x, k] == triangle[y, x, s])
    return known


@jit
def _place(
    samples: Samples,
    inverse_depth: NDArray[np.float32],
    triangle: Integers,
    y: int,
    x: int,
    first: int,
    at: int,
    places: Integers,
    shares: Table,
) -> None:
    """Write fragment number ``at``: where a surface covers a pixel in part, it is shaded in the middle of that part."""
    t = triangle[y, x, first]
    weight, du, dv, iz = f4(0.0), f4(0.0), f4(0.0), f4(0.0)
    for k in range(first, len(samples) // 2):
        if triangle[y, x, k] == t:
            weight += f4(1.0)
            du += f4(samples[2 * k])
            dv += f4(samples[2 * k + 1])
            iz += inverse_depth[y, x, k]
    per = f4(1.0) / weight
    places[0, at], places[1, at] = y * triangle.shape[1] + x, t
    shares[0, at] = weight * f4(2.0 / len(samples))
    shares[1, at], shares[2, at], shares[3, at] = x + du * per, y + dv * per, iz * per


@jit
def prepare(
    w: Table,
    s: Integers,
    attributes: NDArray[np.float32],
    labels: Integers,
    places: Integers,
    shares: Table,
    at: int,
    n: int,
    camera: Array,
) -> None:
    """Fill the table for ``n`` fragments, the first of which is number ``at``; in the sky there are only rays."""
    _cast_rays(w, shares, at, n, camera)
    if places[1, at] >= 0:
        _gather(w, s, attributes, labels, places, at, n)
        _locate(w, camera, n)


@jit
def _cast_rays(w: Table, shares: Table, at: int, n: int, camera: Array) -> None:
    """Rays, depths and positions of ``n`` fragments, the first of which is number ``at``."""
    # Everything from other arrays is fetched first: the compiler cannot know that they do not overlap the table.
    for i in range(n):
        w[T0, i], w[T1, i], w[T2, i] = shares[1, at + i], shares[2, at + i], shares[3, at + i]
    fx, fy, cx, cy = 1.0 / camera[12], 1.0 / camera[13], camera[14], camera[15]
    m00, m01, m02, m10, m11, m12 = camera[0], camera[1], camera[2], camera[3], camera[4], camera[5]
    m20, m21, m22, ox, oy, oz = camera[6], camera[7], camera[8], camera[9], camera[10], camera[11]
    for i in range(n):
        a, c = (w[T0, i] - cx) * fx, (w[T1, i] - cy) * fy
        dx, dy, dz = m00 * a + m10 * c + m20, m01 * a + m11 * c + m21, m02 * a + m12 * c + m22
        norm = 1.0 / np.sqrt(1.0 + a * a + c * c)
        z = 1.0 / max(w[T2, i], 1e-6)
        w[DX, i], w[DY, i], w[DZ, i] = dx, dy, dz
        w[EX, i], w[EY, i], w[EZ, i] = dx * norm, dy * norm, dz * norm
        w[DEPTH, i] = z
        w[PX, i], w[PY, i], w[PZ, i] = ox + z * dx, oy + z * dy, oz + z * dz


@jit
def _gather(w: Table, s: Integers, attributes: NDArray[np.float32], labels: Integers, places: Integers, at: int, n: int) -> None:
    """Bring the attributes of the triangles of ``n`` fragments into the table; R, G, B start as their tints."""
    for i in range(n):
        t = places[1, at + i]
        s[SEED, i] = labels[t, 1]
        for k in range(30):
            w[ATTRIBUTES + k, i] = attributes[t, k]
        w[R, i], w[G, i], w[B, i] = attributes[t, 24], attributes[t, 25], attributes[t, 26]


@jit
def _locate(w: Table, camera: Array, n: int) -> None:
    """Surface coordinates, footprint, gradients, normal and openness of ``n`` fragments.

    In several short loops: the compiler turns a loop into vector instructions only if it touches a limited number of rows.
    """
    _span(w, n, camera[9], camera[10], camera[11])
    _map(w, n)
    _spread(w, n, camera)
    for i in range(n):
        w1, w2 = w[W1, i], w[W2, i]
        w0 = 1.0 - w1 - w2
        x = w0 * w[ATTRIBUTES + 9, i] + w1 * w[ATTRIBUTES + 12, i] + w2 * w[ATTRIBUTES + 15, i]
        y = w0 * w[ATTRIBUTES + 10, i] + w1 * w[ATTRIBUTES + 13, i] + w2 * w[ATTRIBUTES + 16, i]
        z = w0 * w[ATTRIBUTES + 11, i] + w1 * w[ATTRIBUTES + 14, i] + w2 * w[ATTRIBUTES + 17, i]
        norm = 1.0 / np.sqrt(x * x + y * y + z * z + 1e-20)
        w[NX, i], w[NY, i], w[NZ, i] = x * norm, y * norm, z * norm
        w[OPEN, i] = w0 * w[ATTRIBUTES + 27, i] + w1 * w[ATTRIBUTES + 28, i] + w2 * w[ATTRIBUTES + 29, i]
    for i in range(n):
        facing = w[FX, i] * w[DX, i] + w[FX + 1, i] * w[DY, i] + w[FX + 2, i] * w[DZ, i]
        outward = w[FX, i] * w[NX, i] + w[FX + 1, i] * w[NY, i] + w[FX + 2, i] * w[NZ, i]
        w[SIDE, i] = 1.0 if facing * outward <= 0.0 else -1.0


@jit
def _span(w: Table, n: int, eye_x: float, eye_y: float, eye_z: float) -> None:
    """Facet normal (not of unit length), gradients of the barycentric coordinates of corners 1 and 2, and their values."""
    for i in range(n):
        ox, oy, oz = w[ATTRIBUTES, i], w[ATTRIBUTES + 1, i], w[ATTRIBUTES + 2, i]
        ax, ay, az = w[ATTRIBUTES + 3, i] - ox, w[ATTRIBUTES + 4, i] - oy, w[ATTRIBUTES + 5, i] - oz
        bx, by, bz = w[ATTRIBUTES + 6, i] - ox, w[ATTRIBUTES + 7, i] - oy, w[ATTRIBUTES + 8, i] - oz
        x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        w[FX, i], w[FX + 1, i], w[FX + 2, i] = x, y, z
        inv = 1.0 / (x * x + y * y + z * z + f4(1e-20))
        w[G1, i], w[G1 + 1, i], w[G1 + 2, i] = (by * z - bz * y) * inv, (bz * x - bx * z) * inv, (bx * y - by * x) * inv
        w[G2, i], w[G2 + 1, i], w[G2 + 2, i] = (y * az - z * ay) * inv, (z * ax - x * az) * inv, (x * ay - y * ax) * inv
    for i in range(n):
        # In double precision: far from the origin of the world, single precision would be felt in the texture.
        z = w[DEPTH, i]
        x = eye_x - w[ATTRIBUTES, i] + z * w[DX, i]
        y = eye_y - w[ATTRIBUTES + 1, i] + z * w[DY, i]
        z = eye_z - w[ATTRIBUTES + 2, i] + z * w[DZ, i]
        w[W1, i] = min(max(w[G1, i] * x + w[G1 + 1, i] * y + w[G1 + 2, i] * z, 0.0), 1.0)
        w[W2, i] = min(max(w[G2, i] * x + w[G2 + 1, i] * y + w[G2 + 2, i] * z, 0.0), 1.0)


@jit
def _map(w: Table, n: int) -> None:
    """Surface coordinates and their gradients in the world."""
    for k in range(2):  # u, then v
        for i in range(n):
            start = w[ATTRIBUTES + 18 + k, i]
            one, two = w[ATTRIBUTES + 20 + k, i] - start, w[ATTRIBUTES + 22 + k, i] - start
            w[U + k, i] = start + w[W1, i] * one + w[W2, i] * two
            w[GU + 3 * k, i] = w[G1, i] * one + w[G2, i] * two
            w[GU + 3 * k + 1, i] = w[G1 + 1, i] * one + w[G2 + 1, i] * two
            w[GU + 3 * k + 2, i] = w[G1 + 2, i] * one + w[G2 + 2, i] * two


@jit
def _spread(w: Table, n: int, camera: Array) -> None:
    """The ellipse on the surface that a pixel covers."""
    for axis in range(2):
        # How the point moves along the surface when the pixel moves by one column or row.
        inv = 1.0 / camera[12 + axis]
        rx, ry, rz = f4(camera[3 * axis] * inv), f4(camera[3 * axis + 1] * inv), f4(camera[3 * axis + 2] * inv)
        for i in range(n):
            x, y, z = w[DX, i], w[DY, i], w[DZ, i]
            facing = w[FX, i] * x + w[FX + 1, i] * y + w[FX + 2, i] * z
            pull = -(w[FX, i] * rx + w[FX + 1, i] * ry + w[FX + 2, i] * rz) / (facing if abs(facing) > f4(1e-12) else f4(1e-12))
            x, y, z = w[DEPTH, i] * (rx + pull * x), w[DEPTH, i] * (ry + pull * y), w[DEPTH, i] * (rz + pull * z)
            w[J + axis, i] = w[GU, i] * x + w[GU + 1, i] * y + w[GU + 2, i] * z
            w[J + 2 + axis, i] = w[GV, i] * x + w[GV + 1, i] * y + w[GV + 2, i] * z
    for i in range(n):
        # Principal axes of the Jacobian [[a, b], [c, d]], which maps pixels to (u, v).
        a, b, c, d = w[J, i], w[J + 1, i], w[J + 2, i], w[J + 3, i]
        p, q, o = a * a + b * b, c * c + d * d, a * c + b * d
        mean, half = f4(0.5) * (p + q), f4(0.5) * (p - q)
        root = np.sqrt(half * half + o * o)
        major = np.sqrt(mean + root) + f4(1e-7)
        ex = root + half if half > f4(0.0) else o
        ey = o if half > f4(0.0) else root - half
        scale = major / (np.sqrt(ex * ex + ey * ey) + f4(1e-30))
        w[MU, i], w[MV, i], w[MAJOR, i] = ex * scale, ey * scale, major
        w[MINOR, i] = np.sqrt(max(mean - root, f4(0.0))) + f4(1e-2) * major
