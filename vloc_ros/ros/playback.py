"""Plays a recording as ROS topics: the images with camera_info, ground truth and ``/clock``."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from vloc_ros.data import DatasetReader, StereoFrame
from vloc_ros.data.trajectory import interpolate
from vloc_ros.geometry import se3
from vloc_ros.ros.camera_info import camera_info
from vloc_ros.ros.conversions import header, odometry_to_ros, stamp_from_ns
from vloc_ros.ros.images import image_to_ros
from vloc_ros.ros.node_settings import CameraType, PlayerNodeSettings
from vloc_ros.ros.qos import clock, reliable

TOPICS = {
    CameraType.STEREO: ("left/image_rect", "right/image_rect", "left/camera_info", "right/camera_info"),
    CameraType.RGBD: ("rgb/image_rect", "depth/image_rect", "rgb/camera_info", "depth/camera_info"),
}
_TICK_S = 0.02
_QUEUE = 20


@dataclass(frozen=True, slots=True)
class PlayedFrame:
    """A frame on its way to the topics."""

    stamp_ns: int
    frame: StereoFrame
    world_T_base: NDArray[np.float64] | None


class Playback:
    """The publishers of a recording. Call it from one thread."""

    def __init__(self, node: Node, reader: DatasetReader, kind: CameraType, settings: PlayerNodeSettings) -> None:
        self._node, self._reader, self._settings = node, reader, settings
        left, right, left_info, right_info = TOPICS[kind]
        # Reliable publishers serve best-effort subscribers too; the depth bounds what a slow subscriber can hold up.
        self._images = [node.create_publisher(Image, topic, reliable(_QUEUE)) for topic in (left, right)]
        self._infos = [node.create_publisher(CameraInfo, topic, reliable(_QUEUE)) for topic in (left_info, right_info)]
        self._truth = node.create_publisher(Odometry, "ground_truth/odometry", reliable(_QUEUE))
        self._clock = node.create_publisher(Clock, "/clock", clock())
        self._world_T_base = _truth_of_frames(reader)

    @property
    def matched(self) -> bool:
        """Whether both image topics have a subscriber."""
        return all(publisher.get_subscription_count() > 0 for publisher in self._images)

    def read(self, index: int) -> PlayedFrame:
        """Read a frame of the recording.

        Raises:
            DataError: its images are missing or damaged.
        """
        pose = self._world_T_base[index]
        return PlayedFrame(
            int(self._reader.stamps_ns[index]), self._reader.frame(index), pose if np.all(np.isfinite(pose)) else None
        )

    def publish(self, played: PlayedFrame) -> None:
        """Publish clock, camera_info, truth and images of a frame, in this order: what explains an image comes before it."""
        self.tick(played.stamp_ns)
        for publisher, info in zip(
            self._infos, camera_info(self._reader.camera, played.stamp_ns, self._settings.frame_id), strict=True
        ):
            publisher.publish(info)
        self._publish_truth(played)
        frame = played.frame
        second = frame.right if frame.right is not None else frame.depth
        assert second is not None  # a StereoFrame has one of them
        for publisher, image in zip(self._images, (frame.left, second), strict=True):
            publisher.publish(image_to_ros(image, header(played.stamp_ns, self._settings.frame_id)))

    def _publish_truth(self, played: PlayedFrame) -> None:
        if played.world_T_base is None:
            return
        parent, child = self._settings.truth_frame, self._settings.truth_child_frame
        self._truth.publish(odometry_to_ros(played.stamp_ns, parent, child, played.world_T_base, np.zeros((6, 6))))

    def tick(self, stamp_ns: int) -> None:
        """Publish the time."""
        self._clock.publish(Clock(clock=stamp_from_ns(stamp_ns)))

    def sleep(self, stamp_ns: int, until: float, stop: threading.Event) -> None:
        """Wait until an instant of the steady clock [s], while ``/clock`` goes on towards the stamp."""
        while not stop.is_set():
            left = until - time.monotonic()
            if left <= 0.0:
                return
            self.tick(stamp_ns - int(left * self._settings.rate * 1e9))
            stop.wait(min(left, _TICK_S))

    def best_effort_subscribers(self) -> list[str]:
        """Names of the nodes that listen to the images best effort."""
        from rclpy.qos import ReliabilityPolicy

        return sorted(
            {
                info.node_name
                for publisher in self._images
                for info in self._node.get_subscriptions_info_by_topic(publisher.topic_name)
                if info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            }
        )

    def close(self) -> None:
        """Take the topics away."""
        for publisher in (*self._images, *self._infos, self._truth, self._clock):
            self._node.destroy_publisher(publisher)


def _truth_of_frames(reader: DatasetReader) -> NDArray[np.float64]:
    """(N, 4, 4) world_T_base at the stamps of the frames, NaN where unknown."""
    truth = reader.ground_truth
    if truth is None:
        return np.full((len(reader), 4, 4), np.nan)
    world_T_camera = interpolate(truth, reader.stamps_ns)
    return np.asarray(world_T_camera @ se3.inverse(reader.base_T_camera))
