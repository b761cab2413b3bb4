"""From the messages that the pose_graph node hears to keyframes and candidates."""

from __future__ import annotations

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from numpy.typing import NDArray

from vloc_ros.errors import DataError
from vloc_ros.mapping import KeyframeId
from vloc_ros.pose_graph.intake import Rejection, Rejections
from vloc_ros.ros.conversions import covariance_from_ros, pose_from_ros, stamp_to_ns
from vloc_ros.ros.node_settings import Mode
from vloc_ros.ros.pose_graph_map import number_of

Array = NDArray[np.float64]


def to_keyframe(message: Odometry, rejections: Rejections) -> tuple[KeyframeId, int, Array] | None:
    """Name, stamp [ns] and (4, 4) ``map_T_base`` of a keyframe; None (and counted) when its pose is not one.

    Raises:
        MapError: child_frame_id is not the name of a keyframe.
    """
    id = KeyframeId.parse(message.child_frame_id)
    try:
        return id, stamp_to_ns(message.header.stamp), pose_from_ros(message.pose.pose)
    except DataError:
        rejections.add(Rejection.NOT_FINITE, number_of(id), number_of(id))
        return None


def to_candidate(message: Odometry, rejections: Rejections) -> tuple[KeyframeId, KeyframeId, Array, Array] | None:
    """Keyframes a (frame_id) and b (child_frame_id), (4, 4) ``a_T_b`` and its (6, 6) covariance; None as above.

    Raises:
        MapError: a frame is not the name of a keyframe.
    """
    a, b = KeyframeId.parse(message.header.frame_id), KeyframeId.parse(message.child_frame_id)
    try:
        a_T_b = pose_from_ros(message.pose.pose)
    except DataError:
        rejections.add(Rejection.NOT_FINITE, number_of(a), number_of(b))
        return None
    if not np.all(np.isfinite(message.pose.covariance)):
        rejections.add(Rejection.NOT_FINITE, number_of(a), number_of(b))
        return None
    try:
        return a, b, a_T_b, covariance_from_ros(a_T_b, message.pose.covariance)
    except DataError:
        rejections.add(Rejection.INDEFINITE_COVARIANCE, number_of(a), number_of(b))
        return None


def teaches(state: DiagnosticStatus) -> bool:
    """Whether the state of a localization node says that it is teaching."""
    return any(pair.key == "mode" and pair.value == Mode.TEACH.value for pair in state.values)
