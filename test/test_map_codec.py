from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from map_samples import assert_same_features, features, image

from vloc_ros.errors import MapError
from vloc_ros.features.contract import Features
from vloc_ros.geometry import se3
from vloc_ros.mapping import codec

finite = st.floats(-1e6, 1e6, width=32)


@st.composite
def any_features(draw):
    count, dimension = draw(st.integers(0, 20)), draw(st.integers(1, 40))

    def column(elements):
        return draw(hnp.arrays(np.float32, count, elements=elements))

    if draw(st.booleans()):
        descriptors = draw(hnp.arrays(np.uint8, (count, dimension)))
    else:
        descriptors = draw(hnp.arrays(np.float32, (count, dimension), elements=st.floats(-1.0, 1.0, width=32)))
        norms = np.linalg.norm(descriptors.astype(np.float64), axis=1, keepdims=True)
        descriptors = np.where(norms > 1e-3, descriptors / np.where(norms > 1e-3, norms, 1.0), 0.0).astype(np.float32)
    keypoints = draw(hnp.arrays(np.float32, (count, 2), elements=finite))
    disparity = column(st.one_of(finite, st.just(float("nan"))))
    return Features(keypoints, column(finite), column(finite), descriptors, disparity)


@settings(deadline=None, max_examples=100)
@given(any_features())
def test_features_survive_the_round_trip(original):
    row = codec.encode_features(original, "keyframe s1/k1")
    decoded = codec.decode_features(row, "keyframe s1/k1")
    assert_same_features(decoded, original)
    if decoded.descriptors.dtype == np.float32:
        norms = np.linalg.norm(decoded.descriptors.astype(np.float64), axis=1)
        assert np.all((norms == 0.0) | (np.abs(norms - 1.0) < 1e-6))


@pytest.mark.parametrize("hamming", [False, True])
def test_empty_features_keep_their_dimension(hamming):
    decoded = codec.decode_features(codec.encode_features(features(0, count=0, hamming=hamming), "k"), "k")
    assert len(decoded) == 0 and decoded.descriptors.shape == (0, 32)


def test_float16_changes_similarities_by_less_than_a_thousandth():
    a, b = features(1, 200, 128), features(2, 200, 128)
    kept_a, kept_b = (codec.decode_features(codec.encode_features(x, "k"), "k") for x in (a, b))
    assert np.abs(kept_a.descriptors @ kept_b.descriptors.T - a.descriptors @ b.descriptors.T).max() < 1e-3
    assert np.abs(kept_a.descriptors @ kept_a.descriptors.T - a.descriptors @ a.descriptors.T).max() < 1e-3


def test_decoded_arrays_are_writable_and_independent():
    row = codec.encode_features(features(3, hamming=True), "k")
    first = codec.decode_features(row, "k")
    first.keypoints[:] = 0.0
    first.descriptors[:] = 0
    assert codec.decode_features(row, "k").descriptors.any()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scores": np.zeros(3, np.float32)}, "scores, sizes and disparity"),
        ({"keypoints": np.zeros((60, 3), np.float32)}, "do not fit"),
        ({"descriptors": np.zeros((59, 32), np.float32)}, "do not fit"),
        ({"descriptors": np.zeros((60, 32), np.float64)}, "float32"),
        ({"descriptors": np.ones((60, 32), np.float32)}, "unit length"),
        ({"descriptors": np.full((60, 32), np.nan, np.float32)}, "unit length"),
        ({"keypoints": np.full((60, 2), np.nan, np.float32)}, "finite"),
    ],
)
def test_features_that_break_the_contract_are_refused(change, text):
    with pytest.raises(MapError, match=text):
        codec.encode_features(replace(features(4), **change), "keyframe s1/k1")


@pytest.mark.parametrize(
    "change",
    [
        {"number": -1},
        {"number": 61},
        {"number": 2**62},
        {"dimension": 33},
        {"dimension": 2**62},
        {"encoding": "float64"},
        {"points": b""},
        {"descriptors": b"123"},
    ],
)
def test_damaged_features_name_their_keyframe(change):
    row = codec.encode_features(features(5), "k")._replace(**change)
    with pytest.raises(MapError, match="keyframe s3/k7 is damaged"):
        codec.decode_features(row, "keyframe s3/k7")


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.float64, 6, elements=st.floats(-3.0, 3.0)))
def test_transforms_are_exact(xi):
    a_T_b = se3.exp(xi)
    np.testing.assert_array_equal(codec.decode_transform(codec.encode_transform(a_T_b, "k"), "k"), a_T_b)


def sheared():
    a_T_b = np.eye(4)
    a_T_b[0, 1] = 0.01
    return a_T_b


@pytest.mark.parametrize(
    "bad", [np.eye(3), np.full((4, 4), np.nan), np.diag([1.0, 1.0, -1.0, 1.0]), 2.0 * np.eye(4), np.zeros((4, 4)), sheared()]
)
def test_what_is_no_rigid_transform_is_refused(bad):
    with pytest.raises(MapError, match="rigid"):
        codec.encode_transform(bad, "keyframe s1/k1")


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.int64, (6, 6), elements=st.integers(-1000, 1000)), st.floats(-6, 6))
def test_covariances_survive_the_round_trip(root, exponent):
    units = np.diag([1.0, 1.0, 1.0, 10.0**exponent, 10.0**exponent, 10.0**exponent])
    rounded = units @ (root * 1e-3) @ (root.T * 1e-3) @ units
    covariance = 0.5 * (rounded + rounded.T)  # what a product leaves of zero need not be symmetric
    decoded = codec.decode_covariance(codec.encode_covariance(covariance, "e"), "e")
    np.testing.assert_allclose(decoded, covariance, rtol=1e-12, atol=0.0)
    np.testing.assert_array_equal(decoded, decoded.T)


@pytest.mark.parametrize(
    "bad",
    [
        np.eye(5),
        -np.eye(6),
        np.full((6, 6), np.inf),
        np.eye(6) + np.eye(6, k=1) * 0.1,
        np.eye(6) + 2.0 * (np.eye(6, k=1) + np.eye(6, k=-1)),
    ],
)
def test_what_is_no_covariance_is_refused(bad):
    with pytest.raises(MapError, match="covariance"):
        codec.encode_covariance(bad, "the edge s1/k1 to s1/k2")


@pytest.mark.parametrize("colour", [False, True])
def test_images_keep_their_colours(colour):
    original = image(6, colour)
    decoded = codec.decode_image(codec.encode_image(original, 95, "k"), 160, 120, "k")
    assert decoded.shape == original.shape
    assert np.abs(decoded.astype(int) - original.astype(int)).mean() < 3.0
    np.testing.assert_allclose(decoded.mean(axis=(0, 1)), original.mean(axis=(0, 1)), atol=2.0)


@pytest.mark.parametrize("jpeg", [b"", b"\xff\xd8 no image", b"\x00" * 100])
def test_damaged_images_name_their_keyframe(jpeg):
    with pytest.raises(MapError, match="keyframe s1/k2 is damaged"):
        codec.decode_image(jpeg, 160, 120, "keyframe s1/k2")


def test_images_of_another_size_or_type_are_refused():
    with pytest.raises(MapError, match="not 100x100"):
        codec.decode_image(codec.encode_image(image(7), 90, "k"), 100, 100, "k")
    with pytest.raises(MapError, match="uint8"):
        codec.encode_image(image(7).astype(np.float32), 90, "k")
    with pytest.raises(MapError, match="cannot be stored as JPEG"):
        codec.encode_image(np.zeros((1, 70000), np.uint8), 90, "k")
