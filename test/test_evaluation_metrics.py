"""Metrics against evo (which the package itself never imports), against known answers, and against a plain KITTI loop."""

import itertools

import numpy as np
import pytest
from evaluation_samples import noisy, random_walk
from hypothesis import given, settings
from hypothesis import strategies as st

from vloc_ros.errors import DataError
from vloc_ros.evaluation import metrics
from vloc_ros.evaluation.metrics import Alignment
from vloc_ros.geometry import se3

pytest.importorskip("evo", reason="evo is a development tool that is not installed here")
from evo.core import metrics as evo_metrics
from evo.core.trajectory import PosePath3D
from evo.core.units import Unit

SEEDS = st.integers(0, 2**32 - 1)


def evo_ape(estimate, truth, relation, alignment):
    reference, other = PosePath3D(poses_se3=list(truth)), PosePath3D(poses_se3=list(estimate))
    if alignment is not Alignment.NONE:
        other.align(reference, correct_scale=alignment is Alignment.SIM3)
    ape = evo_metrics.APE(relation)
    ape.process_data((reference, other))
    return ape.get_all_statistics()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("alignment", list(Alignment))
def test_ate_equals_evo(seed, alignment):
    truth = random_walk(60, seed)
    estimate = noisy(truth, seed + 100)
    if alignment is not Alignment.NONE:
        estimate = se3.exp(np.array([3.0, -2.0, 1.0, 0.4, -1.0, 2.0])) @ estimate
    if alignment is Alignment.SIM3:
        estimate[:, :3, 3] *= 2.5
    ours = metrics.absolute_trajectory_error(estimate, truth, alignment)
    for part, relation in ((ours.translation, "translation_part"), (ours.rotation, "rotation_angle_rad")):
        theirs = evo_ape(estimate, truth, evo_metrics.PoseRelation[relation], alignment)
        for name in ("rmse", "mean", "median", "max"):
            assert getattr(part, name) == pytest.approx(theirs[name], rel=1e-6, abs=1e-9), (relation, name)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("delta", [1, 7])
def test_rpe_equals_evo(seed, delta):
    truth = random_walk(50, seed)
    estimate = noisy(truth, seed + 50)
    ours = metrics.relative_pose_error(estimate, truth, delta)
    for part, relation in ((ours.translation, "translation_part"), (ours.rotation, "rotation_angle_rad")):
        rpe = evo_metrics.RPE(evo_metrics.PoseRelation[relation], delta=delta, delta_unit=Unit.frames, all_pairs=True)
        rpe.process_data((PosePath3D(poses_se3=list(truth)), PosePath3D(poses_se3=list(estimate))))
        theirs = rpe.get_all_statistics()
        assert part.count == len(rpe.error) == 50 - delta
        for name in ("rmse", "mean", "median", "max"):
            assert getattr(part, name) == pytest.approx(theirs[name], rel=1e-6, abs=1e-9), (relation, name)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.1, 10.0))
def test_umeyama_recovers_a_similarity(seed, scale):
    rng = np.random.default_rng(seed)
    source = rng.normal(0.0, 2.0, (12, 3))
    truth = se3.exp(rng.normal(0.0, 1.5, 6))
    target = scale * source @ truth[:3, :3].T + truth[:3, 3]
    found = metrics.umeyama(source, target, with_scale=True)
    assert found.unique
    assert found.scale == pytest.approx(scale, rel=1e-9)
    np.testing.assert_allclose(found.rotation, truth[:3, :3], atol=1e-9)
    np.testing.assert_allclose(found.translation, truth[:3, 3], atol=1e-8)


def test_umeyama_never_reflects():
    rng = np.random.default_rng(3)
    source = rng.normal(size=(20, 3))
    found = metrics.umeyama(source, source * [1.0, 1.0, -1.0])
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_ate_does_not_depend_on_the_world_frames(seed):
    rng = np.random.default_rng(seed)
    truth = random_walk(20, seed)
    estimate = noisy(truth, seed // 2)
    a, b = (se3.exp(rng.normal(0.0, 2.0, 6)) for _ in range(2))
    before = metrics.absolute_trajectory_error(estimate, truth)
    after = metrics.absolute_trajectory_error(a @ estimate, b @ truth)
    assert after.translation.rmse == pytest.approx(before.translation.rmse, rel=1e-6)
    assert after.rotation.rmse == pytest.approx(before.rotation.rmse, rel=1e-6)


def straight_line(count, step=1.0):
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = step * np.arange(count)
    return poses


def test_positions_in_a_line_leave_the_rotation_open_but_a_lever_settles_it():
    truth = straight_line(10)
    moved = se3.exp(np.array([1.0, 2.0, 3.0, 0.3, -0.2, 0.5])) @ truth
    error = metrics.absolute_trajectory_error(moved, truth)
    assert error.translation.max < 1e-9
    assert error.rotation is None
    aligned = metrics.align(moved, truth, lever_m=1.0).apply(moved)
    np.testing.assert_allclose(aligned, truth, atol=1e-9)
    one = metrics.align(moved[:1], truth[:1], lever_m=1.0).apply(moved[:1])
    np.testing.assert_allclose(one, truth[:1], atol=1e-9)


def kitti_by_the_book(estimate, truth, lengths, step):
    """The loop of the benchmark's definition, written out."""
    distance = [0.0]
    for a, b in itertools.pairwise(truth):
        distance.append(distance[-1] + float(np.linalg.norm(b[:3, 3] - a[:3, 3])))
    translation, rotation = [], []
    for first in range(0, len(truth), step):
        for length in lengths:
            last = next((k for k in range(first, len(truth)) if distance[k] > distance[first] + length), None)
            if last is None:
                continue
            true_motion = np.linalg.inv(truth[first]) @ truth[last]
            motion = np.linalg.inv(estimate[first]) @ estimate[last]
            error = np.linalg.inv(motion) @ true_motion
            translation.append(np.linalg.norm(error[:3, 3]) / length)
            rotation.append(np.arccos(np.clip((np.trace(error[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)) / length)
    return 100.0 * np.mean(translation), np.degrees(np.mean(rotation)), len(translation)


@pytest.mark.parametrize(("lengths", "step"), [((5.0, 10.0, 15.0, 20.0), 1), ((8.0, 30.0), 10)])
def test_drift_equals_the_definition(lengths, step):
    truth = random_walk(150, 5)
    estimate = noisy(truth, 6)
    drift = metrics.kitti_drift(estimate, truth, lengths, step)
    percent, degrees, count = kitti_by_the_book(estimate, truth, lengths, step)
    assert drift.segments == count
    assert drift.translation_percent == pytest.approx(percent, rel=1e-9)
    assert drift.rotation_deg_per_m == pytest.approx(degrees, rel=1e-6)


def test_drift_of_a_wrong_scale_is_known():
    """Steps of 1.25 m that odometry takes for 1 % longer: a 5 m segment ends after 6.25 m (the first distance beyond 5 m)."""
    truth = straight_line(41, 1.25)
    estimate = straight_line(41, 1.25 * 1.01)
    drift = metrics.kitti_drift(estimate, truth, (5.0,), 1)
    assert drift.translation_percent == pytest.approx(100.0 * 0.01 * 6.25 / 5.0)
    assert drift.rotation_deg_per_m == pytest.approx(0.0, abs=1e-9)
    assert drift.segments == 41 - 5
    assert drift.lengths_m == (5.0,)


def test_drift_of_a_constant_turn_is_known():
    """One milliradian too much per metre is that much per metre, times the distance reached over the nominal one."""
    truth = straight_line(60)
    step = se3.exp(np.array([1.0, 0.0, 0.0, 0.0, 0.0, 1e-3]))
    estimate = [np.eye(4)]
    for _ in range(59):
        estimate.append(estimate[-1] @ step)
    drift = metrics.kitti_drift(np.stack(estimate), truth, (9.5,), 1)
    assert drift.rotation_deg_per_m == pytest.approx(np.degrees(10 * 1e-3) / 9.5, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_drift_is_zero_for_the_truth_in_any_frame(seed):
    truth = random_walk(80, seed)
    moved = se3.exp(np.random.default_rng(seed).normal(0.0, 2.0, 6)) @ truth
    drift = metrics.kitti_drift(moved, truth)
    assert drift.lengths_m == metrics.SHORT_LENGTHS_M
    assert drift.translation_percent < 1e-9
    assert drift.rotation_deg_per_m < 1e-9


def test_short_and_long_paths_use_their_lengths():
    short, long = straight_line(52), straight_line(261)
    assert metrics.kitti_drift(short, short).segments == sum(52 - (length + 1) for length in (5, 10, 15, 20))
    drift = metrics.kitti_drift(long, long)
    assert drift.lengths_m == (100.0, 200.0)
    assert drift.segments == 16 + 6
    assert metrics.kitti_drift(straight_line(5), straight_line(5)) is None
    assert metrics.kitti_drift(straight_line(0), straight_line(0)) is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: metrics.absolute_trajectory_error(p, p[:-1]), "shapes"),
        (lambda p: metrics.absolute_trajectory_error(p[:0], p[:0]), "at least 1"),
        (lambda p: metrics.relative_pose_error(p, p, len(p)), "at least 11 poses"),
        (lambda p: metrics.relative_pose_error(p, p, 0), "at least one frame"),
        (lambda p: metrics.kitti_drift(p, p[1:]), "shapes"),
        (lambda p: metrics.kitti_drift(p, p, (5.0,), 0), "positive step"),
        (lambda p: metrics.kitti_drift(p, p, (0.0,), 1), "positive segment lengths"),
        (lambda p: metrics.umeyama(p[:3, :3, 3], p[:2, :3, 3]), "shapes"),
    ],
)
def test_impossible_questions_are_refused(call, words):
    with pytest.raises(DataError, match=words):
        call(straight_line(10))
