"""The simulated drone: its motion, what its instruments say, what its camera sees; and the autopilot that flies it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pair_samples import SITE

from vloc_ros.config import replace as changed
from vloc_ros.data.frame import to_grey
from vloc_ros.errors import ConfigError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.simulation import GroundArea, World, named_condition, orthophoto
from vloc_ros.simulation.autopilot import Autopilot, survey_lines
from vloc_ros.simulation.drone import Drone, DroneSettings, nadir_rotation, wrapped_deg
from vloc_ros.simulation.flight import Flight, FlightSettings

CALM = DroneSettings(wind=0.0, gusts=0.0, height_wander=0.0)
EXACT = {
    "drone.gusts": 0.0, "drone.height_wander": 0.0, "instruments.barometer_bias": 0.0, "instruments.barometer_noise": 0.0,
    "instruments.laser_noise_percent": 0.0, "instruments.heading_bias": 0.0, "instruments.heading_noise": 0.0,
    "instruments.tilt_noise": 0.0,
}  # fmt: skip
CAMERA = StereoCamera(240, 200, 240.0, 240.0, 119.5, 99.5, 0.1)


@pytest.fixture(scope="module")
def world() -> World:
    return SITE.build()


def test_without_wind_it_flies_where_its_nose_points() -> None:
    drone = Drone(CALM, 1)
    drone.heading_deg = drone.wanted_deg = 90.0
    drone.advance(10.0)
    np.testing.assert_allclose(drone.position, [90.0, 0.0], atol=1e-6)
    assert (drone.roll, drone.pitch, drone.sunk_m) == (0.0, 0.0, 0.0)


def test_wind_carries_it_and_gusts_tilt_it() -> None:
    steady = Drone(replace(CALM, wind=4.0, wind_towards=180.0), 1)
    steady.advance(10.0)
    np.testing.assert_allclose(steady.position, [0.0, 50.0], atol=1e-6)
    gusty = Drone(replace(CALM, gusts=2.0, tilt_per_gust=3.0, height_wander=2.0), 1)
    seen = []
    for _ in range(4000):
        gusty.advance(0.1)
        seen.append([*gusty.velocity, np.rad2deg(gusty.roll), np.rad2deg(gusty.pitch), gusty.sunk_m])
    spread = np.std(np.array(seen), axis=0)
    assert spread[0] == pytest.approx(2.0, rel=0.25) and spread[4] == pytest.approx(2.0, rel=0.4)
    assert 3.0 < spread[2] < 7.0 and 3.0 < spread[3] < 7.0, "the airframe follows a gust late"


def test_a_turn_has_a_fastest_rate_goes_the_short_way_and_banks_into_it() -> None:
    drone = Drone(replace(CALM, turn_rate=20.0, bank_per_turn=0.5), 1)
    drone.heading_deg, drone.wanted_deg = 170.0, -100.0
    drone.advance(2.0)
    assert wrapped_deg(drone.heading_deg - 170.0) == pytest.approx(40.0, abs=0.1)
    assert np.rad2deg(drone.roll) == pytest.approx(10.0, abs=1.0), "to the right, right side down"
    drone.advance(10.0)
    assert abs(wrapped_deg(drone.heading_deg + 100.0)) < 0.5 and abs(np.rad2deg(drone.roll)) < 0.2


def test_the_camera_looks_down_with_the_nose_up_in_its_image() -> None:
    level = nadir_rotation(90.0)
    np.testing.assert_allclose(level[:, 2], [0.0, 0.0, -1.0], atol=1e-12)
    np.testing.assert_allclose(-level[:, 1], [1.0, 0.0, 0.0], atol=1e-12)  # up in the image is east
    np.testing.assert_allclose(level[:, 0], [0.0, -1.0, 0.0], atol=1e-12)  # right in the image is south
    assert nadir_rotation(0.0, roll=0.2)[0, 2] < -0.1, "right side down: it looks to the left, west of straight down"
    assert nadir_rotation(0.0, pitch=0.2)[1, 2] > 0.1, "nose up: it looks ahead, to the north"


def test_the_same_seed_is_the_same_flight(world: World) -> None:
    def fly(seed: int) -> tuple[list[float], object]:
        flight = Flight(world, named_condition("noon"), seed=seed, camera=CAMERA)
        for _ in range(20):
            flight.advance(0.1)
        return [*flight.position, flight.drone.roll], flight.readings()

    assert fly(3) == fly(3) != fly(4)
    with pytest.raises(ConfigError, match="seed"):
        Flight(world, named_condition("noon"), seed=-1)


def test_what_exact_instruments_say(world: World) -> None:
    flight = Flight(world, named_condition("noon"), changed(FlightSettings(), EXACT), camera=CAMERA)
    flight.place(np.array([5.0, 8.0]), 30.0)
    flight.drone.roll = 0.3
    said = flight.readings()
    below = float(world.terrain.height(np.array([[5.0, 8.0]]))[0]) - flight.datum_m
    assert (said.height_m, said.heading_deg, said.roll, said.pitch) == pytest.approx((80.0, 30.0, 0.3, 0.0))
    assert said.range_m == pytest.approx((80.0 - below) / np.cos(0.3), rel=1e-6)
    assert said.stamp_ns == flight.now_ns


def test_errors_of_instruments_are_those_that_were_asked_for(world: World) -> None:
    asked = {"instruments.barometer_bias": 5.0, "instruments.heading_bias": -6.0, "instruments.tilt_noise": 2.0}
    flight = Flight(world, named_condition("noon"), changed(FlightSettings(), {**EXACT, **asked}), camera=CAMERA)
    said = [flight.readings() for _ in range(300)]
    assert {reading.height_m for reading in said} == {85.0}
    assert {reading.heading_deg for reading in said} == {354.0}
    assert np.rad2deg(np.std([reading.roll for reading in said])) == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize(("heading", "roll", "pitch"), [(0.0, 0.0, 0.0), (125.0, 0.15, -0.1)])
def test_a_photo_shows_what_the_orthophoto_has_there(world: World, heading: float, roll: float, pitch: float) -> None:
    """Points of the ground that the pose puts into pixels look alike in both, and less so when the pose is off by two metres."""
    area = GroundArea.of_world(world, 0.25)
    ortho = to_grey(orthophoto(world, named_condition("overcast"), area)).astype(float)
    flight = Flight(world, named_condition("overcast"), changed(FlightSettings(), EXACT), camera=CAMERA)
    flight.place(np.array([4.0, -6.0]), heading)
    flight.drone.roll, flight.drone.pitch = roll, pitch
    photo = to_grey(flight.image()).astype(float)
    points = flight.position + np.random.default_rng(1).uniform(-22.0, 22.0, (4000, 2))

    def alike(off_m: tuple[float, float]) -> float:
        ground = np.column_stack([points + off_m, world.terrain.height(points)])
        camera_T_world = np.linalg.inv(flight.world_T_camera)
        pixels = CAMERA.project(ground @ camera_T_world[:3, :3].T + camera_T_world[:3, 3])[:, :2]
        inside = CAMERA.contains(pixels, 2.0)
        u, v = np.rint(pixels[inside]).astype(int).T
        x, y = np.rint(area.pixels(points[inside])).astype(int).T
        return float(np.corrcoef(photo[v, u], ortho[y, x])[0, 1])

    here = alike((0.0, 0.0))
    assert here > 0.6
    assert all(alike(off) < here - 0.1 for off in ((2.0, 0.0), (-2.0, 0.0), (0.0, 2.0), (0.0, -2.0)))


def test_a_covered_lens_sees_nothing(world: World) -> None:
    flight = Flight(world, named_condition("noon"), camera=CAMERA)
    flight.covered = True
    image = flight.image()
    assert image.shape == (200, 240, 3) and image.max() < 4


def test_lines_of_a_survey() -> None:
    low, high = np.array([0.0, 0.0]), np.array([100.0, 60.0])
    lines = survey_lines(low, high, 30.0, rounds=2)
    np.testing.assert_array_equal(lines[:6], [[0, 0], [100, 0], [100, 30], [0, 30], [0, 60], [100, 60]])
    np.testing.assert_array_equal(lines[6:8], [[0, 0], [0, 60]])
    assert (lines >= low).all() and (lines <= high).all()


def flown_blindly(blind: tuple[float, float], wrong: bool = False) -> tuple[np.ndarray, Autopilot]:
    """Errors of the autopilot of a flight with fixes of 2 m each second but for some time; and the autopilot."""
    drone = Drone(DroneSettings(), 5)
    lines = survey_lines(np.zeros(2), np.array([200.0, 150.0]), 75.0)
    autopilot = Autopilot(lines, 9.0, np.array([6.0, -7.0]))
    rng, errors = np.random.default_rng(2), []
    for tick in range(1, 2000):
        if autopilot.finished:
            break
        drone.wanted_deg = autopilot.heading()
        drone.advance(0.1)
        stamp_ns = tick * 100_000_000
        autopilot.predict(stamp_ns, 0.1, drone.heading_deg + 3.0)
        if tick % 10 == 0 and not blind[0] < tick / 10 < blind[1]:
            false = wrong and tick % 70 == 0
            fix = drone.position + (150.0 if false else 0.0) + rng.normal(0.0, 2.0, 2)
            assert autopilot.correct(stamp_ns, fix, 4.0 * np.eye(2)) is not false
        errors.append(float(np.linalg.norm(autopilot.position - drone.position)))
    return np.array(errors), autopilot


def test_the_autopilot_reaches_its_waypoints_and_learns_the_wind() -> None:
    errors, autopilot = flown_blindly((1e9, 1e9))
    assert autopilot.finished and np.median(errors) < 3.0
    assert np.linalg.norm(autopilot.wind - [2.72, 1.27]) < 2.0  # 3 m/s to 65 degrees, and a heading that is off by 3
    assert autopilot.sigma_m < 10.0 and autopilot.refused == 0


@pytest.mark.parametrize("abeam_m", [14.0, 20.0, 45.0])
def test_the_autopilot_does_not_circle_a_waypoint_that_it_cannot_turn_to(abeam_m: float) -> None:
    """A fast drone that turns slowly, with its waypoint beside it, and another one beyond."""
    drone = Drone(replace(CALM, airspeed=14.0, turn_rate=15.0), 1)
    lines = np.array([[abeam_m, 0.0], [-150.0, 60.0]])
    autopilot = Autopilot(lines, 14.0, np.zeros(2), turn_rate_deg_s=15.0)
    assert autopilot.reach_m == pytest.approx(14.0 / np.deg2rad(15.0))
    for tick in range(1, 1200):
        drone.wanted_deg = autopilot.heading()
        drone.advance(0.1)
        autopilot.predict(tick * 100_000_000, 0.1, drone.heading_deg)
        autopilot.correct(tick * 100_000_000, drone.position, 0.01 * np.eye(2))
        if autopilot.finished:
            break
    assert autopilot.finished


def test_dead_reckoning_carries_it_over_half_a_minute() -> None:
    errors, autopilot = flown_blindly((30.0, 60.0))
    assert autopilot.finished
    assert errors[300:600].max() < 60.0 < 30.0 * 9.0, "far less than what is flown meanwhile"
    assert errors[640:].max() < 15.0


def test_a_false_fix_is_refused() -> None:
    errors, autopilot = flown_blindly((1e9, 1e9), wrong=True)
    assert autopilot.refused >= 5 and errors.max() < 20.0


def test_a_late_fix_is_carried_on_by_what_was_flown_since() -> None:
    autopilot = Autopilot(np.array([[0.0, 1000.0]]), 10.0, np.zeros(2), sigma_m=100.0)
    for tick in range(1, 31):
        autopilot.predict(tick * 100_000_000, 0.1, 0.0)
    assert autopilot.correct(1_000_000_000, np.array([5.0, 10.0]), 0.01 * np.eye(2))
    np.testing.assert_allclose(autopilot.position, [5.0, 30.0], atol=0.5)
