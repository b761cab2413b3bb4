"""A process beside the node, to be killed: ``fault_peer.py camera FILE.npz`` publishes, ``fault_peer.py listener`` subscribes.

The camera goes to and fro along the poses of the file; the last three digits of a stamp [ns] say which pose it is of.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from ros_samples import CAMERA
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from vloc_ros.ros import qos
from vloc_ros.ros.camera_info import camera_info
from vloc_ros.ros.conversions import header
from vloc_ros.ros.images import image_to_ros

SIDES = ("left", "right")


def film(node: Node, file: str) -> None:
    """Publish for ever."""
    with np.load(file) as stored:
        views = stored["views"]
    images = {side: node.create_publisher(Image, f"{side}/image_rect", qos.reliable(20)) for side in SIDES}
    infos = {side: node.create_publisher(CameraInfo, f"{side}/camera_info", qos.reliable()) for side in SIDES}
    lap = [*range(len(views)), *range(len(views) - 2, 0, -1)]
    shown = 0
    while True:
        index, shown = lap[shown % len(lap)], shown + 1
        stamp_ns = time.time_ns() // 1000 * 1000 + index
        for side, info, image in zip(SIDES, camera_info(CAMERA, stamp_ns, "camera"), views[index], strict=True):
            infos[side].publish(info)
            images[side].publish(image_to_ros(image, header(stamp_ns, "camera")))
        time.sleep(0.1)


def listen(node: Node) -> None:
    """Hear everything that the node and the camera publish, and say so once."""
    heard: set[str] = set()

    def take(topic: str, _message: Any) -> None:
        if topic not in heard:
            heard.add(topic)
            sys.stdout.write(f"heard {topic}\n")
            sys.stdout.flush()

    topics = {"pose": PoseWithCovarianceStamped, "processed": Header, "/diagnostics": DiagnosticArray, "matches/image": Image}
    for topic, kind in {**topics, "left/image_rect": Image}.items():
        node.create_subscription(kind, topic, lambda message, topic=topic: take(topic, message), qos.reliable(20))
    rclpy.spin(node)


if __name__ == "__main__":
    rclpy.init()
    own = rclpy.create_node(f"peer_{sys.argv[1]}")
    if sys.argv[1] == "camera":
        film(own, sys.argv[2])
    else:
        listen(own)
