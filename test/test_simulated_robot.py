"""The simulated robot: latency, lag, slip and the odometry that believes the wheels."""

import numpy as np
import pytest

from vloc_ros.config import replace
from vloc_ros.geometry.planar import PlanarTwist
from vloc_ros.simulation import Drive, Robot, RobotSettings

PERFECT = {"slip_percent": 0.0, "turn_slip_percent": 0.0, "odometry_scale_percent": 0.0, "latency": 0.0, "lag": 0.0}


def robot(seed=1, **changes):
    return Robot(replace(RobotSettings(), changes), seed)


def drive(machine, seconds, linear, angular=0.0, every=0.05):
    for _ in range(round(seconds / every)):
        machine.command(PlanarTwist(linear, angular))
        machine.advance(every)
    return machine


@pytest.mark.parametrize("kind", list(Drive))
def test_without_faults_it_drives_the_circle_it_is_told(kind):
    machine = robot(drive=kind, max_acceleration=50.0, **PERFECT)
    drive(machine, 2.0 * np.pi, 1.0, 1.0)
    assert np.linalg.norm(machine.position) < 0.1 and machine.heading == pytest.approx(2.0 * np.pi, abs=0.1)
    assert np.allclose(machine.odometry[:2], machine.position, atol=1e-9)


def test_a_command_takes_its_time():
    machine = robot(**{**PERFECT, "latency": 0.3})
    machine.command(PlanarTwist(1.0, 0.0))
    machine.advance(0.29)
    assert machine.twist.linear == 0.0
    machine.advance(0.1)
    assert 0.0 < machine.twist.linear <= 1.5 * 0.11


def test_it_stops_by_itself_when_nobody_commands():
    machine = drive(robot(**PERFECT), 2.0, 1.0)
    assert machine.twist.linear == pytest.approx(1.0)
    machine.advance(0.45)
    assert machine.twist.linear == pytest.approx(1.0)
    machine.advance(2.0)
    assert machine.twist.linear == 0.0


def test_limits_hold():
    machine = drive(robot(max_speed=0.8, max_turn_rate=0.5, **PERFECT), 5.0, 9.0, 9.0)
    assert machine.twist.linear <= 0.8 + 1e-9 and machine.twist.angular <= 0.5 + 1e-9


def test_slip_is_felt_by_the_robot_and_not_by_the_wheels():
    gentle, slippery = (drive(robot(slip_percent=p, odometry_scale_percent=0.0), 20.0, 1.0) for p in (0.0, 2.0))
    assert np.linalg.norm(gentle.odometry[:2] - gentle.position) < 1e-6
    assert 0.05 < np.linalg.norm(slippery.odometry[:2] - slippery.position) < 5.0


def test_wrong_wheel_radii_bend_the_odometry_always_the_same_way():
    def bend(seconds):
        machine = drive(robot(seed=3, **{**PERFECT, "odometry_scale_percent": 1.0}), seconds, 1.0)
        return machine.odometry[2] - machine.heading

    assert abs(bend(10.0)) > 1e-3 and bend(20.0) == pytest.approx(2.0 * bend(10.0), rel=0.1)


def test_the_same_seed_and_commands_give_the_same_motion():
    first, same, other = (drive(robot(seed=s), 5.0, 1.0, 0.2) for s in (4, 4, 5))
    assert np.array_equal(first.position, same.position) and np.array_equal(first.odometry, same.odometry)
    assert not np.array_equal(first.position, other.position)


def test_a_robot_that_is_held_forgets_its_commands():
    machine = drive(robot(latency=0.2), 2.0, 1.0)
    machine.stand()
    before = machine.position.copy()
    machine.advance(1.0)
    assert np.array_equal(machine.position, before)
