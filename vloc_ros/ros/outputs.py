"""The topics that the localization node publishes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vloc_ros.data.frame import Image as Pixels
from vloc_ros.localization import FrameResult, State
from vloc_ros.mapping import Keyframe, KeyframeId
from vloc_ros.ros.conversions import header, odometry_to_ros, path_to_ros, pose_with_covariance_to_ros
from vloc_ros.ros.images import image_to_ros
from vloc_ros.ros.match_image import match_image
from vloc_ros.ros.node_settings import LocalizationNodeSettings, Mode
from vloc_ros.ros.odometry_track import OdometryTrack
from vloc_ros.ros.qos import KEYFRAMES_KEPT, latched, reliable
from vloc_ros.ros.tf import FrameBroadcaster

_LEVELS = {
    State.UNINITIALISED: DiagnosticStatus.WARN,
    State.RELOCALISING: DiagnosticStatus.WARN,
    State.LOCALISED: DiagnosticStatus.OK,
    State.DEAD_RECKONING: DiagnosticStatus.WARN,
    State.LOST: DiagnosticStatus.ERROR,
}


class Outputs:
    """Publishes what was made of each frame. Call it from one thread.

    ``state`` is a diagnostic_msgs/DiagnosticStatus rather than a string of JSON: every ROS tool shows it, its level says at a
    glance whether the pose is believed, and a program reads state and reason as key and value without a parser.
    """

    def __init__(self, node: Node, settings: LocalizationNodeSettings) -> None:
        self._node, self._frames, self._mode = node, settings.frames, settings.mode
        self._odometry = node.create_publisher(Odometry, "odometry", reliable())
        self._keyframes = node.create_publisher(Odometry, "keyframes", latched(KEYFRAMES_KEPT))
        self._pose = node.create_publisher(PoseWithCovarianceStamped, "pose", reliable())
        self._path = node.create_publisher(Path, "path", latched())
        self._state = node.create_publisher(DiagnosticStatus, "state", latched())
        self._processed = node.create_publisher(Header, "processed", reliable(100))
        self._matches = node.create_publisher(Image, "matches/image", reliable(1))
        self.tune(settings)
        self._pictured = -math.inf
        self._tf = FrameBroadcaster(node, self._frames) if settings.publish_tf else None
        self._track = OdometryTrack()
        self._said: tuple[State, str] | None = None
        self._keyframe: KeyframeId | None = None

    def tune(self, settings: LocalizationNodeSettings) -> None:
        """Take over another rate of the pictures."""
        self._match_period_s = 1.0 / settings.match_rate if settings.match_rate > 0.0 else 0.0

    @property
    def wants_matches(self) -> bool:
        """Whether somebody looks at the match pictures, and the last one is old enough: drawing takes time from localising."""
        return self._matches.get_subscription_count() > 0 and time.monotonic() - self._pictured >= self._match_period_s

    def frame(self, result: FrameResult) -> None:
        """Publish the poses and the state of a frame."""
        sample = self._track.add(result)
        if sample is not None:
            self._odometry.publish(
                odometry_to_ros(
                    result.stamp_ns,
                    self._frames.odom,
                    self._frames.base,
                    sample.odom_T_base,
                    sample.covariance,
                    sample.twist,
                    sample.twist_covariance,
                )
            )
        if result.map_T_base is not None and result.map_covariance is not None:
            self._pose.publish(
                pose_with_covariance_to_ros(result.stamp_ns, self._frames.map, result.map_T_base, result.map_covariance)
            )
            self._publish_keyframe(result)
        if self._tf is not None:
            self._tf.send(result.stamp_ns, result.odom_T_base, result.map_T_base)
        self.state(result)

    def _publish_keyframe(self, result: FrameResult) -> None:
        """A keyframe that teaching has just made, under its name."""
        new = self._mode is Mode.TEACH and result.keyframe is not None and result.keyframe != self._keyframe
        if not new or result.map_T_base is None or result.map_covariance is None:
            return
        self._keyframe = result.keyframe
        message = odometry_to_ros(result.stamp_ns, self._frames.map, str(result.keyframe), result.map_T_base, result.map_covariance)
        self._keyframes.publish(message)

    def state(self, result: FrameResult) -> None:
        """Publish the state when it, or its reason, has changed."""
        reason = "" if result.reason is None else result.reason.name
        if (result.state, reason) == self._said:
            return
        self._said = (result.state, reason)
        values = {
            "state": result.state.value,
            "reason": reason,
            "since_ns": str(result.stamp_ns),
            "mode": self._mode.value,
            "keyframe": "" if result.keyframe is None else str(result.keyframe),
            "inliers": str(result.inliers),
        }
        self._state.publish(
            DiagnosticStatus(
                level=_LEVELS[result.state],
                name=f"{self._node.get_fully_qualified_name()}: localisation",
                message="all is well" if result.reason is None else result.reason.value,
                hardware_id="",
                values=[KeyValue(key=key, value=value) for key, value in values.items()],
            )
        )

    def start(self, stamp_ns: int) -> None:
        """Say that nothing is known yet."""
        empty = FrameResult(stamp_ns, State.UNINITIALISED, None, None, None, None, None, False, None, 0, 0)
        self._said = None
        self.state(replace(empty))

    def path(self, stamp_ns: int, route: list[Keyframe]) -> None:
        """Publish the taught route."""
        stamps, poses = [keyframe.stamp_ns for keyframe in route], [keyframe.map_T_base for keyframe in route]
        self._path.publish(path_to_ros(stamp_ns, self._frames.map, stamps, poses))

    def processed(self, stamp_ns: int, frame_id: str) -> None:
        """A frame is finished, whatever came of it: the heartbeat, and the flow control of a replay."""
        self._processed.publish(header(stamp_ns, frame_id))

    def matches(self, result: FrameResult, live: Pixels, image_of: Callable[[KeyframeId], Pixels | None], frame_id: str) -> None:
        """Publish the picture of a match."""
        self._pictured = time.monotonic()
        view = result.match
        keyframe = result.keyframe if view is None else view.keyframe
        remembered = None if keyframe is None else image_of(keyframe)
        reason = "" if result.reason is None else f"  {result.reason.name}"
        text = f"{result.state.value}  {keyframe or '-'}  {result.inliers} inliers{reason}"
        picture = match_image(live, remembered, view, text)
        self._matches.publish(image_to_ros(picture, header(result.stamp_ns, frame_id)))

    def close(self) -> None:
        """Take the topics away."""
        publishers = (self._odometry, self._keyframes, self._pose, self._path, self._state, self._processed, self._matches)
        for publisher in publishers:
            self._node.destroy_publisher(publisher)
        if self._tf is not None:
            self._tf.close()
