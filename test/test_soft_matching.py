"""The published way to match and to solve for a pose, at run time: soft matches, and a robust alignment of points."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from map_samples import CAMERA
from ros_samples import CAMERA as CORRIDOR
from ros_samples import pair, walk

from vloc_ros.config import from_dict, replace
from vloc_ros.data import StereoFrame
from vloc_ros.errors import ConfigError
from vloc_ros.features import Features, Matcher, MatchSettings, Metric, match, sight
from vloc_ros.geometry import se3
from vloc_ros.geometry.alignment import estimate_alignment
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.geometry.pnp import Landmarks, PnpSettings
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.geometry.weighted_svd import align_points, align_samples
from vloc_ros.localization import Localizer
from vloc_ros.mapping import MapStore, State, Teacher
from vloc_ros.mapping.registration import Registrar
from vloc_ros.settings import Settings

TRUTH = se3.exp(np.array([0.15, -0.05, 0.4, 0.01, 0.06, -0.02]))
"""a_T_b of the cameras."""
SOFT = MatchSettings(matcher=Matcher.SOFT)
PNP = PnpSettings()


def views(seed, count=220, noise=1.0, size=64):
    """The features of one scene from two cameras; row i of both is the same point."""
    rng = np.random.default_rng(seed)
    points = rng.uniform([-4, -3, 4], [4, 3, 12], (count, 3))
    descriptors = rng.normal(size=(count, size)).astype(np.float32)
    descriptors -= descriptors.mean(axis=1, keepdims=True)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    seen = [CAMERA.project(se3.transform(se3.inverse(pose), points)) for pose in (np.eye(4), TRUTH)]
    inside = np.logical_and(*(CAMERA.contains(s[:, :2]) for s in seen))
    result = []
    for s in seen:
        s = s[inside] + noise * rng.normal(size=(inside.sum(), 3)) * [PNP.pixel_sigma, PNP.pixel_sigma, PNP.disparity_sigma]
        scores = rng.uniform(0.2, 1.0, len(s)).astype(np.float32)
        pixels, disparity = s[:, :2].astype(np.float32), s[:, 2].astype(np.float32)
        result.append(Features(pixels, scores, np.ones_like(scores), descriptors[inside], disparity))
    return result


# --- matches


def test_distinct_features_are_seen_where_their_nearest_neighbours_are():
    a, b = views(1)
    soft, hard = sight(a, b, Metric.COSINE, SOFT), sight(a, b, Metric.COSINE, MatchSettings())
    assert len(soft) == len(a) and np.array_equal(soft.pairs, hard.pairs)
    assert np.allclose(soft.keypoints, hard.keypoints, atol=1e-2) and np.allclose(soft.disparity, hard.disparity, atol=1e-2)
    assert np.allclose(soft.weights, 0.5 * (63 / 64 + 1.0) * a.scores * b.scores, atol=1e-3)


def test_the_default_is_what_it_was():
    a, b = views(2)
    assert MatchSettings().matcher is Matcher.NEAREST
    matches = match(a, b, Metric.COSINE, MatchSettings())
    seen = sight(a, b, Metric.COSINE, MatchSettings())
    assert np.array_equal(seen.pairs, matches.indices) and np.array_equal(seen.keypoints, b.keypoints[matches.indices[:, 1]])


def test_between_alike_features_the_position_is_between():
    a, b = views(3)
    twins = b.select(np.array([0, 0, 5]))
    twins.keypoints[:2] = [[10.0, 20.0], [20.0, 24.0]]
    twins.disparity[:2] = [4.0, 6.0]
    seen = sight(a.select(np.array([0])), twins, Metric.COSINE, SOFT)
    assert np.allclose(seen.keypoints, [[15.0, 22.0]], atol=1e-3) and np.allclose(seen.disparity, 5.0, atol=1e-3)


def test_without_a_known_depth_there_is_none():
    a, b = views(4)
    b.disparity[:10] = np.nan
    seen = sight(a, b, Metric.COSINE, SOFT)
    assert np.isnan(seen.disparity[:10]).all() and np.isfinite(seen.disparity[10:]).all()


def test_only_what_is_in_the_window_is_expected():
    a, b = views(5)
    predicted = b.keypoints + 3.0
    predicted[0] = np.nan
    predicted[1] = [-500.0, -500.0]
    seen = sight(a, b, Metric.COSINE, SOFT, predicted, 10.0)
    assert seen.pairs[0, 0] == 2 and len(seen) == len(a) - 2
    assert (np.abs(seen.keypoints - predicted[seen.pairs[:, 0]]) <= 10.0).all()


def test_packed_bits_are_matched_too():
    rng = np.random.default_rng(6)
    a, b = views(6)
    bits = rng.integers(0, 256, (len(a), 32), dtype=np.uint8)
    a, b = dataclasses.replace(a, descriptors=bits), dataclasses.replace(b, descriptors=bits)
    seen = sight(a, b, Metric.HAMMING, SOFT)
    assert np.array_equal(seen.pairs[:, 0], seen.pairs[:, 1]) and np.allclose(seen.keypoints, b.keypoints, atol=0.5)


@pytest.mark.parametrize(("in_a", "in_b"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_is_seen_in_nothing(in_a, in_b):
    a, b = views(7)
    seen = sight(a.select(np.arange(in_a)), b.select(np.arange(in_b)), Metric.COSINE, SOFT)
    assert len(seen) == 0 and seen.pairs.shape == (0, 2) and seen.keypoints.shape == (0, 2)


def test_an_unknown_matcher_is_refused():
    with pytest.raises(ConfigError, match=r"'matcher' = 'hard' is not one of: nearest, soft"):
        from_dict(MatchSettings, {"matcher": "hard"})


# --- alignment


def test_samples_are_aligned_as_one_by_one():
    rng = np.random.default_rng(8)
    a, b, w = rng.normal(size=(9, 6, 3)), rng.normal(size=(9, 6, 3)), rng.random((9, 6))
    a[3], b[3] = 0.0, 0.0
    poses, determined = align_samples(a, b, w)
    assert determined.tolist() == [i != 3 for i in range(9)] and align_points(a[3], b[3], w[3]) is None
    for i in np.flatnonzero(determined):
        assert np.allclose(poses[i], align_points(a[i], b[i], w[i]))
        assert np.linalg.det(poses[i, :3, :3]) == pytest.approx(1.0)


def aligned(a, b, settings=PNP, weights=None):
    landmarks = Landmarks.triangulate(CAMERA, a.keypoints.astype(float), a.disparity.astype(float), settings)
    weights = np.ones(len(a)) if weights is None else weights
    return estimate_alignment(CAMERA, landmarks, b.keypoints.astype(float), b.disparity.astype(float), weights, settings)


@pytest.mark.parametrize("error", ["2d", "3d"])
def test_the_pose_is_found_among_wrong_matches_and_points_without_depth(error):
    a, b = views(9, noise=0.0)
    rng = np.random.default_rng(0)
    wrong = rng.choice(len(a), len(a) // 3, replace=False)
    b.keypoints[wrong] = rng.uniform([0, 0], [CAMERA.width, CAMERA.height], (len(wrong), 2))
    blind = np.setdiff1d(np.arange(len(a)), wrong)[:20]
    b.disparity[blind] = np.nan
    found = aligned(a, b, replace(PNP, {"alignment.error": error}))
    xi = se3.log(se3.between(se3.inverse(TRUTH), found.a_T_b))
    assert found.success and np.linalg.norm(xi[:3]) < 1e-3 and np.linalg.norm(xi[3:]) < 1e-4
    assert not found.inliers[blind].any() and found.inliers.sum() >= len(a) - len(wrong) - len(blind)


def test_points_of_no_weight_are_in_no_sample():
    a, b = views(10, noise=0.0)
    weights = np.ones(len(a))
    weights[30:] = 0.0
    b.keypoints[30:] += 40.0
    found = aligned(a, b, weights=weights)
    assert found.inliers.sum() == 30 and not found.inliers[30:].any()


@pytest.mark.parametrize("by_noise", [False, True])
def test_errors_fit_the_covariance(by_noise):
    squared, settings = [], replace(PNP, {"alignment.by_noise": by_noise})
    for seed in range(30):
        a, b = views(seed)
        found = aligned(a, b, settings)
        xi = se3.log(se3.between(found.a_T_b, se3.inverse(TRUTH)))
        squared.append(xi @ np.linalg.solve(found.covariance, xi))
    # chi-square with six degrees of freedom: mean 6, standard deviation 3.5
    assert 2.0 < np.mean(squared) < 12.0


def test_refusals_have_their_reasons():
    a, b = views(11)
    few = np.arange(8)
    assert aligned(a.select(few), b.select(few)).reason is RejectReason.TOO_FEW_MATCHES
    blind = dataclasses.replace(b, disparity=np.full_like(b.disparity, np.nan))
    assert aligned(a, blind).reason is RejectReason.TOO_FEW_MATCHES
    rng = np.random.default_rng(1)
    shuffled = b.select(rng.permutation(len(b)))
    assert aligned(a, shuffled).reason is RejectReason.TOO_FEW_INLIERS
    spot = a.select(np.zeros(50, dtype=int))
    assert aligned(spot, spot).reason is RejectReason.DEGENERATE_GEOMETRY
    assert aligned(a, b, replace(PNP, {"max_sigma_m": 0.001})).reason is RejectReason.LARGE_COVARIANCE
    hopeless = aligned(spot, spot)
    assert not hopeless.success and hopeless.a_T_b is None and not hopeless.inliers.any()


def test_two_views_are_registered():
    a, b = views(12)
    a.disparity[:15] = np.nan
    found = Registrar(CAMERA, Metric.COSINE, SOFT, PNP).register(a, b)
    xi = se3.log(se3.between(TRUTH, found.a_T_b))
    assert found.reason is None and xi @ np.linalg.solve(found.covariance, xi) < 22.5  # 99.9 %
    assert found.pairs.shape == (len(a) - 15, 2) and found.pairs[:, 0].min() == 15
    assert np.array_equal(found.pairs[found.inliers, 0], found.pairs[found.inliers, 1])
    assert Registrar(CAMERA, Metric.COSINE, SOFT, PNP).register(a.select(np.arange(3)), b).reason is RejectReason.TOO_FEW_MATCHES


# --- the whole


def test_a_corridor_is_taught_and_repeated_softly(tmp_path):
    settings = replace(
        Settings(),
        {"keyframes.distance": 0.3, "stereo.min_depth": 0.8, "features.max_features": 500, "matching.matcher": "soft"},
    )
    poses = walk(16)
    frames = [StereoFrame(10**9 + n * 10**8, *pair(pose, 0)) for n, pose in enumerate(poses)]
    extractor = settings.features.create()
    path = tmp_path / "site.vloc"
    with MapStore.create(path, CORRIDOR, BASE_T_OPTICAL, extractor.name, extractor.fingerprint) as store:
        teacher = Teacher(CORRIDOR, store, settings, "corridor")
        for frame in frames[::2]:
            teacher.process(frame)
        teacher.close()
    with MapStore.open(path, read_only=True) as store:
        localizer = Localizer(CORRIDOR, store, settings)
        results = [localizer.process(frame) for frame in frames[1::2]]
    errors = []
    for result, pose in zip(results, poses[1::2], strict=True):
        if result.map_T_base is not None and result.state is State.LOCALISED:
            truth = BASE_T_OPTICAL @ se3.between(poses[0], pose) @ se3.inverse(BASE_T_OPTICAL)
            errors.append(float(np.linalg.norm(result.map_T_base[:3, 3] - truth[:3, 3])))
    assert len(errors) >= len(results) - 3 and np.median(errors) < 0.05 and max(errors) < 0.15
