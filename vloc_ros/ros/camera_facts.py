"""From the graph and the messages of ROS to the facts that the checks of :mod:`vloc_ros.diagnosis` look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from vloc_ros.diagnosis import CameraInfoFacts, ClockFacts, Publisher, Qos, TopicFacts


def topic_facts(
    node: Node, kind: Any, topic: str, profile: QoSProfile, silent_s: float, patience_s: float, heard: int
) -> TopicFacts:
    """What the graph knows of a topic that a node subscribes to.

    Args:
        node: who subscribes.
        kind: class of the messages.
        topic: before remapping.
        profile: of the subscription.
        silent_s: how long nothing has come although something should have [s].
        patience_s: silence of so long is worth a word [s].
        heard: messages that have come.
    """
    name = node.resolve_topic_name(topic)
    publishers = tuple(
        Publisher(_node_name(info), qos_facts(info.qos_profile), info.topic_type)
        for info in node.get_publishers_info_by_topic(name)
    )
    alike = () if publishers else tuple(_alike(node, name))
    return TopicFacts(name, type_name(kind), qos_facts(profile), publishers, alike, silent_s, patience_s, heard)


def qos_facts(profile: QoSProfile) -> Qos:
    """The policies that decide whether a publisher is heard."""
    return Qos(
        reliable=profile.reliability == ReliabilityPolicy.RELIABLE,
        latched=profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
    )


def type_name(kind: Any) -> str:
    """``sensor_msgs/msg/Image`` of a message class."""
    package, room, *_ = kind.__module__.split(".")
    return f"{package}/{room}/{kind.__name__}"


def camera_info_facts(message: CameraInfo) -> CameraInfoFacts:
    """One camera_info message."""
    roi = message.roi
    return CameraInfoFacts(
        message.width,
        message.height,
        np.asarray(message.k, dtype=np.float64).reshape(3, 3),
        np.asarray(message.d, dtype=np.float64),
        np.asarray(message.p, dtype=np.float64).reshape(3, 4),
        (message.binning_x, message.binning_y),
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def clock_facts(node: Node) -> ClockFacts:
    """The clock of a node."""
    use_sim_time = bool(node.get_parameter("use_sim_time").value)
    return ClockFacts(use_sim_time, node.get_clock().now().nanoseconds, node.count_publishers("/clock"))


def _node_name(info: Any) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def _alike(node: Node, name: str) -> list[str]:
    """Published topics that end alike."""
    last = name.rsplit("/", 1)[-1]
    found = [topic for topic, _ in node.get_topic_names_and_types() if topic != name and topic.endswith("/" + last)]
    return [topic for topic in found if node.count_publishers(topic) > 0]
