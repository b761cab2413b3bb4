"""Registration of two views with known geometry: the pose, its covariance, and the depths of either side."""

import numpy as np
import pytest
from map_samples import CAMERA

from vloc_ros.features import Features, MatchSettings, Metric
from vloc_ros.geometry import se3
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.geometry.pnp import PnpSettings
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.mapping.registration import Registrar

TRUTH = se3.exp(np.array([0.15, -0.05, 0.4, 0.01, 0.06, -0.02]))
"""a_T_b of the cameras."""
PNP = PnpSettings()
REGISTRAR = Registrar(CAMERA, Metric.COSINE, MatchSettings(), PNP)


def views(seed, count=220, noise=True, a_T_b=TRUTH):
    """The features of one scene from two cameras."""
    rng = np.random.default_rng(seed)
    points = rng.uniform([-6, -4, 3], [6, 4, 14], (count, 3))
    descriptors = rng.normal(size=(count, 32)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    result = []
    for pose in (np.eye(4), a_T_b):
        seen = CAMERA.project(se3.transform(se3.inverse(pose), points))
        seen += noise * rng.normal(size=seen.shape) * [PNP.pixel_sigma, PNP.pixel_sigma, PNP.disparity_sigma]
        order = rng.permutation(count)
        inside = order[CAMERA.contains(seen[order, :2], 0.0)]
        ones = np.ones(len(inside), np.float32)
        pixels, disparity = seen[inside, :2].astype(np.float32), seen[inside, 2].astype(np.float32)
        result.append(Features(pixels, ones, ones, descriptors[inside], np.maximum(disparity, 0.3)))
    return result


def without_depth(features, share, seed=0):
    hidden = np.random.default_rng(seed).random(len(features)) < share
    disparity = np.where(hidden, np.nan, features.disparity).astype(np.float32)
    return Features(features.keypoints, features.scores, features.sizes, features.descriptors, disparity)


@pytest.mark.parametrize(("in_a", "in_b"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.6, 0.6)])
def test_the_pose_does_not_depend_on_which_side_knows_the_depth(in_a, in_b):
    a, b = views(1)
    found = REGISTRAR.register(without_depth(a, in_a, 1), without_depth(b, in_b, 2))
    assert found.reason is None and found.support > 40
    xi = se3.log(se3.between(TRUTH, found.a_T_b))
    assert np.linalg.norm(xi[:3]) < 0.15 and np.linalg.norm(xi[3:]) < 0.02


def test_errors_fit_the_covariance():
    squared = []
    for seed in range(40):
        a, b = views(seed)
        found = REGISTRAR.register(without_depth(a, 0.5, seed), without_depth(b, 0.5, seed + 1000))
        xi = se3.log(se3.between(TRUTH, found.a_T_b))
        squared.append(xi @ np.linalg.solve(found.covariance, xi))
    # chi-square with six degrees of freedom: mean 6, standard deviation 3.5
    assert 3.0 < np.mean(squared) < 10.0


def test_depths_that_only_the_other_side_knows_make_the_pose_better():
    def error(hide_in_b):
        total = []
        for seed in range(30):
            a, b = views(seed)
            half = without_depth(a, 0.5, seed)
            of_b = Features(*(getattr(b, name) for name in ("keypoints", "scores", "sizes", "descriptors")), b.disparity.copy())
            # b knows nothing, or just what a does not
            known = {tuple(row) for row in half.descriptors[np.isnan(half.disparity)].tolist()}
            keep = np.array([tuple(row) in known for row in of_b.descriptors.tolist()]) & (not hide_in_b)
            of_b.disparity[~keep] = np.nan
            found = REGISTRAR.register(half, of_b)
            total.append(np.square(se3.log(se3.between(TRUTH, found.a_T_b))[:3]).sum())
        return np.sqrt(np.mean(total))

    assert error(hide_in_b=False) < 0.9 * error(hide_in_b=True)


def test_swapping_the_views_inverts_the_pose():
    a, b = views(3, noise=False)
    there, back = REGISTRAR.register(a, b), REGISTRAR.register(b, a)
    np.testing.assert_allclose(there.a_T_b @ back.a_T_b, np.eye(4), atol=2e-2)
    assert there.support == back.support


def test_bases_are_joined_by_the_pose_of_the_camera_on_them():
    a, b = views(4, noise=False)
    found = REGISTRAR.register(a, b)
    lever = BASE_T_OPTICAL @ se3.exp(np.array([0.1, 0.2, 0.3, 0.0, 0.0, 0.1]))
    pose, covariance = found.of_bases(lever)
    np.testing.assert_allclose(pose @ lever, lever @ found.a_T_b, atol=1e-12)
    xi = np.full(6, 1e-4)
    moved = lever @ found.a_T_b @ se3.exp(xi) @ se3.inverse(lever)
    of_base = se3.log(se3.between(pose, moved))
    np.testing.assert_allclose(
        of_base @ np.linalg.solve(covariance, of_base), xi @ np.linalg.solve(found.covariance, xi), rtol=1e-6
    )


def test_a_failure_has_a_reason_and_no_pose():
    (a, _), (_, b) = views(5), views(6)
    found = REGISTRAR.register(a, b)
    assert found.a_T_b is None and found.reason in (RejectReason.TOO_FEW_MATCHES, RejectReason.TOO_FEW_INLIERS)
    assert found.support == 0 and len(found.inliers) == len(found.pairs)
    with pytest.raises(ValueError, match="has no pose"):
        found.of_bases(np.eye(4))
    flat = REGISTRAR.register(without_depth(a, 1.0), without_depth(views(5)[1], 1.0))
    assert flat.reason is RejectReason.TOO_FEW_MATCHES, "no depth on either side"
    nothing = REGISTRAR.register(Features.none(Metric.COSINE, 32), b)
    assert nothing.reason is RejectReason.TOO_FEW_MATCHES and len(nothing.pairs) == 0


def test_a_window_looks_only_near_the_own_position():
    a, b = views(7, a_T_b=se3.exp(np.array([0.02, 0.0, 0.05, 0.0, 0.01, 0.0])))
    near, none = REGISTRAR.register(a, b, 20.0), REGISTRAR.register(*views(7), 2.0)
    assert near.reason is None and near.support > 100
    assert len(none.pairs) < len(near.pairs)
