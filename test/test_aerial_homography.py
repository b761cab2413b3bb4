"""Homographies to the ground: known answers, failures, and uncertainty against what happens by chance."""

import dataclasses

import cv2
import numpy as np
import pytest

from vloc_ros.aerial.fix import AerialReject
from vloc_ros.aerial.homography import GroundHomography, HomographyFailure, derivative, estimate
from vloc_ros.aerial.nadir import apply, corners_of
from vloc_ros.aerial.validation import Expected, ValidationSettings, refuse_form, refuse_sensors, scale_at, turn_of

WIDTH, HEIGHT, GROUND = 640, 480, 0.3
SETTINGS = ValidationSettings()


def view_to_ground(turn_deg=0.0, ground=GROUND, at=(1200.0, -3400.0), perspective=(0.0, 0.0)):
    """Homography from pixels to metres of a view whose middle is at a place; clockwise turn; v points down, north up."""
    c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    turned = ground * np.array([[c, -s], [-s, -c]])
    middle = np.array([(WIDTH - 1) / 2.0, (HEIGHT - 1) / 2.0])
    centred = np.eye(3)
    centred[:2, 2] = -middle
    tipped = np.eye(3)
    tipped[2, :2] = perspective
    placed = np.eye(3)
    placed[:2, :2], placed[:2, 2] = turned, at
    return placed @ tipped @ centred


def expected(**changes):
    base = Expected(
        corners=corners_of(WIDTH, HEIGHT),
        nadir=np.array([(WIDTH - 1) / 2.0, (HEIGHT - 1) / 2.0]),
        short_side=HEIGHT,
        ground_per_pixel=GROUND,
        height_known=True,
        heading_known=True,
    )
    return dataclasses.replace(base, **changes)


def scattered(count, rng, low=(0, 0), high=(WIDTH, HEIGHT)):
    return rng.uniform(low, high, (count, 2))


def found_for(truth, pixels, noise_m=0.05, seed=0, wild=0):
    """Of matches with noise, and some that are wild."""
    rng = np.random.default_rng(seed)
    metres = apply(truth, pixels) + rng.normal(0.0, noise_m, (len(pixels), 2))
    middle = metres.mean(axis=0)
    pixels = np.vstack([pixels, scattered(wild, rng)])
    metres = np.vstack([metres, middle + rng.uniform(-100, 100, (wild, 2))])
    return estimate(pixels, metres, 5 * GROUND), pixels


def test_exact_matches_give_the_homography_far_from_the_origin():
    truth = view_to_ground(35.0, perspective=(1e-4, -2e-4), at=(8200.0, -7300.0))
    pixels = scattered(40, np.random.default_rng(1))
    found = estimate(pixels, apply(truth, pixels), 5 * GROUND)
    assert isinstance(found, GroundHomography) and found.count == 40
    np.testing.assert_allclose(found.ground(corners_of(WIDTH, HEIGHT)), apply(truth, corners_of(WIDTH, HEIGHT)), atol=1e-6)
    assert (found.depths(corners_of(WIDTH, HEIGHT)) > 0).all()


def test_wild_matches_are_no_inliers_and_the_answer_is_the_same_each_time():
    truth = view_to_ground(-100.0)
    pixels = scattered(60, np.random.default_rng(2))
    found, every = found_for(truth, pixels, wild=120)
    again, _ = found_for(truth, pixels, wild=120)
    np.testing.assert_array_equal(found.matrix, again.matrix)
    assert found.inliers[:60].all() and found.inliers[60:].sum() <= 4
    assert np.linalg.norm(found.ground([320, 240]) - apply(truth, [320, 240])) < 0.1
    assert len(every) == 180


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]]), HomographyFailure.TOO_FEW),
        (np.zeros((0, 2)), HomographyFailure.TOO_FEW),
        (np.array([[0.0, 0.0], [100.0, 0.0], [200.0, 0.0], [300.0, 0.0]]), HomographyFailure.DEGENERATE),
        (np.column_stack([np.arange(50.0), 2.0 * np.arange(50.0) + 7.0]), HomographyFailure.DEGENERATE),
        (np.full((20, 2), 7.0), HomographyFailure.DEGENERATE),
    ],
)
def test_few_or_collinear_points_have_no_homography(pixels, reason):
    assert estimate(pixels, apply(view_to_ground(), pixels), 5 * GROUND) is reason


def test_three_of_four_points_on_a_line_are_no_homography():
    pixels = np.array([[0.0, 0.0], [100.0, 0.0], [200.0, 0.0], [50.0, 90.0]])
    assert isinstance(estimate(pixels, apply(view_to_ground(), pixels), GROUND), HomographyFailure)


def test_what_opencv_cannot_solve_is_a_failure_with_its_reason(monkeypatch):
    pixels = scattered(30, np.random.default_rng(3))
    metres = apply(view_to_ground(), pixels)
    monkeypatch.setattr(cv2, "findHomography", lambda *a, **k: (None, None))
    assert estimate(pixels, metres, 5 * GROUND) is HomographyFailure.NONE

    def refuse(*arguments, **named):
        raise cv2.error("no sample of four")

    monkeypatch.setattr(cv2, "findHomography", refuse)
    assert estimate(pixels, metres, 5 * GROUND) is HomographyFailure.NONE


def test_the_jacobian_is_the_derivative():
    matrix, at, step = view_to_ground(20.0, perspective=(3e-4, 1e-4)), np.array([100.0, 300.0]), 1e-3
    ahead = apply(matrix, at + step * np.eye(2)) - apply(matrix, at - step * np.eye(2))
    np.testing.assert_allclose(derivative(matrix, at), ahead.T / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("pixel", [(320.0, 240.0), (20.0, 460.0), (-100.0, 600.0)])
@pytest.mark.parametrize("count", [15, 80])
def test_errors_are_as_large_as_the_covariance_says(pixel, count):
    truth = view_to_ground(60.0, perspective=(2e-4, 1e-4))
    rng = np.random.default_rng(4)
    squared = []
    for trial in range(300):
        found, _ = found_for(truth, scattered(count, rng), noise_m=0.2, seed=trial)
        error = found.ground(pixel)[0] - apply(truth, pixel)[0]
        covariance = found.covariance(np.array(pixel))
        # The variance is estimated, too: twice an F(2, 2n - 8) in place of a chi square, with a mean that is larger by d / (d - 2).
        freedom = 2 * found.count - 8
        squared.append(error @ np.linalg.solve(covariance, error) * (freedom - 2) / freedom)
        np.testing.assert_allclose(covariance, covariance.T, rtol=1e-9)
    mean = np.mean(squared)
    assert 1.6 < mean < 2.5, mean
    assert 0.9 < np.mean(np.array(squared) < 5.99) <= 0.98


def test_what_matches_in_a_corner_leave_open_elsewhere_is_large():
    truth = view_to_ground()
    rng = np.random.default_rng(5)
    spread, _ = found_for(truth, scattered(40, rng))
    corner, _ = found_for(truth, scattered(40, rng, high=(120, 90)))
    far = np.array([600.0, 440.0])
    assert np.trace(corner.covariance(far)) > 100 * np.trace(spread.covariance(far))


# Validation


def judged(truth, settings=SETTINGS, pixels=None, **known):
    pixels = scattered(60, np.random.default_rng(6)) if pixels is None else pixels
    found, every = found_for(truth, pixels)
    seen = expected(**known)
    return refuse_form(found, every, seen, settings) or refuse_sensors(found, seen, settings)


@pytest.mark.parametrize("turn", [0.0, 20.0, -20.0])
@pytest.mark.parametrize("ground", [GROUND, 1.2 * GROUND, GROUND / 1.2])
def test_a_view_that_agrees_with_its_sensors_is_accepted(turn, ground):
    assert judged(view_to_ground(turn, ground)) is None


def test_a_slightly_tilted_view_is_accepted():
    assert judged(view_to_ground(perspective=(3e-4, 3e-4))) is None


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        (view_to_ground(40.0), AerialReject.WRONG_HEADING),
        (view_to_ground(180.0), AerialReject.WRONG_HEADING),
        (view_to_ground(ground=1.5 * GROUND), AerialReject.WRONG_SCALE),
        (view_to_ground(ground=GROUND / 1.5), AerialReject.WRONG_SCALE),
        (view_to_ground() @ np.diag([1.0, 1.6, 1.0]), AerialReject.NOT_A_VIEW),
        (view_to_ground(perspective=(1.0e-3, 1.0e-3)), AerialReject.NOT_A_VIEW),
    ],
)
def test_what_is_no_view_or_contradicts_a_sensor_is_refused(truth, reason):
    assert judged(truth) is reason


def test_a_mirrored_view_is_refused():
    mirrored = np.array([[-1.0, 0.0, WIDTH - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    pixels = scattered(60, np.random.default_rng(6))
    found, _ = found_for(view_to_ground() @ mirrored, pixels)
    assert not isinstance(found, GroundHomography) or found.count < 11
    upright, _ = found_for(view_to_ground(), pixels)
    assert refuse_form(upright, pixels, expected(), SETTINGS) is None
    flipped = dataclasses.replace(upright, matrix=upright.matrix @ mirrored)
    assert refuse_form(flipped, pixels, expected(), SETTINGS) is AerialReject.NOT_A_VIEW


def test_a_fold_within_the_photo_is_refused():
    # The horizon passes through the photo; matches lie on its near side.
    truth = view_to_ground(perspective=(4e-3, 0.0))
    pixels = scattered(60, np.random.default_rng(7), low=(250, 0))
    assert judged(truth, pixels=pixels) is AerialReject.NOT_A_VIEW


def test_nobody_is_asked_for_what_is_not_known():
    assert judged(view_to_ground(140.0), heading_known=False) is None
    assert judged(view_to_ground(ground=1.5 * GROUND), height_known=False) is None
    assert judged(view_to_ground(ground=3.0 * GROUND), height_known=False) is AerialReject.NOT_A_VIEW


def test_few_inliers_or_a_small_share_of_the_matches_are_refused():
    rng = np.random.default_rng(8)
    found, every = found_for(view_to_ground(), scattered(10, rng))
    assert refuse_form(found, every, expected(), SETTINGS) is AerialReject.TOO_FEW_INLIERS
    found, every = found_for(view_to_ground(), scattered(11, rng))
    assert refuse_form(found, every, expected(), SETTINGS) is None
    found, every = found_for(view_to_ground(), scattered(20, rng), wild=80)
    assert refuse_form(found, every, expected(), SETTINGS) is None
    every = np.vstack([every, scattered(300, rng)])
    assert refuse_form(found, every, expected(), SETTINGS) is AerialReject.TOO_FEW_INLIERS


def test_inliers_in_a_small_part_or_along_a_line_are_refused():
    rng = np.random.default_rng(9)
    part = scattered(60, rng, low=(300, 200), high=(360, 260))
    line = np.column_stack([np.linspace(0, WIDTH, 60), 240 + rng.uniform(-20, 20, 60)])
    settings = dataclasses.replace(SETTINGS, max_condition=1e9, max_perspective=1.0, max_stretch=5.0, scale_tolerance=1.0)
    for pixels in (part, line):
        assert judged(view_to_ground(), settings, pixels) is AerialReject.CLUSTERED


@pytest.mark.parametrize("turn", [0.0, 45.0, 135.0, -90.0, 179.0])
def test_scale_and_turn_are_read_off_the_homography(turn):
    found, _ = found_for(view_to_ground(turn, 0.4), scattered(50, np.random.default_rng(10)), noise_m=0.0)
    assert turn_of(found.jacobian(np.array([320.0, 240.0]))) == pytest.approx(turn, abs=1e-4)
    assert scale_at(found, np.array([320.0, 240.0])) == pytest.approx(0.4, rel=1e-6)
