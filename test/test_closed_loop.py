"""A simulated robot that drives by its own localisation: what it sees, what befalls it, and who is told the truth."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import map_samples
import numpy as np
import pytest
from drive_samples import summary

from vloc_ros import config
from vloc_ros.closed_loop import (
    ClosedLoopSettings,
    Course,
    CoverCamera,
    DriveLog,
    DrivePlan,
    DriveSettings,
    Intervention,
    Kidnap,
    Supervisor,
    finish_teaching,
    judge,
    keyframe_truth,
    parse_cover,
    parse_kidnap,
    read_drive,
    site_of,
)
from vloc_ros.closed_loop.autonomy import SUMMARY, Autonomy, tasks
from vloc_ros.closed_loop.course import describe
from vloc_ros.errors import ConfigError, DataError, MapError
from vloc_ros.geometry import se3
from vloc_ros.geometry.planar import STANDSTILL, PlanarTwist, planar_pose
from vloc_ros.localization import State
from vloc_ros.mapping import MapStore
from vloc_ros.path_following import DriveState, TaughtPath
from vloc_ros.runs import truth_file
from vloc_ros.simulation import SITES, Layout, RouteShape, Site, StereoRig, named_condition

YARD = Site("yard", 3, 34.0)
FAST = config.replace(
    ClosedLoopSettings(),
    {"features.max_features": 600, "drive.camera_rate": 4.0, "drive.follower.speed": 1.2, "drive.patience": 30.0},
)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A short course, taught at noon at a quarter of the pixels."""
    path = tmp_path_factory.mktemp("closed_loop") / "yard.vloc"
    course = Course(FAST)
    teaching = course.teach(YARD, named_condition("noon"), path, StereoRig().scaled(0.5))
    results = list(teaching)
    finish_teaching(teaching)
    assert all(result.odom_T_base is not None for result in results)
    return course, path


def drive(taught, out, condition="noon", **plan):
    course, path = taught
    with MapStore.open(path, read_only=True) as store:
        loop = course.loop(store, named_condition(condition), DrivePlan(**plan))
        with DriveLog(out, course.settings, {"site": "yard", "condition": condition, "features": "sift_fast"}) as log:
            steps = []
            for step in loop.run():
                log.add(step)
                steps.append(step)
        return steps, judge(read_drive(out), store.keyframes(), keyframe_truth(store))


def test_at_noon_it_drives_the_whole_route_by_itself(taught, tmp_path):
    steps, judged = drive(taught, tmp_path)
    summary = judged.summary
    assert summary.autonomy_percent == 100.0 and summary.interventions == 0 and summary.false_poses == 0
    assert summary.lateral_rms_m < 0.10 and summary.lateral_max_m < 0.25
    assert summary.driven_m == pytest.approx(YARD.length_m, rel=0.05)
    assert steps[-1].state is DriveState.ARRIVED


def test_with_covered_cameras_it_stops_and_goes_on_when_it_sees_again(taught, tmp_path):
    events = [CoverCamera(8.0, 12.0)]
    steps, judged = drive(taught, tmp_path, events=events)
    start = steps[0].result.stamp_ns
    seconds = np.array([(step.result.stamp_ns - start) * 1e-9 for step in steps])
    last_fix = max(i for i, step in enumerate(steps) if step.result.fix and seconds[i] < 8.5)
    covered = [step for step, s in zip(steps, seconds, strict=True) if 8.0 <= s < 20.0]
    assert not any(step.result.fix for step in covered)
    stopped = covered[-1]
    assert stopped.state is DriveState.STOPPED and abs(stopped.twist.linear) < 0.02
    blind = np.linalg.norm(stopped.world_T_base[:3, 3] - steps[last_fix].world_T_base[:3, 3])
    assert blind < 4.0, "what it trusts the wheels, and blind_distance on top"
    assert judged.summary.interventions == 0 and np.abs(judged.lateral).max() < FAST.drive.free_corridor
    assert judged.station[-1] > YARD.length_m - 1.5, "it has driven on to the end"


def test_a_kidnapped_robot_says_that_it_is_lost_and_finds_itself(taught, tmp_path):
    steps, judged = drive(taught, tmp_path, events=[Kidnap(6.0, 24.0)])
    start = steps[0].result.stamp_ns
    after = [step for step in steps if (step.result.stamp_ns - start) * 1e-9 >= 6.0]
    states = [step.result.state for step in after]
    assert State.LOST in states
    found = next(i for i in range(states.index(State.LOST), len(states)) if states[i] is State.LOCALISED)
    assert all(step.result.map_T_base is None for step in after[states.index(State.LOST) : found])
    errors = judged.pose_error[len(steps) - len(after) + found :]
    assert np.nanmax(errors) < 0.2 and judged.summary.driven_m < YARD.length_m


def test_localisation_and_follower_are_never_told_the_truth():
    """In the loop, the true pose goes into the record and to the supervisor, and into nothing that estimates or steers."""
    source = Path(__file__).resolve().parents[1] / "vloc_ros" / "closed_loop" / "drive.py"
    told = {}
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            inside = {child.attr for argument in node.args for child in ast.walk(argument) if isinstance(child, ast.Attribute)}
            told.setdefault(node.func.attr, set()).update(inside)
    takes_truth = {name for name, attributes in told.items() if "world_T_base" in attributes}
    assert takes_truth == {"watch", "twist", "command"}, "command() gets the result of the supervisor's twist()"
    for name in ("process", "add_pose", "add_odometry", "set_pose", "add"):
        assert "world_T_base" not in told[name] and "robot" not in told[name]
    for room in ("localization", "path_following"):
        for path in (source.parents[1] / room).glob("*.py"):
            imports = [
                node.module for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
            ]
            assert not [name for name in imports if name.startswith(("vloc_ros.simulation", "vloc_ros.closed_loop"))], path


def straight_supervisor(**changes):
    path = TaughtPath([planar_pose(0.5 * k, 0.0, 0.0) for k in range(41)])
    return Supervisor(path, replace(DriveSettings(), **changes), 1, np.eye(4))


def test_the_operator_helps_a_robot_that_stands_and_hands_over_when_it_wants_to_drive():
    supervisor = straight_supervisor(patience=2.0, operator_distance=1.0)
    reasons = [supervisor.watch(np.eye(4), 0.5, STANDSTILL) for _ in range(6)]
    assert Intervention.STUCK in reasons and supervisor.operating
    pose, now = np.eye(4), 0
    while supervisor.operating and now < 60_000_000_000:
        twist = supervisor.twist(now, pose, STANDSTILL)
        pose = pose @ se3.exp(np.array([twist.linear * 0.1, 0, 0, 0, 0, twist.angular * 0.1]))
        now += 100_000_000
        supervisor.watch(pose, 0.1, PlanarTwist(0.5, 0.0))
    assert 1.0 <= pose[0, 3] < 1.6
    assert supervisor.twist(now, pose, PlanarTwist(0.3, 0.1)) == PlanarTwist(0.3, 0.1)


def test_the_operator_steps_in_where_the_robot_leaves_the_corridor():
    supervisor = straight_supervisor()
    assert supervisor.watch(planar_pose(1.0, 0.7, 0.0), 1.0, PlanarTwist(1.0, 0.0)) is None
    assert supervisor.watch(planar_pose(1.5, 0.9, 0.0), 1.0, PlanarTwist(1.0, 0.0)) is Intervention.LEFT_CORRIDOR


def test_a_robot_that_is_carried_back_has_not_finished_its_round():
    circle = TaughtPath([se3.exp(np.array([s, 0, 0, 0, 0, s / 8.0])) for s in np.arange(0.0, 50.3, 0.5)])
    supervisor = Supervisor(circle, DriveSettings(), 1, circle.poses[0])
    for index in range(0, 450, 5):
        supervisor.watch(circle.poses[index], 0.5, PlanarTwist(1.0, 0.0))
    assert supervisor.progress_m == pytest.approx(44.5, abs=0.3)
    supervisor.watch(circle.poses[20], 0.5, PlanarTwist(1.0, 0.0))
    assert supervisor.progress_m == pytest.approx(2.0, abs=0.3) and not supervisor.finished


def test_a_map_knows_where_it_was_taught(taught):
    with MapStore.open(taught[1], read_only=True) as store:
        assert site_of(store) == YARD
    odd = Site("odd", 9, 61.5, RouteShape.MEANDER, Layout.LOOKALIKE)
    assert describe(odd).split()[0] == "simulation" and "seed=9" in describe(odd)


def test_a_map_of_the_real_world_cannot_be_driven_in_simulation(tmp_path):
    path = map_samples.teach(tmp_path / "real.vloc")
    with MapStore.open(path, read_only=True) as store, pytest.raises(MapError, match="not taught in the simulated world"):
        site_of(store)


def test_without_the_truth_beside_the_map_nothing_is_judged(taught, tmp_path):
    copy = tmp_path / "copy.vloc"
    copy.write_bytes(taught[1].read_bytes())
    with MapStore.open(copy, read_only=True) as store, pytest.raises(DataError, match="truth"):
        keyframe_truth(store)
    assert truth_file(taught[1]).exists()


@pytest.mark.parametrize("text", ["", "5", "5:", "a:b", "1:2:3", "-1:5"])
def test_events_that_make_no_sense_are_refused(text):
    for parse in (parse_cover, parse_kidnap):
        with pytest.raises(ConfigError, match="must be AT:"):
            parse(text)
    assert parse_cover("20:5") == CoverCamera(20.0, 5.0) and parse_kidnap("20:65") == Kidnap(20.0, 65.0)


def test_a_table_is_resumed_and_driven_again_when_its_settings_change(tmp_path):
    wanted = tasks(SITES[:2], ["sift", "orb"], [named_condition("noon"), named_condition("night")], tmp_path)
    assert len({task.folder for task in wanted}) == 8 and len({task.map_path for task in wanted}) == 4
    table = Autonomy(Course(ClosedLoopSettings()), 1.0, 1)
    assert len(table.maps_to_teach(wanted)) == 4 and table.finished(wanted[0]) is None
    wanted[0].folder.mkdir(parents=True)
    written = {**summary().to_dict(), "signature": table._signature(wanted[0])}
    (wanted[0].folder / SUMMARY).write_text(json.dumps(written), encoding="utf-8")
    assert table.finished(wanted[0]) == summary()
    other = Autonomy(Course(config.replace(ClosedLoopSettings(), {"pnp.iterations": 50})), 1.0, 1)
    assert other.finished(wanted[0]) is None
    (wanted[0].folder / SUMMARY).write_text("{", encoding="utf-8")
    assert table.finished(wanted[0]) is None
