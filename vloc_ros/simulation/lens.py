"""Rain drops on the front of a lens.

A drop is a strong lens of its own, out of focus: it shows a wide piece of the scene upside down, small and blurred.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.jit import jit
from vloc_ros.simulation.noise import hash01, smooth

Radiance = NDArray[np.float32]
_MOST_DROPS = 75
_SHRINK = 4
# Columns of a table of drops: centre and radius [px], ratio of height to width, strength.
_X, _Y, _RADIUS, _TALL, _STRENGTH = range(5)


def drops_on_lens(rain: float, side: int, moment: int, width: int, height: int) -> NDArray[np.float64]:
    """(D, 5) drops: centre x and y and radius [px], ratio of height to width, strength 0 to 1.

    Each drop stays for some tens to hundreds of moments, shrinks a little and creeps down, until another one comes.

    Args:
        rain: 0 to 1, how many.
        side: which lens; every lens has its own drops.
        moment: running number of the frame.
        width: of the image [px].
        height: of the image [px].
    """
    table = np.zeros((round(_MOST_DROPS * rain), 5))
    _fill(side, moment, width, height, table)
    return table


@jit
def _fill(side: int, moment: int, width: int, height: int, table: NDArray[np.float64]) -> None:
    for k in range(len(table)):
        life = 60.0 + 240.0 * hash01(k, 0, 900 + side)
        time = (moment + 1000.0 * hash01(k, 1, 900 + side)) / life
        turn = math.floor(time)
        age, salt = time - turn, 910 + 10 * side
        size = hash01(k, turn, salt)
        size = size * size * size
        table[k, _X] = hash01(k, turn, salt + 1) * width
        # Heavy drops run down.
        table[k, _Y] = hash01(k, turn, salt + 2) * height + age * age * (0.01 + 0.15 * size) * height
        table[k, _RADIUS] = width * (0.008 + 0.045 * size) * (1.0 - 0.25 * age)
        table[k, _TALL] = 1.0 + 0.35 * hash01(k, turn, salt + 3)
        table[k, _STRENGTH] = smooth(1.0, 0.92, age)


def look_through(radiance: Radiance, drops: NDArray[np.float64]) -> Radiance:
    """(H, W, 3) image seen through a lens with (D, 5) drops."""
    height, width = radiance.shape[:2]
    small = cv2.resize(radiance, (max(width // _SHRINK, 2), max(height // _SHRINK, 2)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(width / 400.0, 0.3))
    out = radiance.copy()
    _refract(np.asarray(small, dtype=np.float32), drops, out)
    return out


@jit
def _refract(small: Radiance, drops: NDArray[np.float64], out: Radiance) -> None:
    height, width = out.shape[0], out.shape[1]
    rows, columns = small.shape[0], small.shape[1]
    per_x, per_y = columns / width, rows / height
    for k in range(len(drops)):
        cx, cy, radius, strength = drops[k, _X], drops[k, _Y], drops[k, _RADIUS], drops[k, _STRENGTH]
        tall = radius * drops[k, _TALL]
        for y in range(max(math.ceil(cy - tall), 0), min(math.floor(cy + tall), height - 1) + 1):
            for x in range(max(math.ceil(cx - radius), 0), min(math.floor(cx + radius), width - 1) + 1):
                dx, dy = (x - cx) / radius, (y - cy) / tall
                rho = dx * dx + dy * dy
                if rho >= 1.0:
                    continue
                # Towards the rim the view bends out further: a whole scene in a drop.
                reach = (0.10 + 0.16 * rho) * width
                u = min(max((cx - dx * reach) * per_x, 0.0), columns - 1.001)
                v = min(max((cy - dy * reach) * per_y, 0.0), rows - 1.001)
                i, j = int(u), int(v)
                fu, fv = u - i, v - j
                cover = strength * smooth(1.0, 0.55, rho)
                shade = 1.0 - 0.35 * rho * rho
                for c in range(3):
                    above = small[j, i, c] + (small[j, i + 1, c] - small[j, i, c]) * fu
                    below = small[j + 1, i, c] + (small[j + 1, i + 1, c] - small[j + 1, i, c]) * fu
                    seen = shade * (above + (below - above) * fv)
                    out[y, x, c] += np.float32(cover * (seen - out[y, x, c]))
