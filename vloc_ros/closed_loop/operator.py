"""The person who teaches the route and helps a robot that is stuck: drives by sight of the truth, never judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry.planar import PlanarTwist
from vloc_ros.path_following import DriveState, FollowerSettings, PathFollower, TaughtPath

Array = NDArray[np.float64]


class Operator:
    """Steers along a path by the true pose."""

    def __init__(self, path: TaughtPath, settings: FollowerSettings) -> None:
        """Take over.

        Args:
            path: in the world.
            settings: of the robot; the operator drives at its speed, and finds back from farther away.
        """
        self._follower = PathFollower(replace(settings, corridor=100.0, max_heading_error=1.5), path)
        self.arrived = False
        """Whether the end of the path is reached."""

    def command(self, now_ns: int, world_T_base: Array) -> PlanarTwist:
        """What to drive now, from the (4, 4) true pose."""
        self._follower.add_odometry(now_ns, world_T_base)
        self._follower.add_pose(now_ns, world_T_base, np.zeros((6, 6)))
        command = self._follower.command(now_ns)
        self.arrived = command.state is DriveState.ARRIVED
        return command.twist
