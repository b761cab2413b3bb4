"""Flights followed by a drone's own positions alone, with bad luck of every kind."""

import dataclasses

import numpy as np
import pytest
from aerial_samples import ORIGIN, MemoryMap, landscape, seen_from
from test_aerial_locator import locator_on

from vloc_ros.aerial.fix import AerialFix, AerialReject
from vloc_ros.aerial.georeference import LatLon, LocalFrame
from vloc_ros.aerial.locator_settings import LocatorSettings
from vloc_ros.aerial.photo import Photo
from vloc_ros.aerial.tracker import Tracker, TrackerSettings
from vloc_ros.errors import DataError

NS = 1_000_000_000
SIGMA = 2.0
NOTHING = np.zeros((4, 4), np.uint8)


class Ground:
    bounds = np.array([[-2000.0, -2000.0], [2000.0, 2000.0]])


class Scripted:
    """A locator that answers what it was told, and remembers what it was asked."""

    ground = Ground()
    settings = LocatorSettings()

    def __init__(self):
        self.answer = None
        self.priors = []

    def locate(self, photo, prior=None):
        self.priors.append(prior)
        if self.answer is None:
            return AerialFix.failure(AerialReject.TOO_FEW_INLIERS)
        covariance = SIGMA**2 * np.eye(2)
        if prior is not None:
            off = self.answer - prior.metres
            if off @ np.linalg.solve(prior.covariance + covariance, off) > self.settings.gate_sigmas**2:
                return AerialFix.failure(AerialReject.FAILED_GATE)
        where = LatLon(*LocalFrame(ORIGIN).latlon(self.answer)[0])
        return AerialFix(where, np.array(self.answer), covariance, 100.0, 0.0, np.zeros((4, 2)), 50, 80, "a", None)


def flight(settings=None):
    locator = Scripted()
    return Tracker(locator, settings), locator


def step(tracker, locator, seconds, answer):
    locator.answer = None if answer is None else np.array(answer, dtype=float)
    return tracker.step(Photo(NOTHING, stamp_ns=round(seconds * NS)))


def test_the_first_position_awaits_a_second_photo_and_both_are_searched_for_on_the_whole_map():
    tracker, locator = flight()
    first, second, third = (step(tracker, locator, k, (5.0 * k, 0.0)) for k in range(3))
    assert first.reason is AerialReject.UNCONFIRMED and first.metres is None and first.covariance is None
    assert second.success and third.success
    assert locator.priors[:2] == [None, None]
    np.testing.assert_array_equal(locator.priors[2].metres, (5.0, 0.0))


def test_a_second_photo_that_contradicts_takes_the_place_of_the_first():
    tracker, locator = flight()
    reasons = [step(tracker, locator, k, at).reason for k, at in enumerate([(0, 0), (900, 0), (905, 0)])]
    assert reasons == [AerialReject.UNCONFIRMED, AerialReject.UNCONFIRMED, None]


@pytest.mark.parametrize("confirmations", [1, 3])
def test_on_a_map_no_larger_than_the_gate_a_flight_goes_on(confirmations, monkeypatch):
    monkeypatch.setattr(Ground, "bounds", np.array([[-30.0, -30.0], [30.0, 30.0]]))
    tracker, locator = flight(TrackerSettings(confirmations=confirmations))
    fixes = [step(tracker, locator, k, (2.0 * k, 0.0)) for k in range(confirmations + 4)]
    assert [fix.success for fix in fixes] == [False] * confirmations + [True] * 4
    assert locator.priors == [None] * len(fixes)  # each is searched for on the whole map
    assert step(tracker, locator, len(fixes), (500.0, 0.0)).reason is AerialReject.UNCONFIRMED


def test_more_confirmations_take_more_photos():
    tracker, locator = flight(TrackerSettings(confirmations=3))
    assert [step(tracker, locator, k, (0, 0)).success for k in range(5)] == [False, False, False, True, True]
    tracker, locator = flight(TrackerSettings(confirmations=0))
    assert step(tracker, locator, 0, (0, 0)).success


def test_two_positions_far_apart_in_time_confirm_nothing():
    tracker, locator = flight(TrackerSettings(lost_after=10.0))
    assert [step(tracker, locator, at, (0, 0)).success for at in (0.0, 10.5, 20.0)] == [False, False, True]


def test_a_stamp_that_is_not_newer_is_refused_and_changes_nothing():
    tracker, locator = flight()
    for k in range(3):
        step(tracker, locator, k, (0, 0))
    asked = len(locator.priors)
    for stale in (2.0, 1.0, -5.0):
        assert step(tracker, locator, stale, (1000, 0)).reason is AerialReject.STAMP_NOT_NEWER
    assert len(locator.priors) == asked
    assert step(tracker, locator, 3.0, (1.0, 0.0)).success


def test_a_photo_without_a_stamp_is_an_error():
    with pytest.raises(DataError, match="no time stamp"):
        flight()[0].step(Photo(NOTHING, name="a.jpg"))


def test_the_gate_is_what_the_greatest_speed_reaches():
    tracker, locator = flight(TrackerSettings(max_speed=10.0))
    for k in range(2):
        step(tracker, locator, k, (0, 0))
    for seconds in (1.0, 4.0):
        prior = tracker.predict(round((1.0 + seconds) * NS))
        reach = np.hypot(10.0 * seconds, SIGMA * locator.settings.gate_sigmas)
        assert prior.radius(locator.settings.gate_sigmas) == pytest.approx(reach)
    assert step(tracker, locator, 2.0, (40.0, 0.0)).reason is AerialReject.FAILED_GATE
    assert step(tracker, locator, 3.0, (20.0, 0.0)).success


def test_after_a_loss_the_whole_map_is_searched_and_a_position_is_confirmed():
    tracker, locator = flight(TrackerSettings(lost_after=3.0))
    for k in range(2):
        step(tracker, locator, k, (0, 0))
    silent = [step(tracker, locator, k, None) for k in (2.0, 3.0, 4.0, 5.0)]
    assert [fix.reason for fix in silent] == [AerialReject.TOO_FEW_INLIERS] * 4
    assert [prior is None for prior in locator.priors[2:]] == [False, False, False, True]
    assert tracker.is_lost
    back = [step(tracker, locator, 6.0 + k, (900.0, 0.0)) for k in range(3)]
    assert [fix.reason for fix in back] == [AerialReject.UNCONFIRMED, None, None]


def test_a_gap_makes_the_gate_cover_too_much_of_the_map_to_mean_anything():
    tracker, locator = flight(TrackerSettings(lost_after=1e6, max_speed=25.0, largest_gate=0.5))
    for k in range(2):
        step(tracker, locator, k, (0, 0))
    # A circle of half of 4000 m x 4000 m has a radius of 1596 m: 63.8 s at 25 m/s.
    assert tracker.predict(round(64.5 * NS)) is not None
    assert tracker.predict(round(65.5 * NS)) is None


def test_a_failure_never_carries_the_last_position():
    tracker, locator = flight()
    for k in range(3):
        step(tracker, locator, k, (0, 0))
    fix = step(tracker, locator, 3.0, None)
    assert (fix.position, fix.metres, fix.covariance, fix.footprint, fix.height_m, fix.heading_deg) == (None,) * 6


@pytest.mark.parametrize("seed", range(12))
def test_no_believed_position_is_far_from_the_truth(seed):
    """Random flights: silence, wild answers anywhere on the map, gaps, stale stamps. Wild answers agree with nothing."""
    rng = np.random.default_rng(seed)
    settings = TrackerSettings(max_speed=20.0, lost_after=5.0)
    tracker, locator = flight(settings)
    at, clock, believed, wild_believed, worst = rng.uniform(-1500, 1500, 2), 0.0, 0, 0, 0.0
    for _ in range(400):
        gap = float(rng.choice([0.5, 1.0, 2.0, 8.0], p=[0.4, 0.4, 0.15, 0.05]))
        clock += gap
        way = rng.normal(size=2)
        at = np.clip(at + rng.uniform(0, settings.max_speed) * gap * way / np.linalg.norm(way), -1900, 1900)
        luck = rng.random()
        answer = at + rng.normal(0, SIGMA, 2) if luck < 0.6 else None if luck < 0.8 else rng.uniform(-2000, 2000, 2)
        if clock > gap and rng.random() < 0.05:
            assert step(tracker, locator, clock - gap, answer).reason is AerialReject.STAMP_NOT_NEWER
        fix = step(tracker, locator, clock, answer)
        if fix.success:
            believed += 1
            error = np.linalg.norm(fix.metres - at)
            worst = max(worst, error)
            wild_believed += luck >= 0.8
    assert believed > 120
    # A wild answer can be believed only where the drone could have been: within twice the reach since the last position.
    assert worst < 2 * settings.max_speed * settings.lost_after + 10 * SIGMA
    assert wild_believed <= 3


def test_a_flight_over_a_map_is_followed_through_a_loss():
    ground = MemoryMap(landscape(1000, 1), 0.5)
    tracker = Tracker(locator_on(ground), TrackerSettings(max_speed=15.0, lost_after=4.0))
    rng = np.random.default_rng(3)
    outcomes = []
    for k in range(26):
        place = np.array([-110.0 + 9.0 * k, -60.0 + 4.0 * k])
        photo = seen_from(ground, place, 140.0 + 5 * rng.normal(), 64.0, stamp_ns=k * NS, heading_deg=64.0 + 3 * rng.normal())
        if 8 <= k < 15:
            photo = dataclasses.replace(photo, image=np.full_like(photo.image, 90))
        fix = tracker.step(photo)
        outcomes.append(fix.reason)
        if fix.success:
            assert np.linalg.norm(fix.metres - place) < 2.0
    assert outcomes[0] is AerialReject.UNCONFIRMED and outcomes[1:8] == [None] * 7
    assert outcomes[8:15] == [AerialReject.BLANK_IMAGE] * 7
    assert outcomes[15] is AerialReject.UNCONFIRMED and outcomes[16:] == [None] * 10
