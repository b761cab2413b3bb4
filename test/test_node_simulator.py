"""The simulator as a process: its topics, its clock, and that lock-step repeats to the last bit."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float64, Header
from std_srvs.srv import SetBool
from tiny_robot import value

from vloc_ros.geometry.planar import PlanarTwist
from vloc_ros.ros import qos
from vloc_ros.ros.camera_info import stereo_camera
from vloc_ros.ros.conversions import pose_from_ros, stamp_to_ns
from vloc_ros.ros.drive_outputs import twist_to_ros
from vloc_ros.ros.images import image_from_ros
from vloc_ros.simulation import StereoRig
from vloc_ros.simulation.run import MIDNIGHT_NS

SMALL = {"seed": 3, "length": 40.0, "scale": 0.25, "drive_seed": 5, "condition": "overcast"}
START_NS = MIDNIGHT_NS + 14 * 3600 * 10**9


class Puppeteer:
    """Answers each odometry with a command of its stamp, and acknowledges each pair of images."""

    def __init__(self, probe: samples.Probe) -> None:
        self.probe = probe
        self.truth: list[Odometry] = probe.listen(Odometry, "ground_truth/odometry")
        self.odometry: list[Odometry] = []
        self.left: list[Image] = probe.listen(Image, "left/image_rect")
        self.right: list[Image] = []
        self.infos = probe.listen(CameraInfo, "left/camera_info"), probe.listen(CameraInfo, "right/camera_info")
        self.clock: list[int] = []
        self.speed = 1.0
        node = probe.node
        self._command = node.create_publisher(TwistStamped, "cmd_vel", qos.reliable())
        self._processed = node.create_publisher(Header, "processed", qos.reliable())
        node.create_subscription(Odometry, "odom", self._drive, qos.reliable(100))
        node.create_subscription(Image, "right/image_rect", self._acknowledge, qos.reliable(20))
        node.create_subscription(Clock, "/clock", lambda message: self.clock.append(stamp_to_ns(message.clock)), qos.clock())

    def _drive(self, message: Odometry) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        self.odometry.append(message)
        turn = 0.3 * np.sin((stamp_ns - START_NS) * 1e-9)
        # A command of another moment, which lock-step must not take for its own.
        self._command.publish(twist_to_ros(stamp_ns + 1, "base_link", PlanarTwist(9.0, 9.0), stamped=True))
        self._command.publish(twist_to_ros(stamp_ns, "base_link", PlanarTwist(self.speed, turn), stamped=True))

    def _acknowledge(self, message: Image) -> None:
        self.right.append(message)
        self._processed.publish(message.header)


@contextmanager
def simulating(tmp_path, **parameters):
    environment = samples.ros_environment()
    with samples.probe(environment) as probe:
        puppeteer = Puppeteer(probe)
        with samples.node("simulator", {**SMALL, **parameters}, tmp_path, environment) as node:
            yield node, probe, puppeteer


def numbers(messages: list[Odometry]) -> np.ndarray:
    rows = [[stamp_to_ns(m.header.stamp) - START_NS, *pose_from_ros(m.pose.pose)[:3].ravel()] for m in messages]
    return np.array(rows, dtype=np.float64)


def test_lockstep_publishes_a_robot_and_repeats_to_the_last_bit(tmp_path):
    runs = []
    for _ in range(2):
        with simulating(tmp_path, lockstep=True, duration=2.0) as (node, probe, puppeteer):
            assert node.wait(60) == 0, node.output
            probe.wait(lambda p=puppeteer: len(p.right) == len(p.left) == 11, "the last image")
            assert "frames 11, not_acknowledged 0" in node.output
            runs.append(puppeteer)
    first, second = runs
    assert len(first.truth) == len(second.truth) == 41
    np.testing.assert_array_equal(numbers(first.truth), numbers(second.truth))
    np.testing.assert_array_equal(numbers(first.odometry), numbers(second.odometry))
    for mine, theirs in zip(first.left + first.right, second.left + second.right, strict=True):
        assert mine.header == theirs.header
        assert bytes(mine.data) == bytes(theirs.data)
    # Stamps, rates, frames.
    stamps = [stamp_to_ns(message.header.stamp) for message in first.odometry]
    assert stamps[0] == START_NS
    np.testing.assert_allclose(np.diff(stamps), 50_000_000, atol=1)
    assert [stamp_to_ns(message.header.stamp) for message in first.left] == stamps[::4]
    assert first.clock == sorted(first.clock)
    assert first.clock[-1] == stamps[-1]
    assert (first.odometry[0].header.frame_id, first.odometry[0].child_frame_id) == ("odom", "base_link")
    assert (first.truth[0].header.frame_id, first.truth[0].child_frame_id) == ("world", "base_link_truth")
    assert stereo_camera(first.infos[0][-1], first.infos[1][-1]) == StereoRig().scaled(0.25).camera
    # It moved as it was told: not as by the commands with other stamps, and its wheels erred a little.
    truth, wheels = (np.array([pose_from_ros(m.pose.pose)[:2, 3] for m in ms]) for ms in (first.truth, first.odometry))
    driven = [float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum()) for points in (truth, wheels)]
    assert 1.0 < driven[0] < 2.0
    assert 0.0 < abs(driven[1] / driven[0] - 1.0) < 0.1
    assert 0.5 < first.truth[-1].twist.twist.linear.x < 1.2
    left, right = image_from_ros(first.left[-1]), image_from_ros(first.right[-1])
    assert left.std() > 10.0
    assert not np.array_equal(left, right)
    assert not np.array_equal(left, image_from_ros(first.left[0]))


def test_in_real_time_it_keeps_pace_and_takes_requests(tmp_path):
    with simulating(tmp_path, real_time_factor=1.0, camera_rate=2.0) as (node, probe, puppeteer):
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        probe.wait(lambda: len(puppeteer.right) > 1, "images", 60.0)
        assert probe.call("simulator/cover", SetBool.Request(data=True), SetBool).success
        probe.wait(lambda: image_from_ros(puppeteer.right[-1]).max() < 10, "dark images")
        assert probe.call("simulator/cover", SetBool.Request(data=False), SetBool).success
        probe.wait(lambda: image_from_ros(puppeteer.right[-1]).max() > 100, "light images")
        probe.publish("simulator/kidnap", Float64(data=20.0))

        def jumped() -> bool:
            points = np.array([pose_from_ros(message.pose.pose)[:2, 3] for message in puppeteer.truth])
            return bool(np.linalg.norm(np.diff(points, axis=0), axis=1).max() > 5.0)

        probe.wait(jumped, "the robot elsewhere")
        wheels = np.array([pose_from_ros(message.pose.pose)[:2, 3] for message in puppeteer.odometry])
        assert np.linalg.norm(np.diff(wheels, axis=0), axis=1).max() < 0.5, "the wheels notice nothing"
        probe.wait(
            lambda: [s for a in diagnostics for s in a.status if "simulation" in s.name and value(s, "real_time_factor")],
            "the real-time factor",
        )
        status = next(s for a in reversed(diagnostics) for s in a.status if value(s, "real_time_factor"))
        assert 0.3 < float(value(status, "real_time_factor")) < 1.1
        assert node.end() == 0
        assert "Traceback" not in node.output


def test_it_says_when_it_cannot_keep_pace(tmp_path):
    with simulating(tmp_path, real_time_factor=50.0) as (node, _, puppeteer):
        node.wait_for_output("renders too slowly for real_time_factor = 50", 60.0)
        stamps = [stamp_to_ns(message.header.stamp) for message in puppeteer.odometry]
        ticks = np.diff(stamps) / 50e6
        np.testing.assert_allclose(ticks, np.round(ticks), atol=1e-6)
        # No tick is skipped to keep pace; at a thousand messages a second the listener itself may miss some at once.
        assert (ticks > 0.0).all() and np.mean(np.round(ticks) == 1.0) > 0.95
        assert node.end() == 0


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"condition": "hail"}, "unknown condition 'hail'"),
        ({"lockstep": True, "stamped": False}, "lockstep waits for a command with the stamp"),
        ({"truth": "/nowhere/x.tum"}, "/nowhere/x.tum"),
    ],
)
def test_it_says_why_it_cannot_simulate(parameters, text, tmp_path):
    with samples.node("simulator", parameters, tmp_path, samples.ros_environment()) as node:
        assert node.wait() == 1
        assert text in node.output
        assert "Traceback" not in node.output


def test_lockstep_without_a_driver_ends_with_the_reason(tmp_path):
    parameters = {**SMALL, "lockstep": True, "wait_for_subscriber": 0.5}
    with samples.node("simulator", parameters, tmp_path, samples.ros_environment()) as node:
        assert node.wait(60) == 1
        assert "nobody has subscribed to the images within 0.5 s" in node.output
