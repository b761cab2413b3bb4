"""Deferred shading: light, once per pixel and triangle that the visibility buffer holds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.ground import ground_mix, ground_surface
from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.light import AMBIENT, BOUNCE, SUN, TOWARDS_SUN, WEATHER
from vloc_ros.simulation.materials import object_surface
from vloc_ros.simulation.mesh import NORMAL, OPEN, TINT, UV
from vloc_ros.simulation.palette import Material
from vloc_ros.simulation.raster import Samples
from vloc_ros.simulation.shadows import lit_share
from vloc_ros.simulation.sky import clear_sky, sky_radiance

Array = NDArray[np.float64]
_GROUND, _LEAF, _GRASS, _GLASS = int(Material.GROUND), int(Material.LEAF), int(Material.GRASS), int(Material.GLASS)

# What is known of a fragment, as indices into a scratch array: surface coordinates, their changes per pixel, their gradients
# in the world, the shading normal, the share of the sky that is seen, and whether the front is seen (1 or -1).
_U, _V, _U_X, _V_X, _U_Y, _V_Y, _GRAD_U, _GRAD_V, _N, _OPEN, _SIDE, _SIZE = 0, 1, 2, 3, 4, 5, 6, 9, 12, 15, 16, 17


@jit
def shade_image(
    attributes: NDArray[np.float32],
    labels: NDArray[np.int32],
    cover: NDArray[np.float32],
    cover_map: Array,
    light: Array,
    shadow: NDArray[np.float32],
    shadow_map: Array,
    camera: Array,
    samples: Samples,
    inverse_depth: NDArray[np.float32],
    triangle: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Turn a visibility buffer into linear radiance.

    Args:
        attributes, labels: of the triangles, see ``Mesh``.
        cover, cover_map: the ground cover and its (origin x, origin y, cell), see ``GroundCover``.
        light: see ``light.pack``.
        shadow, shadow_map: the shadow map of the sun and its (3, 4) frame, see ``ShadowMap``.
        camera: see ``raster.pack_view``.
        samples: offsets of the samples [px].
        inverse_depth, triangle: (H, W, 4) the visibility buffer.
        out: (H, W, 3) output.
    """
    height, width = triangle.shape[:2]
    frag = np.empty(_SIZE)
    for y in range(height):
        for x in range(width):
            r, g, b = 0.0, 0.0, 0.0
            for s in range(4):
                t = int(triangle[y, x, s])
                first = True
                for k in range(s):
                    first = first and triangle[y, x, k] != t
                if not first:
                    continue
                weight, du, dv, iz = 0.0, 0.0, 0.0, 0.0
                for k in range(s, 4):
                    if triangle[y, x, k] == t:
                        weight += 1.0
                        du += samples[2 * k]
                        dv += samples[2 * k + 1]
                        iz += inverse_depth[y, x, k]
                # Where a surface covers a pixel in part, it is shaded in the middle of the part that it covers.
                a, c = (x + du / weight - camera[14]) / camera[12], (y + dv / weight - camera[15]) / camera[13]
                dx = camera[0] * a + camera[3] * c + camera[6]
                dy = camera[1] * a + camera[4] * c + camera[7]
                dz = camera[2] * a + camera[5] * c + camera[8]
                norm = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
                if t < 0:
                    cr, cg, cb = sky_radiance(light, dx * norm, dy * norm, dz * norm, 1.0 / camera[12])
                else:
                    z = weight / iz
                    px, py, pz = camera[9] + z * dx, camera[10] + z * dy, camera[11] + z * dz
                    _locate(attributes, t, camera, px, py, pz, z, dx, dy, dz, frag)
                    material = int(labels[t, 0])
                    if material == _LEAF or material == _GRASS:
                        cr, cg, cb = _shade_leaf(attributes, t, material == _GRASS, light, shadow, shadow_map, px, py, pz, frag)
                    elif material == _GLASS:
                        cr, cg, cb = _shade_glass(attributes, t, light, dx * norm, dy * norm, dz * norm, frag)
                    else:
                        cr, cg, cb = _shade_solid(
                            attributes, t, material, int(labels[t, 1]), cover, cover_map, light, shadow, shadow_map, px, py, pz, frag
                        )
                    hr, hg, hb = clear_sky(light, dx * norm, dy * norm, 0.03)
                    clear = math.exp(-light[WEATHER, 1] * z / norm)
                    cr, cg, cb = hr + (cr - hr) * clear, hg + (cg - hg) * clear, hb + (cb - hb) * clear
                r += weight * cr
                g += weight * cg
                b += weight * cb
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = np.float32(0.25 * r), np.float32(0.25 * g), np.float32(0.25 * b)


@jit
def _locate(
    attributes: NDArray[np.float32],
    t: int,
    camera: Array,
    px: float,
    py: float,
    pz: float,
    z: float,
    dx: float,
    dy: float,
    dz: float,
    frag: Array,
) -> None:
    """Fill ``frag`` for the point (px, py, pz) of a triangle at depth ``z`` on the ray (dx, dy, dz) of length 1 along z."""
    ox, oy, oz = float(attributes[t, 0]), float(attributes[t, 1]), float(attributes[t, 2])
    ax, ay, az = attributes[t, 3] - ox, attributes[t, 4] - oy, attributes[t, 5] - oz
    bx, by, bz = attributes[t, 6] - ox, attributes[t, 7] - oy, attributes[t, 8] - oz
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    inv = 1.0 / max(nx * nx + ny * ny + nz * nz, 1e-30)
    # Gradients of the barycentric coordinates of corners 1 and 2.
    g1x, g1y, g1z = (by * nz - bz * ny) * inv, (bz * nx - bx * nz) * inv, (bx * ny - by * nx) * inv
    g2x, g2y, g2z = (ny * az - nz * ay) * inv, (nz * ax - nx * az) * inv, (nx * ay - ny * ax) * inv
    qx, qy, qz = px - ox, py - oy, pz - oz
    w1 = min(max(g1x * qx + g1y * qy + g1z * qz, 0.0), 1.0)
    w2 = min(max(g2x * qx + g2y * qy + g2z * qz, 0.0), 1.0)
    w0 = 1.0 - w1 - w2
    u0, v0 = float(attributes[t, UV]), float(attributes[t, UV + 1])
    u1, v1 = attributes[t, UV + 2] - u0, attributes[t, UV + 3] - v0
    u2, v2 = attributes[t, UV + 4] - u0, attributes[t, UV + 5] - v0
    frag[_U], frag[_V] = u0 + w1 * u1 + w2 * u2, v0 + w1 * v1 + w2 * v2
    frag[6], frag[7], frag[8] = g1x * u1 + g2x * u2, g1y * u1 + g2y * u2, g1z * u1 + g2z * u2
    frag[9], frag[10], frag[11] = g1x * v1 + g2x * v2, g1y * v1 + g2y * v2, g1z * v1 + g2z * v2
    facing = nx * dx + ny * dy + nz * dz
    for axis in range(2):
        # How the point moves along the surface when the pixel moves by one.
        k = 1.0 / camera[12 + axis]
        rx, ry, rz = camera[3 * axis] * k, camera[3 * axis + 1] * k, camera[3 * axis + 2] * k
        pull = -(nx * rx + ny * ry + nz * rz) / facing if facing != 0.0 else 0.0
        sx, sy, sz = z * (rx + pull * dx), z * (ry + pull * dy), z * (rz + pull * dz)
        frag[_U_X + 2 * axis] = frag[6] * sx + frag[7] * sy + frag[8] * sz
        frag[_V_X + 2 * axis] = frag[9] * sx + frag[10] * sy + frag[11] * sz
    for i in range(3):
        frag[_N + i] = w0 * attributes[t, NORMAL + i] + w1 * attributes[t, NORMAL + 3 + i] + w2 * attributes[t, NORMAL + 6 + i]
    frag[_OPEN] = w0 * attributes[t, OPEN] + w1 * attributes[t, OPEN + 1] + w2 * attributes[t, OPEN + 2]
    along = nx * frag[_N] + ny * frag[_N + 1] + nz * frag[_N + 2]
    frag[_SIDE] = 1.0 if facing * along <= 0.0 else -1.0


@jit
def _footprint(frag: Array) -> tuple[float, float, float, float]:
    """(mu, mv, major, minor) of the pixel on the surface [m], see noise.py."""
    a, b, c, d = frag[_U_X], frag[_U_Y], frag[_V_X], frag[_V_Y]  # the Jacobian [[a, b], [c, d]] maps pixels to (u, v)
    p, q, o = a * a + b * b, c * c + d * d, a * c + b * d
    mean, half = 0.5 * (p + q), 0.5 * (p - q)
    root = math.sqrt(half * half + o * o)
    major, minor = math.sqrt(mean + root), math.sqrt(max(mean - root, 0.0))
    ex, ey = (root + half, o) if half > 0.0 else (o, root - half)
    norm = math.sqrt(ex * ex + ey * ey)
    if norm <= 1e-12 * mean:
        return major, 0.0, major, major
    return ex / norm * major, ey / norm * major, major, max(minor, 1e-6)


@jit
def _shade_solid(
    attributes: NDArray[np.float32],
    t: int,
    material: int,
    seed: int,
    cover: NDArray[np.float32],
    cover_map: Array,
    light: Array,
    shadow: NDArray[np.float32],
    shadow_map: Array,
    px: float,
    py: float,
    pz: float,
    frag: Array,
) -> tuple[float, float, float]:
    """Radiance of the ground or of a textured object."""
    u, v = frag[_U], frag[_V]
    mu, mv, major, minor = _footprint(frag)
    if material == _GROUND:
        cx, cy = (u - cover_map[0]) / cover_map[2], (v - cover_map[1]) / cover_map[2]
        gravel, rut, bare, dry = ground_mix(u, v, cx, cy, cover, seed, math.sqrt(major * minor))
        r, g, b, su, sv = ground_surface(u, v, mu, mv, major, minor, gravel, rut, bare, dry, seed)
    else:
        tr, tg, tb = float(attributes[t, TINT]), float(attributes[t, TINT + 1]), float(attributes[t, TINT + 2])
        r, g, b, su, sv = object_surface(material, u, v, mu, mv, major, minor, seed, tr, tg, tb)
    side = frag[_SIDE]
    sx, sy, sz = light[TOWARDS_SUN, 0], light[TOWARDS_SUN, 1], light[TOWARDS_SUN, 2]
    fx, fy, fz = side * frag[_N], side * frag[_N + 1], side * frag[_N + 2]
    nx = fx - su * frag[_GRAD_U] - sv * frag[_GRAD_V]
    ny = fy - su * frag[_GRAD_U + 1] - sv * frag[_GRAD_V + 1]
    nz = fz - su * frag[_GRAD_U + 2] - sv * frag[_GRAD_V + 2]
    norm = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx * norm, ny * norm, nz * norm
    lit = max(nx * sx + ny * sy + nz * sz, 0.0)
    if lit > 0.0:
        # The smooth surface, not its relief, decides where the shade ends.
        push = 0.02 + shadow_map[3, 0]
        lit *= lit_share(shadow, shadow_map, px + push * fx, py + push * fy, pz + push * fz, push)
    return _lit(r, g, b, lit, frag[_OPEN], nz, light)


@jit
def _shade_leaf(
    attributes: NDArray[np.float32],
    t: int,
    grass: bool,
    light: Array,
    shadow: NDArray[np.float32],
    shadow_map: Array,
    px: float,
    py: float,
    pz: float,
    frag: Array,
) -> tuple[float, float, float]:
    """Radiance of a leaf or a blade of grass, which also lets light through: the far side of a crown is not black."""
    r, g, b = float(attributes[t, TINT]), float(attributes[t, TINT + 1]), float(attributes[t, TINT + 2])
    fade = 0.40 + 0.80 * frag[_V] if grass else 1.0  # blades are dark at the root
    nx, ny, nz = frag[_N], frag[_N + 1], frag[_N + 2]
    norm = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx * norm, ny * norm, nz * norm
    facing = nx * light[TOWARDS_SUN, 0] + ny * light[TOWARDS_SUN, 1] + nz * light[TOWARDS_SUN, 2]
    lit = 0.78 * max(facing, 0.0) + 0.22 * min(max(0.5 - 0.5 * facing, 0.0), 1.0) + 0.08
    lit *= lit_share(shadow, shadow_map, px + 0.08 * nx, py + 0.08 * ny, pz + 0.08 * nz, 0.05 + shadow_map[3, 0])
    return _lit(r * fade, g * fade, b * fade, lit, frag[_OPEN], nz, light)


@jit
def _lit(
    r: float, g: float, b: float, lit: float, openness: float, up: float, light: Array
) -> tuple[float, float, float]:
    """Sun, sky and light from the ground on a matt surface; later lights are added here."""
    sky = openness * (0.5 + 0.5 * up)
    ground = (0.35 + 0.65 * openness) * (0.5 - 0.5 * up)
    return (
        r * (lit * light[SUN, 0] + sky * light[AMBIENT, 0] + ground * light[BOUNCE, 0]),
        g * (lit * light[SUN, 1] + sky * light[AMBIENT, 1] + ground * light[BOUNCE, 1]),
        b * (lit * light[SUN, 2] + sky * light[AMBIENT, 2] + ground * light[BOUNCE, 2]),
    )


@jit
def _shade_glass(
    attributes: NDArray[np.float32], t: int, light: Array, dx: float, dy: float, dz: float, frag: Array
) -> tuple[float, float, float]:
    """Radiance of a window: a dark room behind it, the sky in front of it. (dx, dy, dz) is the unit ray."""
    side = frag[_SIDE]
    nx, ny, nz = side * frag[_N], side * frag[_N + 1], side * frag[_N + 2]
    cosine = -(dx * nx + dy * ny + dz * nz)
    rx, ry, rz = dx + 2.0 * cosine * nx, dy + 2.0 * cosine * ny, dz + 2.0 * cosine * nz
    fresnel = 0.06 + 0.94 * (1.0 - min(max(cosine, 0.0), 1.0)) ** 5
    sr, sg, sb = clear_sky(light, rx, ry, rz)
    if rz < 0.0:
        sr, sg, sb = light[BOUNCE, 0], light[BOUNCE, 1], light[BOUNCE, 2]
    room = frag[_OPEN] * (0.4 + 0.5 * min(frag[_V], 1.5))
    return (
        attributes[t, TINT] * light[AMBIENT, 0] * room + fresnel * sr,
        attributes[t, TINT + 1] * light[AMBIENT, 1] * room + fresnel * sg,
        attributes[t, TINT + 2] * light[AMBIENT, 2] * room + fresnel * sb,
    )
