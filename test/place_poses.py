"""Poses whose distances and angles are known."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation


def pose(x: float, degrees: float = 0.0) -> np.ndarray:
    """At (x, 3, 1) m, turned about an axis that is none of the frame's."""
    world_T_camera = np.eye(4)
    axis = np.array([1.0, 2.0, 2.0]) / 3.0
    world_T_camera[:3, :3] = Rotation.from_rotvec(math.radians(degrees) * axis).as_matrix()
    world_T_camera[:3, 3] = (x, 3.0, 1.0)
    return world_T_camera
