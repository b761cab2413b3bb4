"""What a node takes from its topics: how many messages of each, and times of a clock that no node can use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from rosgraph_msgs.msg import Clock

Take = Callable[[Any], None]


class Reception:
    """Counts, for ``/diagnostics``. Belongs to the executor's thread; others may read."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._refused: dict[str, tuple[int, str]] = {}

    def watched(self, kind: Any, topic: str, callback: Take) -> Take:
        """The callback of a subscription, counted; that of a clock is spared what it would end the process with."""

        def take(message: Any) -> None:
            self._taken[topic] += 1
            # rclpy raises ValueError out of its own callback for a time before 1970, and with it the executor ends.
            if kind is Clock and message.clock.sec < 0:
                count, _ = self._refused.get(topic, (0, ""))
                self._refused[topic] = count + 1, f"{message.clock.sec} s is before 1970"
                return
            callback(message)

        return take

    @property
    def values(self) -> dict[str, str]:
        """Keys and values for the diagnostics."""
        taken = {f"taken_{topic.lstrip('/')}": str(count) for topic, count in self._taken.copy().items()}
        refused = self._refused.copy().items()
        return taken | {f"refused_{topic.lstrip('/')}": f"{count} (the last: {why})" for topic, (count, why) in refused}
