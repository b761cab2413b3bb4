"""Pose from matched points: exact on clean data, honest covariance, robust, and a reason on every failure."""

import numpy as np
import pytest

from vloc_ros.geometry import pnp, se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.geometry.pnp import Landmarks, PnpSettings, estimate_pose, refine_pose
from vloc_ros.geometry.weighted_svd import align_points

CAMERA = StereoCamera(512, 384, 388.425, 388.425, 253.502, 196.822, 0.239946)
SETTINGS = PnpSettings()
MOTION = se3.exp(np.array([0.1, -0.05, -0.6, 0.02, -0.06, 0.03]))


def scene(count, rng, noise=1.0):
    """Noisy landmarks of a reference view and where a camera moved by MOTION sees them."""
    pixels = rng.uniform([20, 20], [490, 360], (count, 2))
    disparity = CAMERA.fx * CAMERA.baseline / rng.uniform(2.0, 20.0, count)
    truth = CAMERA.back_project(pixels, disparity)
    seen = CAMERA.project(se3.transform(MOTION, truth))
    sigma = noise * np.array([SETTINGS.pixel_sigma, SETTINGS.pixel_sigma, SETTINGS.disparity_sigma])
    reference = np.column_stack([pixels, disparity]) + rng.normal(size=(count, 3)) * sigma
    live = seen + rng.normal(size=(count, 3)) * sigma
    landmarks = Landmarks.triangulate(CAMERA, reference[:, :2], np.maximum(reference[:, 2], 0.1), SETTINGS)
    return landmarks, live[:, :2], live[:, 2]


def test_exact_without_noise():
    estimate = estimate_pose(CAMERA, *scene(100, np.random.default_rng(0), noise=0.0), SETTINGS)
    assert estimate.success and estimate.reason is None and estimate.inliers.all()
    assert np.allclose(estimate.a_T_b, MOTION, atol=1e-6)


def test_outliers_are_found():
    rng = np.random.default_rng(1)
    landmarks, pixels, disparity = scene(200, rng)
    wrong = rng.choice(200, 100, replace=False)
    pixels[wrong] = rng.uniform([0, 0], [511, 383], (100, 2))
    estimate = estimate_pose(CAMERA, landmarks, pixels, disparity, SETTINGS)
    assert estimate.success
    assert np.linalg.norm(se3.log(se3.between(MOTION, estimate.a_T_b))[:3]) < 0.05
    assert estimate.inliers[wrong].sum() < 5 and estimate.inliers.sum() > 80


def test_covariance_is_that_of_the_error():
    """Normalised estimation error squared: 6 on average when the covariance is right."""
    rng = np.random.default_rng(2)
    squared = []
    for _ in range(150):
        estimate = refine_pose(CAMERA, *scene(80, rng), MOTION, SETTINGS)
        assert estimate.success
        xi = se3.log(se3.between(MOTION, estimate.a_T_b))
        squared.append(xi @ np.linalg.solve(estimate.covariance, xi))
    assert 4.0 < np.mean(squared) < 8.5


def test_unknown_disparities_are_used_as_bearings():
    landmarks, pixels, disparity = scene(60, np.random.default_rng(3))
    disparity[::2] = np.nan
    estimate = estimate_pose(CAMERA, landmarks, pixels, disparity, SETTINGS)
    assert estimate.success and np.isfinite(estimate.covariance).all()
    assert np.allclose(estimate.a_T_b, MOTION, atol=0.05)


def test_the_fallback_engine_agrees(monkeypatch):
    data = scene(100, np.random.default_rng(4))
    ours = estimate_pose(CAMERA, *data, SETTINGS)
    monkeypatch.setattr(pnp, "poselib", None)
    theirs = estimate_pose(CAMERA, *data, SETTINGS)
    assert theirs.success and np.allclose(ours.a_T_b, theirs.a_T_b, atol=1e-4)


def test_it_is_deterministic():
    first, second = (estimate_pose(CAMERA, *scene(100, np.random.default_rng(5)), SETTINGS) for _ in range(2))
    assert np.array_equal(first.a_T_b, second.a_T_b)


@pytest.mark.parametrize("count", [0, 3, SETTINGS.min_inliers - 1])
def test_too_few_matches(count):
    estimate = estimate_pose(CAMERA, *scene(count, np.random.default_rng(6)), SETTINGS)
    assert not estimate.success and estimate.a_T_b is None and estimate.covariance is None
    assert estimate.reason is RejectReason.TOO_FEW_MATCHES and not estimate.inliers.any() and len(estimate.inliers) == count


def test_random_matches_are_no_pose():
    rng = np.random.default_rng(7)
    for _ in range(20):
        landmarks, _, _ = scene(100, rng)
        pixels, disparity = rng.uniform([0, 0], [511, 383], (100, 2)), rng.uniform(2, 60, 100)
        estimate = estimate_pose(CAMERA, landmarks, pixels, disparity, SETTINGS)
        assert not estimate.success and estimate.a_T_b is None and estimate.reason is not None


def test_points_in_one_spot_are_degenerate():
    points = np.tile([0.3, 0.2, 8.0], (40, 1)) + np.random.default_rng(8).normal(size=(40, 3)) * 1e-6
    landmarks = Landmarks(points, np.tile(np.eye(3) * 1e-4, (40, 1, 1)))
    seen = CAMERA.project(se3.transform(MOTION, points))
    estimate = refine_pose(CAMERA, landmarks, seen[:, :2], np.full(40, np.nan), MOTION, SETTINGS)
    assert not estimate.success
    assert estimate.reason in (RejectReason.DEGENERATE_GEOMETRY, RejectReason.LARGE_COVARIANCE)


def test_weighted_svd_recovers_a_motion_and_ignores_weight_zero():
    rng = np.random.default_rng(9)
    points = rng.normal(size=(20, 3))
    moved = se3.transform(MOTION, points)
    weights = np.ones(20)
    weights[:5] = 0.0
    moved[:5] = 100.0
    assert np.allclose(align_points(moved, points, weights), MOTION, atol=1e-12)


@pytest.mark.parametrize("points", [np.zeros((5, 3)), np.outer(np.arange(5.0), [1, 2, 3]), np.eye(3)[:2]])
def test_weighted_svd_says_when_it_cannot_know(points):
    assert align_points(points, points, np.ones(len(points))) is None
