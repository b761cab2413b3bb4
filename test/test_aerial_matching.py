"""Regions of a map, and matches of a view to them."""

import dataclasses

import numpy as np
import pytest
from aerial_samples import MemoryMap, landscape, seen_from
from test_aerial_locator import locator_on

from vloc_ros.aerial.contract import GroundFeatures
from vloc_ros.aerial.matching import Region, by_heading, features_of, match_ground, merged
from vloc_ros.aerial.nadir import nadir_view
from vloc_ros.aerial.photo import Photo
from vloc_ros.features import Features, MatchSettings, create_extractor


def region(tile, east, north, half=100.0, level=0, heading=0.0):
    return Region.around(tile, level, heading, np.array([east, north], dtype=float), half)


def test_regions_that_overlap_much_are_joined_and_others_are_not():
    joined = merged([region(1, 0, 0), region(2, 500, 0), region(3, 40, 0), region(4, 520, 10)])
    assert [item.tile for item in joined] == [1, 2]
    np.testing.assert_array_equal(joined[0].low, (-100, -100))
    np.testing.assert_array_equal(joined[0].high, (140, 100))


def test_regions_of_another_level_or_heading_stay_apart():
    assert len(merged([region(1, 0, 0), region(2, 0, 0, level=1), region(3, 0, 0, heading=45.0)])) == 3


def test_regions_side_by_side_do_not_grow_without_end():
    every = merged([region(k, 60.0 * k, 0) for k in range(20)])
    assert 2 <= len(every) < 12
    assert max(item.area for item in every) <= 4.0 * 200.0**2
    assert all(any((item.low <= (60.0 * k, 0)).all() and (item.high >= (60.0 * k, 0)).all() for item in every) for k in range(20))


def test_groups_are_in_the_order_of_their_best_region():
    groups = by_heading([region(1, 0, 0, heading=90.0), region(2, 0, 0), region(3, 900, 0, heading=90.0), region(4, 0, 0, level=1)])
    assert [[item.tile for item in group] for group in groups] == [[1, 3], [2], [4]]


def test_features_lie_where_the_photo_shows_ground_and_none_are_spent_elsewhere():
    extractor = create_extractor("sift", 300)
    view = nadir_view(Photo(landscape(240, 2)), 1.0, 45.0)
    found = features_of(view, extractor)
    columns, rows = np.round(found.keypoints).astype(int).T
    assert view.valid[rows, columns].all()
    assert len(found) > 220
    whole = nadir_view(Photo(landscape(240, 2)), 1.0, 0.0)
    np.testing.assert_array_equal(features_of(whole, extractor).keypoints, extractor.extract(whole.image).keypoints)


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_matches_are_mutual_and_of_the_ground_that_was_asked(kind):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(30, 32)) if kind is np.float32 else rng.integers(0, 256, (30, 32))
    descriptors = rows.astype(kind)
    if kind is np.float32:
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    points = rng.uniform(-1000, 1000, (30, 2))
    order = rng.permutation(30)
    keypoints = rng.uniform(0, 100, (30, 2)).astype(np.float32)
    nothing = np.zeros(30, np.float32)
    features = Features(keypoints, nothing, nothing, descriptors, nothing)
    matches = match_ground(features, GroundFeatures(points[order], descriptors[order]), MatchSettings(ratio=0.9))
    assert len(matches) == 30
    np.testing.assert_array_equal(matches.metres, points)
    np.testing.assert_allclose(matches.pixels, keypoints)
    # Twice the same ground: nothing stands out, whatever the photo differs by.
    if kind is np.float32:
        seen = descriptors + 0.1 * rng.normal(size=descriptors.shape).astype(np.float32)
        features = Features(keypoints, nothing, nothing, seen / np.linalg.norm(seen, axis=1, keepdims=True), nothing)
    twice = GroundFeatures(np.vstack([points, points + 50.0]), np.vstack([descriptors, descriptors]))
    assert len(match_ground(features, twice, MatchSettings(ratio=0.9))) == 0
    assert len(match_ground(features, GroundFeatures(points[:0], descriptors[:0]), MatchSettings())) == 0


def test_a_certain_view_ends_the_search_of_other_headings():
    ground = MemoryMap(landscape(700, 8), 0.5)
    photo = seen_from(ground, (5.0, 5.0), 150.0, 130.0, heading_deg=None)

    def turns(**settings):
        locator = locator_on(ground, **settings)
        extract, seen = locator._extractor.extract, []
        locator._extractor.extract = lambda image: seen.append(image.shape) or extract(image)
        fix = locator.locate(photo)
        return len(seen), dataclasses.replace(fix, seconds=0.0)

    (some, fix), (every, thorough) = turns(), turns(certain=0)
    assert some < every
    assert np.linalg.norm(fix.metres - (5.0, 5.0)) < 1.0 and np.linalg.norm(thorough.metres - (5.0, 5.0)) < 1.0
