"""Bags of ROS 1 and ROS 2 with a known camera, for the tests of the bag reader."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from data_samples import CAMERA, texture
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

SECOND = 1_000_000_000
KINDS = ("bag", "db3", "mcap")


@cache
def _store(ros1: bool) -> Any:
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)
    if "tf2_msgs/msg/TFMessage" not in store.fielddefs:
        store.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage"))
    return store


@dataclass
class BagBuilder:
    """Collects messages and writes them as a ROS 1 bag, a ROS 2 sqlite bag or a ROS 2 mcap bag."""

    kind: str
    messages: list[tuple[str, str, int, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = _store(self.kind == "bag")

    def make(self, kind: str, **fields: Any) -> Any:
        return self.store.types[kind](**fields)

    def header(self, stamp: int, frame: str = "cam") -> Any:
        time = self.make("builtin_interfaces/msg/Time", sec=stamp // SECOND, nanosec=stamp % SECOND)
        extra = {"seq": 0} if self.kind == "bag" else {}
        return self.make("std_msgs/msg/Header", stamp=time, frame_id=frame, **extra)

    def add(self, topic: str, kind: str, log_ns: int, message: Any) -> None:
        self.messages.append((topic, kind, log_ns, message))

    def image(self, topic: str, stamp: int, image: np.ndarray, encoding: str, *, log_ns: int | None = None, **changes: Any) -> None:
        """An Image; ``changes`` replace fields of the message (step, data, is_bigendian, ...)."""
        data = np.ascontiguousarray(image).reshape(-1).view(np.uint8)
        values: dict[str, Any] = {
            "height": image.shape[0],
            "width": image.shape[1],
            "encoding": encoding,
            "is_bigendian": 0,
            "step": data.size // image.shape[0],
            "data": data,
        }
        message = self.make("sensor_msgs/msg/Image", header=self.header(stamp), **(values | changes))
        self.add(topic, "sensor_msgs/msg/Image", stamp if log_ns is None else log_ns, message)

    def compressed(self, topic: str, stamp: int, format: str, data: np.ndarray) -> None:
        message = self.make("sensor_msgs/msg/CompressedImage", header=self.header(stamp), format=format, data=data)
        self.add(topic, "sensor_msgs/msg/CompressedImage", stamp, message)

    def info(self, topic: str, P: np.ndarray, **changes: Any) -> None:
        """A CameraInfo, of CAMERA's size and rectified unless changed (d, k, r, p, width, height, distortion_model)."""
        roi = self.make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        matrices = {"d": np.zeros(5), "k": P[:, :3].reshape(9), "r": np.eye(3).reshape(9), "p": P.reshape(12)}
        matrices = {name: np.asarray(changes.pop(name, value), dtype=np.float64) for name, value in matrices.items()}
        if self.kind == "bag":
            matrices = {name.upper(): value for name, value in matrices.items()}
        values: dict[str, Any] = {"height": CAMERA.height, "width": CAMERA.width, "distortion_model": "plumb_bob"} | changes
        message = self.make(
            "sensor_msgs/msg/CameraInfo", header=self.header(0), binning_x=0, binning_y=0, roi=roi, **values, **matrices
        )
        self.add(topic, "sensor_msgs/msg/CameraInfo", 5, message)

    def stereo_infos(self, left: str = "/stereo/left", right: str = "/stereo/right", **changes: Any) -> None:
        P_left, P_right = CAMERA.projection_matrices
        self.info(f"{left}/camera_info", P_left, **changes)
        self.info(f"{right}/camera_info", P_right, **changes)

    def transform(self, parent: str, child: str, translation: tuple[float, float, float], xyzw: tuple[float, ...]) -> Any:
        x, y, z = translation
        body = self.make(
            "geometry_msgs/msg/Transform",
            translation=self.make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
            rotation=self.make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", xyzw, strict=True))),
        )
        return self.make("geometry_msgs/msg/TransformStamped", header=self.header(0, parent), child_frame_id=child, transform=body)

    def tf_static(self, *transforms: Any) -> None:
        self.add("/tf_static", "tf2_msgs/msg/TFMessage", 1, self.make("tf2_msgs/msg/TFMessage", transforms=list(transforms)))

    def write(self, path: Path) -> Path:
        """Write the messages in the order of their time of recording."""
        ordered = sorted(self.messages, key=lambda message: message[2])
        if self.kind == "bag":
            path = path.with_suffix(".bag")
            with Writer1(path) as writer1:
                connections = {
                    t: writer1.add_connection(t, k, typestore=self.store) for t, k in {m[0]: m[1] for m in ordered}.items()
                }
                for topic, kind, log_ns, message in ordered:
                    writer1.write(connections[topic], log_ns, self.store.serialize_ros1(message, kind))
            return path
        plugin = StoragePlugin.MCAP if self.kind == "mcap" else StoragePlugin.SQLITE3
        with Writer2(path, version=8, storage_plugin=plugin) as writer2:
            connections2 = {t: writer2.add_connection(t, k, typestore=self.store) for t, k in {m[0]: m[1] for m in ordered}.items()}
            for topic, kind, log_ns, message in ordered:
                writer2.write(connections2[topic], log_ns, self.store.serialize_cdr(message, kind))
        return path


LEFT, RIGHT = "/stereo/left/image_rect", "/stereo/right/image_rect"


def stereo_bag(kind: str, count: int = 4, right_late_ns: int = 0, log_step_ns: int = SECOND // 10) -> BagBuilder:
    """Grey pairs at 10 Hz with their camera_info."""
    builder = BagBuilder(kind)
    builder.stereo_infos()
    for k in range(count):
        stamp = 100 * SECOND + k * SECOND // 10
        builder.image(LEFT, stamp, texture(2 * k), "mono8", log_ns=10 * SECOND + k * log_step_ns)
        builder.image(RIGHT, stamp + right_late_ns, texture(2 * k + 1), "mono8", log_ns=10 * SECOND + k * log_step_ns + 1000)
    return builder


def one_pair(builder: BagBuilder, image: np.ndarray, encoding: str, **changes: Any) -> BagBuilder:
    """One image on both sides."""
    builder.stereo_infos()
    builder.image(LEFT, SECOND, image, encoding, **changes)
    builder.image(RIGHT, SECOND, image, encoding, **changes)
    return builder
