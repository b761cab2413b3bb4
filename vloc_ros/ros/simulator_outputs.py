"""The topics that the simulator publishes: cameras, wheel odometry, ground truth and ``/clock``."""

from __future__ import annotations

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from vloc_ros.data.frame import StereoFrame
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.planar import PlanarTwist
from vloc_ros.ros.camera_info import camera_info
from vloc_ros.ros.conversions import header, odometry_to_ros, stamp_from_ns
from vloc_ros.ros.images import image_to_ros
from vloc_ros.ros.node_settings import CameraType
from vloc_ros.ros.playback import TOPICS
from vloc_ros.ros.qos import clock, reliable
from vloc_ros.ros.simulator_settings import SimulatorNodeSettings

Array = NDArray[np.float64]
_QUEUE = 20
_UNKNOWN = np.zeros((6, 6))


class SimulatorOutputs:
    """Publishers; each method may be called from another thread."""

    def __init__(self, node: Node, settings: SimulatorNodeSettings, wheels: bool) -> None:
        self._node, self._settings = node, settings
        left, right, left_info, right_info = TOPICS[CameraType.STEREO]
        self._images = [node.create_publisher(Image, topic, reliable(_QUEUE)) for topic in (left, right)]
        self._infos = [node.create_publisher(CameraInfo, topic, reliable(_QUEUE)) for topic in (left_info, right_info)]
        self._odometry = node.create_publisher(Odometry, "odom", reliable(100)) if wheels else None
        self._truth = node.create_publisher(Odometry, "ground_truth/odometry", reliable(100))
        self._clock = node.create_publisher(Clock, "/clock", clock())

    @property
    def images_heard(self) -> bool:
        """Whether both image topics have a subscriber."""
        return all(publisher.get_subscription_count() > 0 for publisher in self._images)

    @property
    def odometry_heard(self) -> bool:
        """Whether somebody listens to the wheels."""
        return self._odometry is not None and self._odometry.get_subscription_count() > 0

    def clock(self, stamp_ns: int) -> None:
        """Publish the time."""
        self._clock.publish(Clock(clock=stamp_from_ns(stamp_ns)))

    def robot(self, stamp_ns: int, odom_T_base: Array, wheels: PlanarTwist, world_T_base: Array, twist: PlanarTwist) -> None:
        """Publish what the wheels tell, and the truth. Covariances of zeros mean, as everywhere in ROS, that they are unknown."""
        settings = self._settings
        self._truth.publish(
            odometry_to_ros(
                stamp_ns, settings.truth_frame, settings.truth_child_frame, world_T_base, _UNKNOWN, _six(twist), _UNKNOWN
            )
        )
        if self._odometry is not None:
            self._odometry.publish(
                odometry_to_ros(stamp_ns, settings.odom_frame, settings.base_frame, odom_T_base, _UNKNOWN, _six(wheels), _UNKNOWN)
            )

    def frame(self, frame: StereoFrame, camera: StereoCamera) -> None:
        """Publish camera_info and images: what explains an image comes before it."""
        frame_id = self._settings.frame_id
        for publisher, info in zip(self._infos, camera_info(camera, frame.stamp_ns, frame_id), strict=True):
            publisher.publish(info)
        assert frame.right is not None  # a simulated pair
        for publisher, image in zip(self._images, (frame.left, frame.right), strict=True):
            publisher.publish(image_to_ros(image, header(frame.stamp_ns, frame_id)))

    def close(self) -> None:
        """Take the topics away."""
        for publisher in (*self._images, *self._infos, self._odometry, self._truth, self._clock):
            if publisher is not None:
                self._node.destroy_publisher(publisher)


def _six(twist: PlanarTwist) -> Array:
    return np.array([twist.linear, 0.0, 0.0, 0.0, 0.0, twist.angular])
