"""Homographies of four points: known answers, the guard, and points at or behind the horizon."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vloc_ros.geometry.four_points import homographies_of, inliers_of, is_sound, is_spread, is_view_of_plane, project

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def mapped(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    result = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return result[:, :2] / result[:, 2:]


def test_a_known_homography_comes_back_from_four_points() -> None:
    wanted = np.array([[1.1, 0.1, -0.2], [0.05, 0.9, 0.3], [0.2, -0.1, 1.0]])
    found, good = homographies_of(384.0 * SQUARE[None], 384.0 * mapped(wanted, SQUARE)[None])
    scale = np.diag([384.0, 384.0, 1.0])
    assert good.all()
    np.testing.assert_allclose(found[0] / found[0, 2, 2], scale @ wanted @ np.linalg.inv(scale), rtol=1e-9, atol=1e-9)


def test_the_identity_and_a_shift_are_exact() -> None:
    found, _ = homographies_of(np.stack([SQUARE, SQUARE]), np.stack([SQUARE, SQUARE + np.array([2.0, -1.0])]))
    np.testing.assert_allclose(found[0], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found[1], [[1.0, 0.0, 2.0], [0.0, 1.0, -1.0], [0.0, 0.0, 1.0]], atol=1e-12)


def test_many_at_once_are_what_each_is_alone() -> None:
    generator = np.random.default_rng(1)
    source = SQUARE + generator.normal(0.0, 0.3, (50, 4, 2))
    target = SQUARE + generator.normal(0.0, 0.3, (50, 4, 2))
    together, good = homographies_of(source, target)
    assert 0 < good.sum() < 50
    for row in range(50):
        alone, sound = homographies_of(source[row : row + 1], target[row : row + 1])
        assert sound[0] == good[row]
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-9)


BAD = {
    "three on a line": [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0], [0.0, 1.0]],
    "two equal": [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]],
    "one spot": [[0.5, 0.5]] * 4,
    "crossed": [[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]],
    "not convex": [[0.0, 0.0], [1.0, 0.0], [0.3, 0.3], [0.0, 1.0]],
    "mirrored": [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
    "not a number": [[np.nan, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]],
    "infinite": [[0.0, 0.0], [np.inf, 0.0], [1.0, 1.0], [0.0, 1.0]],
}


@pytest.mark.parametrize("name", BAD)
def test_a_quadrilateral_that_no_camera_sees_is_refused_on_either_side(name: str) -> None:
    bad = np.array(BAD[name])
    source, target = np.stack([bad, SQUARE, SQUARE]), np.stack([SQUARE, bad, SQUARE])
    found, good = homographies_of(source, target)
    assert good.tolist() == [False, False, True]
    assert np.isnan(found[:2]).all() and np.isfinite(found[2]).all()


def test_none_at_all_is_no_error() -> None:
    found, good = homographies_of(np.zeros((0, 4, 2)), np.zeros((0, 4, 2)))
    assert found.shape == (0, 3, 3) and good.shape == (0,)


def test_points_at_and_behind_the_horizon_have_no_position_and_are_no_inliers() -> None:
    # depth is 1 - x: 1 at the origin, 0 at x = 1, negative beyond
    homography = np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]])
    points = np.array([[0.5, 0.2], [1.0, 0.2], [2.0, 0.2]])
    position, there = project(homography, points)
    assert there.tolist() == [[True, False, False]]
    np.testing.assert_allclose(position[0, 0], [1.0, 0.4])
    assert np.isnan(position[0, 1:]).all()
    # where the division by a negative depth would put the last one, nothing was seen
    assert inliers_of(homography, points, np.array([[1.0, 0.4], [1.0, 0.2], [-2.0, -0.2]]), 0.01).tolist() == [[True, False, False]]


def test_a_point_that_would_be_mapped_to_zero_by_zero_is_no_inlier() -> None:
    homography = np.array([[[1.0, 0.0, -1.0], [0.0, 0.0, 0.0], [1.0, 0.0, -1.0]]])
    assert not inliers_of(homography, np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]]), 1.0).any()


def test_a_homography_of_not_a_number_has_no_inliers() -> None:
    assert not inliers_of(np.full((1, 3, 3), np.nan), SQUARE, SQUARE, 1e9).any()


def test_only_an_error_below_the_tolerance_is_an_inlier() -> None:
    target = SQUARE + np.array([[0.0, 0.0], [0.09, 0.0], [0.1, 0.0], [0.08, 0.08]])
    assert inliers_of(np.eye(3)[None], SQUARE, target, 0.1)[0].tolist() == [True, True, False, False]


@given(st.lists(st.floats(-0.4, 0.4), min_size=16, max_size=16))
def test_where_it_is_sound_the_four_points_are_mapped_exactly(noise: list[float]) -> None:
    source, target = np.stack([SQUARE, SQUARE]) + np.array(noise).reshape(2, 4, 2)
    found, good = homographies_of(source[None], target[None])
    assert good[0] == is_sound(source[None], target[None])[0]
    if good[0]:
        position, there = project(found, source)
        assert there.all()
        np.testing.assert_allclose(position[0], target, atol=1e-6)
        assert found[0, 2] @ [*source.mean(axis=0), 1.0] == pytest.approx(1.0)


def test_spread_and_planes() -> None:
    line = np.linspace(0.0, 1.0, 20)[:, None] * [1.0, 2.0]
    grid = np.random.default_rng(3).random((20, 2))
    assert not is_spread(line) and not is_spread(grid[:2]) and not is_spread(np.zeros((5, 2))) and is_spread(grid)
    assert is_view_of_plane(np.eye(3), grid) and not is_view_of_plane(np.eye(3), line)
    assert not is_view_of_plane(np.diag([-1.0, 1.0, 1.0]), grid)
    assert not is_view_of_plane(np.full((3, 3), np.nan), grid)
