"""The stereo camera."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vloc_ros.errors import CalibrationError
from vloc_ros.geometry.camera import StereoCamera

U = StereoCamera(512, 384, 388.425, 388.425, 253.502, 196.822, 0.239946)


def test_known_answers_of_the_utias_camera():
    assert U.fx * U.baseline == pytest.approx(93.201, abs=1e-3)
    assert U.back_project(np.array([[0.0, 0.0]]), np.array([93.201 / 400]))[0, 2] == pytest.approx(400.0, rel=1e-4)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.2, 100))
def test_back_projection_undoes_projection(x, y, z):
    point = np.array([[x, y, z]])
    seen = U.project(point)
    assert np.allclose(U.back_project(seen[:, :2], seen[:, 2]), point, rtol=1e-9, atol=1e-9)


def test_jacobian_is_the_derivative():
    points = np.random.default_rng(0).uniform([-2, -2, 1], [2, 2, 20], (50, 3))
    jacobian, step = U.projection_jacobian(points), 1e-6
    for axis in range(3):
        moved = np.eye(3)[axis] * step
        numeric = (U.project(points + moved) - U.project(points - moved)) / (2 * step)
        assert np.allclose(jacobian[:, :, axis], numeric, rtol=1e-4, atol=1e-5)


def test_what_is_unknown_is_nan():
    assert np.isnan(U.project(np.array([[0.0, 0.0, -1.0]]))).all()
    assert np.isnan(U.back_project(np.zeros((3, 2)), np.array([0.0, -1.0, np.nan]))).all()
    assert np.isnan(U.disparity_of_depth(np.array([0.0, np.nan, np.inf, -1.0]))).all()
    assert not U.contains(np.array([[np.nan, 3.0]])).any()


def test_projection_matrices_round_trip():
    assert StereoCamera.from_projection_matrices(*U.projection_matrices, 512, 384).baseline == pytest.approx(U.baseline)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"baseline": 0.0}, "baseline"),
        ({"baseline": -0.1}, "swapped"),
        ({"fx": 0.0}, "focal"),
        ({"fx": float("nan")}, "not a number"),
        ({"width": 0}, "size"),
        ({"cx": 600.0}, "principal point"),
    ],
)
def test_wrong_calibrations_are_refused(change, says):
    values = {name: getattr(U, name) for name in U.__slots__} | change
    with pytest.raises(CalibrationError, match=says):
        StereoCamera(**values)


def test_wrong_projection_matrices_are_refused():
    left, right = U.projection_matrices
    with pytest.raises(CalibrationError, match="swapped"):
        StereoCamera.from_projection_matrices(right, left, 512, 384)
    with pytest.raises(CalibrationError, match="empty"):
        StereoCamera.from_projection_matrices(np.zeros((3, 4)), np.zeros((3, 4)), 512, 384)
    other = right.copy()
    other[0, 0] += 5
    with pytest.raises(CalibrationError, match="not rectified"):
        StereoCamera.from_projection_matrices(left, other, 512, 384)
    with pytest.raises(CalibrationError, match="3x4"):
        StereoCamera.from_projection_matrices(np.eye(3), right, 512, 384)
