"""The topics that the path follower publishes."""

from __future__ import annotations

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped, Twist, TwistStamped, Vector3
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node

from vloc_ros.geometry.planar import STANDSTILL, PlanarTwist
from vloc_ros.path_following import DriveCommand, DriveState, StopReason
from vloc_ros.ros.conversions import header, pose_with_covariance_to_ros, stamp_to_ns
from vloc_ros.ros.node_settings import FollowerNodeSettings
from vloc_ros.ros.problems import Problem
from vloc_ros.ros.qos import latched, reliable

Array = NDArray[np.float64]
_REFRESH_NS = 500_000_000
_LAST_WORD_S = 1.0
_LEVELS = {
    DriveState.FOLLOWING: DiagnosticStatus.OK,
    DriveState.SLOWED: DiagnosticStatus.WARN,
    DriveState.STOPPED: DiagnosticStatus.WARN,
    DriveState.ARRIVED: DiagnosticStatus.OK,
}


class DriveOutputs:
    """Publishes commands, the state, and where localisation shall begin the next round."""

    def __init__(self, node: Node, settings: FollowerNodeSettings) -> None:
        self._name, self._settings, self._node = node.get_fully_qualified_name(), settings, node
        self._command = node.create_publisher(TwistStamped if settings.stamped else Twist, "cmd_vel", reliable())
        self._state = node.create_publisher(DiagnosticStatus, "~/state", latched())
        self._initial_pose = node.create_publisher(PoseWithCovarianceStamped, "initialpose", reliable())
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", reliable())
        self._said: tuple[DriveState, StopReason | None, int] | None = None

    def command(self, stamp_ns: int, twist: PlanarTwist) -> None:
        """Publish a velocity; may be called from any thread."""
        self._command.publish(twist_to_ros(stamp_ns, self._settings.base_frame, twist, stamped=self._settings.stamped))

    def last_word(self, stamp_ns: int) -> None:
        """Publish a standstill and wait until it has arrived."""
        self.command(stamp_ns, STANDSTILL)
        self._command.wait_for_all_acked(Duration(seconds=_LAST_WORD_S))

    def state(self, stamp_ns: int, command: DriveCommand, blind_m: float) -> None:
        """Publish the state when it, or its reason, has changed, and its numbers twice a second."""
        said = self._said
        if said is not None and said[:2] == (command.state, command.reason) and 0 <= stamp_ns - said[2] < _REFRESH_NS:
            return
        self._said = (command.state, command.reason, stamp_ns)
        self._state.publish(self._status(stamp_ns, command, blind_m, {}))

    def initial_pose(self, stamp_ns: int, frame: str, map_T_base: Array, covariance: Array) -> None:
        """Tell localisation where the robot is."""
        self._initial_pose.publish(pose_with_covariance_to_ros(stamp_ns, frame, map_T_base, covariance))

    def diagnostics(
        self, stamp_ns: int, command: DriveCommand, blind_m: float, problems: dict[Problem, str], more: dict[str, str]
    ) -> None:
        """Publish the state together with what is wrong, and more keys and values."""
        wrong = {f"problem_{kind.name.lower()}": text for kind, text in problems.items()}
        status = self._status(stamp_ns, command, blind_m, more | wrong)
        if problems:
            status.level = max(status.level, DiagnosticStatus.WARN)
            status.message = "; ".join([status.message, *(kind.value for kind in problems)])
        self._diagnostics.publish(DiagnosticArray(header=header(stamp_ns, ""), status=[status]))

    def _status(self, stamp_ns: int, command: DriveCommand, blind_m: float, more: dict[str, str]) -> DiagnosticStatus:
        values = {
            "state": command.state.value,
            "reason": "" if command.reason is None else command.reason.name,
            "stamp_ns": str(stamp_ns),
            "speed": f"{command.twist.linear:.3f}",
            "turn_rate": f"{command.twist.angular:.3f}",
            "blind_distance": f"{blind_m:.3f}",
        }
        if command.point is not None:
            point = command.point
            values |= {"station": f"{point.station:.3f}", "lateral": f"{point.lateral:.3f}", "heading": f"{point.heading:.4f}"}
        return DiagnosticStatus(
            level=_LEVELS[command.state],
            name=f"{self._name}: drive",
            message=command.state.value if command.reason is None else command.reason.value,
            hardware_id="",
            values=[KeyValue(key=key, value=value) for key, value in (values | more).items()],
        )

    def close(self) -> None:
        """Take the topics away."""
        for publisher in (self._command, self._state, self._initial_pose, self._diagnostics):
            self._node.destroy_publisher(publisher)


def twist_to_ros(stamp_ns: int, frame: str, twist: PlanarTwist, *, stamped: bool) -> Any:
    """TwistStamped, or (without a stamp) Twist."""
    message = Twist(linear=Vector3(x=float(twist.linear)), angular=Vector3(z=float(twist.angular)))
    return TwistStamped(header=header(stamp_ns, frame), twist=message) if stamped else message


def twist_from_ros(message: Any) -> tuple[int | None, PlanarTwist]:
    """The stamp [ns], where there is one, and the velocity of a TwistStamped or Twist; one that is not finite is a standstill."""
    stamp_ns = stamp_to_ns(message.header.stamp) if isinstance(message, TwistStamped) else None
    body = message.twist if isinstance(message, TwistStamped) else message
    twist = PlanarTwist(body.linear.x, body.angular.z)
    return stamp_ns, twist if np.all(np.isfinite(twist)) else STANDSTILL
