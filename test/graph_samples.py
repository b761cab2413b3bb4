"""A pose graph played over topics: keyframes and candidates as the other nodes publish them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import psutil
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry

from vloc_ros.pose_graph import PoseGraph
from vloc_ros.ros import qos
from vloc_ros.ros.conversions import odometry_to_ros

UNSURE = np.diag([1e-2] * 3 + [1e-4] * 3)
LABELS = ("inliers", "outliers", "undecided")
# Odometry as unsure as that of the two laps: 0.1 m and 0.01 rad for each metre, independently.
ODOMETRY = {
    "odometry.drift_percent": 10.0,
    "odometry.drift_deg_per_m": 0.573,
    "odometry.drift_percent_of_turn": 0.0,
    "odometry.correlated_m": 0.0,
}


def name(row: int) -> str:
    return f"s1/k{row + 1}"


def keyframe(graph: PoseGraph, row: int) -> Odometry:
    return odometry_to_ros(10**9 * (row + 1), "map", name(row), graph.poses[row], UNSURE)


def candidate(graph: PoseGraph, edge: int) -> Odometry:
    a, b = int(graph.a[edge]), int(graph.b[edge])
    return odometry_to_ros(10**9 * (b + 1), name(a), name(b), graph.a_T_b[edge], np.linalg.inv(graph.information[edge]))


class GraphPlayer:
    """Publishes keyframes and candidates, none of which is lost in a burst."""

    def __init__(self, probe: Any) -> None:
        self._publishers = {
            topic: probe.node.create_publisher(Odometry, topic, qos.latched(5000))
            for topic in ("keyframes", "loop_closures/candidates")
        }
        for topic, publisher in self._publishers.items():
            probe.wait(lambda p=publisher: p.get_subscription_count() > 0, f"a subscriber of {topic}")
        time.sleep(0.3)

    def keyframe(self, message: Odometry) -> None:
        self._publishers["keyframes"].publish(message)

    def candidate(self, message: Odometry) -> None:
        self._publishers["loop_closures/candidates"].publish(message)

    def show(self, graph: PoseGraph, edges: list[int] | None = None) -> None:
        """All keyframes and some closures (default: all)."""
        for row in range(len(graph.ids)):
            self.keyframe(keyframe(graph, row))
        for edge in np.flatnonzero(~graph.trusted).tolist() if edges is None else edges:
            self.candidate(candidate(graph, edge))


class GraphListener:
    """Hears the labels and the diagnostics of the pose_graph node."""

    def __init__(self, probe: Any) -> None:
        self._probe = probe
        self.by_label: dict[str, list[Odometry]] = {label: [] for label in LABELS}
        for label, received in self.by_label.items():
            profile = qos.latched(5000)
            probe.node.create_subscription(Odometry, f"loop_closures/{label}", received.append, profile)
        self.diagnostics = probe.listen(DiagnosticArray, "/diagnostics")

    def label(self, a: str, b: str) -> str:
        """The newest label of a pair, empty when it has none."""
        stamped = [
            (message.header.stamp.sec * 10**9 + message.header.stamp.nanosec, label)
            for label, received in self.by_label.items()
            for message in list(received)
            if (message.header.frame_id, message.child_frame_id) == (a, b)
        ]
        return max(stamped)[1] if stamped else ""

    def labels_of(self, graph: PoseGraph) -> list[str]:
        edges = np.flatnonzero(~graph.trusted).tolist()
        return [self.label(name(int(graph.a[edge])), name(int(graph.b[edge]))) for edge in edges]

    def value(self, key: str) -> str:
        """What the newest diagnostics say under a key."""
        for message in reversed(self.diagnostics):
            for status in message.status:
                if status.name.endswith("pose_graph: graph"):
                    return next((pair.value for pair in status.values if pair.key == key), "")
        return ""

    def solver(self) -> psutil.Process:
        """The process that solves, once there is one."""
        self.wait_value("solver_pid", lambda text: text != "")
        return psutil.Process(int(self.value("solver_pid")))

    def wait_value(self, key: str, wanted: Any, timeout_s: float = 25.0) -> None:
        def fits() -> bool:
            found = self.value(key)
            return wanted(found) if callable(wanted) else found == wanted

        try:
            self._probe.wait(fits, key, timeout_s)
        except AssertionError:
            raise AssertionError(f"{key} is '{self.value(key)}'") from None
