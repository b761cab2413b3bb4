"""Heights and attitudes of an aircraft: known answers of the standard atmosphere, and axes by what they mean."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vloc_ros.aerial.attitude import (
    Attitude,
    airframe_rotation,
    barometric_height_m,
    camera_attitude,
    height_of_range_m,
    is_air_pressure,
    standard_altitude_m,
    standard_pressure_pa,
)
from vloc_ros.aerial.photo import Tilt
from vloc_ros.simulation.drone import nadir_rotation

# ISO 2533: pressure [Pa] at geopotential altitudes [m].
STANDARD = {0: 101325.0, 500: 95460.8, 1000: 89874.6, 2000: 79495.2, 5000: 54019.9}


@pytest.mark.parametrize(("altitude", "pressure"), STANDARD.items())
def test_the_standard_atmosphere(altitude: int, pressure: float) -> None:
    assert standard_altitude_m(pressure) == pytest.approx(altitude, abs=0.2)
    assert standard_pressure_pa(altitude) == pytest.approx(pressure, rel=1e-5)
    assert standard_altitude_m(standard_pressure_pa(altitude)) == pytest.approx(altitude, abs=1e-6)


def test_height_by_the_barometer_is_above_the_reference() -> None:
    assert barometric_height_m(95460.8, 95460.8) == 0.0
    assert barometric_height_m(89874.6, 95460.8) == pytest.approx(500.0, abs=0.2)
    assert barometric_height_m(95460.8, 89874.6) == pytest.approx(-500.0, abs=0.2)
    # A hectopascal is about 8.3 m near the sea.
    assert barometric_height_m(101225.0, 101325.0) == pytest.approx(8.33, abs=0.03)


@pytest.mark.parametrize(("value", "good"), [(101325.0, True), (1013.25, False), (0.0, False), (float("nan"), False), (2e5, False)])
def test_what_is_a_pressure(value: float, good: bool) -> None:
    assert is_air_pressure(value) is good


@pytest.mark.parametrize(("yaw_deg", "heading_deg"), [(90.0, 0.0), (0.0, 90.0), (-90.0, 180.0), (180.0, 270.0), (45.0, 45.0)])
def test_a_level_airframe_has_the_compass_heading_of_its_nose(yaw_deg: float, heading_deg: float) -> None:
    """REP-103: yaw is zero to the east, and grows counter-clockwise."""
    enu_R_flu = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    attitude = camera_attitude(enu_R_flu)
    assert attitude.heading_deg == pytest.approx(heading_deg, abs=1e-9)
    assert (attitude.tilt.roll, attitude.tilt.pitch) == pytest.approx((0.0, 0.0), abs=1e-12)
    np.testing.assert_allclose(airframe_rotation(heading_deg), enu_R_flu, atol=1e-12)


def test_roll_is_right_side_down_and_pitch_nose_up() -> None:
    right_down = airframe_rotation(30.0, roll=0.2)
    assert (right_down @ [0.0, -1.0, 0.0])[2] < -0.1, "the right wing (minus y of FLU) points down"
    nose_up = airframe_rotation(30.0, pitch=0.2)
    assert (nose_up @ [1.0, 0.0, 0.0])[2] > 0.1
    both = camera_attitude(airframe_rotation(200.0, roll=-0.1, pitch=0.15))
    assert both.heading_deg == pytest.approx(200.0)
    assert (both.tilt.roll, both.tilt.pitch) == pytest.approx((-0.1, 0.15))


@pytest.mark.parametrize(("heading", "roll", "pitch"), [(0.0, 0.0, 0.0), (77.0, 0.2, -0.1), (301.0, -0.3, 0.25)])
def test_the_camera_of_the_simulated_drone_is_mounted_as_the_attitude_says(heading: float, roll: float, pitch: float) -> None:
    """Axes of its image (right, down, along the axis) are right, backward and down of the airframe."""
    enu_R_flu = airframe_rotation(heading, roll, pitch)
    flu_of_image = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]).T
    np.testing.assert_allclose(nadir_rotation(heading, roll, pitch), enu_R_flu @ flu_of_image, atol=1e-12)


def test_a_camera_that_is_mounted_across_sees_roll_as_pitch() -> None:
    """Up in the image is the right side of the airframe: right side down is image top down."""
    attitude = camera_attitude(airframe_rotation(10.0, roll=0.2), camera_yaw_deg=90.0)
    assert attitude.heading_deg == pytest.approx(100.0)
    assert (attitude.tilt.roll, attitude.tilt.pitch) == pytest.approx((0.0, -0.2), abs=1e-12)


def test_height_by_a_range_along_a_tilted_axis() -> None:
    assert height_of_range_m(100.0, None) == 100.0
    tilted = Attitude(0.0, Tilt(np.deg2rad(30.0), np.deg2rad(20.0)))
    assert height_of_range_m(100.0, tilted) == pytest.approx(100.0 * np.cos(np.deg2rad(30.0)) * np.cos(np.deg2rad(20.0)))
    on_its_side = Attitude(0.0, Tilt(np.deg2rad(90.0), 0.0))
    assert height_of_range_m(100.0, on_its_side) > 10.0, "never zero"
