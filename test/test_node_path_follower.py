"""The path follower as a process: it drives a small robot over real topics, and stops it when anything is missing."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager

import numpy as np
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from std_srvs.srv import SetBool
from tiny_robot import TinyRobot, arc, far_from, value

from vloc_ros.geometry.uncertainty import isotropic
from vloc_ros.ros.conversions import stamp_to_ns

STRAIGHT = arc(60.0, 0.0)


@contextmanager
def driving(tmp_path, parameters, poses, **robot):
    environment = samples.ros_environment()
    with (
        samples.probe(environment) as probe,
        samples.node("path_follower", parameters, tmp_path, environment) as node,
        TinyRobot(probe, poses, stamped=parameters.get("stamped", True), **robot) as tiny,
    ):
        yield node, probe, tiny


def switch(probe, service: str, on: bool):
    return probe.call(f"path_follower/{service}", SetBool.Request(data=on), SetBool)


def test_it_drives_a_curve_to_its_end_and_stays_there(tmp_path):
    poses = arc(7.0, 0.25)
    with driving(tmp_path, {"speed": 1.5, "max_lateral_acceleration": 2.0, "stamped": False}, poses) as (node, probe, robot):
        robot.map_T_base[1, 3] = 0.15
        robot.wait(lambda: robot.state == "arrived", "the end", 25.0)
        at_end = robot.map_T_base
        time.sleep(0.5)
        assert far_from(robot.map_T_base, poses[-1]) < 0.4
        assert far_from(robot.map_T_base, at_end) < 1e-6
        assert robot.distance_from(poses) < 0.2
        assert robot.driven > 6.5
        # Localisation and wheels are all it listens to: no truth, no images.
        subscribed = {name for name, _ in probe.node.get_subscriber_names_and_types_by_node("path_follower", "/")}
        assert subscribed - {"/parameter_events", "/clock"} == {"/pose", "/path", "/odometry"}
        assert node.end() == 0
        assert "Traceback" not in node.output


def test_it_stops_when_something_is_missing_and_goes_on_when_it_is_back(tmp_path):
    parameters = {"speed": 1.0, "blind_distance": 1.2, "pose_timeout": 30.0, "watchdog": 0.25}
    with driving(tmp_path, parameters, STRAIGHT) as (node, probe, robot):
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        robot.wait_for_speed(0.99)
        # No poses, but odometry: it goes on for a while and stands within the blind distance.
        robot.gives_poses = False
        before = robot.driven
        robot.wait_for_stop("BLIND_TOO_FAR")
        assert 0.3 < robot.driven - before < 1.2 + 0.05
        robot.gives_poses = True
        robot.wait_for_speed(0.99)
        # An unsure pose slows it down, a bad one stops it.
        robot.covariance = isotropic(0.22, 0.02)
        robot.wait(lambda: robot.state == "slowed" and 0.1 < robot.speed < 0.75, "slow driving")
        robot.covariance = isotropic(0.6, 0.02)
        robot.wait_for_stop("UNCERTAIN")
        robot.covariance = isotropic(0.02, 0.01)
        robot.wait_for_speed(0.99)
        # No odometry: the watchdog says so, to the robot and to people.
        robot.gives_odometry = False
        stopped = time.monotonic()
        robot.wait(lambda: robot.speed == 0.0, "the zero of the watchdog", 5.0)
        assert time.monotonic() - stopped < 1.0
        node.wait_for_output("no odometry on /odometry for 0.25 s; the robot is told to stand")
        robot.wait_for_stop("STALE_ODOMETRY")
        probe.wait(lambda: value(diagnostics[-1].status[0], "problem_no_odometry"), "the diagnostics")
        robot.gives_odometry = True
        robot.wait_for_speed(0.99)
        # A clock that is wrong, in either direction.
        for skew_s in (5.0, -5.0):
            robot.skew_ns = round(skew_s * 1e9)
            robot.wait_for_stop("STALE_ODOMETRY")
            robot.skew_ns = 0
            robot.wait_for_speed(0.5)
        node.wait_for_output("s in the future by the clock of this node")
        # A callback that hangs: a path of very many poses takes long to read.
        robot.show_path([STRAIGHT[0]] * 12_000 + STRAIGHT)
        robot.wait(lambda: robot.speed == 0.0, "the zero while a callback hangs", 10.0)
        node.wait_for_output("a callback of this node hangs")
        robot.wait_for_speed(0.99)
        assert robot.distance_from(STRAIGHT) < 0.1
        # Killed by a gentle signal while it drives: the last word is a standstill.
        assert node.end(signal.SIGTERM) == 0
        last = robot.commands[-1][1]
        assert (last.twist.linear.x, last.twist.angular.z) == (0.0, 0.0)
        assert last.header.frame_id == "base_link"
        assert abs(stamp_to_ns(last.header.stamp) - time.time_ns()) < 5e9
        assert node.output.count("for 0.25 s; the robot is told to stand") == 1, "said once"
        assert "Traceback" not in node.output


def test_the_operator_allows_and_forbids(tmp_path):
    parameters = {"enabled_at_start": False, "dead_man": True, "dead_man_timeout": 0.6}
    with driving(tmp_path, parameters, STRAIGHT) as (node, probe, robot):
        robot.wait(lambda: robot.reason == "DISABLED", "the state")
        time.sleep(0.5)
        assert robot.commands == [], "while it is not enabled, somebody else may drive"
        assert switch(probe, "enable", True).success
        robot.wait(lambda: robot.reason == "DEAD_MAN" and robot.commands, "zeros while the dead man's switch is free")
        assert robot.speed == 0.0
        for _ in range(4):
            assert switch(probe, "dead_man", True).success
            time.sleep(0.3)
        assert robot.speed > 0.3
        assert switch(probe, "dead_man", False).success
        robot.wait(lambda: robot.speed == 0.0, "a stop at once", 1.0)
        switch(probe, "dead_man", True)
        robot.wait_for_speed(0.1)
        robot.wait_for_stop("DEAD_MAN", 3.0)
        switch(probe, "dead_man", True)
        robot.wait_for_speed(0.1)
        assert switch(probe, "enable", False).success
        robot.wait(lambda: robot.speed == 0.0, "a stop at once", 1.0)
        time.sleep(0.3)
        count = len(robot.commands)
        time.sleep(0.5)
        assert len(robot.commands) == count
        assert node.end() == 0


def test_a_round_begins_again_at_the_end_of_a_closed_path(tmp_path):
    circle = arc(14.0, 2.0 * np.pi / 14.0)
    with driving(tmp_path, {"loop": True, "speed": 2.0, "max_lateral_acceleration": 5.0}, circle) as (node, probe, robot):
        told = probe.listen(PoseWithCovarianceStamped, "initialpose")
        robot.map_T_base = circle[-12]
        robot.wait(lambda: told, "the pose where the next round begins")
        assert told[0].header.frame_id == "map"
        assert abs(told[0].pose.pose.position.x) < 1e-6
        assert told[0].pose.covariance[0] > 0.0
        before = robot.driven
        robot.wait(lambda: robot.driven > before + 1.0 and robot.speed > 0.5, "the next round")
        assert node.end() == 0


def test_a_pose_in_another_frame_is_refused(tmp_path):
    with driving(tmp_path, {}, STRAIGHT, frame="site") as (node, _, robot):
        node.wait_for_output("a pose in frame 'map' was refused: the path is in 'site'")
        robot.wait(lambda: robot.reason in ("NO_POSE", "NO_PATH"), "neither pose nor path")
        robot.show_path([STRAIGHT[0]])
        node.wait_for_output("the path was refused: a path of 1 poses")
        robot.wait(lambda: robot.reason == "NO_PATH", "no path")
        assert all(command.twist.linear.x == 0.0 for _, command in robot.commands)
        assert node.end() == 0


def test_a_bad_parameter_is_refused(tmp_path):
    with samples.node("path_follower", {"blind_distance": -1.0}, tmp_path, samples.ros_environment()) as node:
        assert node.wait() == 1
        assert "'blind_distance' = -1.0 is below its minimum" in node.output
        assert "Traceback" not in node.output
