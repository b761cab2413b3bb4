"""Motion in the plane of a ground robot."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class PlanarTwist(NamedTuple):
    """Velocity of a ground robot in its base frame.

    Attributes:
        linear: forwards [m/s].
        angular: to the left [rad/s].
    """

    linear: float = 0.0
    angular: float = 0.0


STANDSTILL = PlanarTwist()


def yaw(a_T_b: NDArray[np.float64]) -> float:
    """Heading of the x axis of b in the xy plane of a [rad]."""
    return float(np.arctan2(a_T_b[1, 0], a_T_b[0, 0]))


def planar_pose(x: float, y: float, heading: float) -> NDArray[np.float64]:
    """(4, 4) pose in the plane z = 0 [m], turned to the left by a heading [rad]."""
    c, s = np.cos(heading), np.sin(heading)
    return np.array([[c, -s, 0.0, x], [s, c, 0.0, y], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
