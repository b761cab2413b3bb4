"""Motion blur: while the shutter is open, the image moves.

Every pixel is averaged along its own path, which follows from its depth and the motion of the camera (the interaction matrix
of a point: Chaumette and Hutchinson, "Visual servo control, part I", IEEE Robotics and Automation Magazine 13(4), 2006).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.simulation.jit import jit

Array = NDArray[np.float64]
Radiance = NDArray[np.float32]
f4: Any = np.float32
LEAST_PX = 0.5
"""Less blur than this over the whole image is left out."""
_PROBE_STEP = 16
_MOST_TAPS = 7


def camera_twist(base_twist: Array, base_T_camera: Array) -> Array:
    """(6,) velocity and turn rate of a camera in its own frame.

    Args:
        base_twist: (6,) vx, vy, vz [m/s], wx, wy, wz [rad/s] of the base in the base frame.
        base_T_camera: (4, 4) pose of the camera on the base.
    """
    rotation = base_T_camera[:3, :3]
    linear = base_twist[:3] + np.cross(base_twist[3:], base_T_camera[:3, 3])
    return np.concatenate([rotation.T @ linear, rotation.T @ base_twist[3:]])


def blur_by_motion(
    radiance: Radiance, inverse_depth: NDArray[np.float32], camera: StereoCamera, twist: Array, exposure_s: float
) -> Radiance:
    """(H, W, 3) image exposed while the camera moves; the given one is that of the middle of the exposure.

    Args:
        radiance: (H, W, 3) sharp image.
        inverse_depth: (H, W) along the optical axis [1/m]; 0 in the sky.
        camera: the intrinsics.
        twist: (6,) motion of the camera in its own frame [m/s, rad/s].
        exposure_s: how long [s].

    Returns:
        A new image, or the given one if nothing moves by half a pixel.
    """
    view = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
    step = np.ascontiguousarray(twist * exposure_s, dtype=np.float64)
    most = _longest_path(inverse_depth, view, step)
    if most < LEAST_PX:
        return radiance
    out = np.empty_like(radiance)
    _smear(radiance, inverse_depth, view, step, out)
    return out


@jit
def _path(x: float, y: float, inverse: float, step: Array) -> tuple[float, float]:
    """Motion of a point in normalised image coordinates; ``step`` is the twist times the time."""
    dx = (x * step[2] - step[0]) * inverse + x * y * step[3] - (1.0 + x * x) * step[4] + y * step[5]
    dy = (y * step[2] - step[1]) * inverse + (1.0 + y * y) * step[3] - x * y * step[4] - x * step[5]
    return dx, dy


@jit
def _longest_path(inverse_depth: NDArray[np.float32], view: Array, step: Array) -> float:
    most = 0.0
    for row in range(0, inverse_depth.shape[0], _PROBE_STEP):
        for column in range(0, inverse_depth.shape[1], _PROBE_STEP):
            x, y = (column - view[2]) / view[0], (row - view[3]) / view[1]
            dx, dy = _path(x, y, inverse_depth[row, column], step)
            most = max(most, math.hypot(dx * view[0], dy * view[1]))
    return most


@jit
def _smear(radiance: Radiance, inverse_depth: NDArray[np.float32], view: Array, step: Array, out: Radiance) -> None:
    """Average each pixel along its path, with about one sample per pixel of it."""
    height, width = inverse_depth.shape
    last_u, last_v = f4(width - 1.001), f4(height - 1.001)
    one = f4(1.0)
    for row in range(height):
        y = (row - view[3]) / view[1]
        for column in range(width):
            dx, dy = _path((column - view[2]) / view[0], y, inverse_depth[row, column], step)
            du, dv = f4(dx * view[0]), f4(dy * view[1])
            taps = min(max(int(np.sqrt(du * du + dv * dv) + f4(0.7)), 1), _MOST_TAPS)
            if taps == 1:
                out[row, column, 0], out[row, column, 1] = radiance[row, column, 0], radiance[row, column, 1]
                out[row, column, 2] = radiance[row, column, 2]
                continue
            share = one / f4(taps)
            u, v = f4(column) + (f4(0.5) * share - f4(0.5)) * du, f4(row) + (f4(0.5) * share - f4(0.5)) * dv
            du, dv = du * share, dv * share
            r, g, b = f4(0.0), f4(0.0), f4(0.0)
            for _ in range(taps):
                x, z = min(max(u, f4(0.0)), last_u), min(max(v, f4(0.0)), last_v)
                i, j = int(x), int(z)
                fu, fv = x - f4(i), z - f4(j)
                d = fu * fv
                a, c, e = one - fu - fv + d, fu - d, fv - d
                r += a * radiance[j, i, 0] + c * radiance[j, i + 1, 0] + e * radiance[j + 1, i, 0] + d * radiance[j + 1, i + 1, 0]
                g += a * radiance[j, i, 1] + c * radiance[j, i + 1, 1] + e * radiance[j + 1, i, 1] + d * radiance[j + 1, i + 1, 1]
                b += a * radiance[j, i, 2] + c * radiance[j, i + 1, 2] + e * radiance[j + 1, i, 2] + d * radiance[j + 1, i + 1, 2]
                u, v = u + du, v + dv
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = share * r, share * g, share * b
