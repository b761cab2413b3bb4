"""Many poses at once, in the plane and in space: (N, 3, 3) or (N, 4, 4) matrices, translation first in every tangent.

The plane is treated as the z = 0 slice of space, so that both have one set of formulas (Barfoot, State Estimation for
Robotics, section 7.1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]
PLANAR = np.array([0, 1, 5])
"""Rows of a tangent in space that a tangent in the plane has: x, y, yaw."""
_SMALL_ANGLE = 1e-6


def lifted(poses: Array) -> Array:
    """(N, 4, 4) poses in space of (N, 3, 3) poses in the plane; poses in space are given back as they are."""
    if poses.shape[-1] == 4:
        return poses
    result = np.tile(np.eye(4), (len(poses), 1, 1))
    result[:, :2, :2], result[:, :2, 3] = poses[:, :2, :2], poses[:, :2, 2]
    return result


def flattened(poses: Array) -> Array:
    """(N, 3, 3) poses in the plane of (N, 4, 4) poses in space: height, roll and pitch are dropped."""
    return from_planar(poses[:, 0, 3], poses[:, 1, 3], np.arctan2(poses[:, 1, 0], poses[:, 0, 0]))


def from_planar(x: Array, y: Array, yaw: Array) -> Array:
    """(N, 3, 3) poses of (N,) positions [m] and headings [rad]."""
    poses = np.zeros((len(x), 3, 3))
    poses[:, 0, 0] = poses[:, 1, 1] = np.cos(yaw)
    poses[:, 1, 0] = np.sin(yaw)
    poses[:, 0, 1] = -poses[:, 1, 0]
    poses[:, 0, 2], poses[:, 1, 2], poses[:, 2, 2] = x, y, 1.0
    return poses


def inverse(a_T_b: Array) -> Array:
    """(N, d + 1, d + 1) ``b_T_a``."""
    d = a_T_b.shape[-1] - 1
    result = a_T_b.copy()
    result[:, :d, :d] = a_T_b[:, :d, :d].transpose(0, 2, 1)
    result[:, :d, d] = -np.einsum("nij,nj->ni", result[:, :d, :d], a_T_b[:, :d, d])
    return result


def log(a_T_b: Array) -> Array:
    """(N, k) tangents whose :func:`exp` are the (N, d + 1, d + 1) transforms, k = 3 or 6."""
    space = lifted(a_T_b)
    phi = Rotation.from_matrix(space[:, :3, :3]).as_rotvec()
    rho = np.linalg.solve(_left_jacobians(phi), space[:, :3, 3, None])[:, :, 0]
    tangent = np.concatenate([rho, phi], axis=1)
    return tangent if a_T_b.shape[-1] == 4 else tangent[:, PLANAR]


def exp(tangents: Array) -> Array:
    """(N, d + 1, d + 1) transforms of (N, k) tangents."""
    if tangents.shape[1] == 3:
        space = np.zeros((len(tangents), 6))
        space[:, PLANAR] = tangents
        return flattened(exp(space))
    poses = np.tile(np.eye(4), (len(tangents), 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(tangents[:, 3:]).as_matrix()
    poses[:, :3, 3] = np.einsum("nij,nj->ni", _left_jacobians(tangents[:, 3:]), tangents[:, :3])
    return poses


def adjoint(a_T_b: Array) -> Array:
    """(N, k, k) matrices with ``a_T_b @ exp(xi) == exp(adjoint @ xi) @ a_T_b``."""
    space = lifted(a_T_b)
    rotation = space[:, :3, :3]
    result = np.zeros((len(space), 6, 6))
    result[:, :3, :3] = result[:, 3:, 3:] = rotation
    result[:, :3, 3:] = _hats(space[:, :3, 3]) @ rotation
    return result if a_T_b.shape[-1] == 4 else result[:, PLANAR[:, None], PLANAR]


def residuals(poses: Array, a: NDArray[np.int64], b: NDArray[np.int64], a_T_b: Array) -> Array:
    """(M, k) tangents ``log(inverse(a_T_b) @ inverse(poses[a]) @ poses[b])``: what the edges disagree with the poses by."""
    if len(a) == 0:
        return np.zeros((0, 3 if poses.shape[-1] == 3 else 6))
    return log(inverse(a_T_b) @ inverse(poses[a]) @ poses[b])


def squared_mahalanobis(tangents: Array, information: Array) -> Array:
    """(M,) squared lengths of (M, k) tangents under (M, k, k) information matrices."""
    return np.asarray(np.einsum("mi,mij,mj->m", tangents, information, tangents))


def _hats(vectors: Array) -> Array:
    skew = np.zeros((len(vectors), 3, 3))
    skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = -vectors[:, 2], vectors[:, 1], -vectors[:, 0]
    return np.asarray(skew - skew.transpose(0, 2, 1))


def _left_jacobians(phi: Array) -> Array:
    """(N, 3, 3) left Jacobians of rotation vectors."""
    angle = np.linalg.norm(phi, axis=1)
    small = angle < _SMALL_ANGLE
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 0.5, (1.0 - np.cos(safe)) / safe**2)[:, None, None]
    second = np.where(small, 1.0 / 6.0, (safe - np.sin(safe)) / safe**3)[:, None, None]
    skew = _hats(phi)
    return np.asarray(np.eye(3) + first * skew + second * skew @ skew)
