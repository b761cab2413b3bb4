"""A robot whose camera shows good frames to a node that is under fire, and who judges every pose that comes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import ros_samples as samples
from fuzzed_node import FuzzedNode, Target
from geometry_msgs.msg import PoseWithCovarianceStamped
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from vloc_ros.ros.camera_info import camera_info
from vloc_ros.ros.conversions import header, stamp_from_ns
from vloc_ros.ros.images import byte_array, image_to_ros

MS = 1_000_000
POSES = samples.walk(6, step=0.15)


def topics_of(setting: str) -> tuple[str, str]:
    """Of the images."""
    kind, packed = setting.split()[0], setting.endswith("compressed")
    names = ("left/image_rect", "right/image_rect") if kind == "stereo" else ("rgb/image_rect", "depth/image_rect")
    endings = ("/compressed", "/compressed" if kind == "stereo" else "/compressedDepth") if packed else ("", "")
    return names[0] + endings[0], names[1] + endings[1]


def compressed(image: np.ndarray, stamp_ns: int, format: str = "png", before: bytes = b"") -> CompressedImage:
    data = before + cv2.imencode(".png", image)[1].tobytes()
    return CompressedImage(header=header(stamp_ns, "camera"), format=format, data=byte_array(np.frombuffer(data, np.uint8)))


def views(pose: np.ndarray, stamp_ns: int, setting: str) -> dict[str, Any]:
    """The images of a camera of each kind, by topic."""
    stereo = setting.startswith("stereo")
    pictures = samples.pair(pose) if stereo else samples.render_with_depth(pose)
    if not setting.endswith("compressed"):
        made = [image_to_ros(picture, header(stamp_ns, "camera")) for picture in pictures]
    elif stereo:
        made = [compressed(picture, stamp_ns) for picture in pictures]
    else:
        millimetres = np.round(1000.0 * pictures[1]).astype(np.uint16)
        depth = compressed(millimetres, stamp_ns, "16UC1; compressedDepth png", bytes(12))
        made = [compressed(pictures[0], stamp_ns), depth]
    return dict(zip(topics_of(setting), made, strict=True))


class Robot:
    """Shows a node good frames, and judges every pose that it publishes."""

    def __init__(self, node: FuzzedNode, setting: str) -> None:
        self.node, self.setting, self.stamp_ns = node, setting, 10_000_000 * MS
        self.poses: list[PoseWithCovarianceStamped] = node.probe.listen(PoseWithCovarianceStamped, "pose")
        self.processed = node.probe.listen(Header, "processed")
        self.shown = 0
        left, right = camera_info(samples.CAMERA, 0, "camera")
        self.infos = {"left/camera_info": left, "right/camera_info": right} if "stereo" in setting else {"rgb/camera_info": left}

    def images(self) -> list[Target]:
        left, right = views(POSES[2], 5000 * MS, self.setting).items()
        return [Target(*left), Target(*right, with_stamp_of=left[0])]

    def calibrations(self) -> list[Target]:
        return [Target(topic, info) for topic, info in self.infos.items()]

    def calibrate(self) -> None:
        for topic, info in self.infos.items():
            self.node.publisher(topic, CameraInfo).publish(info)

    def wrong(self) -> list[Any]:
        """Published poses that are not at one of the places that were ever shown."""
        true = np.array([pose[2, 3] for pose in POSES])
        found = [message.pose.pose.position for message in self.poses]
        return [p for p in found if np.min(np.abs(true - p.x)) > 0.15 or abs(p.y) > 0.4 or abs(p.z) > 0.4]

    def _is_processed(self, stamp: Any) -> bool:
        """Whether a frame is answered; where time starts again, once for each side, one pair may be left without its partner."""
        try:
            self.node.probe.wait(lambda: any(h.stamp == stamp for h in self.processed), "the frame", 10.0)
        except AssertionError:
            return False
        return True

    def is_localised(self, frames: int = 15) -> None:
        """Good frames give a good pose."""
        self.calibrate()
        before = len(self.poses)
        for index in range(frames):
            self.stamp_ns += 100 * MS
            pose = POSES[1 + index % 4]
            for topic, message in views(pose, self.stamp_ns, self.setting).items():
                self.node.publisher(topic, type(message)).publish(message)
            if not self._is_processed(stamp_from_ns(self.stamp_ns)):
                continue
            right = [m for m in self.poses[before:] if abs(m.pose.pose.position.x - pose[2, 3]) < 0.05]
            if right and right[-1].header.stamp == stamp_from_ns(self.stamp_ns):
                return
        raise AssertionError(f"no good pose came: {self.node.said()}\n{self.node.tail()}")
