"""The transforms map -> odom -> base (REP-105) on ``/tf``, where a tf package is installed."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.node import Node

from vloc_ros.geometry import se3
from vloc_ros.ros.conversions import transform_to_ros
from vloc_ros.ros.importing import importable
from vloc_ros.ros.node_settings import FrameSettings
from vloc_ros.ros.qos import reliable

Array = NDArray[np.float64]
_log = logging.getLogger(__name__)


class TransformSender:
    """Broadcasts TransformStamped messages: by tf2_ros, or else by tf2_msgs alone, or not at all."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher: Any = None
        self._broadcaster: Any = None
        if importable("tf2_ros"):
            from tf2_ros import TransformBroadcaster

            self._broadcaster = TransformBroadcaster(node)
        elif importable("tf2_msgs.msg"):
            from tf2_msgs.msg import TFMessage

            self._publisher = node.create_publisher(TFMessage, "/tf", reliable(100))
        else:
            _log.warning(
                "neither tf2_ros nor tf2_msgs is installed: no tf is broadcast (the topics odometry and pose say the same)"
            )

    def send(self, transforms: list[TransformStamped]) -> None:
        """Broadcast."""
        if self._broadcaster is not None:
            self._broadcaster.sendTransform(transforms)
        elif self._publisher is not None:
            from tf2_msgs.msg import TFMessage

            self._publisher.publish(TFMessage(transforms=transforms))

    def close(self) -> None:
        """Take the topic away."""
        publisher = self._publisher if self._broadcaster is None else getattr(self._broadcaster, "pub_tf", None)
        if publisher is not None:
            self._node.destroy_publisher(publisher)


class FrameBroadcaster:
    """Broadcasts odom -> base with every odometry, and map -> odom with every believed pose, at the stamp of the image."""

    def __init__(self, node: Node, frames: FrameSettings) -> None:
        self._frames = frames
        self._sender = TransformSender(node)

    def send(self, stamp_ns: int, odom_T_base: Array | None, map_T_base: Array | None) -> None:
        """Broadcast what is known at a stamp; nothing is sent for what is None."""
        if odom_T_base is None:
            return
        transforms = [transform_to_ros(stamp_ns, self._frames.odom, self._frames.base, odom_T_base)]
        if map_T_base is not None:
            map_T_odom = map_T_base @ se3.inverse(odom_T_base)
            transforms.append(transform_to_ros(stamp_ns, self._frames.map, self._frames.odom, map_T_odom))
        self._sender.send(transforms)

    def close(self) -> None:
        """Take the topic away."""
        self._sender.close()
