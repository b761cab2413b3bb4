"""The path follower: where it is on a path, how it steers, and everything that makes it stop."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from vloc_ros.errors import ConfigError, DataError
from vloc_ros.geometry import se3
from vloc_ros.geometry.planar import planar_pose
from vloc_ros.geometry.uncertainty import isotropic
from vloc_ros.path_following import DriveState, FollowerSettings, PathFollower, StopReason, TaughtPath

SECOND = 1_000_000_000
DT = 0.05
SURE = isotropic(0.02, 0.005)
SETTINGS = FollowerSettings()
# The odometry began elsewhere and turned: only what is relative in it may count.
ODOM_T_MAP = planar_pose(4.0, -7.0, 1.1)


def arc(length, curvature, start=None, step=0.5):
    """Poses along an arc."""
    start = np.eye(4) if start is None else start
    return [start @ se3.exp(np.array([s, 0, 0, 0, 0, curvature * s])) for s in np.arange(0.0, length + 0.5 * step, step)]


def straight(length=30.0):
    return TaughtPath(arc(length, 0.0))


def circle(radius=10.0):
    return TaughtPath(arc(2.0 * np.pi * radius, 1.0 / radius))


class Robot:
    """Obeys at once and knows exactly where it is; poses come every fourth tick and 0.15 s late."""

    def __init__(self, path, settings=SETTINGS, pose=None):
        self.follower = PathFollower(settings, path)
        self.pose = path.poses[0].copy() if pose is None else pose
        self.now_ns, self.driven, self.sees, self.odometry, self.covariance = 10 * SECOND, 0.0, True, True, SURE
        self.ticks, self.coming, self.commands = itertools.count(), [], []

    def tick(self):
        number = next(self.ticks)
        if self.sees and number % 4 == 0:
            self.coming.append((self.now_ns + 3 * int(DT * SECOND), self.now_ns, self.pose.copy()))
        if self.odometry:
            self.follower.add_odometry(self.now_ns, ODOM_T_MAP @ self.pose)
        while self.coming and self.coming[0][0] <= self.now_ns:
            _, stamp_ns, pose = self.coming.pop(0)
            self.follower.add_pose(stamp_ns, pose, self.covariance)
        command = self.follower.command(self.now_ns)
        self.commands.append(command)
        v, w = command.twist
        self.pose = self.pose @ se3.exp(np.array([v * DT, 0, 0, 0, 0, w * DT]))
        self.driven += v * DT
        self.now_ns += int(DT * SECOND)
        return command

    def drive(self, seconds):
        for _ in range(round(seconds / DT)):
            self.tick()
        return self.commands[-1]

    def laterals(self):
        return np.array([c.point.lateral for c in self.commands if c.point is not None])


def tilted(path_poses):
    tilt = se3.exp(np.array([3.0, -2.0, 1.0, 0.15, -0.1, 2.0]))
    return [tilt @ pose for pose in path_poses]


@pytest.mark.parametrize("curvature", [0.0, 0.05, -0.2])
def test_a_pose_beside_a_path_has_its_station_offset_and_heading(curvature):
    poses = tilted(arc(20.0, curvature))
    path = TaughtPath(poses)
    on_path = tilted([se3.exp(np.array([7.3, 0, 0, 0, 0, 7.3 * curvature]))])[0]
    point = path.locate(on_path @ planar_pose(0.0, 0.0, 0.0) @ se3.exp(np.array([0, 0.25, 0, 0, 0, 0.0])))
    assert point.station == pytest.approx(7.3, abs=0.05) and point.lateral == pytest.approx(0.25, abs=0.01)
    assert point.heading == pytest.approx(0.0, abs=0.02)
    assert path.locate(on_path @ planar_pose(0.0, 0.0, 0.2)).heading == pytest.approx(0.2, abs=0.02)
    assert path.curvature(10.0) == pytest.approx(curvature, abs=0.005)
    assert path.length == pytest.approx(20.0, rel=0.01)


def test_where_a_path_crosses_itself_the_way_so_far_decides():
    angle = np.linspace(0.0, 2.0 * np.pi, 161)
    xy = np.stack([20.0 * np.sin(angle), 8.0 * np.sin(2.0 * angle)], axis=1)
    forward = np.gradient(xy, axis=0)
    path = TaughtPath([planar_pose(*p, np.arctan2(d[1], d[0])) for p, d in zip(xy, forward, strict=True)])
    half = path.locate(planar_pose(0.0, 0.0, np.arctan2(-16.0, 20.0) + np.pi)).station
    assert path.locate(planar_pose(0.0, 0.0, 0.0), near=half).station == pytest.approx(half, abs=1.0)
    assert path.locate(planar_pose(0.0, 0.0, 0.0), near=0.0).station == pytest.approx(0.0, abs=1.0)
    assert path.closed and not straight().closed


@pytest.mark.parametrize("poses", [[], [np.eye(4)], [np.eye(4)] * 50])
def test_a_path_needs_some_length(poses):
    with pytest.raises(DataError, match="too short"):
        TaughtPath(poses)


def test_a_path_with_a_number_that_is_none_is_refused():
    broken = arc(5.0, 0.0)
    broken[3] = broken[3] * np.nan
    with pytest.raises(DataError, match="not finite"):
        TaughtPath(broken)


@pytest.mark.parametrize("curvature", [0.0, 0.1, -0.3])
def test_an_error_is_steered_out_and_the_robot_arrives(curvature):
    path = TaughtPath(arc(15.0, curvature))
    robot = Robot(path, pose=path.poses[0] @ planar_pose(0.0, 0.3, -0.2))
    last = robot.drive(60.0)
    assert last.state is DriveState.ARRIVED and last.twist.linear == 0.0
    assert path.length - path.locate(robot.pose).station < SETTINGS.goal_tolerance + 0.05
    late = robot.laterals()[len(robot.laterals()) // 3 :]
    assert np.abs(late).max() < 0.05, "it is on the path after a third of the way"
    assert robot.laterals().min() > -0.06, "and hardly overshoots"


def test_speed_rises_gently_and_curves_are_driven_slowly():
    robot = Robot(TaughtPath(arc(30.0, 0.35)))
    robot.drive(10.0)
    speeds = np.array([c.twist.linear for c in robot.commands])
    assert np.diff(speeds).max() <= SETTINGS.max_acceleration * DT + 1e-9
    assert speeds.max() ** 2 * 0.35 <= SETTINGS.max_lateral_acceleration * 1.1
    assert max(abs(c.twist.angular) for c in robot.commands) <= SETTINGS.max_turn_rate + 1e-9


def test_nothing_moves_before_everything_is_there():
    follower = PathFollower(SETTINGS)
    assert follower.command(0).reason is StopReason.NO_PATH
    follower.set_path(straight())
    assert follower.command(0).reason is StopReason.NO_POSE
    follower.add_pose(0, np.eye(4), SURE)
    assert follower.command(0).reason is StopReason.NO_ODOMETRY
    follower.add_odometry(0, np.eye(4))
    assert follower.command(0).state is DriveState.FOLLOWING


@pytest.mark.parametrize("blind_distance", [0.5, 2.0, 4.0])
def test_without_poses_it_stops_within_the_set_distance(blind_distance):
    settings = replace(SETTINGS, blind_distance=blind_distance, pose_timeout=60.0)
    robot = Robot(straight(60.0), settings)
    robot.drive(10.0)
    robot.sees, before = False, robot.driven
    robot.coming.clear()
    last = robot.drive(30.0)
    assert last.reason is StopReason.BLIND_TOO_FAR and last.twist.linear == 0.0
    assert robot.driven - before < blind_distance + 0.05
    robot.sees = True
    assert robot.drive(3.0).twist.linear > 0.1, "and goes on when it sees again"


def test_an_old_pose_is_not_driven_on():
    robot = Robot(straight(60.0))
    robot.drive(5.0)
    robot.sees = False
    assert robot.drive(SETTINGS.pose_timeout + 0.3).reason is StopReason.STALE_POSE


def test_old_odometry_is_not_driven_on():
    robot = Robot(straight(60.0))
    robot.drive(5.0)
    robot.odometry = False
    last = robot.drive(SETTINGS.odometry_timeout + 0.1)
    assert last.reason is StopReason.STALE_ODOMETRY and last.twist.linear == 0.0


@pytest.mark.parametrize(("sigma", "state"), [(0.05, DriveState.FOLLOWING), (0.18, DriveState.SLOWED), (0.4, DriveState.STOPPED)])
def test_an_unsure_pose_slows_and_stops(sigma, state):
    robot = Robot(straight(60.0))
    robot.drive(5.0)
    robot.covariance = isotropic(sigma, 0.005)
    last = robot.drive(1.5)
    assert last.state is state
    if state is DriveState.SLOWED:
        assert 0.0 < last.twist.linear < 0.7 * SETTINGS.speed
    if state is DriveState.STOPPED:
        assert last.reason in (StopReason.UNCERTAIN, StopReason.BLIND_TOO_FAR)


def test_a_robot_far_beside_or_turned_away_stands_still():
    beside = Robot(straight(), pose=planar_pose(5.0, 0.9, 0.0))
    assert beside.drive(1.0).reason is StopReason.OFF_PATH and beside.driven == 0.0
    turned = Robot(straight(), pose=planar_pose(5.0, 0.0, 1.3))
    assert turned.drive(1.0).reason is StopReason.TURNED_AWAY and turned.driven == 0.0


def test_numbers_that_are_none_are_ignored():
    robot = Robot(straight())
    robot.drive(2.0)
    robot.follower.add_pose(robot.now_ns, np.full((4, 4), np.nan), SURE)
    robot.follower.add_odometry(robot.now_ns, np.full((4, 4), np.inf))
    assert robot.drive(1.0).state is DriveState.FOLLOWING


def test_time_that_begins_again_stops_it_until_poses_come():
    robot = Robot(straight(60.0))
    robot.drive(5.0)
    robot.now_ns -= 100 * SECOND
    robot.coming.clear()
    assert robot.tick().twist.linear == 0.0
    assert robot.drive(2.0).state is DriveState.FOLLOWING


def test_a_closed_path_begins_again():
    path = circle()
    robot = Robot(path)
    robot.drive(90.0)
    assert robot.commands[-1].state is DriveState.ARRIVED
    pose, covariance = robot.follower.next_round()
    assert np.allclose(pose, path.poses[0]) and covariance[0, 0] > SETTINGS.stop_sigma**2
    robot.coming.clear()
    assert robot.drive(8.0).point.station < 10.0
    with pytest.raises(ConfigError, match="does not end where it begins"):
        Robot(straight()).follower.next_round()


def test_nobody_drives_on_the_word_of_the_operator_alone():
    follower = PathFollower(SETTINGS, straight())
    pose, covariance = follower.beginning()
    follower.add_odometry(0, np.eye(4))
    follower.add_pose(0, pose, covariance)
    assert follower.command(0).reason is StopReason.UNCERTAIN
