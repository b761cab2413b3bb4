"""Errors per frame, with known answers."""

import itertools

import numpy as np
import pytest
from evaluation_samples import STEP_NS, frame, keyframes_of, noisy, random_walk, timed
from hypothesis import given, settings
from hypothesis import strategies as st

from vloc_ros.data.reader import Trajectory
from vloc_ros.evaluation.frame_errors import ErrorKind, frame_errors
from vloc_ros.evaluation.runlog import Run
from vloc_ros.geometry import se3
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.state import State

START = 1_700_000_000_123_456_789


def run_of(poses, **changes):
    frames = [frame(START + k * STEP_NS, pose, **changes) for k, pose in enumerate(poses)]
    return Run("test", "", tuple(frames))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_perfect_run_in_another_frame_has_no_error(seed):
    truth = random_walk(20, seed)
    map_T_world = se3.exp(np.random.default_rng(seed).normal(0.0, 2.0, 6))
    route = random_walk(20, seed + 1)
    keyframes = keyframes_of(map_T_world @ route)
    errors = frame_errors(
        run_of(map_T_world @ truth), timed(truth), keyframes, {k.id: w for k, w in zip(keyframes, route, strict=True)}
    )
    assert errors.kind is ErrorKind.RELATIVE
    assert errors.position_m.max() < 1e-9 and errors.rotation_rad.max() < 1e-7
    assert np.linalg.norm(errors.absolute[:, :3, 3], axis=1).max() < 1e-9
    np.testing.assert_allclose(errors.world_T_map.apply(keyframes[3].map_T_base[None])[0], route[3], atol=1e-9)


def test_an_offset_is_measured_with_its_sign_in_the_true_frame():
    """The estimate lies 0.2 m left of and 0.1 m ahead of the truth and is turned left by 3 degrees."""
    truth = random_walk(15, 3)
    offset = se3.from_rotation_translation(se3.exp(np.array([0, 0, 0, 0, 0, np.radians(3.0)]))[:3, :3], np.array([0.1, 0.2, 0.0]))
    keyframes = keyframes_of(truth)
    errors = frame_errors(run_of(truth @ offset), timed(truth), keyframes, {k.id: k.map_T_base for k in keyframes})
    np.testing.assert_allclose(errors.lateral_m, 0.2, atol=1e-9)
    np.testing.assert_allclose(np.degrees(errors.heading_rad), 3.0, atol=1e-9)
    np.testing.assert_allclose(errors.position_m, np.hypot(0.1, 0.2), atol=1e-9)
    np.testing.assert_allclose(np.degrees(errors.rotation_rad), 3.0, atol=1e-7)


def bent_map(true_route):
    """A map whose odometry turned a little at every keyframe: right locally, far off globally."""
    bend = se3.exp(np.array([0, 0, 0, 0, 0, 0.02]))
    poses = [true_route[0]]
    for a, b in itertools.pairwise(true_route):
        poses.append(poses[-1] @ se3.between(a, b) @ bend)
    return np.stack(poses)


def test_drift_of_the_map_is_an_absolute_error_but_not_a_relative_one():
    route = random_walk(60, 5)
    keyframes = keyframes_of(bent_map(route))
    sideways = se3.exp(np.array([0.0, 0.3, 0.0, 0.0, 0.0, 0.1]))
    live_truth = route @ sideways
    live_map = np.stack([keyframe.map_T_base for keyframe in keyframes]) @ sideways
    frames = [frame(START + k * STEP_NS, pose, keyframe=KeyframeId(1, k)) for k, pose in enumerate(live_map)]
    errors = frame_errors(
        Run("", "", tuple(frames)), timed(live_truth), keyframes, dict(zip([k.id for k in keyframes], route, strict=True))
    )
    assert errors.position_m.max() < 1e-9
    assert np.median(np.linalg.norm(errors.absolute[:, :3, 3], axis=1)) > 0.5


def test_a_fix_at_the_wrong_place_is_wrong():
    route = random_walk(60, 6)
    keyframes = keyframes_of(route)
    poses = route.copy()
    poses[10] = route[40]
    frames = [frame(START + k * STEP_NS, pose, keyframe=KeyframeId(1, 40 if k == 10 else k)) for k, pose in enumerate(poses)]
    errors = frame_errors(Run("", "", tuple(frames)), timed(route), keyframes, {k.id: k.map_T_base for k in keyframes})
    apart = np.linalg.norm(route[10][:3, 3] - route[40][:3, 3])
    assert errors.position_m[10] == pytest.approx(apart) and apart > 1.0
    assert errors.false_poses(0.3) == 1


def test_dead_reckoning_follows_the_nearest_keyframe():
    route = random_walk(30, 7)
    keyframes = keyframes_of(bent_map(route))
    live = np.stack([keyframe.map_T_base for keyframe in keyframes])
    reckoned = [frame(START + k * STEP_NS, pose, fix=False, state=State.DEAD_RECKONING) for k, pose in enumerate(live)]
    errors = frame_errors(
        Run("", "", tuple(reckoned)), timed(route), keyframes, dict(zip([k.id for k in keyframes], route, strict=True))
    )
    assert errors.position_m.max() < 1e-9


def test_keyframe_truth_may_be_a_trajectory_of_the_teaching():
    route = random_walk(20, 8)
    keyframes = keyframes_of(se3.exp(np.ones(6)) @ route)
    teaching = Trajectory(np.array([k.stamp_ns for k in keyframes]), route)
    repeated = noisy(route, 9)
    run = run_of(se3.exp(np.ones(6)) @ repeated)
    by_time = frame_errors(run, timed(route), keyframes, teaching)
    by_name = frame_errors(run, timed(route), keyframes, dict(zip([k.id for k in keyframes], route, strict=True)))
    np.testing.assert_allclose(by_time.errors, by_name.errors, atol=1e-9)
    half = Trajectory(teaching.stamps_ns[:10], teaching.poses[:10])
    partly = frame_errors(run, timed(route), keyframes, half)
    assert np.isfinite(partly.position_m).all()


def test_without_truth_of_the_keyframes_errors_are_absolute():
    truth = random_walk(30, 10)
    errors = frame_errors(run_of(se3.exp(np.ones(6)) @ truth), timed(truth), keyframes_of(truth))
    assert errors.kind is ErrorKind.ABSOLUTE and errors.relative is None
    assert errors.position_m.max() < 1e-9


def test_frames_without_a_pose_are_failures_and_those_without_truth_are_not_judged():
    truth = random_walk(10, 11)
    poses = [*truth[:6], None, None, *truth[8:]]
    keyframes = keyframes_of(truth)
    named = {k.id: k.map_T_base for k in keyframes}
    errors = frame_errors(run_of(poses), timed(truth), keyframes, named)
    assert errors.judged.all()
    assert errors.within_percent(0.25, 0.1) == pytest.approx(80.0)
    short = Trajectory(timed(truth).stamps_ns[:7], truth[:7])
    errors = frame_errors(run_of(poses), short, keyframes, named)
    assert errors.judged.tolist() == [True] * 7 + [False] * 3
    assert errors.within_percent(0.25, 0.1) == pytest.approx(100.0 * 6 / 7)


def test_nothing_believed_is_all_wrong_and_nothing_known_is_not_judged():
    truth = random_walk(5, 12)
    nothing = frame_errors(run_of([None] * 5), timed(truth))
    assert nothing.within_percent(5.0, 1.0) == 0.0 and nothing.world_T_map is None and nothing.false_poses(0.3) == 0
    elsewhere = frame_errors(run_of(truth), timed(truth, start_ns=5))
    assert not elsewhere.judged.any() and elsewhere.within_percent(5.0, 1.0) is None
    empty = frame_errors(Run("", "", ()), timed(truth))
    assert len(empty.position_m) == 0
