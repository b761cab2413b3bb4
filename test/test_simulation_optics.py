"""Exposure, noise, rain drops on the lens and motion blur: what the camera adds to the world."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_ros.simulation import Condition, Renderer, Sensor, SimulatedRun, StereoRig, World
from vloc_ros.simulation import named_condition as named
from vloc_ros.simulation.lens import drops_on_lens, look_through
from vloc_ros.simulation.motion_blur import blur_by_motion, camera_twist

RIG = StereoRig().scaled(0.375)
TURNING = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 1.5])
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def world() -> World:
    return World.generate(4, 40.0)


@pytest.fixture(scope="module")
def pose(world: World) -> NDArray[np.float64]:
    return SimulatedRun(world, rig=RIG, start_m=6.0).world_T_base[0]


@pytest.fixture(scope="module")
def noon(world: World) -> Renderer:
    return Renderer(world, named("noon"), RIG)


@pytest.fixture(scope="module")
def night(world: World) -> Renderer:
    return Renderer(world, named("night"), RIG)


def sharpness(image: Image) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).std())


def test_the_exposure_time_is_raised_before_the_gain_and_both_are_limited() -> None:
    sensor = Sensor()
    flat = np.ones((40, 40, 3), dtype=np.float32)
    bright, dim, dark = (sensor.exposure(level * flat, 0.0) for level in (np.float32(0.1), np.float32(1e-3), np.float32(1e-6)))
    assert bright.gain == 1.0 and bright.exposure_s < 0.1 * sensor.longest_exposure_s
    assert bright.scale * 0.1 == pytest.approx(sensor.mean_level, rel=1e-3)
    assert dim.exposure_s == sensor.longest_exposure_s and 1.0 < dim.gain < sensor.most_gain
    assert dark == (sensor.sensitivity_per_s * sensor.longest_exposure_s * sensor.most_gain, 0.022, sensor.most_gain)


def test_read_noise_grows_with_the_gain(noon: Renderer, night: Renderer, pose: NDArray[np.float64]) -> None:
    sensor = Sensor(vignetting=0.0, shot_noise=0.0, read_noise=0.001, blur_px=0.0)
    flat = np.full((120, 160, 3), 0.2, dtype=np.float32)
    once, ten_times = (sensor.develop(flat, 1.0, 3, gain=gain).astype(float).std() for gain in (4.0, 40.0))
    assert ten_times == pytest.approx(10.0 * once, rel=0.15)
    assert noon.stereo(pose, 7).exposure.gain == 1.0
    assert night.stereo(pose, 7).exposure.gain > 5.0


def test_drops_differ_between_the_lenses_and_leave_most_of_the_image() -> None:
    size = (512, 384)
    image = np.random.default_rng(0).uniform(0.0, 1.0, (384, 512, 3)).astype(np.float32)
    left, right = (np.abs(look_through(image, drops_on_lens(0.7, side, 40, *size)) - image).max(axis=2) > 0 for side in (0, 1))
    for touched in (left, right):
        assert 0.01 < touched.mean() < 0.25
    assert np.count_nonzero(left & right) < 0.5 * min(left.sum(), right.sum())
    few, many = (len(drops_on_lens(rain, 0, 0, *size)) for rain in (0.2, 1.0))
    assert 0 < few < 0.5 * many
    assert len(drops_on_lens(0.0, 0, 0, *size)) == 0


def test_drops_change_slowly_with_time() -> None:
    now, soon, later = (drops_on_lens(1.0, 0, moment, 512, 384) for moment in (100, 101, 2000))

    def stay(other: NDArray[np.float64]) -> float:
        return float(np.mean(np.hypot(now[:, 0] - other[:, 0], now[:, 1] - other[:, 1]) < 1.0))

    assert stay(soon) > 0.9
    assert stay(later) < 0.1


def test_a_drop_shows_the_scene_upside_down() -> None:
    image = np.zeros((384, 512, 3), dtype=np.float32)
    image[:192] = 1.0  # bright above, dark below
    seen = look_through(image, np.array([[256.0, 192.0, 40.0, 1.0, 1.0]]))
    assert seen[170, 256, 0] < 0.2
    assert seen[214, 256, 0] > 0.7


def test_turning_blurs_the_image_at_night_and_not_at_noon(
    world: World, noon: Renderer, night: Renderer, pose: NDArray[np.float64]
) -> None:
    quiet = Renderer(world, named("night"), RIG, Sensor(read_noise=0.0, shot_noise=0.0))
    still, turning = quiet.stereo(pose, 7), quiet.stereo(pose, 7, TURNING)
    assert sharpness(turning.left) < 0.8 * sharpness(still.left)
    assert sharpness(turning.right) < 0.8 * sharpness(still.right)
    np.testing.assert_array_equal(noon.stereo(pose, 7, TURNING).left, noon.stereo(pose, 7).left)
    np.testing.assert_array_equal(night.stereo(pose, 7, np.zeros(6)).left, night.stereo(pose, 7).left)


def test_blur_follows_the_image_motion_of_the_renderer(world: World, pose: NDArray[np.float64]) -> None:
    renderer = Renderer(world, Condition("x", 12.0), RIG)
    exposure_s, twist = 0.04, np.array([2.0, 0.0, 0.0, 0.0, 0.0, 0.5])

    def seen(t: float) -> NDArray[np.float32]:
        moved = pose.copy()
        moved[:3, 3] += pose[:3, :3] @ (t * twist[:3])
        c, s = np.cos(t * twist[5]), np.sin(t * twist[5])
        moved[:3, :3] = pose[:3, :3] @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        return renderer.radiance(moved @ RIG.base_T_camera)

    truth = np.mean([seen(exposure_s * ((k + 0.5) / 12 - 0.5)) for k in range(12)], axis=0)
    sharp = seen(0.0)
    inverse = 1.0 / renderer.depth(pose @ RIG.base_T_camera)
    blurred = blur_by_motion(sharp, inverse, RIG.camera, camera_twist(twist, RIG.base_T_camera), exposure_s)
    lower = slice(RIG.camera.height // 2, RIG.camera.height - 8)
    assert np.abs(blurred - truth)[lower].mean() < 0.4 * np.abs(sharp - truth)[lower].mean()
