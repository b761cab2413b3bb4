"""The commands of whoever drives the simulated robot."""

from __future__ import annotations

import threading
import time
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.node import Node

from vloc_ros.geometry.planar import PlanarTwist
from vloc_ros.ros.drive_outputs import twist_from_ros
from vloc_ros.ros.qos import reliable


class CommandInbox:
    """Takes ``cmd_vel`` and hands it to the thread of the simulation."""

    def __init__(self, node: Node, stamped: bool) -> None:
        self._node = node
        self._changed = threading.Condition()
        self._newest: PlanarTwist | None = None
        self._awaited: int | None = None
        self._answer: PlanarTwist | None = None
        self._subscription: Any = node.create_subscription(TwistStamped if stamped else Twist, "cmd_vel", self._take, reliable(100))

    def _take(self, message: Any) -> None:
        stamp_ns, twist = twist_from_ros(message)
        with self._changed:
            self._newest = twist
            if stamp_ns is not None and stamp_ns == self._awaited and self._answer is None:
                self._answer = twist
                self._changed.notify_all()

    @property
    def topic(self) -> str:
        """Its full name."""
        return str(self._subscription.topic_name)

    @property
    def publishers(self) -> int:
        """How many nodes drive."""
        return self._node.count_publishers(self.topic)

    def take(self) -> PlanarTwist | None:
        """The newest command since the last call, if there is one."""
        with self._changed:
            newest, self._newest = self._newest, None
            return newest

    def expect(self, stamp_ns: int) -> None:
        """Look out for the command of a stamp; call it before the odometry of that stamp is published."""
        with self._changed:
            self._awaited, self._answer = stamp_ns, None

    def wait(self, timeout_s: float, stop: threading.Event) -> PlanarTwist | None:
        """The command of the expected stamp; None after the time, or when told to stop."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._answer is None and not stop.is_set() and time.monotonic() < deadline:
                self._changed.wait(0.1)
            return self._answer

    def close(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self._subscription)
