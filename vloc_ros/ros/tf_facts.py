"""What tf says of where the camera is, where a tf package is installed; else only whether anybody publishes tf."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from vloc_ros.diagnosis import TfFacts
from vloc_ros.errors import DataError
from vloc_ros.geometry import se3
from vloc_ros.ros.importing import importable
from vloc_ros.ros.qos import latched, reliable

Array = NDArray[np.float64]
_TOPICS = ("/tf", "/tf_static")


class TfListener:
    """Collects transforms while it is open; close it when they are known, as ``/tf`` can be busy."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._transforms: dict[tuple[str, str], Array] = {}
        self._subscriptions: list[Any] = []
        self.readable = importable("tf2_msgs.msg")
        if self.readable:
            from tf2_msgs.msg import TFMessage

            profiles = (reliable(100), latched(100))
            self._subscriptions = [
                node.create_subscription(TFMessage, topic, self._take, profile)
                for topic, profile in zip(_TOPICS, profiles, strict=True)
            ]

    def _take(self, message: Any) -> None:
        for stamped in message.transforms:
            rotation, translation = stamped.transform.rotation, stamped.transform.translation
            quaternion = np.array([rotation.x, rotation.y, rotation.z, rotation.w])
            try:
                pose = _pose(np.array([translation.x, translation.y, translation.z]), quaternion)
            except DataError as error:
                self._node.get_logger().warning(
                    f"tf from {stamped.header.frame_id} to {stamped.child_frame_id}: {error}", once=True
                )
                continue
            self._transforms[stamped.header.frame_id.lstrip("/"), stamped.child_frame_id.lstrip("/")] = pose

    def facts(self, base: str, camera: str, mount: Array | None) -> TfFacts:
        """What is known by now.

        Args:
            base: frame of the robot.
            camera: frame named in the headers of the images.
            mount: (4, 4) ``base_T_camera`` as configured; None when that was left at its default.
        """
        own = (self._node.get_name(), self._node.get_namespace())
        infos = [info for topic in _TOPICS for info in self._node.get_publishers_info_by_topic(topic)]
        others = sum((info.node_name, info.node_namespace) != own for info in infos)
        return TfFacts(base, camera.lstrip("/"), mount, dict(self._transforms) if self.readable else None, others)

    def close(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []


def _pose(translation: Array, xyzw: Array) -> Array:
    length = float(np.linalg.norm(xyzw))
    if not np.isfinite(length) or length < 0.5 or not np.all(np.isfinite(translation)):
        raise DataError("it is no rigid transform, and is not used")
    return se3.from_quaternion(translation, xyzw / length)
