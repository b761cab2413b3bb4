"""Photos made level, turned and scaled, against ray casting written out by itself."""

import cv2
import numpy as np
import pytest
from aerial_samples import MemoryMap, degrees, landscape, seen_from

from vloc_ros.aerial.fix import AerialReject
from vloc_ros.aerial.nadir import NadirView, apply, corners_of, level_R_camera, nadir_view, off_nadir, square
from vloc_ros.aerial.photo import Lens, Photo, Tilt

HEIGHT = 100.0


class Plane(MemoryMap):
    """A raster of which nothing is described."""

    def __init__(self, raster, ground_per_pixel):
        self.raster, self._g0 = raster, ground_per_pixel


@pytest.fixture(scope="module")
def plane():
    return Plane(landscape(900, 3), 0.25)


def test_an_upper_side_that_goes_up_looks_ahead_and_a_right_side_that_goes_down_looks_left():
    axis = np.array([0.0, 0.0, 1.0])
    ahead, left = level_R_camera(degrees(0.0, 10.0)) @ axis, level_R_camera(degrees(10.0, 0.0)) @ axis
    np.testing.assert_allclose(ahead, [0.0, -np.sin(np.deg2rad(10.0)), np.cos(np.deg2rad(10.0))], atol=1e-12)
    np.testing.assert_allclose(left, [-np.sin(np.deg2rad(10.0)), 0.0, np.cos(np.deg2rad(10.0))], atol=1e-12)


def test_the_angle_off_nadir_is_that_of_the_optical_axis():
    tilt = degrees(12.0, -20.0)
    assert off_nadir(tilt) == pytest.approx(np.arccos((level_R_camera(tilt) @ [0.0, 0.0, 1.0])[2]), abs=1e-12)


@pytest.mark.parametrize("tilt", [degrees(0, 12), degrees(0, -12), degrees(12, 0), degrees(-12, 0), degrees(8, -10)])
@pytest.mark.parametrize("heading", [0.0, 130.0])
def test_a_levelled_photo_is_what_a_camera_that_looks_down_sees(plane, tilt, heading):
    tilted = seen_from(plane, (3.0, -4.0), HEIGHT, heading, tilt)
    view = nadir_view(tilted, 1.0, heading)
    assert isinstance(view, NadirView)
    level = nadir_view(seen_from(plane, (3.0, -4.0), HEIGHT, 0.0), 1.0, 0.0)
    shift = (view.nadir - level.nadir).round().astype(int)
    rest = np.eye(2, 3)
    rest[:, 2] = level.nadir + shift - view.nadir
    moved = cv2.warpAffine(view.image, rest, view.image.shape[1::-1], flags=cv2.INTER_LINEAR)
    height, width = level.image.shape[:2]
    low, high = np.maximum(-shift, 0) + 2, np.minimum([width, height], np.array(view.image.shape[1::-1]) - shift) - 2
    ours = moved[low[1] + shift[1] : high[1] + shift[1], low[0] + shift[0] : high[0] + shift[0]].astype(float)
    there = view.valid[low[1] + shift[1] : high[1] + shift[1], low[0] + shift[0] : high[0] + shift[0]]
    there = cv2.erode(there.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    truth = level.image[low[1] : high[1], low[0] : high[0]].astype(float)
    assert there.mean() > 0.5
    right = np.abs(ours - truth)[there].mean()
    wrong = np.abs(np.roll(ours, 3, axis=0) - truth)[there].mean()
    assert right < 6.0 and right < 0.4 * wrong


def test_without_tilt_only_turn_and_scale_remain():
    image = np.zeros((40, 60), np.uint8)
    image[5, 50] = 255
    view = nadir_view(Photo(image), 1.0, 90.0)
    assert view.image.shape == (60, 40)
    # What was right is down, what was up is right.
    assert np.unravel_index(view.image.argmax(), view.image.shape) == (50, 40 - 1 - 5)
    np.testing.assert_allclose(view.of_photo(np.array([[50.0, 5.0]])), [[34.0, 50.0]], atol=1e-9)


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.7])
def test_scaling_keeps_corners_and_middle(scale):
    photo = Photo(landscape(200, 5)[:120], lens=Lens(300.0, (90.0, 70.0)))
    view = nadir_view(photo, scale, 0.0)
    height, width = view.image.shape[:2]
    assert (width, height) == (np.ceil(200 * scale), np.ceil(120 * scale))
    np.testing.assert_allclose(view.of_photo(corners_of(200, 120))[[0, 2]], [[-0.5, -0.5], [200 * scale - 0.5, 120 * scale - 0.5]])
    np.testing.assert_allclose(view.nadir, (np.array([90.5, 70.5]) * scale) - 0.5)
    small = cv2.resize(photo.image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    assert np.abs(small.astype(float) - view.image)[2:-2, 2:-2].mean() < 3.0


def test_pixels_of_the_photo_are_found_in_the_view(plane):
    tilt = degrees(6.0, 9.0)
    photo = seen_from(plane, (0.0, 0.0), HEIGHT, 20.0, tilt)
    view = nadir_view(photo, 0.8, 20.0)
    back = np.linalg.inv(view.view_H_photo)
    np.testing.assert_allclose(apply(back, view.of_photo(np.array([[17.0, 200.0]]))), [[17.0, 200.0]], atol=1e-8)
    below = apply(back, view.nadir)[0]
    # Nose up and right side down: what is straight below lies at the lower and the right side of the image.
    assert below[1] > (240 - 1) / 2 + 30 and below[0] > (320 - 1) / 2 + 20


def test_what_the_photo_does_not_show_is_marked():
    view = nadir_view(Photo(np.full((100, 100), 90, np.uint8)), 1.0, 45.0)
    assert view.image.shape == (142, 142)
    assert not view.valid[0, 0] and not view.valid[-1, -1] and view.valid[71, 71]
    assert view.valid.mean() == pytest.approx(100 * 100 / 142**2, abs=0.02)


@pytest.mark.parametrize("tilt", [degrees(0, 31), degrees(-31, 0), degrees(25, 25), degrees(170, 0)])
def test_too_oblique_a_photo_is_refused(tilt):
    photo = Photo(np.zeros((100, 100), np.uint8), lens=Lens(100.0), tilt=tilt)
    assert nadir_view(photo, 1.0, 0.0) is AerialReject.TOO_OBLIQUE


def test_a_wide_photo_that_shows_the_horizon_is_refused_within_the_tilt_that_is_allowed():
    photo = Photo(np.zeros((100, 100), np.uint8), lens=Lens(25.0), tilt=degrees(0, 28))
    assert nadir_view(photo, 1.0, 0.0) is AerialReject.TOO_OBLIQUE
    assert isinstance(nadir_view(Photo(photo.image, lens=Lens(80.0), tilt=degrees(0, 28)), 1.0, 0.0), NadirView)


def test_a_tilt_without_a_lens_changes_nothing():
    image = landscape(120, 4)
    tilted = nadir_view(Photo(image, tilt=Tilt(0.1, 0.1)), 1.0, 30.0)
    np.testing.assert_array_equal(tilted.image, nadir_view(Photo(image), 1.0, 30.0).image)


def test_the_square_is_around_the_middle_and_enlarged_where_the_photo_is_smaller():
    image = landscape(200, 6)
    view = nadir_view(Photo(image), 1.0, 0.0)
    np.testing.assert_array_equal(square(view, 100), image[50:150, 50:150])
    assert square(view, 300).shape == (300, 300, 3)
    assert np.abs(square(view, 400)[::2, ::2].astype(float) - image).mean() < 8.0
