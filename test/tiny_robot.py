"""A small robot on real topics, for the tests of the nodes that drive."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped, Twist, TwistStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from ros_samples import Probe

from vloc_ros.geometry import se3
from vloc_ros.geometry.planar import planar_pose
from vloc_ros.geometry.uncertainty import isotropic
from vloc_ros.ros.conversions import odometry_to_ros, path_to_ros, pose_with_covariance_to_ros
from vloc_ros.ros.qos import latched, reliable

PERIOD_S = 0.04
POSE_EVERY, POSE_LATE = 4, 3
SURE = isotropic(0.02, 0.01)
# Its odometry began somewhere else, and turned.
ODOM_T_MAP = planar_pose(5.0, -3.0, 2.0)


def arc(length_m: float, curvature: float) -> list[np.ndarray]:
    """Poses every quarter of a metre along an arc that begins at the origin."""
    poses = []
    for s in np.arange(0.0, length_m + 0.125, 0.25):
        a = s * curvature
        x, y = (s, 0.0) if curvature == 0.0 else (np.sin(a) / curvature, (1.0 - np.cos(a)) / curvature)
        poses.append(planar_pose(x, y, a))
    return poses


def value(status: DiagnosticStatus, key: str) -> str:
    return next((pair.value for pair in status.values if pair.key == key), "")


class TinyRobot:
    """Obeys cmd_vel at once, as a base with a timeout does, and publishes odometry and (late) poses at a steady rate."""

    def __init__(self, probe: Probe, poses: list[np.ndarray], *, stamped: bool = True, frame: str = "map") -> None:
        self._probe, self._stamped, self._frame = probe, stamped, frame
        node = probe.node
        self._path = node.create_publisher(PathMessage, "path", latched())
        self._pose = node.create_publisher(PoseWithCovarianceStamped, "pose", reliable())
        self._odometry = node.create_publisher(Odometry, "odometry", reliable())
        self.commands: list[tuple[float, Any]] = []
        self._changed = threading.Condition()
        node.create_subscription(TwistStamped if stamped else Twist, "cmd_vel", self._take, reliable(100))
        self.states = probe.listen(DiagnosticStatus, "path_follower/state", latched=True)
        self.covariance = SURE
        self.gives_poses = self.gives_odometry = True
        self.skew_ns = 0
        self.map_T_base = np.eye(4)
        self.driven = 0.0
        self.track: list[np.ndarray] = []
        self._twist = Twist()
        self._stop = threading.Event()
        self.show_path(poses)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def show_path(self, poses: list[np.ndarray]) -> None:
        self._path.publish(path_to_ros(0, self._frame, [0] * len(poses), poses))

    def _take(self, message: Any) -> None:
        self.commands.append((time.monotonic(), message))
        self._twist = message.twist if self._stamped else message

    @property
    def speed(self) -> float:
        return self._twist.linear.x

    @property
    def state(self) -> str:
        return value(self.states[-1], "state") if self.states else ""

    @property
    def reason(self) -> str:
        return value(self.states[-1], "reason") if self.states else ""

    def _run(self) -> None:
        late: list[tuple[int, np.ndarray]] = []
        tick = 0
        while not self._stop.wait(PERIOD_S):
            tick += 1
            turned, moved = self._twist.angular.z * PERIOD_S, self._twist.linear.x * PERIOD_S
            self.map_T_base = self.map_T_base @ planar_pose(moved * np.cos(turned / 2), moved * np.sin(turned / 2), turned)
            self.driven += abs(moved)
            self.track.append(self.map_T_base)
            now_ns = time.time_ns() + self.skew_ns
            if self.gives_odometry:
                self._odometry.publish(odometry_to_ros(now_ns, "odom", "base_link", ODOM_T_MAP @ self.map_T_base, np.zeros((6, 6))))
            if tick % POSE_EVERY == 0:
                late.append((now_ns, self.map_T_base))
            if late and tick % POSE_EVERY == POSE_LATE:
                stamp_ns, pose = late.pop(0)
                if self.gives_poses:
                    self._pose.publish(pose_with_covariance_to_ros(stamp_ns, "map", pose, self.covariance))

    def wait(self, condition: Any, what: str, timeout_s: float = 15.0) -> None:
        self._probe.wait(condition, f"{what} (state {self.state} {self.reason}, speed {self.speed:.2f})", timeout_s)

    def wait_for_speed(self, speed: float, timeout_s: float = 15.0) -> None:
        self.wait(lambda: self.speed >= speed, f"a speed of {speed}", timeout_s)

    def wait_for_stop(self, reason: str, timeout_s: float = 15.0) -> None:
        self.wait(lambda: self.reason == reason and self.speed == 0.0, f"a stop for {reason}", timeout_s)

    def distance_from(self, poses: list[np.ndarray]) -> float:
        """Largest distance of the track from a polyline through poses [m]."""
        points = np.array([pose[:2, 3] for pose in poses])
        fine = np.concatenate([np.linspace(a, b, 20) for a, b in itertools.pairwise(points)])
        return max(float(np.linalg.norm(fine - pose[:2, 3], axis=1).min()) for pose in self.track)

    def __enter__(self) -> TinyRobot:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def far_from(a: np.ndarray, b: np.ndarray) -> float:
    return se3.translation_norm(se3.between(a, b))
