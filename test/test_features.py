"""The contract that every extractor must pass, matching, and stereo."""

import cv2
import numpy as np
import pytest

from vloc_ros.data.frame import StereoFrame
from vloc_ros.errors import ConfigError
from vloc_ros.features import (
    Features,
    MatchSettings,
    Metric,
    StereoMethod,
    StereoSettings,
    create_extractor,
    dense_disparity,
    extractors,
    match,
    match_stereo,
)
from vloc_ros.features.matching import similarity
from vloc_ros.features.spread import spread_evenly
from vloc_ros.geometry.camera import StereoCamera

CAMERA = StereoCamera(320, 240, 250.0, 250.0, 160.0, 120.0, 0.24)


def texture(seed=0, size=(240, 320)):
    rng = np.random.default_rng(seed)
    image = sum(
        cv2.resize(rng.normal(size=(size[0] // k + 2, size[1] // k + 2)), size[::-1], interpolation=cv2.INTER_CUBIC) * k
        for k in (2, 4, 8, 16)
    )
    return np.clip(128 + 8 * image, 0, 255).astype(np.uint8)


@pytest.fixture(params=extractors())
def extractor(request):
    return create_extractor(request.param, 300)


def test_contract(extractor):
    image = texture()
    features = extractor.extract(image)
    count = len(features)
    assert 100 < count <= 300
    assert features.keypoints.shape == (count, 2) and features.keypoints.dtype == np.float32
    assert features.scores.shape == features.sizes.shape == features.disparity.shape == (count,)
    assert features.descriptors.shape == (count, extractor.descriptor_size)
    assert features.descriptors.dtype == (np.uint8 if extractor.metric is Metric.HAMMING else np.float32)
    if extractor.metric is Metric.COSINE:
        assert np.allclose(np.linalg.norm(features.descriptors, axis=1), 1.0, atol=1e-3)
    assert np.isnan(features.disparity).all()
    assert (features.keypoints >= 0).all() and (features.keypoints <= [319, 239]).all()
    again = create_extractor(extractor.name, 300).extract(np.repeat(image[..., None], 3, axis=2))
    assert np.array_equal(again.keypoints, features.keypoints), "deterministic, and the same for grey and RGB"


def test_a_shift_of_the_image_shifts_the_key_points(extractor):
    """Pixel centres: no hidden half-pixel offset. SuperPoint sees cells of 8 px, of which (10, 6) is no multiple."""
    tolerance = 0.3 if extractor.name == "superpoint" else 0.1
    image = texture(1, (300, 400))
    a, b = extractor.extract(image[20:260, 30:350].copy()), extractor.extract(image[14:254, 20:340].copy())
    matches = match(a, b, extractor.metric, MatchSettings())
    shift = np.median(b.keypoints[matches.indices[:, 1]] - a.keypoints[matches.indices[:, 0]], axis=0)
    assert len(matches) > 50 and np.allclose(shift, [10.0, 6.0], atol=tolerance)


@pytest.mark.parametrize("image", [np.zeros((240, 320), np.uint8), np.full((240, 320), 255, np.uint8), np.zeros((4, 4), np.uint8)])
def test_images_without_texture_give_nothing(extractor, image):
    assert len(extractor.extract(image)) == 0


def test_fingerprints_tell_extractors_apart():
    assert len({create_extractor(name, 10).fingerprint for name in extractors()}) == len(extractors())


def test_unknown_extractor():
    with pytest.raises(ConfigError, match="surf"):
        create_extractor("surf", 100)


def _features(descriptors, keypoints=None):
    n = len(descriptors)
    keypoints = np.zeros((n, 2)) if keypoints is None else keypoints
    one = np.ones(n, np.float32)
    return Features(np.asarray(keypoints, np.float32), one, one, descriptors, one)


def test_matching_is_mutual_and_passes_the_ratio_test():
    eye = np.eye(6, dtype=np.float32)
    a, b = _features(eye[[0, 1, 2]]), _features(eye[[2, 0, 4]])
    assert match(a, b, Metric.COSINE, MatchSettings()).indices.tolist() == [[0, 1], [2, 0]]
    twin = _features(eye[[0, 0]])
    assert len(match(_features(eye[[0]]), twin, Metric.COSINE, MatchSettings())) == 0, "two equal candidates are ambiguous"


def test_hamming_similarity_counts_bits():
    a, b = np.array([[0b1111_0000]], np.uint8), np.array([[0b1111_0011], [0b0000_1111]], np.uint8)
    assert similarity(a, b, Metric.HAMMING).tolist() == [[0.5, -1.0]]


def test_a_window_limits_the_search():
    eye = np.eye(4, dtype=np.float32)
    a, b = _features(eye[:2]), _features(eye[:2], [[10, 10], [100, 100]])
    predicted = np.array([[12.0, 9.0], [50.0, 100.0]])
    assert match(a, b, Metric.COSINE, MatchSettings(), predicted, 5.0).indices.tolist() == [[0, 0]]
    assert len(match(a, b, Metric.COSINE, MatchSettings(), np.full((2, 2), np.nan), 5.0)) == 0


def test_a_window_around_a_prediction_has_a_ratio_test_of_its_own():
    eye = np.eye(4, dtype=np.float32)
    like = np.stack([0.90 * eye[0] + 0.43589 * eye[1], 0.88 * eye[0] + 0.47497 * eye[2]])
    a, b = _features(eye[[0]]), _features(like)
    near = b.keypoints[[0]]
    strict, lax = MatchSettings(ratio=0.9, window_ratio=0.9), MatchSettings(ratio=0.9, window_ratio=0.97)
    assert len(match(a, b, Metric.COSINE, strict, near, 1e3)) == 0
    assert match(a, b, Metric.COSINE, lax, near, 1e3).indices.tolist() == [[0, 0]]
    assert len(match(a, b, Metric.COSINE, lax)) == 0


def test_nothing_matches_nothing():
    none = Features.none(Metric.COSINE, 4)
    some = _features(np.eye(4, dtype=np.float32))
    assert len(match(none, some, Metric.COSINE, MatchSettings())) == len(match(some, none, Metric.COSINE, MatchSettings())) == 0


def test_key_points_are_spread_over_the_image():
    rng = np.random.default_rng(0)
    crowd, few = rng.uniform([0, 0], [40, 40], (500, 2)), rng.uniform([100, 100], [320, 240], (40, 2))
    points = np.vstack([crowd, few]).astype(np.float32)
    scores = np.concatenate([np.full(500, 10.0), np.full(40, 1.0)]).astype(np.float32)
    chosen = spread_evenly(points, scores, (320, 240), 100)
    assert len(chosen) == 100 and (chosen >= 500).sum() > 25
    assert (np.diff(scores[chosen]) <= 0).all(), "best first"


def disparities(frame, keypoints, settings):
    dense = dense_disparity(frame, frame.left_grey, CAMERA, settings)
    return match_stereo(frame, frame.left_grey, dense, keypoints, CAMERA, settings)


def stereo_pair(disparity):
    """A fronto-parallel textured wall."""
    wide = texture(3, (240, 500)).astype(np.float32)
    columns, rows = np.meshgrid(np.arange(320, dtype=np.float32), np.arange(240, dtype=np.float32))
    left = cv2.remap(wide, columns + 60, rows, cv2.INTER_CUBIC)
    right = cv2.remap(wide, columns + 60 + disparity, rows, cv2.INTER_CUBIC)
    return StereoFrame(0, np.clip(left, 0, 255).astype(np.uint8), np.clip(right, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("method", list(StereoMethod))
@pytest.mark.parametrize("true", [4.3, 17.75, 36.5])
def test_disparity_is_sub_pixel(method, true):
    frame = stereo_pair(true)
    keypoints = create_extractor("sift", 300).extract(frame.left).keypoints
    found = disparities(frame, keypoints, StereoSettings(method=method))
    inside = (keypoints[:, 0] > true + 60) & (keypoints[:, 0] < 250)
    known = inside & np.isfinite(found)
    assert known.sum() > 0.7 * inside.sum()
    assert np.median(np.abs(found[known] - true)) < (0.1 if method is StereoMethod.BLOCK else 0.3)


def test_depth_becomes_disparity_and_bad_depth_nothing():
    depth = np.full((240, 320), 2.0, np.float32)
    depth[0, :4] = [np.nan, 0.0, -1.0, np.inf]
    frame = StereoFrame(0, texture(), depth=depth)
    keypoints = np.array([[0, 0], [1, 0], [2, 0], [3, 0], [100, 100]], np.float32)
    found = disparities(frame, keypoints, StereoSettings())
    assert np.isnan(found[:4]).all() and found[4] == pytest.approx(250.0 * 0.24 / 2.0)


def test_a_pair_that_does_not_match_has_no_disparity():
    frame = StereoFrame(0, texture(1), texture(2))
    keypoints = create_extractor("sift", 200).extract(frame.left).keypoints
    found = disparities(frame, keypoints, StereoSettings())
    assert np.isfinite(found).mean() < 0.15
