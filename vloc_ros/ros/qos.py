"""Quality-of-service profiles by purpose."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from vloc_ros.ros.node_settings import QosSettings, Reliability

KEYFRAMES_KEPT = 5000
"""Keyframes that nodes which start later are still told of: about 700 bytes each."""
CANDIDATES_KEPT = 2000
"""Candidates for loop closures, likewise."""


def sensor(node: Node, topics: Sequence[str], settings: QosSettings) -> QoSProfile:
    """Camera topics: few messages kept, best effort or reliable as the settings say (SENSOR_DATA with another depth).

    ``auto`` follows the publishers of the topics known at this moment. An image of some 100 kB crosses the wire in pieces, and
    best effort loses all of it with one of them; so reliable is taken when every publisher offers it.
    """
    reliability = settings.reliability
    if reliability is Reliability.AUTO:
        publishers = [info for topic in topics for info in node.get_publishers_info_by_topic(node.resolve_topic_name(topic))]
        offered = {info.qos_profile.reliability for info in publishers}
        reliability = Reliability.RELIABLE if offered == {ReliabilityPolicy.RELIABLE} else Reliability.BEST_EFFORT
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=settings.depth,
        reliability=ReliabilityPolicy.RELIABLE if reliability is Reliability.RELIABLE else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )


def reliable(depth: int = 10) -> QoSProfile:
    """Results and small topics: delivered in order."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def latched(depth: int = 1) -> QoSProfile:
    """The last messages are delivered to subscribers that come later."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def clock() -> QoSProfile:
    """``/clock``: as rclpy and rosbag2 have it, the newest instant only."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )
