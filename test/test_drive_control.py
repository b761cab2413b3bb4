"""The checks between real topics and the path follower, without topics: stamps, frames, switches, rounds, the watchdog."""

from __future__ import annotations

import time

import numpy as np
import pytest

from vloc_ros.geometry.planar import planar_pose
from vloc_ros.geometry.uncertainty import isotropic
from vloc_ros.path_following import DriveCommand, DriveState, FollowerSettings, StopReason
from vloc_ros.ros.drive_control import DriveControl
from vloc_ros.ros.drive_switch import DriveSwitch
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.watchdog import Watchdog

MS = 1_000_000
START = 1_000_000 * MS
PATH = [planar_pose(0.25 * index, 0.0, 0.0) for index in range(200)]
SURE = isotropic(0.02, 0.01)


class Bench:
    """Drives a control along the x axis, tick by tick of 50 ms, with a pose at each tick."""

    def __init__(self, **settings) -> None:
        self.now_ns, self.x, self.frame = START, 0.0, "odom"
        self.steady = 0.0
        self.switch = DriveSwitch(True, None, lambda: self.steady)
        self.problems = Problems(lambda _text: None)
        self.control = DriveControl(FollowerSettings(**settings), self.switch, self.problems, lambda: self.now_ns)
        self.control.path("map", PATH)

    def tick(self, count: int = 1, skew_ms: int = 0, frame: str = "map") -> DriveCommand:
        for _ in range(count):
            self.now_ns += 50 * MS
            self.steady += 0.05
            stamp = self.now_ns + skew_ms * MS
            self.control.pose(stamp, frame, planar_pose(self.x, 0.0, 0.0), SURE)
            command = self.control.odometry(stamp, self.frame, planar_pose(self.x, 0.0, 0.0))
            self.x += 0.05 * command.twist.linear
        return command


def test_it_speeds_up_from_rest_and_drives():
    bench = Bench()
    assert bench.tick().twist.linear == 0.0
    assert 0.0 < bench.tick().twist.linear <= 0.8 * 0.05 + 1e-9
    command = bench.tick(40)
    assert (command.state, command.twist.linear) == (DriveState.FOLLOWING, pytest.approx(1.0))


@pytest.mark.parametrize("skew_ms", [900, -900, 5000, -5000])
def test_stamps_of_another_time_stop_it(skew_ms):
    bench = Bench()
    bench.tick(40)
    for _ in range(30):
        command = bench.tick(skew_ms=skew_ms)
        assert (command.twist.linear, command.reason) == (0.0, StopReason.STALE_ODOMETRY)
    assert ("future" if skew_ms > 0 else "old") in bench.problems.active[Problem.BAD_STAMP]
    speeds = [bench.tick().twist.linear for _ in range(120)]
    assert speeds[-1] > 0.9
    assert max(np.diff([0.0, *speeds])) < 0.05, "from rest, without a jerk"
    assert Problem.BAD_STAMP not in bench.problems.active


def test_a_repeated_or_older_stamp_stops_it_while_it_lasts():
    bench = Bench()
    bench.tick(40)
    command = bench.control.odometry(bench.now_ns - 100 * MS, "odom", planar_pose(bench.x, 0.0, 0.0))
    assert (command.twist.linear, command.reason) == (0.0, StopReason.STALE_ODOMETRY)
    assert "went back by 0.100 s" in bench.problems.active[Problem.BAD_STAMP]
    command = bench.control.odometry(bench.now_ns - 100 * MS, "odom", planar_pose(bench.x, 0.0, 0.0))
    assert command.reason is StopReason.STALE_ODOMETRY


def test_odometry_in_another_frame_is_not_mixed_with_the_old():
    bench = Bench()
    bench.tick(40)
    bench.frame = "wheels"
    assert bench.tick().reason is StopReason.STALE_ODOMETRY
    assert "from frame 'odom' to 'wheels'" in bench.problems.active[Problem.BAD_STAMP]
    assert bench.tick(2).twist.linear > 0.0


def test_poses_in_another_frame_do_not_count():
    bench = Bench(pose_timeout=0.5)
    bench.tick(40)
    assert bench.tick(11, frame="odom").reason is StopReason.STALE_POSE
    assert "in frame 'odom' was refused" in bench.problems.active[Problem.WRONG_FRAME]


def test_after_an_interruption_it_speeds_up_from_rest():
    bench = Bench()
    bench.tick(40)
    bench.control.interrupt()
    assert bench.tick().twist.linear == 0.0
    assert 0.0 < bench.tick().twist.linear < 0.05


def test_the_switches():
    steady = [0.0]
    switch = DriveSwitch(True, 0.5, lambda: steady[0])
    assert switch.reason is StopReason.DEAD_MAN
    switch.hold(True)
    steady[0] = 0.49
    assert switch.reason is None
    steady[0] = 0.51
    assert switch.reason is StopReason.DEAD_MAN
    switch.hold(True)
    switch.hold(False)
    assert switch.reason is StopReason.DEAD_MAN
    switch.enable(False)
    assert switch.reason is StopReason.DISABLED


def test_a_path_that_cannot_be_followed_replaces_the_one_that_could():
    bench = Bench()
    bench.tick(40)
    bench.control.path("map", [])
    assert bench.tick().reason is StopReason.NO_PATH
    assert "too short" in bench.problems.active[Problem.BAD_PATH]


def test_a_pose_from_before_the_path_counts():
    bench = Bench()
    bench.control = DriveControl(FollowerSettings(), bench.switch, bench.problems, lambda: bench.now_ns)
    for index in range(3):
        bench.control.odometry(START + index * 50 * MS, "odom", np.eye(4))
    bench.control.path("map", PATH)
    bench.control.pose(START, "map", np.eye(4), SURE)
    bench.now_ns = START + 150 * MS
    command = bench.control.odometry(bench.now_ns, "odom", np.eye(4))
    assert command.state is DriveState.FOLLOWING
    assert command.twist.linear > 0.0


def test_without_a_closed_path_there_is_no_next_round():
    bench = Bench(loop=True)
    bench.x = 49.6
    command = bench.tick(2)
    assert command.state is DriveState.ARRIVED
    assert bench.control.next_round(command) is None
    assert "does not end where it begins" in bench.problems.active[Problem.BAD_PATH]


def test_poses_from_before_the_seam_do_not_begin_the_next_round():
    bench = Bench(loop=True)
    circle = [planar_pose(5.0 * np.sin(a), 5.0 - 5.0 * np.cos(a), a) for a in np.linspace(0.0, 2.0 * np.pi, 121)]
    bench.control.path("map", circle)

    def at(index: int) -> DriveCommand:
        bench.now_ns += 50 * MS
        bench.control.pose(bench.now_ns, "map", circle[index], SURE)
        return bench.control.odometry(bench.now_ns, "odom", circle[index])

    for index in range(100, 119):
        assert bench.control.next_round(at(index)) is None
    command = at(120)
    assert command.state is DriveState.ARRIVED
    map_T_base, covariance = bench.control.next_round(command)
    np.testing.assert_allclose(map_T_base, np.eye(4), atol=1e-9)
    assert covariance.shape == (6, 6)
    bench.control.pose(bench.now_ns, "map", circle[120], SURE)
    bench.now_ns += 50 * MS
    assert bench.control.odometry(bench.now_ns, "odom", circle[120]).reason is StopReason.NO_POSE
    at(0)
    assert at(0).twist.linear > 0.0


def test_the_watchdog_barks_without_anybody_s_help_until_it_is_fed():
    barks: list[float] = []
    watchdog = Watchdog(0.05, lambda: barks.append(time.monotonic()))
    time.sleep(0.15)
    assert barks == [], "at rest"
    started = time.monotonic()
    watchdog.feed()
    time.sleep(0.3)
    assert len(barks) == 1
    assert 0.05 < barks[0] - started < 0.25
    assert watchdog.barked
    time.sleep(0.45)
    assert len(barks) == 2
    assert watchdog.feed()
    assert not watchdog.feed()
    watchdog.rest()
    time.sleep(0.2)
    watchdog.close()
    assert len(barks) == 2
