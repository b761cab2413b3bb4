"""Why nothing arrives on a topic, in one sentence."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy


def describe_silence(node: Node, topic: str, profile: QoSProfile, seconds: float) -> str:
    """What is known of a topic from which nothing has come for some seconds: nobody publishes it, or the QoS does not fit."""
    name = node.resolve_topic_name(topic)
    publishers = node.get_publishers_info_by_topic(name)
    if not publishers:
        near = _similar(node, name)
        hint = f"is it {near}?" if near else "start the camera, or check the remapping"
        return f"nothing has come on {name} for {seconds:g} s: nobody publishes it; {hint}"
    if profile.reliability == ReliabilityPolicy.RELIABLE:
        unreliable = [info for info in publishers if info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT]
        if len(unreliable) == len(publishers):
            return f"nothing has come on {name} for {seconds:g} s: it is published best effort; set qos.reliability to best_effort"
    return f"nothing has come on {name} for {seconds:g} s, although {len(publishers)} node(s) publish it; does the camera work?"


def _similar(node: Node, name: str) -> str:
    """Published topics that end alike."""
    last = name.rsplit("/", 1)[-1]
    found = [topic for topic, _ in node.get_topic_names_and_types() if topic != name and topic.endswith("/" + last)]
    return " or ".join([topic for topic in found if node.count_publishers(topic) > 0][:3])
