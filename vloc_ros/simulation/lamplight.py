"""Lamps of the night: the robot's own headlights, and street lamps along the route.

Every lamp is a spot light: a cone with a soft edge, and a light that falls with the square of the distance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.fragments import HB, HG, HR, NX, NY, NZ, PX, PY, PZ, Table
from vloc_ros.simulation.jit import jit

Array = NDArray[np.float64]
f4: Any = np.float32

# Columns of a table of lamps: position [m], axis, irradiance at 1 m (RGB), cosines of the outer and inner edge of the cone,
# reach [m], radiance of the lamp itself as a multiple of that irradiance, direction across which the cone is flat, how flat
# (0: round).
POSITION, AXIS, COLOUR, OUTER, INNER, REACH, HEAD, ACROSS, FLAT = 0, 3, 6, 9, 10, 11, 12, 13, 16
COLUMNS = 17
NO_LAMPS: Array = np.zeros((0, COLUMNS))

_HEADLIGHTS = np.array([[0.40, 0.30, 1.0], [0.40, -0.30, 1.0]])
"""In the base frame [m]: left and right of the camera, and a little lower."""
_HEADLIGHT_PITCH, _HEADLIGHT_FLATNESS = np.deg2rad(4.0), 2.4
_HEADLIGHT = 0.042 * np.array([0.92, 1.0, 1.12])
_STREET_LAMP = 0.035 * np.array([1.0, 0.60, 0.25])
_LAMP_RADIUS_M = 0.34
"""Surface closer to a street lamp than this is its housing, which glows."""
_MOST_STREET_LAMPS = 5
_SEEN_FROM_M, _BEHIND_M = 45.0, 12.0


def headlights(world_T_base: Array) -> Array:
    """(2, COLUMNS) lamps of a robot at a (4, 4) pose: two bluish white beams, slightly downward."""
    table = np.zeros((2, COLUMNS))
    table[:, POSITION : POSITION + 3] = _HEADLIGHTS @ world_T_base[:3, :3].T + world_T_base[:3, 3]
    axis = np.array([np.cos(_HEADLIGHT_PITCH), 0.0, -np.sin(_HEADLIGHT_PITCH)])
    table[:, AXIS : AXIS + 3] = world_T_base[:3, :3] @ axis
    table[:, COLOUR : COLOUR + 3] = _HEADLIGHT
    table[:, OUTER], table[:, INNER], table[:, REACH] = np.cos(np.deg2rad(50.0)), np.cos(np.deg2rad(8.0)), 60.0
    # A beam wider than high lights near and far ground about alike.
    table[:, ACROSS : ACROSS + 3] = world_T_base[:3, :3] @ np.array([-axis[2], 0.0, axis[0]])
    table[:, FLAT] = _HEADLIGHT_FLATNESS**2 - 1.0
    return table


def street_lamps(positions: Array, world_T_camera: Array) -> Array:
    """(K, COLUMNS) lamps that a camera may see the light of: the nearest few that are not far behind it.

    Args:
        positions: (L, 3) [m].
        world_T_camera: (4, 4) pose of the camera.
    """
    offset = positions - world_T_camera[:3, 3]
    distance = np.linalg.norm(offset, axis=1)
    near = np.flatnonzero((distance < _SEEN_FROM_M) & (offset @ world_T_camera[:3, 2] > -_BEHIND_M))
    near = near[np.argsort(distance[near], kind="stable")][:_MOST_STREET_LAMPS]
    table = np.zeros((len(near), COLUMNS))
    table[:, POSITION : POSITION + 3] = positions[near]
    table[:, AXIS + 2] = -1.0
    table[:, COLOUR : COLOUR + 3] = _STREET_LAMP
    table[:, OUTER], table[:, INNER], table[:, REACH] = np.cos(np.deg2rad(78.0)), np.cos(np.deg2rad(35.0)), 16.0
    table[:, HEAD] = 4.0
    return table


@jit
def light_by_lamps(w: Table, n: int, lamps: Array, through: float) -> None:
    """Irradiance of all lamps on a batch, into HR, HG, HB; its normals must be those that light falls on.

    ``through`` is how far the surface lets light pass and scatters it, 0 for solid things.
    """
    for i in range(n):
        w[HR, i], w[HG, i], w[HB, i] = f4(0.0), f4(0.0), f4(0.0)
    front, any_side = f4(1.0 - through), f4(0.5 * through)
    housing = f4(_LAMP_RADIUS_M * _LAMP_RADIUS_M)
    for k in range(len(lamps)):
        lx, ly, lz = f4(lamps[k, POSITION]), f4(lamps[k, POSITION + 1]), f4(lamps[k, POSITION + 2])
        ax, ay, az = f4(lamps[k, AXIS]), f4(lamps[k, AXIS + 1]), f4(lamps[k, AXIS + 2])
        r, g, b = f4(lamps[k, COLOUR]), f4(lamps[k, COLOUR + 1]), f4(lamps[k, COLOUR + 2])
        outer, per = f4(lamps[k, OUTER]), f4(1.0 / (lamps[k, INNER] - lamps[k, OUTER]))
        cx, cy, cz, flat = f4(lamps[k, ACROSS]), f4(lamps[k, ACROSS + 1]), f4(lamps[k, ACROSS + 2]), f4(lamps[k, FLAT])
        fade, head = f4(1.0 / (lamps[k, REACH] * lamps[k, REACH])), f4(lamps[k, HEAD])
        for i in range(n):
            x, y, z = lx - w[PX, i], ly - w[PY, i], lz - w[PZ, i]
            square = x * x + y * y + z * z + f4(1e-4)
            inverse = f4(1.0) / np.sqrt(square)
            facing = (x * w[NX, i] + y * w[NY, i] + z * w[NZ, i]) * inverse
            # The relief of a surface is only known coarsely: light that grazes it still reaches some of it.
            facing = f4(0.5) * (facing + np.sqrt(facing * facing + f4(0.10)))
            aside = x * cx + y * cy + z * cz
            cosine = -(x * ax + y * ay + z * az) / np.sqrt(square + flat * aside * aside)
            inside = min(max((cosine - outer) * per, f4(0.0)), f4(1.0))
            inside = inside * inside * (f4(3.0) - f4(2.0) * inside)
            window = max(f4(1.0) - fade * square, f4(0.0))
            share = inside * window * inverse * inverse * (front * facing + any_side)
            share = head if square < housing and head > f4(0.0) else share
            w[HR, i] += share * r
            w[HG, i] += share * g
            w[HB, i] += share * b
