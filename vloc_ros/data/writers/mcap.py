"""ROS 2 bag (mcap) with images, camera_info, ground truth and the place of the camera on the robot."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError
from rosbags.typesys import Stores, get_typestore

from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.writers.selection import Selection
from vloc_ros.errors import DataError
from vloc_ros.geometry.se3 import inverse, quaternion

CAMERA_FRAME = "camera_left_optical"
BASE_FRAME = "base_link"
WORLD_FRAME = "map"
_FOREVER = QosTime(2147483647, 4294967295)
_LATCHED = Qos(
    QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL,
    _FOREVER, _FOREVER, QosLiveliness.SYSTEM_DEFAULT, _FOREVER, False,
)  # fmt: skip
# The oldest distribution in use: its message definitions are the same in all later ones.
_STORE = get_typestore(Stores.ROS2_HUMBLE)


def write(selection: Selection, folder: Path) -> None:
    """Write the chosen frames as ``left/image_rect`` and ``right/image_rect`` (or ``depth/image_rect``), with camera_info.

    Truth becomes Odometry of ``base_link`` on ``ground_truth/odometry``. Messages are recorded in the order of the frames;
    where stamps do not grow, the time of recording does, by a nanosecond.

    Raises:
        DataError: the recording mixes stereo and RGB-D, a stamp is negative, or it cannot be written.
    """
    if selection.stamps_ns.min() < 0:
        raise DataError("a stamp is negative, which ROS cannot express; shift the stamps first")
    bag = folder / "recording"
    try:
        # Version 8 of the metadata is the newest that Humble and Jazzy read.
        with Writer(bag, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            _write_messages(selection, _Topics(writer))
    except WriterError as error:
        raise DataError(f"cannot write the bag: {error}") from error
    for file in sorted(bag.iterdir()):
        file.replace(folder / file.name)
    bag.rmdir()


class _Topics:
    """Connections of a bag, made when first written to."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._connections: dict[str, Any] = {}

    def write(self, topic: str, kind: str, log_ns: int, message: Any, qos: Sequence[Qos] = ()) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=_STORE, offered_qos_profiles=qos)
        self._writer.write(self._connections[topic], log_ns, _STORE.serialize_cdr(message, kind))


def _write_messages(selection: Selection, topics: _Topics) -> None:
    truth = _odometry(selection)
    log_ns = int(selection.stamps_ns[0]) - 1
    for number, frame in selection.frames():
        stamp = int(selection.stamps_ns[number])
        log_ns = max(log_ns + 1, stamp)
        if number == 0:
            topics.write("/tf_static", "tf2_msgs/msg/TFMessage", log_ns, _tf_static(selection, stamp), [_LATCHED])
        while truth and truth[0][0] <= stamp:
            topics.write("/ground_truth/odometry", "nav_msgs/msg/Odometry", *truth.popleft())
        _write_frame(selection, topics, stamp, log_ns, frame)
    for when, message in truth:
        topics.write("/ground_truth/odometry", "nav_msgs/msg/Odometry", when, message)


def _write_frame(selection: Selection, topics: _Topics, stamp: int, log_ns: int, frame: StereoFrame) -> None:
    P_left, P_right = selection.camera.projection_matrices
    second: tuple[str, NDArray[Any]] = ("right", frame.right) if frame.right is not None else ("depth", np.asarray(frame.depth))
    for side, image, P in (("left", frame.left, P_left), (*second, P_right if second[0] == "right" else P_left)):
        header = _header(stamp, CAMERA_FRAME)
        topics.write(f"/{side}/camera_info", "sensor_msgs/msg/CameraInfo", log_ns, _camera_info(header, selection, P))
        topics.write(f"/{side}/image_rect", "sensor_msgs/msg/Image", log_ns, _image(header, image))


def _make(kind: str, **fields: Any) -> Any:
    return _STORE.types[kind](**fields)


def _header(stamp: int, frame: str) -> Any:
    time = _make("builtin_interfaces/msg/Time", sec=stamp // 1_000_000_000, nanosec=stamp % 1_000_000_000)
    return _make("std_msgs/msg/Header", stamp=time, frame_id=frame)


def _image(header: Any, image: NDArray[Any]) -> Any:
    encoding = "32FC1" if image.dtype == np.float32 else ("mono8" if image.ndim == 2 else "rgb8")
    height, width = image.shape[:2]
    data = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    return _make(
        "sensor_msgs/msg/Image", header=header, height=height, width=width, encoding=encoding, is_bigendian=0,
        step=data.size // height, data=data,
    )  # fmt: skip


def _camera_info(header: Any, selection: Selection, P: NDArray[np.float64]) -> Any:
    camera = selection.camera
    roi = _make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return _make(
        "sensor_msgs/msg/CameraInfo", header=header, height=camera.height, width=camera.width, distortion_model="plumb_bob",
        d=np.zeros(5), k=camera.matrix.reshape(9), r=np.eye(3).reshape(9), p=np.asarray(P, dtype=np.float64).reshape(12),
        binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def _tf_static(selection: Selection, stamp: int) -> Any:
    pose = np.asarray(selection.base_T_camera)
    x, y, z = (float(value) for value in pose[:3, 3])
    transform = _make(
        "geometry_msgs/msg/Transform",
        translation=_make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
        rotation=_quaternion(pose),
    )
    stamped = _make(
        "geometry_msgs/msg/TransformStamped",
        header=_header(stamp, BASE_FRAME), child_frame_id=CAMERA_FRAME, transform=transform,
    )  # fmt: skip
    return _make("tf2_msgs/msg/TFMessage", transforms=[stamped])


def _odometry(selection: Selection) -> deque[tuple[int, Any]]:
    truth = selection.truth()
    if truth is None:
        return deque()
    camera_T_base = inverse(np.asarray(selection.base_T_camera))
    zero = SimpleNamespace(x=0.0, y=0.0, z=0.0)
    still = _make("geometry_msgs/msg/Twist", linear=zero, angular=zero)
    twist = _make("geometry_msgs/msg/TwistWithCovariance", twist=still, covariance=np.zeros(36))
    messages: deque[tuple[int, Any]] = deque()
    for stamp, world_T_camera in zip(truth.stamps_ns, truth.poses, strict=True):
        world_T_base = world_T_camera @ camera_T_base
        x, y, z = (float(value) for value in world_T_base[:3, 3])
        pose = _make(
            "geometry_msgs/msg/Pose",
            position=_make("geometry_msgs/msg/Point", x=x, y=y, z=z),
            orientation=_quaternion(world_T_base),
        )
        message = _make(
            "nav_msgs/msg/Odometry",
            header=_header(int(stamp), WORLD_FRAME), child_frame_id=BASE_FRAME,
            pose=_make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)), twist=twist,
        )  # fmt: skip
        messages.append((int(stamp), message))
    return messages


def _quaternion(pose: NDArray[np.float64]) -> Any:
    x, y, z, w = (float(value) for value in quaternion(pose))
    return _make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
