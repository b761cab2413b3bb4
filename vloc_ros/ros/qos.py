"""Quality-of-service profiles by purpose."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from vloc_ros.ros.node_settings import QosSettings, Reliability

_RELIABILITY = {Reliability.BEST_EFFORT: ReliabilityPolicy.BEST_EFFORT, Reliability.RELIABLE: ReliabilityPolicy.RELIABLE}


def sensor(settings: QosSettings) -> QoSProfile:
    """Camera topics: few messages kept, best effort unless told otherwise (the profile SENSOR_DATA with another depth)."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=settings.depth,
        reliability=_RELIABILITY[settings.reliability],
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
