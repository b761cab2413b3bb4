"""SE(3): round trips, the adjoint, covariances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vloc_ros.geometry import se3
from vloc_ros.geometry.uncertainty import change_body, fuse, isotropic, mahalanobis, of_inverse

twists = st.lists(st.floats(-2.0, 2.0), min_size=6, max_size=6).map(np.array)
small = st.lists(st.floats(-1e-4, 1e-4), min_size=6, max_size=6).map(np.array)


@given(twists)
def test_log_undoes_exp(xi):
    assert np.linalg.norm(xi[3:]) >= np.pi or np.allclose(se3.log(se3.exp(xi)), xi, atol=1e-9)


@given(twists, twists)
def test_inverse_and_between(a, b):
    a_T, b_T = se3.exp(a), se3.exp(b)
    assert np.allclose(se3.inverse(a_T) @ a_T, np.eye(4), atol=1e-12)
    assert np.allclose(a_T @ se3.between(a_T, b_T), b_T, atol=1e-9)


@given(twists, small)
def test_adjoint_moves_a_perturbation_across(a, xi):
    a_T_b = se3.exp(a)
    assert np.allclose(a_T_b @ se3.exp(xi), se3.exp(se3.adjoint(a_T_b) @ xi) @ a_T_b, atol=1e-10)


@given(twists)
def test_quaternion_round_trip(xi):
    pose = se3.exp(xi)
    assert np.allclose(se3.from_quaternion(pose[:3, 3], se3.quaternion(pose)), pose, atol=1e-9)
    assert se3.quaternion(pose)[3] >= 0.0


def test_tiny_angles_are_exact():
    xi = np.array([1.0, 2.0, 3.0, 1e-9, -1e-9, 1e-9])
    assert np.allclose(se3.log(se3.exp(xi)), xi, atol=1e-12)


def test_optical_frame_is_rep_103():
    forward_right_down = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert np.allclose(se3.transform(se3.BASE_T_OPTICAL, forward_right_down), [[1, 0, 0], [0, -1, 0], [0, 0, -1]])
    with pytest.raises(ValueError):
        se3.BASE_T_OPTICAL[0, 0] = 5.0


def _samples(pose, covariance, count, rng):
    return [pose @ se3.exp(xi) for xi in rng.multivariate_normal(np.zeros(6), covariance, count)]


def _spread(poses, mean):
    return np.cov(np.array([se3.log(se3.between(mean, pose)) for pose in poses]).T)


def test_covariances_agree_with_sampling():
    rng = np.random.default_rng(1)
    a_T_b, b_T_c = se3.exp(np.array([1.0, -2.0, 0.5, 0.3, 0.8, -0.4])), se3.exp(np.array([0.5, 1.0, 2.0, -0.5, 0.1, 0.9]))
    cov_a = np.diag([1.0, 2.0, 3.0, 0.1, 0.2, 0.3]) * 1e-4
    cov_b = np.diag([3.0, 1.0, 2.0, 0.3, 0.1, 0.2]) * 1e-4
    first, second = _samples(a_T_b, cov_a, 4000, rng), _samples(b_T_c, cov_b, 4000, rng)
    composed = [a @ b for a, b in zip(first, second, strict=True)]
    assert np.allclose(_spread(composed, a_T_b @ b_T_c), se3.compose_covariance(cov_a, b_T_c, cov_b), atol=8e-5)
    inverses = [se3.inverse(a) for a in first]
    assert np.allclose(_spread(inverses, se3.inverse(a_T_b)), of_inverse(a_T_b, cov_a), atol=8e-5)
    moved = [a @ se3.inverse(b_T_c) for a in first]
    assert np.allclose(_spread(moved, a_T_b @ se3.inverse(b_T_c)), change_body(b_T_c, cov_a), atol=8e-5)


def test_fusion_weighs_by_certainty():
    here, there = np.eye(4), se3.exp(np.array([1.0, 0, 0, 0, 0, 0]))
    sure, unsure = isotropic(0.01, 0.01), isotropic(1.0, 1.0)
    pose, covariance = fuse(here, unsure, there, sure)
    assert pose[0, 3] == pytest.approx(1.0, abs=1e-3)
    assert np.all(np.linalg.eigvalsh(covariance) > 0) and covariance[0, 0] < sure[0, 0]
    pose, covariance = fuse(here, unsure, there, unsure)
    assert pose[0, 3] == pytest.approx(0.5)
    assert covariance[0, 0] == pytest.approx(0.5)
    assert mahalanobis(here, unsure, there, unsure) == pytest.approx(0.5)
