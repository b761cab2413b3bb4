"""Stacks of poses, and poses at other times."""

import numpy as np
import pytest
from evaluation_samples import random_walk, timed
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vloc_ros.data.reader import Trajectory
from vloc_ros.evaluation import trajectories
from vloc_ros.geometry import se3


def screw(count, step_ns):
    """Constant speed along x and a constant turn about z: linear and slerp interpolation are exact."""
    share = np.arange(count, dtype=np.float64)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.outer(share, [0.0, 0.0, 0.2])).as_matrix()
    poses[:, 0, 3] = share
    return Trajectory(step_ns * np.arange(count, dtype=np.int64), poses)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9_000_000), min_size=1, max_size=20))
def test_interpolation_is_exact_on_a_steady_turn(stamps):
    poses, known = trajectories.poses_at(screw(10, 1_000_000), np.array(stamps), 1.0)
    assert known.all()
    for stamp, pose in zip(stamps, poses, strict=True):
        share = stamp / 1e6
        np.testing.assert_allclose(pose[:3, 3], [share, 0.0, 0.0], atol=1e-12)
        np.testing.assert_allclose(pose[:3, :3], Rotation.from_rotvec([0, 0, 0.2 * share]).as_matrix(), atol=1e-12)


def test_nothing_is_extrapolated_nor_bridged():
    stamps = np.array([0, 100, 1_000_000_000, 1_000_000_100])
    path = Trajectory(stamps, np.tile(np.eye(4), (4, 1, 1)))
    wanted = np.array([-1, 0, 50, 100, 500_000_000, 1_000_000_050, 1_000_000_100, 1_000_000_101])
    poses, known = trajectories.poses_at(path, wanted, 0.5)
    assert known.tolist() == [False, True, True, True, False, True, True, False]
    assert np.isnan(poses[~known]).all()
    assert np.isfinite(poses[known]).all()


def test_poses_that_are_not_finite_count_as_missing():
    path = screw(5, 1_000_000)
    path.poses[2] = np.nan
    _, known = trajectories.poses_at(path, path.stamps_ns, 0.001)
    assert known.tolist() == [True, True, False, True, True]


def test_empty_inputs_interpolate_to_nothing():
    empty = Trajectory(np.empty(0, dtype=np.int64), np.empty((0, 4, 4)))
    poses, known = trajectories.poses_at(empty, np.array([1, 2]), 1.0)
    assert np.isnan(poses).all() and not known.any()
    assert trajectories.poses_at(screw(3, 10), np.empty(0, dtype=np.int64), 1.0)[0].shape == (0, 4, 4)


def test_stack_functions_agree_with_the_single_ones():
    a, b = random_walk(8, 1), random_walk(8, 2)
    np.testing.assert_allclose(trajectories.relative(a, b), [se3.between(x, y) for x, y in zip(a, b, strict=True)], atol=1e-12)
    np.testing.assert_allclose(trajectories.rotation_angles(b), [se3.rotation_angle(x) for x in b], atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-9, np.pi))
def test_rotation_angles_are_exact_from_tiny_to_half_a_turn(angle):
    pose = se3.exp(np.array([0, 0, 0, 0, angle, 0]))[None]
    assert trajectories.rotation_angles(pose)[0] == pytest.approx(angle, rel=1e-7, abs=1e-12)


def test_base_of_a_camera():
    base = random_walk(5, 4)
    base_T_camera = se3.exp(np.array([0.3, 0.1, 1.0, -1.0, 0.2, 0.5]))
    np.testing.assert_allclose(trajectories.to_base(timed(base @ base_T_camera), base_T_camera).poses, base, atol=1e-12)
