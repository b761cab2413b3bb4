"""Arithmetic on stacks of poses, and poses at other times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.reader import Trajectory
from vloc_ros.data.trajectory import interpolate
from vloc_ros.geometry import se3

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
NANOSECONDS = 1_000_000_000


def stack(poses: list[Array]) -> Array:
    """(N, 4, 4) array of a list of transforms, also of an empty one."""
    return np.stack(poses) if poses else np.empty((0, 4, 4))


def inverses(poses: Array) -> Array:
    """(N, 4, 4) inverse transforms."""
    result = np.zeros_like(poses)
    rotations = np.swapaxes(poses[:, :3, :3], 1, 2)
    result[:, :3, :3] = rotations
    result[:, :3, 3] = -np.einsum("nij,nj->ni", rotations, poses[:, :3, 3])
    result[:, 3, 3] = 1.0
    return result


def relative(a: Array, b: Array) -> Array:
    """(N, 4, 4) ``a_T_b`` of the poses ``w_T_a`` and ``w_T_b``, pair by pair."""
    return np.asarray(inverses(a) @ b, dtype=np.float64)


def rotation_angles(poses: Array) -> Array:
    """(N,) rotation angle [rad] in [0, pi]; exact for small angles, where the arc cosine of the trace is not."""
    r = poses[:, :3, :3]
    axis = np.stack([r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], axis=1)
    trace = np.trace(r, axis1=1, axis2=2)
    return np.asarray(np.arctan2(np.linalg.norm(axis, axis=1), trace - 1.0), dtype=np.float64)


def translation_norms(poses: Array) -> Array:
    """(N,) length of the translation [m]."""
    return np.asarray(np.linalg.norm(poses[:, :3, 3], axis=1), dtype=np.float64)


def travelled(poses: Array) -> Array:
    """(N,) distance along the path from the first pose [m]."""
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    return np.concatenate([np.zeros(min(len(poses), 1)), np.cumsum(steps)])


def poses_at(trajectory: Trajectory, stamps_ns: NDArray[np.int64], max_gap_s: float) -> tuple[Array, Mask]:
    """Poses at other times; nothing is extrapolated, and a pose that is not finite counts as missing.

    Args:
        trajectory: N poses in the order of their time.
        stamps_ns: (M,) times wanted [ns], in any order.
        max_gap_s: farthest apart [s] that the two poses around a wanted time may lie; a pose at exactly the time needs none.

    Returns:
        (M, 4, 4) poses, NaN where unknown, and the (M,) mask of the known ones.
    """
    finite = np.isfinite(trajectory.poses).all(axis=(1, 2))
    usable = Trajectory(trajectory.stamps_ns[finite], trajectory.poses[finite])
    poses = interpolate(usable, np.asarray(stamps_ns, dtype=np.int64), round(max_gap_s * NANOSECONDS))
    return poses, np.asarray(np.isfinite(poses).all(axis=(1, 2)))


def to_base(world_T_camera: Trajectory, base_T_camera: Array) -> Trajectory:
    """``world_T_base`` of a camera's trajectory, for a camera that is fixed to the base."""
    return Trajectory(world_T_camera.stamps_ns, world_T_camera.poses @ se3.inverse(base_T_camera))
