"""Rigid transforms as 4x4 matrices.

``a_T_b`` maps points of frame b into frame a. Twists are ``(rho, phi)``: translation first [m], then rotation [rad].
Poses are perturbed on the right: ``a_T_b @ exp(xi)``; every covariance in this package is of that ``xi``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]
_SMALL_ANGLE = 1e-6


def hat(v: Array) -> Array:
    """Skew-symmetric (3, 3) matrix with ``hat(v) @ w == cross(v, w)``."""
    x, y, z = v
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def from_rotation_translation(rotation: Array, translation: Array) -> Array:
    """(4, 4) transform from a (3, 3) rotation and a (3,) translation [m]."""
    a_T_b = np.eye(4)
    a_T_b[:3, :3] = rotation
    a_T_b[:3, 3] = translation
    return a_T_b


def from_quaternion(translation: Array, xyzw: Array) -> Array:
    """(4, 4) transform from a (3,) translation [m] and a quaternion (x, y, z, w) of any non-zero norm."""
    return from_rotation_translation(Rotation.from_quat(xyzw).as_matrix(), np.asarray(translation, dtype=np.float64))


def quaternion(a_T_b: Array) -> Array:
    """Unit quaternion (x, y, z, w), w >= 0, of the rotation."""
    xyzw = np.asarray(Rotation.from_matrix(a_T_b[:3, :3]).as_quat(), dtype=np.float64)
    return xyzw if xyzw[3] >= 0.0 else -xyzw


def inverse(a_T_b: Array) -> Array:
    """``b_T_a``, using the transpose of the rotation."""
    rotation = a_T_b[:3, :3].T
    return from_rotation_translation(rotation, -rotation @ a_T_b[:3, 3])


def between(a_T_b: Array, a_T_c: Array) -> Array:
    """``b_T_c``."""
    return inverse(a_T_b) @ a_T_c


def transform(a_T_b: Array, points_b: Array) -> Array:
    """Map (N, 3) points of frame b into frame a."""
    return np.asarray(points_b @ a_T_b[:3, :3].T + a_T_b[:3, 3])


def _left_jacobian(phi: Array) -> Array:
    angle = float(np.linalg.norm(phi))
    skew = hat(phi)
    if angle < _SMALL_ANGLE:
        return np.asarray(np.eye(3) + 0.5 * skew + skew @ skew / 6.0)
    a = (1.0 - np.cos(angle)) / angle**2
    b = (angle - np.sin(angle)) / angle**3
    return np.asarray(np.eye(3) + a * skew + b * skew @ skew)


def exp(xi: Array) -> Array:
    """(4, 4) transform of a (6,) twist (rho, phi); Barfoot, State Estimation for Robotics, eq. 7.86."""
    rho, phi = np.asarray(xi[:3], dtype=np.float64), np.asarray(xi[3:], dtype=np.float64)
    return from_rotation_translation(Rotation.from_rotvec(phi).as_matrix(), _left_jacobian(phi) @ rho)


def log(a_T_b: Array) -> Array:
    """(6,) twist (rho, phi) whose :func:`exp` is the transform; the rotation angle lies in [0, pi]."""
    phi = Rotation.from_matrix(a_T_b[:3, :3]).as_rotvec()
    return np.asarray(np.concatenate([np.linalg.solve(_left_jacobian(phi), a_T_b[:3, 3]), phi]), dtype=np.float64)


def adjoint(a_T_b: Array) -> Array:
    """(6, 6) matrix with ``a_T_b @ exp(xi) == exp(adjoint(a_T_b) @ xi) @ a_T_b``."""
    rotation, skew = a_T_b[:3, :3], hat(a_T_b[:3, 3])
    ad = np.zeros((6, 6))
    ad[:3, :3] = ad[3:, 3:] = rotation
    ad[:3, 3:] = skew @ rotation
    return ad


def compose_covariance(cov_a_T_b: Array, b_T_c: Array, cov_b_T_c: Array) -> Array:
    """First-order (6, 6) covariance of ``a_T_b @ b_T_c`` from the covariances of its independent factors."""
    ad = adjoint(inverse(b_T_c))
    return np.asarray(ad @ cov_a_T_b @ ad.T + cov_b_T_c)


def rotation_angle(a_T_b: Array) -> float:
    """Angle of the rotation [rad], in [0, pi]."""
    return float(Rotation.from_matrix(a_T_b[:3, :3]).magnitude())


def translation_norm(a_T_b: Array) -> float:
    """Length of the translation [m]."""
    return float(np.linalg.norm(a_T_b[:3, 3]))


def normalised(a_T_b: Array) -> Array:
    """The nearest rigid transform: removes the drift that many products of matrices collect."""
    u, _, vt = np.linalg.svd(a_T_b[:3, :3])
    return from_rotation_translation(u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt, a_T_b[:3, 3])


# REP-103: a base frame is x forward, y left, z up; an optical frame is z forward, x right, y down.
BASE_T_OPTICAL: Array = from_rotation_translation(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.zeros(3))
BASE_T_OPTICAL.setflags(write=False)
