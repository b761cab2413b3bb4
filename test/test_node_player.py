"""The player: what it publishes is what the recording holds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import ros_samples as samples
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from vloc_ros.data import open_recording
from vloc_ros.geometry import se3
from vloc_ros.ros import qos
from vloc_ros.ros.camera_info import stereo_camera
from vloc_ros.ros.conversions import pose_from_ros, stamp_to_ns
from vloc_ros.ros.images import depth_from_ros, image_from_ros


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return samples.write_recording(tmp_path_factory.mktemp("recording") / "sequence", samples.walk(6))


def test_it_publishes_the_recording_at_its_pace(recording, tmp_path):
    environment = samples.ros_environment()
    reader = open_recording(recording)
    (recording / "image_1" / "000004.png").write_bytes((recording / "image_1" / "000004.png").read_bytes()[:500])
    with samples.probe(environment) as probe:
        left, right = probe.listen(Image, "left/image_rect"), probe.listen(Image, "right/image_rect")
        infos = probe.listen(CameraInfo, "left/camera_info"), probe.listen(CameraInfo, "right/camera_info")
        truth = probe.listen(Odometry, "ground_truth/odometry")
        clock: list[int] = []
        probe.node.create_subscription(Clock, "/clock", lambda message: clock.append(stamp_to_ns(message.clock)), qos.clock())
        parameters = {"source": str(recording), "start": 1, "rate": 0.5, "rectification": "off"}
        with samples.node("player", parameters, tmp_path, environment) as player:
            assert player.wait() == 0
            assert "4 of 5 frames published, 1 could not be read" in player.output
            assert "frame 4 was left out" in player.output
            assert "000004.png" in player.output
        probe.wait(lambda: len(right) >= 4, "the last image")
    played = [1, 2, 3, 5]
    assert [stamp_to_ns(message.header.stamp) for message in left] == [int(reader.stamps_ns[index]) for index in played]
    for message_left, message_right, index in zip(left, right, played, strict=True):
        np.testing.assert_array_equal(image_from_ros(message_left), reader.frame(index).left)
        np.testing.assert_array_equal(image_from_ros(message_right), reader.frame(index).right)
    assert stereo_camera(infos[0][-1], infos[1][-1]) == reader.camera
    for message, index in zip(truth, played, strict=True):
        world_T_camera = pose_from_ros(message.pose.pose) @ reader.base_T_camera
        np.testing.assert_allclose(world_T_camera, reader.ground_truth.poses[index], atol=1e-9)
    assert clock == sorted(clock)
    assert clock[-1] == int(reader.stamps_ns[5])
    assert len(clock) > 8, "time goes on between frames"
    assert se3.translation_norm(reader.ground_truth.poses[5]) > 0


def test_rgbd_recordings_have_depth_topics(tmp_path):
    folder = tmp_path / "freiburg1_test"
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
        (folder / f"{name}.txt").write_text("".join(f"{1.0 + index / 30:.6f} {name}/{index}.png\n" for index in range(2)))
    for index in range(2):
        cv2.imwrite(str(folder / "rgb" / f"{index}.png"), np.full((480, 640, 3), 40 * index, dtype=np.uint8))
        cv2.imwrite(str(folder / "depth" / f"{index}.png"), np.full((480, 640), 5000, dtype=np.uint16))
    environment = samples.ros_environment()
    with samples.probe(environment) as probe:
        rgb, depth = probe.listen(Image, "rgb/image_rect"), probe.listen(Image, "depth/image_rect")
        with samples.node("player", {"source": str(folder), "format": "tum"}, tmp_path, environment) as player:
            assert player.wait() == 0, player.output
        probe.wait(lambda: len(depth) == 2 and len(rgb) == 2, "the images")
    assert rgb[1].encoding == "rgb8"
    np.testing.assert_allclose(depth_from_ros(depth[0]), 1.0)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "no recording is named"),
        ({"source": "/nowhere"}, "there is no recording at /nowhere"),
        ({"source": ".", "start": 100}, "no frame lies in start=100"),
        ({"source": ".", "wait_for_subscriber": 0.3}, "nobody has subscribed to the images within 0.3 s"),
    ],
)
def test_it_says_why_it_cannot_play(recording, parameters, text, tmp_path):
    parameters = {name: str(recording) if value == "." else value for name, value in parameters.items()}
    with samples.node("player", parameters, tmp_path, samples.ros_environment()) as player:
        assert player.wait() == 1
        assert text in player.output
        assert "Traceback" not in player.output
