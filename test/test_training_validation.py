"""The task metric: what it counts as solved, and how it sums up."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from vloc_ros.errors import ConfigError
from vloc_ros.features import create_extractor
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.training.pairs import PairSource, StereoTruth, TrainingPair
from vloc_ros.training.sources.warp import warp_by_depth
from vloc_ros.training.validation import Validation, ValidationSettings, Verdict, for_networks, judge_pair, summary

CAMERA = StereoCamera(320, 240, 240.0, 240.0, 159.5, 119.5, 0.24)
PLANE = np.array([0.1, -0.05, 0.24])
"""1 / z = (p_x x + p_y y + p_z z) / z: a slanted wall about 4 m away."""
SIFT = create_extractor("sift", 500)
SETTINGS = ValidationSettings()


def wall(seed: int, moved: float = 0.4, tag: str = "sim:wall:noon>noon") -> TrainingPair:
    """A textured wall seen from two poses ``moved`` metres apart, with the truth."""
    rng = np.random.default_rng(seed)
    noise = rng.random((240, 320)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 1.5) + 2.0 * cv2.GaussianBlur(noise, (0, 0), 4.0)
    image_a = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    twist = np.concatenate([moved * np.array([0.8, 0.0, 0.6]), rng.uniform(-0.05, 0.05, 3)])
    b_T_a = se3.exp(twist)
    homography = CAMERA.matrix @ (b_T_a[:3, :3] + np.outer(b_T_a[:3, 3], PLANE)) @ np.linalg.inv(CAMERA.matrix)
    image_b = np.asarray(cv2.warpPerspective(image_a, homography, (320, 240)), dtype=np.uint8)
    inverse_a, inverse_b = inverse_depth(np.eye(4)), inverse_depth(b_T_a)
    scale = np.float32(CAMERA.fx * CAMERA.baseline)
    stereo = StereoTruth(CAMERA, inverse_a * scale, inverse_b * scale, b_T_a, np.eye(4))
    return TrainingPair(image_a, image_b, warp_by_depth(CAMERA, inverse_a, inverse_b, b_T_a), stereo, tag)


def inverse_depth(camera_T_a: np.ndarray) -> np.ndarray:
    """(H, W) of the wall, seen by a camera: its plane is n . p = 1 in the frame of a."""
    a_T_camera = se3.inverse(camera_T_a)
    normal = PLANE @ a_T_camera[:3, :3] / (1.0 - PLANE @ a_T_camera[:3, 3])
    u, v = np.meshgrid(np.arange(320.0), np.arange(240.0))
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones_like(u)], axis=2)
    return np.asarray(rays @ normal, dtype=np.float32)


class Walls(PairSource):
    """Walls by number."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        return wall(index, rng.uniform(0.2, 0.5), f"sim:wall:noon>{'dusk' if index % 2 else 'noon'}")


def test_a_pair_is_solved_by_its_true_pose() -> None:
    verdict = judge_pair(wall(1), SIFT, SETTINGS)
    assert verdict.solved and verdict.right >= 0.9 * verdict.matches and verdict.matches >= 60
    assert verdict.inliers is not None and verdict.inliers >= 60
    assert verdict.error_m is not None and verdict.error_m <= 0.02
    assert verdict.error_rad is not None and verdict.error_rad <= np.deg2rad(0.3)


def test_the_truth_decides_and_not_the_inliers() -> None:
    pair = wall(1)
    assert pair.stereo is not None
    moved = pair.stereo.b_T_a @ se3.exp(np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0]))
    verdict = judge_pair(replace(pair, stereo=replace(pair.stereo, b_T_a=moved), warp=pair.warp + np.float32(4.0)), SIFT, SETTINGS)
    assert not verdict.solved and verdict.right == 0
    assert verdict.inliers is not None and verdict.inliers >= 60
    assert verdict.error_m == pytest.approx(0.3, abs=0.02)
    turned = pair.stereo.b_T_a @ se3.exp(np.array([0.0, 0.0, 0.0, 0.0, np.deg2rad(2.5), 0.0]))
    assert not judge_pair(replace(pair, stereo=replace(pair.stereo, b_T_a=turned)), SIFT, SETTINGS).solved


def test_another_place_is_not_solved() -> None:
    verdict = judge_pair(replace(wall(1), image_b=wall(2).image_b), SIFT, SETTINGS)
    assert not verdict.solved and verdict.right <= 2 and verdict.inliers == 0 and verdict.error_m is None


def test_blank_images_are_not_solved() -> None:
    black = np.zeros((240, 320), dtype=np.uint8)
    for pair in (replace(wall(1), image_a=black), replace(wall(1), image_b=black, stereo=None)):
        verdict = judge_pair(pair, SIFT, SETTINGS)
        assert (verdict.solved, verdict.matches, verdict.right) == (False, 0, 0)


def test_too_few_inliers_are_not_solved() -> None:
    strict = replace(SETTINGS, localization=replace(SETTINGS.localization, min_inliers=900))
    verdict = judge_pair(wall(1), SIFT, strict)
    assert not verdict.solved and verdict.error_m is not None and verdict.error_m <= 0.02


def test_points_beyond_the_range_of_stereo_are_not_used() -> None:
    near_only = replace(SETTINGS, stereo=replace(SETTINGS.stereo, max_depth=1.6))
    assert judge_pair(wall(1), SIFT, near_only).matches == 0


def test_without_stereo_right_matches_count() -> None:
    pair = replace(wall(1), stereo=None)
    verdict = judge_pair(pair, SIFT, SETTINGS)
    assert verdict.solved and verdict.inliers is None
    assert not judge_pair(pair, SIFT, replace(SETTINGS, min_right=verdict.right + 1)).solved
    # Where nobody knows, no match is right.
    assert judge_pair(replace(pair, warp=np.full_like(pair.warp, np.nan)), SIFT, SETTINGS).right == 0


def test_the_task_is_the_mean_of_the_groups() -> None:
    verdicts = [Verdict("sim:1:noon>night", k < 1, 2.5 if k < 1 else 0.5, 30, 10 * k, 5 * k) for k in range(4)]
    verdicts += [Verdict("static:camera", True, 4.0, 40, 20)]
    assert summary(verdicts) == {
        "task": (0.25 + 1.0) / 2.0,
        "sim:noon>night/solved": 0.25,
        "sim:noon>night/right": 15.0,
        "sim:noon>night/inliers": 7.5,
        "static/solved": 1.0,
        "static/right": 20.0,
    }
    with pytest.raises(ConfigError):
        summary([])


def test_the_task_asks_for_more_and_more_matches():
    verdicts = [Verdict("sim:1:noon>night", True, 2.5, 30, 30, 30), Verdict("static:camera", True, 4.0, 40, 40)]
    assert summary(verdicts)["task"] == 1.0
    assert summary(verdicts, doublings=1)["task"] == 1.0
    assert summary(verdicts, doublings=3)["task"] == (2 + 3) / 8


def test_the_same_pairs_each_time() -> None:
    validation = Validation([Walls(3)], replace(SETTINGS, pairs=5))
    first = validation.judge(SIFT)
    assert len(first) == 5 and len({verdict.matches for verdict in first}) > 1
    assert validation.judge(SIFT) == first
    judged = for_networks(validation, lambda size: create_extractor("sift", size))(400)
    assert all(type(value) is float for value in judged.values())  # other kinds of numbers do not fit into a check point
    assert 0.0 < judged["task"] <= 1.0 and {"sim:noon>noon/solved", "sim:noon>dusk/inliers"} <= set(judged)


def test_a_validation_needs_sources() -> None:
    with pytest.raises(ConfigError, match="at least one source"):
        Validation([])
