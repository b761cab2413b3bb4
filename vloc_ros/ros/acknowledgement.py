"""Which frames the localization has finished, from its topic ``processed``."""

from __future__ import annotations

import threading
import time
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Header

from vloc_ros.ros.conversions import stamp_to_ns
from vloc_ros.ros.qos import reliable


class Acknowledgements:
    """Counts finished frames and waits for a certain one."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._changed = threading.Condition()
        self._awaited: int | None = None
        self._arrived = False
        self._count = 0
        self._subscription: Any = node.create_subscription(Header, "processed", self._processed, reliable(1000))

    def _processed(self, message: Header) -> None:
        with self._changed:
            self._arrived = self._arrived or stamp_to_ns(message.stamp) == self._awaited
            self._count += 1
            self._changed.notify_all()

    @property
    def count(self) -> int:
        """How many frames were finished."""
        return self._count

    @property
    def publishers(self) -> int:
        """How many nodes say which frames they have finished."""
        return self._node.count_publishers(self._subscription.topic_name)

    def expect(self, stamp_ns: int) -> None:
        """Look out for the frame of a stamp from now on; call it before the frame is published."""
        with self._changed:
            self._awaited, self._arrived = stamp_ns, False

    def wait(self, timeout_s: float, stop: threading.Event) -> bool:
        """Wait until the expected frame is finished; False after the time, or when told to stop, or when nobody is left."""
        deadline = time.monotonic() + timeout_s
        while not stop.is_set():
            with self._changed:
                if self._changed.wait_for(lambda: self._arrived, timeout=0.2):
                    return True
            if time.monotonic() > deadline or self.publishers == 0:
                return False
        return False

    def wait_until_quiet(self, quiet_s: float, timeout_s: float, stop: threading.Event) -> None:
        """Wait until no frame was finished for some time."""
        deadline = time.monotonic() + timeout_s
        while not stop.is_set() and time.monotonic() < deadline and self.publishers > 0:
            before = self._count
            stop.wait(quiet_s)
            if self._count == before:
                return

    def close(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self._subscription)
