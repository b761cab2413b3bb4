"""Which readings of height and attitude belong to an image, and what counts when some are missing."""

from __future__ import annotations

import numpy as np
import pytest

from vloc_ros.aerial.attitude import airframe_rotation, standard_pressure_pa
from vloc_ros.config import replace
from vloc_ros.ros.aerial_instruments import Instruments
from vloc_ros.ros.aerial_settings import AerialNodeSettings

S = 1_000_000_000


def instruments(**changes: object) -> Instruments:
    return Instruments(replace(AerialNodeSettings(), {name.replace("__", "."): value for name, value in changes.items()}))


def pressure(height_m: float) -> float:
    return standard_pressure_pa(450.0 + height_m)


def test_the_nearest_reading_counts_unless_it_is_too_far() -> None:
    made = instruments()
    for second, distance in ((12, 70.0), (10, 50.0), (11, 60.0)):  # in any order
        made.add_range(second * S, distance)
    made.add_orientation(10 * S, airframe_rotation(40.0))
    assert made.at(10 * S).height_m == 50.0
    assert made.at(round(11.4 * S)).height_m == 60.0
    late = made.at(round(12.6 * S))
    assert late.height_m is late.attitude is None
    assert late.missing == "no attitude within 0.5 s of the image; no height within 0.5 s of the image"
    assert made.at(round(10.2 * S)).attitude is not None and not made.at(round(10.2 * S)).missing


def test_the_range_counts_while_it_is_heard_and_then_the_pressure() -> None:
    made = instruments(instruments__reference_pressure=pressure(0.0))
    made.add_pressure(10 * S, pressure(80.0))
    made.add_range(10 * S, 75.0)
    made.add_pressure(20 * S, pressure(82.0))
    assert (made.at(10 * S).height_m, made.at(10 * S).source) == (75.0, "range")
    assert made.at(20 * S).height_m == pytest.approx(82.0) and made.at(20 * S).source == "pressure"
    only = instruments(instruments__reference_pressure=pressure(0.0), instruments__height="range")
    only.add_pressure(10 * S, pressure(80.0))
    assert only.at(10 * S).height_m is None
    assert instruments(instruments__height="none", instruments__heading=False, instruments__tilt=False).at(0).missing == ""


def test_the_first_messages_make_the_reference_whatever_one_of_them_says() -> None:
    made = instruments(instruments__reference_messages=5)
    for second, height in enumerate((0.0, 0.2, 900.0, -0.2, 0.1)):
        assert made.reference_pa is None
        assert "no height" in made.at(second * S).missing
        made.add_pressure(second * S, pressure(height))
    assert made.reference_pa == pytest.approx(pressure(0.1))
    made.add_pressure(60 * S, pressure(60.1))
    assert made.at(60 * S).height_m == pytest.approx(60.0, abs=0.01)
    made.add_pressure(70 * S, pressure(-5.0))
    assert made.at(70 * S).height_m is None, "below the ground"
    assert "the pressure is that of the ground or below it" in made.at(70 * S).missing


def test_a_range_is_taken_along_the_tilted_axis_unless_a_gimbal_keeps_it_level() -> None:
    for tilt, height in ((True, 100.0 * np.cos(0.3)), (False, 100.0)):
        made = instruments(instruments__tilt=tilt)
        made.add_range(S, 100.0)
        made.add_orientation(S, airframe_rotation(0.0, roll=0.3))
        assert made.at(S).height_m == pytest.approx(height)


def test_a_tilt_that_is_not_of_the_moment_is_less_sure() -> None:
    made = instruments(instruments__tilt_rate=30.0)
    made.add_orientation(S, airframe_rotation(0.0, roll=0.2))
    for seconds, degrees in ((1.0, 0.0), (1.1, 3.0), (0.6, 12.0)):
        attitude = made.at(round(seconds * S)).attitude
        assert attitude is not None and attitude.tilt.roll == pytest.approx(0.2)
        assert np.rad2deg(attitude.tilt.sigma) == pytest.approx(degrees)


def test_mounting_and_declination_turn_the_heading() -> None:
    made = instruments(camera__yaw=90.0, instruments__heading_offset=-15.0)
    made.add_orientation(S, airframe_rotation(10.0))
    attitude = made.at(S).attitude
    assert attitude is not None and attitude.heading_deg == pytest.approx(85.0)
    made.tune(replace(AerialNodeSettings(), {"instruments.heading_offset": -30.0}))
    turned = made.at(S).attitude
    assert turned is not None and turned.heading_deg == pytest.approx(340.0)


def test_an_image_is_complete_when_each_instrument_is_as_far() -> None:
    made = instruments()
    assert not made.reach(S)
    made.add_orientation(S, airframe_rotation(0.0))
    assert not made.reach(S)
    made.add_range(S - 1, 50.0)
    assert not made.reach(S)
    made.add_pressure(S, pressure(0.0))
    assert made.reach(S) and not made.reach(S + 1)
    alone = instruments(instruments__height="none", instruments__heading=False, instruments__tilt=False)
    assert alone.reach(S)


def test_a_clock_that_is_set_back_begins_anew() -> None:
    made = instruments()
    made.add_range(1000 * S, 50.0)
    made.add_range(100 * S, 60.0)
    assert made.at(1000 * S).height_m is None and made.at(100 * S).height_m == 60.0


def test_a_recording_of_a_few_seconds_that_begins_anew_is_no_part_of_the_one_before() -> None:
    made = instruments()
    for index in range(500):
        made.add_range(100 * S + index * S // 100, 50.0)
    for index in range(50):
        made.add_range(100 * S + index * S // 100, 70.0)
    assert made.at(100 * S).height_m == 70.0 and made.at(104 * S).height_m is None


def test_above_the_reach_of_the_range_finder_the_pressure_counts_at_once() -> None:
    made = instruments(instruments__reference_pressure=pressure(0.0))
    made.add_range(round(9.8 * S), 39.0)
    made.add_range(10 * S, None)
    made.add_pressure(10 * S, pressure(41.0))
    assert made.at(10 * S).height_m == pytest.approx(41.0) and made.at(10 * S).source == "pressure"
    alone = instruments(instruments__height="range")
    alone.add_range(10 * S, None)
    assert alone.at(10 * S).height_m is None and "nothing is in range" in alone.at(10 * S).missing


def test_instruments_of_another_clock_are_told() -> None:
    made = instruments(instruments__height="none")
    made.add_orientation(10 * S, airframe_rotation(0.0))
    assert "the stamps of imu are more than 5 s from it" in made.at(5000 * S).missing
    assert "stamps" not in made.at(12 * S).missing


def test_a_reference_that_was_found_on_the_ground_counts_in_the_air() -> None:
    made = Instruments(AerialNodeSettings(), pressure(0.0))
    made.add_pressure(S, pressure(80.0))
    assert made.at(S).height_m == pytest.approx(80.0)
    given = Instruments(replace(AerialNodeSettings(), {"instruments.reference_pressure": pressure(30.0)}), pressure(0.0))
    given.add_pressure(S, pressure(80.0))
    assert given.at(S).height_m == pytest.approx(50.0), "what was set counts first"


def test_readings_are_kept_for_a_while_only() -> None:
    made = instruments(instruments__max_age=60.0)
    for index in range(2000):
        made.add_range(index * S // 10, float(index + 1))
    assert made.at(0).height_m is None and made.at(1999 * S // 10).height_m == 2000.0
