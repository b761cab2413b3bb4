"""The correction of a rectification error, and the recording whose right images are corrected by it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rectification_samples import CAMERA, ERROR, BoardRoom, Still, alignment, blank

from vloc_ros.data import StereoFrame
from vloc_ros.data.rectified import RectifiedReader
from vloc_ros.errors import CalibrationError, ConfigError
from vloc_ros.geometry import se3
from vloc_ros.geometry.rectification import RectificationCorrection, shift_basis

IDENTITY = RectificationCorrection()
parameters = st.lists(st.floats(-0.01, 0.01), min_size=8, max_size=8)


# --- the correction -------------------------------------------------------------------------------------------------------


def test_all_zero_is_the_identity() -> None:
    image = np.full((CAMERA.height, CAMERA.width), 7, dtype=np.uint8)
    pixels = np.array([[0.0, 0.0], [300.5, 20.25]])
    assert IDENTITY.is_identity and not ERROR.is_identity
    assert IDENTITY.warp(image, CAMERA) is image
    assert IDENTITY.max_shift_px(CAMERA) == 0.0
    np.testing.assert_array_equal(IDENTITY.ideal(CAMERA, pixels), pixels)


@given(parameters)
@settings(max_examples=30, deadline=None)
def test_ideal_undoes_the_shift(values: list[float]) -> None:
    correction = RectificationCorrection.from_list(values)
    ideal = np.random.default_rng(0).uniform([0, 0], [CAMERA.width, CAMERA.height], (50, 2))
    recorded = ideal + correction.shift(CAMERA, ideal)
    np.testing.assert_allclose(correction.ideal(CAMERA, recorded), ideal, atol=0.01)


@pytest.mark.parametrize(("name", "axis", "sign"), [("pitch", 0, -1.0), ("yaw", 1, 1.0), ("roll", 2, 1.0)])
def test_rotations_are_rotations_of_the_camera(name: str, axis: int, sign: float) -> None:
    # Parameters agree, to first order, with what turning the rays by a small angle does to their pixels.
    angle = 1e-4
    pixels = np.random.default_rng(1).uniform([0, 0], [CAMERA.width, CAMERA.height], (40, 2))
    points = CAMERA.back_project(pixels, np.full(40, 10.0))
    turn = se3.exp(np.concatenate([np.zeros(3), sign * angle * np.eye(3)[axis]]))
    expected = CAMERA.project(se3.transform(turn, points))[:, :2] - pixels
    shift = RectificationCorrection.from_dict({name: angle}).shift(CAMERA, pixels)
    np.testing.assert_allclose(shift, expected, atol=1e-4)


def test_lens_terms_are_those_of_opencv() -> None:
    pixels = np.random.default_rng(2).uniform([0, 0], [CAMERA.width, CAMERA.height], (40, 2))
    points = CAMERA.back_project(pixels, np.full(40, 10.0))
    # OpenCV's order is k1, k2, p1, p2.
    distorted, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), CAMERA.matrix, np.array([0.01, 0.0, 0.002, -0.003]))
    correction = RectificationCorrection(radial=0.01, p1=0.002, p2=-0.003)
    np.testing.assert_allclose(correction.shift(CAMERA, pixels), distorted[:, 0] - pixels, atol=1e-9)


def test_scale_and_principal_point() -> None:
    correction = RectificationCorrection(scale=0.01, shift_x=2.0)
    pixels = np.array([[CAMERA.cx, CAMERA.cy], [CAMERA.cx + 100.0, CAMERA.cy - 50.0]])
    np.testing.assert_allclose(correction.shift(CAMERA, pixels), [[2.0, 0.0], [3.0, -0.5]])


def test_basis_is_the_derivative_of_the_shift() -> None:
    pixels = np.random.default_rng(3).uniform([0, 0], [CAMERA.width, CAMERA.height], (20, 2))
    basis = shift_basis(CAMERA, pixels)
    assert basis.shape == (20, 2, 8)
    np.testing.assert_allclose(basis @ np.array(ERROR.to_list()), ERROR.shift(CAMERA, pixels))


def test_max_shift_is_the_longest_displacement() -> None:
    assert RectificationCorrection(shift_x=-3.0).max_shift_px(CAMERA) == pytest.approx(3.0)
    # A rotation about the optical axis moves the corner that is farthest from the principal point most.
    corner = np.hypot(max(CAMERA.cx, CAMERA.width - 1 - CAMERA.cx), max(CAMERA.cy, CAMERA.height - 1 - CAMERA.cy))
    assert RectificationCorrection(roll=0.01).max_shift_px(CAMERA) == pytest.approx(0.01 * corner, rel=1e-6)


def test_warp_undoes_the_error_of_a_rendered_image() -> None:
    recorded = BoardRoom(ERROR).frame(0).right_grey
    ideal = BoardRoom(IDENTITY).frame(0).right_grey
    before, after = alignment(ideal, recorded), alignment(ideal, ERROR.warp(recorded, CAMERA))
    assert np.median(np.linalg.norm(before, axis=1)) > 0.8
    # The texture is as fine as a texture can be: interpolation scatters single corners, but shifts nothing.
    assert np.median(np.linalg.norm(after, axis=1)) < 0.05
    assert np.abs(after.mean(axis=0)).max() < 0.01
    assert np.percentile(np.linalg.norm(after, axis=1), 95) < 0.15


def test_warp_takes_colour_and_keeps_size_and_type() -> None:
    image = np.dstack([BoardRoom(ERROR).frame(0).right_grey] * 3)
    warped = ERROR.warp(image, CAMERA)
    assert warped.shape == image.shape and warped.dtype == np.uint8
    np.testing.assert_array_equal(warped[:, :, 1], ERROR.warp(image[:, :, 1].copy(), CAMERA))


def test_warp_refuses_an_image_of_another_size() -> None:
    with pytest.raises(CalibrationError, match="100x50 px but the calibration is of 480x320"):
        ERROR.warp(np.zeros((50, 100), dtype=np.uint8), CAMERA)


@given(parameters)
@settings(max_examples=30, deadline=None)
def test_list_and_dictionary_round_trip(values: list[float]) -> None:
    correction = RectificationCorrection.from_list(values)
    assert correction.to_list() == values
    assert RectificationCorrection.from_list(np.array(values)) == correction
    assert RectificationCorrection.from_dict(yaml.safe_load(yaml.safe_dump(correction.to_dict()))) == correction


def test_an_empty_list_or_dictionary_is_the_identity() -> None:
    assert RectificationCorrection.from_list([]) == IDENTITY == RectificationCorrection.from_dict({})


@pytest.mark.parametrize(
    ("values", "message"),
    [([1.0, 2.0], "has 8 numbers"), ([0.0] * 7 + [float("nan")], "p2' is not a number"), ([9.0] + [0.0] * 7, "pitch' = 9")],
)
def test_a_wrong_list_is_refused(values: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RectificationCorrection.from_list(values)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'rectification\.jaw'"):
        RectificationCorrection.from_dict({"jaw": 0.1})


# --- the wrapped recording ------------------------------------------------------------------------------------------------


def test_wrapped_reader_passes_all_but_the_right_image_through() -> None:
    reader = BoardRoom(ERROR, frames=4)
    wrapped = RectifiedReader(reader, ERROR)
    assert wrapped.name == "boards" and RectifiedReader.name == "rectified"
    assert wrapped.camera == reader.camera and len(wrapped) == 4
    np.testing.assert_array_equal(wrapped.stamps_ns, reader.stamps_ns)
    np.testing.assert_array_equal(wrapped.base_T_camera, reader.base_T_camera)
    assert wrapped.ground_truth is None
    before, after = reader.frame(2), wrapped.frame(2)
    assert after.stamp_ns == before.stamp_ns
    np.testing.assert_array_equal(after.left, before.left)
    np.testing.assert_array_equal(after.right_grey, ERROR.warp(before.right_grey, CAMERA))
    assert not RectifiedReader.recognises(Path())


def test_wrapped_reader_passes_depth_through() -> None:
    frame = StereoFrame(0, blank(), depth=np.ones((CAMERA.height, CAMERA.width), dtype=np.float32))
    assert RectifiedReader(Still(frame), ERROR).frame(0) is frame
