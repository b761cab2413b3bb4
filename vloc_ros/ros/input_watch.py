"""The subscriptions of a node that does not listen to a camera, and why nothing has come on them yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.qos import QoSProfile

from vloc_ros.diagnosis import check_disk, check_topic
from vloc_ros.ros.camera_facts import topic_facts
from vloc_ros.ros.findings import FoundProblems
from vloc_ros.ros.managed_node import ManagedNode
from vloc_ros.ros.problems import Problem, Problems

PATIENCE_S = 3.0
_DISK_S = 10.0


@dataclass(slots=True)
class _Input:
    kind: Any
    topic: str
    profile: QoSProfile
    before: int
    """Messages that had been taken when it was subscribed to."""


class InputWatch:
    """Says of the topics on which no message has ever come what keeps them away.

    A topic that has been heard once may be silent as long as it likes: what comes when, is not known here.
    """

    def __init__(self, node: ManagedNode, problems: Problems, map_path: str = "") -> None:
        """Begin; with a map, the room on its disk is looked after too."""
        self._node, self._problems, self._map = node, problems, map_path
        self._room, self._room_at = FoundProblems(problems), float("-inf")
        self._started = time.monotonic()
        self._inputs: list[_Input] = []

    def subscribe(self, kind: Any, topic: str, callback: Callable[[Any], object], profile: QoSProfile) -> Any:
        """As ``create_subscription``, and watched."""
        self._inputs.append(_Input(kind, topic, profile, self._node.reception.taken(topic)))
        return self._node.create_subscription(kind, topic, callback, profile)

    def look(self) -> None:
        """Report what keeps messages away, or that nothing does any more; call it about once a second, from any one thread."""
        self._look_at_disk()
        texts = [text for watched in self._inputs if not self._is_heard(watched) and (text := self._trouble(watched))]
        if texts:
            self._problems.report(Problem.NO_INPUT, "; ".join(texts))
        else:
            self._problems.clear(Problem.NO_INPUT)

    def _is_heard(self, watched: _Input) -> bool:
        return self._node.reception.taken(watched.topic) > watched.before

    def _trouble(self, watched: _Input) -> str | None:
        """Of a publisher that fits and says nothing there is nothing to say: results come when there are some."""
        silent = time.monotonic() - self._started
        facts = topic_facts(self._node, watched.kind, watched.topic, watched.profile, silent, PATIENCE_S, 0)
        found = check_topic(facts)
        return None if found is None or found.check.value == "silence" else found.text

    def _look_at_disk(self) -> None:
        now = time.monotonic()
        if self._map and now - self._room_at > _DISK_S:
            self._room_at = now
            self._room.set([check_disk(Path(self._map))])
