"""Two robots in one ROS domain, each with its namespace, camera, map and frames: each knows its place, and none hears the other."""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack
from typing import Any

import cv2
import numpy as np
import pytest
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from tiny_robot import value

from vloc_ros.geometry.uncertainty import isotropic
from vloc_ros.ros.conversions import header, pose_with_covariance_to_ros

MS = 1_000_000
POSES = samples.walk(6, step=0.15)
AT = {"robot1": 2, "robot2": 4}
"""Where each robot stands: the number of a pose."""
STRANGE = 5
"""A place that is in no map."""


class Robot:
    """One localization node and its camera."""

    def __init__(self, probe: samples.Probe, name: str) -> None:
        self.probe, self.name, self.space = probe, name, f"/{name}"
        self.stamp_ns = 1000 * MS
        self.processed = probe.listen(Header, f"{self.space}/processed")
        self.poses = probe.listen(PoseWithCovarianceStamped, f"{self.space}/pose")
        self.odometry = probe.listen(Odometry, f"{self.space}/odometry")
        self.states = probe.listen(DiagnosticStatus, f"{self.space}/state", latched=True)
        self.paths = probe.listen(PathMessage, f"{self.space}/path", latched=True)

    def see(self, left: np.ndarray, right: np.ndarray, *, compressed: bool = False) -> None:
        """A frame; wait until it is finished."""
        count = len(self.processed)
        self.stamp_ns += 100 * MS
        if compressed:
            for side, image in (("left", left), ("right", right)):
                data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
                message = CompressedImage(header=header(self.stamp_ns, "camera"), format="mono8; jpeg compressed ", data=data)
                self.probe.publish(f"{self.space}/{side}/image_rect/compressed", message)
        else:
            self.probe.show(self.stamp_ns, left, right, space=self.space)
        self.probe.wait(lambda: len(self.processed) > count, f"a frame of {self.name}", 60.0)


def said_of(messages: list[DiagnosticArray], robot: str, key: str) -> list[str]:
    """What the diagnostics of one robot have said under a key."""
    of_robot = [status for array in messages for status in array.status if f"{robot}/" in status.name]
    return [found for status in of_robot if (found := value(status, key))]


def parameters(name: str, file: str) -> dict[str, Any]:
    frames = {f"frames.{role}": f"{name}/{frame}" for role, frame in (("map", "map"), ("odom", "odom"), ("base", "base_link"))}
    return {"mode": "localize", "map": file, **samples.MAP_SETTINGS, **frames, "qos.reliability": "reliable"}


def test_two_robots_do_not_hear_each_other(tmp_path):
    environment = samples.ros_environment()
    with ExitStack() as stack:
        probe = stack.enter_context(samples.probe(environment))
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        transforms = tf_of(probe)
        robots, processes = {}, {}
        for place, (name, transport) in enumerate((("robot1", "raw"), ("robot2", "compressed"))):
            folder = tmp_path / name
            folder.mkdir()
            site = samples.teach_corridor(folder / "site.vloc", POSES, place)
            values = parameters(name, str(site)) | {"camera.transport": transport}
            processes[name] = stack.enter_context(samples.node("localization", values, folder, environment, namespace=name))
            robots[name] = Robot(probe, name)
        first, second = robots.values()
        # One camera gives images, then the other: each robot finds itself in its own map, and only by its own camera.
        for place, robot in enumerate(robots.values()):
            probe.calibrate(space=robot.space)
            for _ in range(3):
                robot.see(*samples.pair(POSES[AT[robot.name]], place), compressed=robot is second)
            probe.wait(lambda robot=robot: robot.poses and robot.paths, f"a pose of {robot.name}", 60.0)
            if robot is first:
                assert second.processed == [] and second.poses == [] and second.odometry == []
        assert len(first.processed) == 3, "the images of the other were none of its own"
        for robot in robots.values():
            pose = robot.poses[-1].pose.pose.position
            assert abs(pose.x - POSES[AT[robot.name]][2, 3]) < 0.05
            assert {message.header.frame_id for message in (*robot.poses, *robot.paths)} == {f"{robot.name}/map"}
            frames = {(message.header.frame_id, message.child_frame_id) for message in robot.odometry}
            assert frames == {(f"{robot.name}/odom", f"{robot.name}/base_link")}
        if transforms is not None:
            expected = {(f"{name}/{a}", f"{name}/{b}") for name in robots for a, b in (("map", "odom"), ("odom", "base_link"))}
            probe.wait(lambda: {(t.header.frame_id, t.child_frame_id) for m in transforms for t in m.transforms} == expected, "tf")
        only_the_first_is_told(first, second, diagnostics)
        for process in processes.values():
            assert process.end() == 0
            assert "Traceback" not in process.output


def only_the_first_is_told(first: Robot, second: Robot, diagnostics: list[DiagnosticArray]) -> None:
    """An operator's pose reaches one robot; one in another frame than its map's is refused with the reason, and changes nothing."""
    probe = first.probe
    assert probe.call(f"{first.space}/localization/reset", Trigger.Request()).success
    silent, unmoved = len(first.poses), len(second.poses)
    unknown = samples.pair(POSES[0], STRANGE)
    told = np.eye(4)
    told[:2, 3] = 3.0, 1.0
    covariance = isotropic(0.05, 0.02)
    for frame in ("map", "robot2/map"):
        probe.publish(f"{first.space}/initialpose", pose_with_covariance_to_ros(first.stamp_ns, frame, told, covariance))
        reason = f"an initial pose in frame '{frame}' was ignored: it must be in 'robot1/map'"
        probe.wait(
            lambda reason=reason: any(reason in text for text in said_of(diagnostics, "robot1", "problem_bad_input")), reason, 60.0
        )
    first.see(*unknown)
    assert len(first.poses) == silent and value(first.states[-1], "state") == "relocalising"
    probe.publish(f"{first.space}/initialpose", pose_with_covariance_to_ros(first.stamp_ns, "robot1/map", told, covariance))
    for _ in range(50):  # it is taken between two frames
        first.see(*unknown)
        if len(first.poses) > silent:
            break
    position = first.poses[-1].pose.pose.position
    assert (position.x, position.y) == pytest.approx((3.0, 1.0), abs=0.05)
    assert value(first.states[-1], "state") == "dead_reckoning"
    second.see(*samples.pair(POSES[AT["robot2"]], 1), compressed=True)
    probe.wait(lambda: len(second.poses) > unmoved, "a pose of the other", 60.0)
    assert abs(second.poses[-1].pose.pose.position.x - POSES[AT["robot2"]][2, 3]) < 0.05
    assert said_of(diagnostics, "robot2", "problem_bad_input") == []


def tf_of(probe: samples.Probe) -> list[Any] | None:
    """What is broadcast, where a package of tf messages is installed."""
    if importlib.util.find_spec("tf2_msgs") is None:
        return None
    from tf2_msgs.msg import TFMessage

    return probe.listen(TFMessage, "/tf")
