"""Motion blur: while the shutter is open, the image moves.

Every pixel is averaged along its own path, which follows from its depth and the motion of the camera (the interaction matrix
of a point: Chaumette and Hutchinson, "Visual servo control, part I", IEEE Robotics and Automation Magazine 13(4), 2006).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.simulation.jit import jit

Array = NDArray[np.float64]
Radiance = NDArray[np.float32]
LEAST_PX = 0.5
"""Less blur than this over the whole image is left out."""
_PROBE_STEP = 16
_MOST_TAPS = 9


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
    taps = min(max(math.ceil(most), 3), _MOST_TAPS)
    out = np.empty_like(radiance)
    _smear(radiance, inverse_depth, view, step, taps, out)
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
def _smear(radiance: Radiance, inverse_depth: NDArray[np.float32], view: Array, step: Array, taps: int, out: Radiance) -> None:
    height, width = inverse_depth.shape
    share = np.float32(1.0 / taps)
    for row in range(height):
        for column in range(width):
            x, y = (column - view[2]) / view[0], (row - view[3]) / view[1]
            dx, dy = _path(x, y, inverse_depth[row, column], step)
            du, dv = dx * view[0], dy * view[1]
            r, g, b = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for k in range(taps):
                t = (k + 0.5) / taps - 0.5
                u = min(max(column + t * du, 0.0), width - 1.001)
                v = min(max(row + t * dv, 0.0), height - 1.001)
                i, j = int(u), int(v)
                fu, fv = np.float32(u - i), np.float32(v - j)
                one = np.float32(1.0)
                a, c, d, e = (one - fu) * (one - fv), fu * (one - fv), (one - fu) * fv, fu * fv
                r += a * radiance[j, i, 0] + c * radiance[j, i + 1, 0] + d * radiance[j + 1, i, 0] + e * radiance[j + 1, i + 1, 0]
                g += a * radiance[j, i, 1] + c * radiance[j, i + 1, 1] + d * radiance[j + 1, i, 1] + e * radiance[j + 1, i + 1, 1]
                b += a * radiance[j, i, 2] + c * radiance[j, i + 1, 2] + d * radiance[j + 1, i, 2] + e * radiance[j + 1, i + 1, 2]
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = share * r, share * g, share * b
