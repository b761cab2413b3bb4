"""Lines of g2o files, and what g2o means by an information matrix.

g2o's error of ``EDGE_SE3:QUAT`` is ``(t, q)`` of ``inverse(measured) @ inverse(a) @ b``: translation, then the vector part of the
unit quaternion. Ours is the twist ``(rho, phi)`` of the same transform. Near zero ``t = rho`` and ``q = phi / 2``, so that in g2o
the rotation block of an information matrix is four times ours and the mixed blocks are twice ours. Programs that read the last
three coordinates as a rotation vector (gtsam does) have to undo these factors. In the plane there is no difference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry.planar import yaw
from vloc_ros.geometry.se3 import quaternion

Array = NDArray[np.float64]
_SCALE = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


def to_g2o(information: Array) -> Array:
    """(..., k, k) information of g2o's error from that of a twist; k = 3 or 6."""
    return information if information.shape[-1] == 3 else np.asarray(information * np.outer(_SCALE, _SCALE))


def from_g2o(information: Array) -> Array:
    """(..., k, k) information of a twist from that of g2o's error; k = 3 or 6."""
    return information if information.shape[-1] == 3 else np.asarray(information / np.outer(_SCALE, _SCALE))


def vertex_line(name: int, pose: Array) -> str:
    """The line of a (3, 3) or (4, 4) ``world_T_pose``, without its end."""
    return f"{'VERTEX_SE2' if pose.shape[0] == 3 else 'VERTEX_SE3:QUAT'} {name} {_pose(pose)}"


def edge_line(a: int, b: int, a_T_b: Array, information: Array) -> str:
    """The line of a relative pose with its (k, k) information of a twist, without its end."""
    upper = to_g2o(information)[np.triu_indices(len(information))]
    return f"{'EDGE_SE2' if a_T_b.shape[0] == 3 else 'EDGE_SE3:QUAT'} {a} {b} {_pose(a_T_b)} {_numbers(upper)}"


def _pose(a_T_b: Array) -> str:
    if a_T_b.shape[0] == 3:
        return _numbers(np.array([a_T_b[0, 2], a_T_b[1, 2], yaw(a_T_b)]))
    return _numbers(np.concatenate([a_T_b[:3, 3], quaternion(a_T_b)]))


def _numbers(values: Array) -> str:
    # The shortest text that reads back as the same number.
    return " ".join(repr(float(value)) for value in values)
