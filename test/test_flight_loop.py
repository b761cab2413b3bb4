"""A flight by positions that come late, or not: its loop with somebody who answers by the truth in place of the node."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pair_samples import SITE
from sensor_msgs.msg import NavSatFix, NavSatStatus

from vloc_ros.aerial.georeference import LatLon, LocalFrame
from vloc_ros.errors import VlocError
from vloc_ros.ros import flight_loop
from vloc_ros.ros.drone_topics import position_of
from vloc_ros.ros.flight_loop import FlightLoop, FlightPlan
from vloc_ros.simulation import World, named_condition
from vloc_ros.simulation.flight import Flight, Readings

FRAME = LocalFrame(LatLon(47.4, 8.4))
PLAN = FlightPlan(np.array([[0.0, -40.0], [0.0, 40.0], [30.0, 40.0]]), covers=[(3.0, 4.0)], photo_s=1.0, longest_s=60.0)


class Answers:
    """In place of the topics: the node aerial as it should be, which takes a while and sees nothing through a covered lens."""

    def __init__(self, flight: Flight, late_s: float, says: Callable[[], bool] = lambda: True) -> None:
        self._flight, self._late_s, self._says = flight, late_s, says
        self.felt: list[Readings] = []

    def feel(self, readings: Readings) -> None:
        self.felt.append(readings)

    def photograph(self, stamp_ns: int, image: Any) -> float:
        self._dark = bool(image.max() < 4)
        return 0.0

    def answer(self, stamp_ns: int, timeout_s: float) -> tuple[NavSatFix, float] | None:
        if not self._says():
            time.sleep(0.01)
            return None
        message = NavSatFix(latitude=float("nan"), longitude=float("nan"))
        message.status.status = NavSatStatus.STATUS_NO_FIX
        if not self._dark:
            message.status.status = NavSatStatus.STATUS_FIX
            message.latitude, message.longitude = map(float, FRAME.latlon(self._flight.position[None])[0])
            message.position_covariance = np.diag([1.0, 1.0, 1e6]).reshape(9)
        return message, self._late_s


@pytest.fixture(scope="module")
def world() -> World:
    return SITE.build()


@pytest.fixture
def flight(world: World, monkeypatch: pytest.MonkeyPatch) -> Flight:
    """Nobody looks at what its camera sees, so that is not rendered."""
    made = Flight(world, named_condition("overcast"), seed=2)
    monkeypatch.setattr(made, "image", lambda: np.full((48, 64, 3), 0 if made.covered else 128, np.uint8))
    return made


def test_it_flies_by_its_own_positions_and_none_comes_through_a_covered_lens(flight: Flight) -> None:
    topics = Answers(flight, late_s=0.5)
    loop = FlightLoop(flight, PLAN, topics, FRAME)  # type: ignore[arg-type]
    photos = list(loop.run())
    assert loop.autopilot.finished and loop.autopilot.refused == 0
    assert [photo.seconds for photo in photos if photo.covered] == pytest.approx([3.0, 4.0, 5.0, 6.0])
    assert all((photo.fix is None) == photo.covered for photo in photos)
    assert all(photo.fix is None or np.linalg.norm(photo.fix - photo.truth) < 0.01 for photo in photos)
    assert len(topics.felt) == pytest.approx(10 * photos[-1].seconds, abs=10), "ten times a second"
    assert len(loop.autopilot.wind) == 2 and np.linalg.norm(photos[-1].believed - photos[-1].truth) < 10.0


def test_an_answer_takes_effect_as_late_as_it_was(flight: Flight, monkeypatch: pytest.MonkeyPatch) -> None:
    corrected: list[tuple[int, int]] = []
    loop = FlightLoop(flight, PLAN, Answers(flight, late_s=0.65), FRAME)  # type: ignore[arg-type]
    monkeypatch.setattr(loop.autopilot, "correct", lambda stamp_ns, *_: corrected.append((stamp_ns, flight.now_ns)))
    run = loop.run()
    for _ in range(3):
        next(run)
    late = np.array([now_ns - stamp_ns for stamp_ns, now_ns in corrected]) / 1e9
    assert len(late) == 2 and late == pytest.approx(0.7), "at the next tick"


def test_a_node_that_is_gone_ends_the_flight_and_one_that_is_silent_does_not(
    flight: Flight, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Answers(flight, 0.0, says=lambda: False)
    gone = FlightLoop(flight, PLAN, silent, FRAME, alive=lambda: False)  # type: ignore[arg-type]
    with pytest.raises(VlocError, match="answers no more"):
        next(gone.run())
    monkeypatch.setattr(flight_loop, "_ANSWER_S", 0.05)
    photo = next(FlightLoop(flight, PLAN, silent, FRAME).run())  # type: ignore[arg-type]
    assert photo.fix is None and photo.wall_s is None


def test_a_refusal_is_no_position_whatever_its_numbers() -> None:
    message = NavSatFix(latitude=47.0, longitude=8.0)
    message.status.status = NavSatStatus.STATUS_NO_FIX
    assert position_of(message) is None
    message.status.status = NavSatStatus.STATUS_FIX
    assert position_of(message) is not None
    message.longitude = float("nan")
    assert position_of(message) is None
