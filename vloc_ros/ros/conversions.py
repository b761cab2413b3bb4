"""Between ROS messages and 4x4 transforms with covariances.

Our covariance is that of the right perturbation ``xi = (rho, phi)``, ``a_T_b @ exp(xi)``: seen in frame b. ROS's is that
of (x, y, z, rotation about fixed axes x, y, z), all seen in the header's frame a (geometry_msgs/PoseWithCovariance). To first
order ``a_T_b @ exp(xi)`` moves the position by ``R rho`` and turns the orientation by ``R phi`` about the axes of a, so the
conversion is the rotation of both halves. It is not the adjoint: ROS perturbs the position itself, not the frame about its
origin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseStamped,
    PoseWithCovarianceStamped,
    Quaternion,
    Transform,
    TransformStamped,
    Vector3,
)
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from vloc_ros.errors import DataError
from vloc_ros.geometry import se3

Array = NDArray[np.float64]
_NS = 1_000_000_000
_FIRST_NS, _LAST_NS = -(2**31) * _NS, 2**31 * _NS - 1
_FARTHEST_M, _LARGEST_QUATERNION = 1e9, 1e6
"""No robot is so far from its origin; and what is larger would overflow where it is squared."""
_MOST_VARIANCE = _FARTHEST_M**2
_ROUNDING = 1e-6
"""Of the largest element of a covariance: so far it may be from symmetric, and an eigenvalue below zero."""


def stamp_to_ns(stamp: Any) -> int:
    """builtin_interfaces/Time to integer nanoseconds."""
    return int(stamp.sec) * _NS + int(stamp.nanosec)


def stamp_from_ns(stamp_ns: int) -> Time:
    """Integer nanoseconds to builtin_interfaces/Time: 32-bit seconds, so what lies beyond 1901 or 2038 becomes that."""
    seconds, nanoseconds = divmod(min(max(int(stamp_ns), _FIRST_NS), _LAST_NS), _NS)
    return Time(sec=seconds, nanosec=nanoseconds)


def header(stamp_ns: int, frame_id: str) -> Header:
    """A header."""
    return Header(stamp=stamp_from_ns(stamp_ns), frame_id=frame_id)


def _rotation_twice(a_T_b: Array) -> Array:
    both = np.zeros((6, 6))
    both[:3, :3] = both[3:, 3:] = a_T_b[:3, :3]
    return both


def covariance_to_ros(a_T_b: Array, covariance: Array) -> Array:
    """(36,) ROS covariance of the pose ``a_T_b`` from our (6, 6) covariance."""
    both = _rotation_twice(a_T_b)
    return np.asarray(both @ covariance @ both.T).reshape(36)


def covariance_from_ros(a_T_b: Array, values: Any) -> Array:
    """Our (6, 6) covariance from the 36 numbers of a ROS message; a variance may be zero.

    Raises:
        DataError: the numbers are no covariance.
    """
    both = _rotation_twice(a_T_b)
    return np.asarray(both.T @ checked_covariance(values) @ both)


def checked_covariance(values: Any) -> Array:
    """(6, 6) covariance of 36 numbers, as they are.

    Raises:
        DataError: they are not finite, far too large, not symmetric, or have a negative variance.
    """
    given = np.asarray(values, dtype=np.float64).reshape(6, 6)
    if not np.all(np.isfinite(given)) or np.max(np.abs(given)) > _MOST_VARIANCE:
        raise DataError("the covariance of a pose message holds values that are not numbers, or are far too large")
    scale = _ROUNDING * np.max(np.abs(given))
    if np.max(np.abs(given - given.T)) > scale or np.linalg.eigvalsh(given)[0] < -scale:
        raise DataError("the covariance of a pose message is not symmetric, or has a negative variance")
    return given


def pose_to_ros(a_T_b: Array) -> Pose:
    """(4, 4) transform to Pose."""
    x, y, z, w = se3.quaternion(a_T_b).tolist()
    px, py, pz = a_T_b[:3, 3].tolist()
    return Pose(position=Point(x=px, y=py, z=pz), orientation=Quaternion(x=x, y=y, z=z, w=w))


def pose_from_ros(pose: Pose) -> Array:
    """Pose to (4, 4) transform.

    Raises:
        DataError: a number is not finite or far too large, or the quaternion has no length.
    """
    position = np.array([pose.position.x, pose.position.y, pose.position.z])
    rotation = np.array([pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w])
    if not (np.all(np.isfinite(position)) and np.all(np.isfinite(rotation))):
        raise DataError("a pose message holds values that are not numbers, or a quaternion of zeros")
    if np.max(np.abs(position)) > _FARTHEST_M or np.max(np.abs(rotation)) > _LARGEST_QUATERNION:
        raise DataError(f"a pose message holds a position beyond {_FARTHEST_M:g} m, or a quaternion far from length one")
    if np.linalg.norm(rotation) < 1e-6:
        raise DataError("a pose message holds values that are not numbers, or a quaternion of zeros")
    return se3.from_quaternion(position, rotation)


def transform_to_ros(stamp_ns: int, a: str, b: str, a_T_b: Array) -> TransformStamped:
    """(4, 4) transform to TransformStamped: tf's parent a, child b."""
    x, y, z, w = se3.quaternion(a_T_b).tolist()
    px, py, pz = a_T_b[:3, 3].tolist()
    transform = Transform(translation=Vector3(x=px, y=py, z=pz), rotation=Quaternion(x=x, y=y, z=z, w=w))
    return TransformStamped(header=header(stamp_ns, a), child_frame_id=b, transform=transform)


def odometry_to_ros(
    stamp_ns: int,
    a: str,
    b: str,
    a_T_b: Array,
    covariance: Array,
    twist: Array | None = None,
    twist_covariance: Array | None = None,
) -> Odometry:
    """Odometry: pose of b in a, and the (6,) twist (linear [m/s], angular [rad/s]) of b in b with its (6, 6) covariance."""
    message = Odometry(header=header(stamp_ns, a), child_frame_id=b)
    message.pose.pose = pose_to_ros(a_T_b)
    message.pose.covariance = covariance_to_ros(a_T_b, covariance)
    if twist is not None and twist_covariance is not None:
        linear, angular = twist[:3].tolist(), twist[3:].tolist()
        message.twist.twist.linear = Vector3(x=linear[0], y=linear[1], z=linear[2])
        message.twist.twist.angular = Vector3(x=angular[0], y=angular[1], z=angular[2])
        message.twist.covariance = np.asarray(twist_covariance, dtype=np.float64).reshape(36)
    return message


def pose_with_covariance_to_ros(stamp_ns: int, a: str, a_T_b: Array, covariance: Array) -> PoseWithCovarianceStamped:
    """PoseWithCovarianceStamped of b in a."""
    message = PoseWithCovarianceStamped(header=header(stamp_ns, a))
    message.pose.pose = pose_to_ros(a_T_b)
    message.pose.covariance = covariance_to_ros(a_T_b, covariance)
    return message


def pose_with_covariance_from_ros(message: PoseWithCovarianceStamped) -> tuple[Array, Array]:
    """(4, 4) pose and our (6, 6) covariance.

    Raises:
        DataError: a number is not finite or far too large, the quaternion has no length, or the covariance is none.
    """
    a_T_b = pose_from_ros(message.pose.pose)
    return a_T_b, covariance_from_ros(a_T_b, message.pose.covariance)


def path_to_ros(stamp_ns: int, frame: str, stamps_ns: list[int], poses: list[Array]) -> Path:
    """Path through poses given in ``frame``."""
    if len(stamps_ns) != len(poses):
        raise ValueError(f"a path of {len(poses)} poses needs as many stamps, not {len(stamps_ns)}")
    if not poses:
        return Path(header=header(stamp_ns, frame))
    # All rotations at once: one by one they take most of the time of a long path.
    every = np.asarray(poses)
    rotations = np.asarray(Rotation.from_matrix(every[:, :3, :3]).as_quat())
    rotations = np.where(rotations[:, 3:] < 0.0, -rotations, rotations)
    entries = []
    for stamp, (px, py, pz), (x, y, z, w) in zip(stamps_ns, every[:, :3, 3].tolist(), rotations.tolist(), strict=True):
        pose = Pose(position=Point(x=px, y=py, z=pz), orientation=Quaternion(x=x, y=y, z=z, w=w))
        entries.append(PoseStamped(header=header(stamp, frame), pose=pose))
    return Path(header=header(stamp_ns, frame), poses=entries)
