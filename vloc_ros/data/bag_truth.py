"""Ground truth and static frames of a bag."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.bag_source import BagSource, stamp_of, vector
from vloc_ros.data.reader import Trajectory
from vloc_ros.data.trajectory import increasing, poses_from_quaternions
from vloc_ros.geometry.se3 import inverse

_log = logging.getLogger(__name__)
_TOPICS = ("/tf_static", "tf_static")
Pose = NDArray[np.float64]


class StaticFrames:
    """The tree of ``/tf_static``."""

    def __init__(self, source: BagSource) -> None:
        """Read all transforms of a bag.

        Raises:
            DataError: the bag is damaged.
        """
        self._edges: dict[str, dict[str, Pose]] = {}
        for topic in _TOPICS:
            for message in source.messages(topic) if topic in source.types else ():
                for transform in message.transforms:
                    self._add(transform, f"{source.path}: {topic}")

    def _add(self, message: Any, source: str) -> None:
        parent, child = _frame(message.header.frame_id), _frame(message.child_frame_id)
        parent_T_child = _pose(message.transform.translation, message.transform.rotation, source)
        self._edges.setdefault(parent, {})[child] = parent_T_child
        self._edges.setdefault(child, {})[parent] = inverse(parent_T_child)

    def lookup(self, a: str, b: str) -> Pose | None:
        """``a_T_b``, or None when no chain of static transforms joins the two frames."""
        found: dict[str, Pose] = {a: np.eye(4)}
        queue = [a]
        while queue and b not in found:
            frame = queue.pop(0)
            for neighbour, frame_T_neighbour in self._edges.get(frame, {}).items():
                if neighbour not in found:
                    found[neighbour] = found[frame] @ frame_T_neighbour
                    queue.append(neighbour)
        return found.get(b)


def read_truth(source: BagSource, topic: str, frames: StaticFrames, camera_frame: str, base_T_camera: Pose) -> Trajectory:
    """world_T_camera from a topic of Odometry, PoseStamped, PoseWithCovarianceStamped or TransformStamped.

    Args:
        source: the bag.
        topic: the topic.
        frames: static transforms of the bag.
        camera_frame: frame of the left image.
        base_T_camera: used when the poses are not of a frame that leads to the camera.

    Raises:
        DataError: the bag is damaged, or a rotation is zero.
    """
    stamps, poses, child = [], [], ""
    for message in source.messages(topic):
        child = _frame(getattr(message, "child_frame_id", ""))
        stamps.append(stamp_of(message.header))
        poses.append(_world_pose(message, f"{source.path}: {topic}"))
    child_T_camera = frames.lookup(child, camera_frame) if child else None
    if child_T_camera is None:
        _log.info("%s: no static frames lead from '%s' to '%s'; taking the truth as that of the base", topic, child, camera_frame)
        child_T_camera = base_T_camera
    return increasing(stamps, np.array(poses).reshape(-1, 4, 4) @ child_T_camera)


def _world_pose(message: Any, source: str) -> Pose:
    if hasattr(message, "transform"):
        return _pose(message.transform.translation, message.transform.rotation, source)
    pose = message.pose.pose if hasattr(message.pose, "pose") else message.pose
    return _pose(pose.position, pose.orientation, source)


def _pose(translation: Any, rotation: Any, source: str) -> Pose:
    return np.asarray(poses_from_quaternions(vector(translation)[None], vector(rotation)[None], source)[0])


def _frame(name: Any) -> str:
    return str(name).lstrip("/")
