"""Fragments: the pieces of surface that pixels see, sorted by material and handed to the shader in batches.

A batch is a table with one column per fragment and one row per quantity. Every row has a fixed number, so that the compiler
knows that two rows never overlap and turns each loop over a batch into vector instructions; this is ten times faster than
shading pixel by pixel.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.palette import Material
from vloc_ros.simulation.raster import Samples

Array = NDArray[np.float64]
Table = NDArray[np.float32]
Integers = NDArray[np.int32]

BATCH = 256
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
# A direction, and the sky there; scratch of the materials; the attributes of the triangle (see Mesh).
LX, LY, LZ, HR, HG, HB, T0, T1, T2, T3, T4, ATTRIBUTES = range(42, 54)
ROWS = ATTRIBUTES + 30
# Rows of the table of integers.
SEED, TRIANGLE, PIXEL = range(3)


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
        samples: offsets of the samples [px].
        inverse_depth, triangle: (H, W, 4) the visibility buffer.
        labels: (T, 2) material and seed of the triangles.
        start: (KINDS + 1,) output, first fragment of each material, and their number.
        places: (2, N) output, pixel (row * W + column) and triangle.
        shares: (4, N) output, share of the pixel, column and row of the fragment [px], inverse depth [1/m].
    """
    height, width = triangle.shape[:2]
    for sweep in range(2):  # count, then place
        if sweep == 0:
            start[:] = 0
        for y in range(height):
            for x in range(width):
                for s in range(4):
                    t = triangle[y, x, s]
                    known = False
                    for k in range(s):
                        known = known or triangle[y, x, k] == t
                    if known:
                        continue
                    kind = SKY if t < 0 else labels[t, 0]
                    if sweep == 0:
                        start[kind + 1] += 1
                        continue
                    weight, du, dv, iz = 0.0, 0.0, 0.0, 0.0
                    for k in range(s, 4):
                        if triangle[y, x, k] == t:
                            weight += 1.0
                            du += samples[2 * k]
                            dv += samples[2 * k + 1]
                            iz += inverse_depth[y, x, k]
                    at = start[kind]
                    start[kind] += 1
                    places[0, at], places[1, at] = y * width + x, t
                    # Where a surface covers a pixel in part, it is shaded in the middle of the part that it covers.
                    shares[0, at] = 0.25 * weight
                    shares[1, at], shares[2, at], shares[3, at] = x + du / weight, y + dv / weight, iz / weight
        if sweep == 0:
            for kind in range(KINDS):
                start[kind + 1] += start[kind]
        else:
            for kind in range(KINDS, 0, -1):
                start[kind] = start[kind - 1]
            start[0] = 0


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
    per_fx, per_fy = 1.0 / camera[12], 1.0 / camera[13]
    for i in range(n):
        a, c = (shares[1, at + i] - camera[14]) * per_fx, (shares[2, at + i] - camera[15]) * per_fy
        dx = camera[0] * a + camera[3] * c + camera[6]
        dy = camera[1] * a + camera[4] * c + camera[7]
        dz = camera[2] * a + camera[5] * c + camera[8]
        norm = 1.0 / math.sqrt(1.0 + a * a + c * c)
        z = 1.0 / max(shares[3, at + i], 1e-6)
        w[DX, i], w[DY, i], w[DZ, i] = dx, dy, dz
        w[EX, i], w[EY, i], w[EZ, i] = dx * norm, dy * norm, dz * norm
        w[DEPTH, i] = z
        w[PX, i], w[PY, i], w[PZ, i] = camera[9] + z * dx, camera[10] + z * dy, camera[11] + z * dz


@jit
def _gather(w: Table, s: Integers, attributes: NDArray[np.float32], labels: Integers, places: Integers, at: int, n: int) -> None:
    """Bring the attributes of the triangles of ``n`` fragments into the table; R, G, B start as their tints."""
    for i in range(n):
        t = places[1, at + i]
        s[TRIANGLE, i], s[SEED, i] = t, labels[t, 1]
        for k in range(30):
            w[ATTRIBUTES + k, i] = attributes[t, k]
        w[R, i], w[G, i], w[B, i] = attributes[t, 24], attributes[t, 25], attributes[t, 26]


@jit
def _locate(w: Table, camera: Array, n: int) -> None:
    """Surface coordinates, footprint, gradients, normal and openness of ``n`` fragments."""
    per_fx, per_fy = 1.0 / camera[12], 1.0 / camera[13]
    for i in range(n):
        ox, oy, oz = w[ATTRIBUTES, i], w[ATTRIBUTES + 1, i], w[ATTRIBUTES + 2, i]
        ax, ay, az = w[ATTRIBUTES + 3, i] - ox, w[ATTRIBUTES + 4, i] - oy, w[ATTRIBUTES + 5, i] - oz
        bx, by, bz = w[ATTRIBUTES + 6, i] - ox, w[ATTRIBUTES + 7, i] - oy, w[ATTRIBUTES + 8, i] - oz
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        inv = 1.0 / (nx * nx + ny * ny + nz * nz + 1e-20)
        # Gradients of the barycentric coordinates of corners 1 and 2.
        g1x, g1y, g1z = (by * nz - bz * ny) * inv, (bz * nx - bx * nz) * inv, (bx * ny - by * nx) * inv
        g2x, g2y, g2z = (ny * az - nz * ay) * inv, (nz * ax - nx * az) * inv, (nx * ay - ny * ax) * inv
        z, dx, dy, dz = w[DEPTH, i], w[DX, i], w[DY, i], w[DZ, i]
        qx, qy, qz = camera[9] - ox + z * dx, camera[10] - oy + z * dy, camera[11] - oz + z * dz
        w1 = min(max(g1x * qx + g1y * qy + g1z * qz, 0.0), 1.0)
        w2 = min(max(g2x * qx + g2y * qy + g2z * qz, 0.0), 1.0)
        w0 = 1.0 - w1 - w2
        u0, v0 = w[ATTRIBUTES + 18, i], w[ATTRIBUTES + 19, i]
        u1, v1 = w[ATTRIBUTES + 20, i] - u0, w[ATTRIBUTES + 21, i] - v0
        u2, v2 = w[ATTRIBUTES + 22, i] - u0, w[ATTRIBUTES + 23, i] - v0
        w[U, i], w[V, i] = u0 + w1 * u1 + w2 * u2, v0 + w1 * v1 + w2 * v2
        gux, guy, guz = g1x * u1 + g2x * u2, g1y * u1 + g2y * u2, g1z * u1 + g2z * u2
        gvx, gvy, gvz = g1x * v1 + g2x * v2, g1y * v1 + g2y * v2, g1z * v1 + g2z * v2
        w[GU, i], w[GU + 1, i], w[GU + 2, i] = gux, guy, guz
        w[GV, i], w[GV + 1, i], w[GV + 2, i] = gvx, gvy, gvz
        # How the point moves along the surface when the pixel moves by one column or row.
        facing = nx * dx + ny * dy + nz * dz
        inv = 1.0 / (facing if abs(facing) > 1e-12 else 1e-12)
        rx, ry, rz = camera[0] * per_fx, camera[1] * per_fx, camera[2] * per_fx
        pull = -(nx * rx + ny * ry + nz * rz) * inv
        sx, sy, sz = z * (rx + pull * dx), z * (ry + pull * dy), z * (rz + pull * dz)
        a, c = gux * sx + guy * sy + guz * sz, gvx * sx + gvy * sy + gvz * sz
        rx, ry, rz = camera[3] * per_fy, camera[4] * per_fy, camera[5] * per_fy
        pull = -(nx * rx + ny * ry + nz * rz) * inv
        sx, sy, sz = z * (rx + pull * dx), z * (ry + pull * dy), z * (rz + pull * dz)
        b, d = gux * sx + guy * sy + guz * sz, gvx * sx + gvy * sy + gvz * sz
        # Principal axes of the ellipse that the pixel covers: the Jacobian [[a, b], [c, d]] maps pixels to (u, v).
        p, q, o = a * a + b * b, c * c + d * d, a * c + b * d
        mean, half = 0.5 * (p + q), 0.5 * (p - q)
        root = math.sqrt(half * half + o * o)
        major = math.sqrt(mean + root) + 1e-7
        ex, ey = (root + half if half > 0.0 else o), (o if half > 0.0 else root - half)
        scale = major / (math.sqrt(ex * ex + ey * ey) + 1e-30)
        w[MU, i], w[MV, i], w[MAJOR, i] = ex * scale, ey * scale, major
        w[MINOR, i] = math.sqrt(max(mean - root, 0.0)) + 1e-2 * major
        fx = w0 * w[ATTRIBUTES + 9, i] + w1 * w[ATTRIBUTES + 12, i] + w2 * w[ATTRIBUTES + 15, i]
        fy = w0 * w[ATTRIBUTES + 10, i] + w1 * w[ATTRIBUTES + 13, i] + w2 * w[ATTRIBUTES + 16, i]
        fz = w0 * w[ATTRIBUTES + 11, i] + w1 * w[ATTRIBUTES + 14, i] + w2 * w[ATTRIBUTES + 17, i]
        norm = 1.0 / math.sqrt(fx * fx + fy * fy + fz * fz + 1e-20)
        w[NX, i], w[NY, i], w[NZ, i] = fx * norm, fy * norm, fz * norm
        w[OPEN, i] = w0 * w[ATTRIBUTES + 27, i] + w1 * w[ATTRIBUTES + 28, i] + w2 * w[ATTRIBUTES + 29, i]
        w[SIDE, i] = 1.0 if facing * (nx * fx + ny * fy + nz * fz) <= 0.0 else -1.0
