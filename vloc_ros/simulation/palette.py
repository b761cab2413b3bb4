"""Materials, by number, and their colours (linear reflectance, RGB)."""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np
from numpy.typing import NDArray


@unique
class Material(IntEnum):
    """What a surface is made of; the shader draws each in its own way."""

    GROUND = 0
    LEAF = 1
    BARK = 2
    BRICK = 3
    PLASTER = 4
    PLANK = 5
    TILE = 6
    GLASS = 7
    STONE = 8
    PAINT = 9
    SIGN = 10
    GRASS = 11


def rgb(*values: float) -> NDArray[np.float64]:
    """(3,) linear reflectance."""
    return np.array(values, dtype=np.float64)


BRICKS = np.array([[0.36, 0.15, 0.09], [0.44, 0.24, 0.14], [0.30, 0.20, 0.16], [0.46, 0.34, 0.23]])
PLASTERS = np.array([[0.62, 0.56, 0.45], [0.66, 0.60, 0.38], [0.55, 0.56, 0.55], [0.58, 0.42, 0.34], [0.44, 0.50, 0.52]])
TIMBERS = np.array([[0.26, 0.16, 0.09], [0.34, 0.25, 0.17], [0.18, 0.17, 0.16], [0.30, 0.12, 0.08]])
ROOFS = np.array([[0.32, 0.12, 0.07], [0.16, 0.15, 0.16], [0.26, 0.18, 0.13]])
DOORS = np.array([[0.10, 0.16, 0.10], [0.30, 0.08, 0.06], [0.10, 0.13, 0.24], [0.24, 0.15, 0.08]])
FRAMES = np.array([[0.70, 0.69, 0.66], [0.20, 0.13, 0.08], [0.48, 0.52, 0.50]])
BROADLEAVES = np.array([[0.085, 0.165, 0.035], [0.12, 0.19, 0.045], [0.065, 0.135, 0.040], [0.15, 0.185, 0.055]])
NEEDLES = np.array([[0.040, 0.090, 0.045], [0.050, 0.105, 0.040]])
BARKS = np.array([[0.20, 0.15, 0.11], [0.27, 0.23, 0.19], [0.15, 0.11, 0.08]])
STONES = np.array([[0.34, 0.33, 0.31], [0.42, 0.38, 0.31], [0.25, 0.25, 0.26]])
CAR_PAINTS = np.array([[0.45, 0.05, 0.04], [0.06, 0.12, 0.30], [0.55, 0.55, 0.54], [0.05, 0.05, 0.06], [0.08, 0.20, 0.12]])
SIGN_PAINTS = np.array([[0.65, 0.62, 0.55], [0.05, 0.18, 0.45], [0.60, 0.45, 0.05], [0.55, 0.06, 0.05]])
METAL = rgb(0.42, 0.43, 0.44)
RUBBER = rgb(0.03, 0.03, 0.03)
