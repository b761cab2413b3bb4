"""Photos located on a map in memory: what is known of them, refusals, and what makes two places ambiguous."""

import dataclasses

import cv2
import numpy as np
import pytest
from aerial_samples import FOCAL, MemoryMap, degrees, landscape, seen_from

from vloc_ros.aerial.fix import AerialFix, AerialReject
from vloc_ros.aerial.georeference import LatLon, LocalFrame, great_circle_m
from vloc_ros.aerial.locator import Locator, _ratio
from vloc_ros.aerial.locator_settings import LocatorSettings
from vloc_ros.aerial.photo import Lens, Photo
from vloc_ros.aerial.proposing import Prior
from vloc_ros.config import replace
from vloc_ros.errors import ConfigError
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import create_descriptor


def locator_on(ground, **settings):
    chosen = replace(LocatorSettings(), settings)
    return Locator(ground, create_extractor(ground.features, chosen.features), create_descriptor(ground.descriptor), chosen)


@pytest.fixture(scope="module")
def ground():
    return MemoryMap(landscape(1000, 1), 0.5, levels=2)


@pytest.fixture(scope="module")
def locator(ground):
    return locator_on(ground)


def within(fix, truth, metres):
    return fix.success and np.linalg.norm(fix.metres - truth) < metres


KNOWN = [{}, {"height_m": None}, {"heading_deg": None}, {"heading_deg": None, "height_m": None, "lens": None}]


@pytest.mark.parametrize("known", KNOWN, ids=["all", "no height", "no heading", "nothing"])
@pytest.mark.parametrize(("place", "height", "heading"), [((31.0, -44.0), 130.0, 72.0), ((-80.0, 60.0), 300.0, 211.0)])
def test_a_photo_is_located_with_whatever_is_known(locator, known, place, height, heading):
    fix = locator.locate(seen_from(locator.ground, place, height, heading, **known))
    assert within(fix, place, 1.5), fix
    assert fix.inliers >= 50
    assert (fix.heading_deg - heading + 180) % 360 - 180 == pytest.approx(0.0, abs=1.0)
    if "lens" in known:
        assert fix.height_m is None
    else:
        assert fix.height_m == pytest.approx(height, rel=0.02)


@pytest.mark.parametrize("tilt", [degrees(10, 0), degrees(0, 12), degrees(-8, -8)])
def test_a_tilt_that_is_known_is_taken_out(locator, tilt):
    place, height = (12.0, 25.0), 150.0
    photo = seen_from(locator.ground, place, height, 100.0, tilt)
    fix = locator.locate(photo)
    assert within(fix, place, 1.0)
    ignored = locator.locate(dataclasses.replace(photo, tilt=None))
    off = np.linalg.norm(ignored.metres - place)
    assert off == pytest.approx(height * np.tan(np.arccos(np.cos(tilt.roll) * np.cos(tilt.pitch))), rel=0.2)
    # Who does not know the tilt knows that much less of where he is.
    assert np.trace(ignored.covariance) > 5 * np.trace(fix.covariance)


def test_position_and_footprint_are_on_the_earth(locator):
    place = (40.0, -30.0)
    fix = locator.locate(seen_from(locator.ground, place, 200.0, 30.0))
    truth = locator.ground.frame.latlon(np.array([place]))
    assert great_circle_m(np.array([fix.position]), truth)[0] < 1.0
    corners = locator.ground.frame.metres(fix.footprint) - place
    half = 0.5 * np.array([320, 240]) * 200.0 / FOCAL
    yaw = np.deg2rad(30.0)
    ahead, right = np.array([np.sin(yaw), np.cos(yaw)]), np.array([np.cos(yaw), -np.sin(yaw)])
    upper_left = half[1] * ahead - half[0] * right
    np.testing.assert_allclose(corners[0], upper_left, atol=1.5)
    np.testing.assert_allclose(corners[2], -upper_left, atol=1.5)
    assert fix.tile in locator.ground.tiles.names


def test_the_covariance_grows_with_height_and_with_the_map(ground):
    class Vague(MemoryMap):
        accuracy_m = property(lambda self: 7.0)

    low, high = (locator_on(ground).locate(seen_from(ground, (0.0, 0.0), height, 0.0)) for height in (120.0, 240.0))
    np.testing.assert_allclose(high.covariance[0, 0] / low.covariance[0, 0], 4.0, rtol=0.05)
    assert np.sqrt(low.covariance[0, 0]) == pytest.approx(120 * np.tan(np.deg2rad(3.0)), rel=0.05)
    vague = Vague.__new__(Vague)
    vague.__dict__ = ground.__dict__
    fix = locator_on(vague).locate(seen_from(ground, (0.0, 0.0), 120.0, 0.0))
    assert fix.covariance[0, 0] - low.covariance[0, 0] == pytest.approx(49.0 - 0.01, rel=1e-3)


def test_a_tilt_that_was_read_earlier_makes_the_position_less_sure(ground):
    locator, tilt = locator_on(ground), degrees(5, 0)
    photo = seen_from(ground, (0.0, 0.0), 120.0, 0.0, tilt)
    fresh, old = (locator.locate(dataclasses.replace(photo, tilt=dataclasses.replace(tilt, sigma=sigma))) for sigma in (0.0, 0.08))
    assert (old.covariance - fresh.covariance)[0, 0] == pytest.approx((120 * 0.08) ** 2, rel=0.1)


@pytest.mark.slow
def test_errors_are_as_large_as_the_covariance_says_when_the_tilt_is_not_known(ground):
    rng = np.random.default_rng(11)
    locator = locator_on(ground)
    squared = []
    for _ in range(25):
        place, (roll, pitch) = rng.uniform(-90, 90, 2), rng.normal(0.0, 3.0, 2)
        photo = seen_from(ground, place, 150.0, rng.uniform(0, 360), degrees(roll, pitch))
        fix = locator.locate(dataclasses.replace(photo, tilt=None))
        assert fix.success
        off = fix.metres - place
        squared.append(off @ np.linalg.solve(fix.covariance, off))
    assert 1.0 < np.mean(squared) < 3.5


def test_the_same_photo_gives_the_same_fix(ground):
    photo = seen_from(ground, (5.0, 6.0), 140.0, 10.0, heading_deg=None)
    first, second = (dataclasses.replace(locator_on(ground).locate(photo), seconds=0.0) for _ in range(2))
    np.testing.assert_array_equal(first.metres, second.metres)
    np.testing.assert_array_equal(first.covariance, second.covariance)
    assert (first.inliers, first.matches, first.tile) == (second.inliers, second.matches, second.tile)


def test_a_photo_of_other_ground_is_refused(locator):
    other = MemoryMap(landscape(1000, 99), 0.5, headings=1)
    for known in KNOWN:
        fix = locator.locate(seen_from(other, (10.0, 10.0), 150.0, 33.0, **known))
        assert fix.reason in {AerialReject.TOO_FEW_INLIERS, AerialReject.TOO_FEW_MATCHES}
        assert fix.position is None and fix.metres is None and fix.covariance is None and fix.footprint is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"height_m": 230.0}, AerialReject.WRONG_SCALE),
        ({"height_m": 5.0}, AerialReject.OUTSIDE_SCALES),
        ({"height_m": 3000.0}, AerialReject.OUTSIDE_SCALES),
        ({"tilt": degrees(0, 50)}, AerialReject.TOO_OBLIQUE),
        ({"image": np.full((240, 320), 120, np.uint8)}, AerialReject.BLANK_IMAGE),
    ],
)
def test_each_refusal_has_its_reason(locator, changes, reason):
    photo = dataclasses.replace(seen_from(locator.ground, (0.0, 0.0), 150.0, 20.0), **changes)
    fix = locator.locate(photo)
    assert fix.reason is reason and not fix.success and fix.metres is None


def test_a_heading_that_is_wrong_is_contradicted_by_features_that_do_not_mind(locator):
    photo = seen_from(locator.ground, (0.0, 0.0), 150.0, 20.0, heading_deg=65.0)
    assert locator.locate(photo).reason is AerialReject.WRONG_HEADING


@pytest.mark.parametrize(
    ("turned", "reason"), [(180.0, AerialReject.WRONG_HEADING), (90.0, AerialReject.WRONG_HEADING), (4.0, None)]
)
def test_a_heading_that_is_wrong_is_found_out_of_features_that_mind(turned, reason):
    pytest.importorskip("torch")
    ground = MemoryMap(landscape(700, 7), 0.5, features="superpoint")
    locator, photo = locator_on(ground), seen_from(ground, (15.0, 5.0), 150.0, 44.0)
    photo = dataclasses.replace(photo, heading_deg=photo.heading_deg + turned)
    found = locator.locate(photo)
    fix = locator.doubt(photo, found)
    assert fix.reason is reason and fix.success == (reason is None)
    if reason is not None:
        assert fix.metres is None and fix.inliers > found.inliers


def test_what_fits_by_no_heading_or_by_the_right_one_keeps_its_reason(locator):
    photo = seen_from(locator.ground, (15.0, 5.0), 150.0, 44.0)
    missed = AerialFix.failure(AerialReject.NO_CANDIDATE)
    assert locator.doubt(photo, missed).reason is AerialReject.NO_CANDIDATE
    assert locator.doubt(dataclasses.replace(photo, heading_deg=224.0), missed).reason is AerialReject.WRONG_HEADING
    other = seen_from(MemoryMap(landscape(700, 99), 0.5), (0.0, 0.0), 150.0, 20.0)
    found = locator.locate(other)
    assert not found.success and locator.doubt(other, found).reason is found.reason


def test_a_photo_without_features_is_refused(ground):
    smooth = np.tile(np.linspace(0, 255, 320).astype(np.uint8), (240, 1))
    photo = Photo(smooth, lens=Lens(FOCAL), height_m=150.0, heading_deg=0.0)
    assert locator_on(ground).locate(photo).reason in {AerialReject.TOO_FEW_FEATURES, AerialReject.NO_CANDIDATE}


def test_two_places_that_look_alike_are_ambiguous():
    raster = landscape(1000, 5)
    raster[60:420, 60:420] = raster[560:920, 560:920]
    ground = MemoryMap(raster, 0.5)
    middle = ground.metres(np.array([[739.5, 739.5], [800.0, 220.0]]), ground.levels[0])
    locator = locator_on(ground)
    assert locator.locate(seen_from(ground, middle[0], 140.0, 0.0)).reason is AerialReject.AMBIGUOUS
    assert within(locator.locate(seen_from(ground, middle[1], 140.0, 0.0)), middle[1], 1.0)
    # Who knows where he is about is not fooled by the other place.
    near = Prior(middle[0] + [8.0, -8.0], 36.0 * np.eye(2))
    assert within(locator.locate(seen_from(ground, middle[0], 140.0, 0.0), near), middle[0], 1.0)


def test_too_uncertain_a_position_is_refused(ground):
    photo = seen_from(ground, (0.0, 0.0), 300.0, 0.0)
    assert locator_on(ground, max_sigma=10.0).locate(photo).reason is AerialReject.LARGE_COVARIANCE
    assert locator_on(ground, max_sigma=20.0).locate(photo).success


# With a prediction


@pytest.mark.parametrize("known", KNOWN[:3], ids=["all", "no height", "no heading"])
@pytest.mark.parametrize("sigma", [6.0, 40.0])
def test_near_a_prediction_the_place_is_found(locator, known, sigma):
    place = np.array([-50.0, 70.0])
    fix = locator.locate(
        seen_from(locator.ground, place, 140.0, 15.0, **known), Prior(place + np.array([9.0, 9.0]), sigma**2 * np.eye(2))
    )
    assert within(fix, place, 1.5)


@pytest.mark.parametrize("tilt", [degrees(0, 20), degrees(-20, 0)])
def test_a_prediction_is_of_the_drone_and_not_of_what_it_looks_at(locator, tilt):
    place = np.array([20.0, 10.0])
    fix = locator.locate(seen_from(locator.ground, place, 150.0, 80.0, tilt), Prior(place, 4.0 * np.eye(2)))
    assert within(fix, place, 1.5)


def test_positions_beyond_180_degrees_are_written_as_others_write_them(monkeypatch):
    monkeypatch.setattr(MemoryMap, "frame", property(lambda self: LocalFrame(LatLon(-17.0, 179.99999))))
    ground = MemoryMap(landscape(800, 3), 0.5)
    place = np.array([40.0, -30.0])
    fix = locator_on(ground).locate(seen_from(ground, place, 130.0, 20.0))
    assert fix.success and -180.0 <= fix.position.lon < -179.99
    assert np.linalg.norm(ground.frame.metres([fix.position])[0] - place) < 1.0


def test_the_vectors_of_a_map_are_not_copied(ground):
    proposer = locator_on(ground)._proposer
    assert np.shares_memory(proposer._index._rows._base, ground.vectors)


def test_what_lies_outside_the_gate_is_refused(locator):
    place = np.array([20.0, 10.0])
    photo = seen_from(locator.ground, place, 150.0, 80.0)
    beside = locator.locate(photo, Prior(place + np.array([70.0, 0.0]), 9.0 * np.eye(2)))
    assert beside.reason is AerialReject.FAILED_GATE and beside.inliers > 20
    far = locator.locate(photo, Prior(place + np.array([-200.0, -150.0]), 9.0 * np.eye(2)))
    assert not far.success


# Other features, other maps


@pytest.mark.parametrize("features", ["orb", "sift_fast"])
def test_other_features_locate_too(features):
    ground = MemoryMap(landscape(700, 7), 0.5, features=features, headings=4)
    fix = locator_on(ground).locate(seen_from(ground, (15.0, 5.0), 150.0, 44.0))
    assert within(fix, (15.0, 5.0), 2.0)


def test_another_light_makes_no_difference(locator):
    fix = locator.locate(seen_from(locator.ground, (15.0, 5.0), 150.0, 44.0, gain=0.5))
    assert within(fix, (15.0, 5.0), 1.0)


def test_a_descriptor_of_another_length_is_an_error_that_names_both(ground):
    with pytest.raises(ConfigError, match="'thumbnail' with 2048 elements, not by 'hog'"):
        Locator(ground, create_extractor("sift", 500), create_descriptor("hog"))


def test_a_tiny_photo_is_refused_and_a_grey_one_located(locator):
    photo = seen_from(locator.ground, (15.0, 5.0), 150.0, 44.0)
    grey = cv2.cvtColor(photo.image, cv2.COLOR_RGB2GRAY)
    assert within(locator.locate(dataclasses.replace(photo, image=grey)), (15.0, 5.0), 1.0)
    for side in (1, 3, 12):
        assert not locator.locate(dataclasses.replace(photo, image=photo.image[:side, :side], height_m=None)).success


def test_of_a_wide_photo_the_middle_is_compared_and_all_of_it_is_the_footprint(ground):
    photo = seen_from(ground, (0.0, 0.0), 170.0, 30.0, size=(880, 640))
    sides, fixes = [], []
    for part in (1.0, 20.0):
        locator = locator_on(ground, part=part)
        extract = locator._extractor.extract
        locator._extractor.extract = lambda image, extract=extract: sides.append(max(image.shape)) or extract(image)
        fixes.append(locator.locate(photo))
    assert all(within(fix, (0.0, 0.0), 1.0) for fix in fixes)
    assert sides[0] == 160 and sides[1] > 320
    one, other = (ground.frame.metres(fix.footprint) for fix in fixes)
    np.testing.assert_allclose(one, other, atol=5.0)


def test_the_ratio_is_that_of_the_kind_of_features():
    sift = create_extractor("sift", 100)
    assert _ratio(0.0, sift) == 0.9 and _ratio(0.85, sift) == 0.85
    pytest.importorskip("onnxruntime", reason="networks need an engine")
    assert _ratio(0.0, create_extractor("superpoint", 100)) == 0.96
