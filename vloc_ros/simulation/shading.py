"""Deferred shading: from fragments to light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.detail import DETAILS, Detail
from vloc_ros.simulation.fragments import (
    BATCH,
    EX,
    EY,
    EZ,
    GU,
    GV,
    HB,
    HG,
    HR,
    INTEGER_ROWS,
    KINDS,
    LIT,
    LX,
    LY,
    LZ,
    NX,
    NY,
    NZ,
    OPEN,
    PX,
    PY,
    PZ,
    ROWS,
    SIDE,
    SKY,
    SU,
    SV,
    T0,
    T1,
    T2,
    T3,
    TAPS,
    B,
    G,
    Integers,
    R,
    Table,
    V,
    collect,
    f4,
    prepare,
)
from vloc_ros.simulation.ground import ground_surface
from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.lamplight import NO_LAMPS, light_by_lamps
from vloc_ros.simulation.light import AMBIENT, BOUNCE, SUN, SURFACE, TOWARDS_SUN
from vloc_ros.simulation.materials import add_letters, object_surface
from vloc_ros.simulation.mesh import Mesh
from vloc_ros.simulation.palette import Material
from vloc_ros.simulation.recipes import RECIPES
from vloc_ros.simulation.shadows import ShadowMap, lit_share
from vloc_ros.simulation.sky import clear_sky, finish, shade_sky
from vloc_ros.simulation.snow import add_sheen, dust_leaves, lay_snow, soak
from vloc_ros.simulation.terrain import GroundCover

Array = NDArray[np.float64]


class Shader:
    """Shades the visibility buffers of one world in one light, batch by batch."""

    def __init__(
        self, mesh: Mesh, cover: GroundCover, light: Array, shadow: ShadowMap, pixels: int, detail: Detail = DETAILS["full"]
    ) -> None:
        """Prepare for images of up to ``pixels`` pixels, in a packed light (see ``light.pack``)."""
        self._mesh, self._cover, self._light, self._shadow = mesh, cover, light, shadow
        self._cover_map = np.array([*cover.origin, cover.cell_m])
        self._recipes = {int(material): recipe.pack() for material, recipe in RECIPES.items()}
        self._start = np.zeros(KINDS + 1, dtype=np.int64)
        self._samples = detail.pattern
        self._places = np.empty((2, detail.samples * pixels), dtype=np.int32)
        self._shares = np.empty((4, detail.samples * pixels), dtype=np.float32)
        self._w = np.zeros((ROWS, BATCH), dtype=np.float32)
        self._s = np.zeros((INTEGER_ROWS, BATCH), dtype=np.int32)
        self._few, self._few_s = np.zeros_like(self._w), np.zeros_like(self._s)
        self._s[TAPS] = detail.texture_taps

    def shade(self, camera: Array, inverse_depth: Table, triangle: Integers, lamps: Array = NO_LAMPS) -> NDArray[np.float32]:
        """(H, W, 3) linear radiance of a (H, W, S) visibility buffer.

        ``camera`` is a packed view, ``lamps`` a table of the lamps that are on (see lamplight.py).
        """
        w, s, mesh = self._w, self._s, self._mesh
        height, width = triangle.shape[:2]
        out = np.zeros((height * width, 3), dtype=np.float32)
        collect(self._samples, inverse_depth, triangle, mesh.labels, self._start, self._places, self._shares)
        for kind in range(KINDS):
            for at in range(self._start[kind], self._start[kind + 1], BATCH):
                n = min(BATCH, int(self._start[kind + 1]) - at)
                prepare(w, s, mesh.attributes, mesh.labels, self._places, self._shares, at, n, camera)
                if kind == SKY:
                    shade_sky(self._light, w, s, n, 1.0 / camera[12])
                else:
                    self._shade_batch(kind, n, lamps)
                finish(self._light, w, self._places, self._shares, at, n, out)
        return out.reshape(height, width, 3)

    def _shade_batch(self, kind: int, n: int, lamps: Array) -> None:
        w, s, shadow = self._w, self._s, self._shadow
        snow, wet = self._light[SURFACE, 0], self._light[SURFACE, 1]
        if kind in (Material.LEAF, Material.GRASS):
            if snow > 0.0:
                dust_leaves(w, n, snow, kind == Material.GRASS)
            _shade_leaves(w, n, kind == Material.GRASS, self._light, shadow.nearest, shadow.frame, lamps)
        elif kind == Material.GLASS:
            _shade_glass(w, n, self._light)
        else:
            if kind == Material.GROUND:
                ground_surface(w, s, n, self._few, self._few_s, self._cover.layers, self._cover_map)
            else:
                object_surface(self._recipes[kind], w, s, n)
                if kind == Material.SIGN:
                    add_letters(w, s, n)
            wet_ground = kind == Material.GROUND and wet > 0.0
            if wet_ground:
                soak(w, n, wet)
            if snow > 0.0:
                lay_snow(w, s, n, snow, kind == Material.GROUND)
            _shade_solid(w, n, self._light, shadow.nearest, shadow.frame, lamps)
            if wet_ground:
                add_sheen(w, n, self._light)


@jit
def _shade_solid(w: Table, n: int, light: Array, shadow: NDArray[np.float32], shadow_map: Array, lamps: Array) -> None:
    """Light on the ground or on a textured object: from reflectance and relief to radiance."""
    sx, sy, sz = f4(light[TOWARDS_SUN, 0]), f4(light[TOWARDS_SUN, 1]), f4(light[TOWARDS_SUN, 2])
    push = f4(0.02 + shadow_map[3, 0])
    for i in range(n):
        side, su, sv = w[SIDE, i], w[SU, i], w[SV, i]
        fx, fy, fz = side * w[NX, i], side * w[NY, i], side * w[NZ, i]
        nx = fx - su * w[GU, i] - sv * w[GV, i]
        ny = fy - su * w[GU + 1, i] - sv * w[GV + 1, i]
        nz = fz - su * w[GU + 2, i] - sv * w[GV + 2, i]
        norm = f4(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz)
        w[LIT, i] = max(nx * sx + ny * sy + nz * sz, f4(0.0)) * norm
        w[NX, i], w[NY, i], w[NZ, i] = nx * norm, ny * norm, nz * norm
        # The smooth surface, not its relief, decides where the shade ends.
        w[T0, i], w[T1, i], w[T2, i] = w[PX, i] + push * fx, w[PY, i] + push * fy, w[PZ, i] + push * fz
        w[T3, i] = push
    _shade_from(w, n, shadow, shadow_map)
    light_by_lamps(w, n, lamps, 0.0)
    _add_light(w, n, light)


@jit
def _shade_leaves(
    w: Table, n: int, grass: bool, light: Array, shadow: NDArray[np.float32], shadow_map: Array, lamps: Array
) -> None:
    """Light on leaves and blades, which also let it through: the far side of a crown is not black."""
    sx, sy, sz = f4(light[TOWARDS_SUN, 0]), f4(light[TOWARDS_SUN, 1]), f4(light[TOWARDS_SUN, 2])
    root, rise = (f4(0.40), f4(0.80)) if grass else (f4(1.0), f4(0.0))  # blades are dark at the root
    bias = f4(0.05 + shadow_map[3, 0])
    for i in range(n):
        nx, ny, nz = w[NX, i], w[NY, i], w[NZ, i]
        facing = nx * sx + ny * sy + nz * sz
        w[LIT, i] = f4(0.78) * max(facing, f4(0.0)) + f4(0.22) * max(f4(0.5) - f4(0.5) * facing, f4(0.0)) + f4(0.08)
        fade = root + rise * w[V, i]
        w[R, i], w[G, i], w[B, i] = w[R, i] * fade, w[G, i] * fade, w[B, i] * fade
        w[T0, i], w[T1, i], w[T2, i] = w[PX, i] + f4(0.08) * nx, w[PY, i] + f4(0.08) * ny, w[PZ, i] + f4(0.08) * nz
        w[T3, i] = bias
    _shade_from(w, n, shadow, shadow_map)
    light_by_lamps(w, n, lamps, 0.3)
    _add_light(w, n, light)


@jit
def _shade_from(w: Table, n: int, shadow: NDArray[np.float32], shadow_map: Array) -> None:
    """Take away the light of the sun where something stands in front of the points T0, T1, T2 (by more than T3)."""
    for i in range(n):
        if w[LIT, i] > f4(0.0):
            w[LIT, i] *= lit_share(shadow, shadow_map, w[T0, i], w[T1, i], w[T2, i], w[T3, i])


@jit
def _add_light(w: Table, n: int, light: Array) -> None:
    """Sun, sky, light from the ground, and lamps (HR, HG, HB) on matt surfaces."""
    for i in range(n):
        lit, openness, up = w[LIT, i], w[OPEN, i], w[NZ, i]
        sky, ground = openness * (0.5 + 0.5 * up), (0.35 + 0.65 * openness) * (0.5 - 0.5 * up)
        w[R, i] *= lit * light[SUN, 0] + sky * light[AMBIENT, 0] + ground * light[BOUNCE, 0] + w[HR, i]
        w[G, i] *= lit * light[SUN, 1] + sky * light[AMBIENT, 1] + ground * light[BOUNCE, 1] + w[HG, i]
        w[B, i] *= lit * light[SUN, 2] + sky * light[AMBIENT, 2] + ground * light[BOUNCE, 2] + w[HB, i]


@jit
def _shade_glass(w: Table, n: int, light: Array) -> None:
    """Windows: a dark room behind the pane, the sky in front of it."""
    for i in range(n):
        side = w[SIDE, i]
        nx, ny, nz = side * w[NX, i], side * w[NY, i], side * w[NZ, i]
        cosine = -(w[EX, i] * nx + w[EY, i] * ny + w[EZ, i] * nz)
        w[LX, i] = w[EX, i] + 2.0 * cosine * nx
        w[LY, i] = w[EY, i] + 2.0 * cosine * ny
        w[LZ, i] = w[EZ, i] + 2.0 * cosine * nz
        w[LIT, i] = min(max(cosine, 0.0), 1.0)
    clear_sky(light, w, n, 0.0)
    for i in range(n):
        miss = 1.0 - w[LIT, i]
        fresnel = 0.06 + 0.94 * miss * miss * miss * miss * miss
        room = w[OPEN, i] * (0.4 + 0.5 * min(w[V, i], 1.5))
        above = w[LZ, i] >= 0.0
        sr = w[HR, i] if above else light[BOUNCE, 0]
        sg = w[HG, i] if above else light[BOUNCE, 1]
        sb = w[HB, i] if above else light[BOUNCE, 2]
        w[R, i] = w[R, i] * light[AMBIENT, 0] * room + fresnel * sr
        w[G, i] = w[G, i] * light[AMBIENT, 1] * room + fresnel * sg
        w[B, i] = w[B, i] * light[AMBIENT, 2] * room + fresnel * sb
