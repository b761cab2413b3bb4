"""Rectification refinement: the correction itself, its estimation from points and from images, and the wrapped recording."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rectification_samples import CAMERA, ERROR, BoardRoom, drive, largest_difference, point_tracks

from vloc_ros.data import DatasetReader, EurocReader, KittiReader, StereoFrame
from vloc_ros.data.rectified import RectifiedReader
from vloc_ros.errors import CalibrationError, ConfigError
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.rectification import RectificationCorrection, shift_basis
from vloc_ros.geometry.rectification_fit import StereoTracks, fit_rows
from vloc_ros.mapping.rectification_tracks import parallax_px
from vloc_ros.mapping.self_calibration import (
    RectificationMode,
    SelfCalibrationSettings,
    UndecidedReason,
    estimate_from_tracks,
    estimate_rectification,
    refine_rectification,
)

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
IDENTITY = RectificationCorrection()
SETTINGS = SelfCalibrationSettings()
QUICK = SelfCalibrationSettings(max_features=600, pairs=6)
parameters = st.lists(st.floats(-0.01, 0.01), min_size=8, max_size=8)


# --- the correction -------------------------------------------------------------------------------------------------------


def test_all_zero_is_the_identity() -> None:
    image = np.full((CAMERA.height, CAMERA.width), 7, dtype=np.uint8)
    pixels = np.array([[0.0, 0.0], [300.5, 20.25]])
    assert IDENTITY.is_identity and not ERROR.is_identity
    assert IDENTITY.warp(image, CAMERA) is image
    assert IDENTITY.max_shift_px(CAMERA) == 0.0
    np.testing.assert_array_equal(IDENTITY.ideal(CAMERA, pixels), pixels)


@given(parameters)
@settings(max_examples=30, deadline=None)
def test_ideal_undoes_the_shift(values: list[float]) -> None:
    correction = RectificationCorrection.from_list(values)
    ideal = np.random.default_rng(0).uniform([0, 0], [CAMERA.width, CAMERA.height], (50, 2))
    recorded = ideal + correction.shift(CAMERA, ideal)
    np.testing.assert_allclose(correction.ideal(CAMERA, recorded), ideal, atol=0.01)


@pytest.mark.parametrize(("name", "axis", "sign"), [("pitch", 0, -1.0), ("yaw", 1, 1.0), ("roll", 2, 1.0)])
def test_rotations_are_rotations_of_the_camera(name: str, axis: int, sign: float) -> None:
    # Parameters agree, to first order, with what turning the rays by a small angle does to their pixels.
    angle = 1e-4
    pixels = np.random.default_rng(1).uniform([0, 0], [CAMERA.width, CAMERA.height], (40, 2))
    points = CAMERA.back_project(pixels, np.full(40, 10.0))
    turn = se3.exp(np.concatenate([np.zeros(3), sign * angle * np.eye(3)[axis]]))
    expected = CAMERA.project(se3.transform(turn, points))[:, :2] - pixels
    shift = RectificationCorrection.from_dict({name: angle}).shift(CAMERA, pixels)
    np.testing.assert_allclose(shift, expected, atol=1e-4)


def test_lens_terms_are_those_of_opencv() -> None:
    pixels = np.random.default_rng(2).uniform([0, 0], [CAMERA.width, CAMERA.height], (40, 2))
    points = CAMERA.back_project(pixels, np.full(40, 10.0))
    # OpenCV's order is k1, k2, p1, p2.
    distorted, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), CAMERA.matrix, np.array([0.01, 0.0, 0.002, -0.003]))
    correction = RectificationCorrection(radial=0.01, p1=0.002, p2=-0.003)
    np.testing.assert_allclose(correction.shift(CAMERA, pixels), distorted[:, 0] - pixels, atol=1e-9)


def test_scale_and_principal_point() -> None:
    correction = RectificationCorrection(scale=0.01, shift_x=2.0)
    pixels = np.array([[CAMERA.cx, CAMERA.cy], [CAMERA.cx + 100.0, CAMERA.cy - 50.0]])
    np.testing.assert_allclose(correction.shift(CAMERA, pixels), [[2.0, 0.0], [3.0, -0.5]])


def test_basis_is_the_derivative_of_the_shift() -> None:
    pixels = np.random.default_rng(3).uniform([0, 0], [CAMERA.width, CAMERA.height], (20, 2))
    basis = shift_basis(CAMERA, pixels)
    assert basis.shape == (20, 2, 8)
    np.testing.assert_allclose(basis @ np.array(ERROR.to_list()), ERROR.shift(CAMERA, pixels))


def test_max_shift_is_the_longest_displacement() -> None:
    assert RectificationCorrection(shift_x=-3.0).max_shift_px(CAMERA) == pytest.approx(3.0)
    # A rotation about the optical axis moves the corner that is farthest from the principal point most.
    corner = np.hypot(max(CAMERA.cx, CAMERA.width - 1 - CAMERA.cx), max(CAMERA.cy, CAMERA.height - 1 - CAMERA.cy))
    assert RectificationCorrection(roll=0.01).max_shift_px(CAMERA) == pytest.approx(0.01 * corner, rel=1e-6)


def test_warp_undoes_the_error_of_a_rendered_image() -> None:
    recorded = BoardRoom(ERROR).frame(0).right_grey
    ideal = BoardRoom(IDENTITY).frame(0).right_grey
    before, after = _alignment(ideal, recorded), _alignment(ideal, ERROR.warp(recorded, CAMERA))
    assert np.median(np.linalg.norm(before, axis=1)) > 0.8
    # The texture is as fine as a texture can be: interpolation scatters single corners, but shifts nothing.
    assert np.median(np.linalg.norm(after, axis=1)) < 0.05
    assert np.abs(after.mean(axis=0)).max() < 0.01
    assert np.percentile(np.linalg.norm(after, axis=1), 95) < 0.15


def test_warp_takes_colour_and_keeps_size_and_type() -> None:
    image = np.dstack([BoardRoom(ERROR).frame(0).right_grey] * 3)
    warped = ERROR.warp(image, CAMERA)
    assert warped.shape == image.shape and warped.dtype == np.uint8
    np.testing.assert_array_equal(warped[:, :, 1], ERROR.warp(image[:, :, 1].copy(), CAMERA))


def test_warp_refuses_an_image_of_another_size() -> None:
    with pytest.raises(CalibrationError, match="100x50 px but the calibration is of 480x320"):
        ERROR.warp(np.zeros((50, 100), dtype=np.uint8), CAMERA)


@given(parameters)
@settings(max_examples=30, deadline=None)
def test_list_and_dictionary_round_trip(values: list[float]) -> None:
    correction = RectificationCorrection.from_list(values)
    assert correction.to_list() == values
    assert RectificationCorrection.from_list(np.array(values)) == correction
    assert RectificationCorrection.from_dict(yaml.safe_load(yaml.safe_dump(correction.to_dict()))) == correction


def test_an_empty_list_or_dictionary_is_the_identity() -> None:
    assert RectificationCorrection.from_list([]) == IDENTITY == RectificationCorrection.from_dict({})


@pytest.mark.parametrize(
    ("values", "message"),
    [([1.0, 2.0], "has 8 numbers"), ([0.0] * 7 + [float("nan")], "p2' is not a number"), ([9.0] + [0.0] * 7, "pitch' = 9")],
)
def test_a_wrong_list_is_refused(values: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RectificationCorrection.from_list(values)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'rectification\.jaw'"):
        RectificationCorrection.from_dict({"jaw": 0.1})


# --- estimation from points -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("camera", "metres"),
    [
        (StereoCamera(1241, 376, 718.0, 718.0, 607.0, 185.0, 0.537), 0.8),  # KITTI
        (StereoCamera(640, 360, 260.0, 260.0, 320.0, 180.0, 0.12), 0.2),  # ZED
        (StereoCamera(512, 384, 388.0, 388.0, 253.0, 197.0, 0.24), 0.3),  # Bumblebee
    ],
)
@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_error_is_recovered_from_points(camera: StereoCamera, metres: float, factor: float) -> None:
    error = RectificationCorrection.from_list([factor * value for value in ERROR.to_list()])
    rng = np.random.default_rng(4)
    tracks = [point_tracks(camera, error, rng, drive(rng, metres)) for _ in range(8)]
    report = estimate_from_tracks(camera, tracks, SETTINGS)
    assert report.significant and report.reason is None and report.applied == report.correction
    size = error.max_shift_px(camera)
    assert largest_difference(camera, report.correction, error) < max(0.15, 0.05 * size)
    assert report.sigma_px < 0.5
    assert report.row_after_px < 0.2 < report.row_before_px
    assert report.temporal_after_px < 0.9 * report.temporal_before_px
    assert report.max_shift_px == pytest.approx(size, rel=0.1)


def test_constant_disparity_error_shows_over_time_only() -> None:
    error, rng = RectificationCorrection(shift_x=1.0), np.random.default_rng(5)
    tracks = [point_tracks(CAMERA, error, rng, drive(rng, 0.25)) for _ in range(8)]
    rows_only = fit_rows(CAMERA, tracks)
    assert abs(rows_only.shift(CAMERA, np.array([[CAMERA.cx, CAMERA.cy]]))[0, 0]) < 0.3  # rows say nothing of it
    report = estimate_from_tracks(CAMERA, tracks, SETTINGS)
    assert report.significant
    assert largest_difference(CAMERA, report.correction, error) < 0.15
    assert report.row_after_px == pytest.approx(report.row_before_px, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_good_rectification_is_left_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracks = [point_tracks(CAMERA, IDENTITY, rng, drive(rng, 0.25)) for _ in range(8)]
    report = estimate_from_tracks(CAMERA, tracks, SETTINGS)
    assert not report.significant and report.reason is None
    assert report.applied.is_identity and not report.correction.is_identity
    assert report.max_shift_px < 0.25
    assert "leave it alone" in str(report)


def test_the_judgement_is_of_pairs_held_out() -> None:
    # Errors that differ from pair to pair are fitted by chance, but no other pair confirms them.
    rng = np.random.default_rng(6)
    errors = [RectificationCorrection.from_list((np.array(ERROR.to_list()) * sign).tolist()) for sign in (1.0, -1.0) * 4]
    tracks = [point_tracks(CAMERA, error, rng, drive(rng, 0.25)) for error in errors]
    report = estimate_from_tracks(CAMERA, tracks, SETTINGS)
    assert not report.significant
    assert report.row_after_px > report.row_before_px  # folds are of one sign each


def test_rotation_alone_tells_nothing() -> None:
    rng = np.random.default_rng(8)
    turns = [se3.exp(np.concatenate([np.zeros(3), rng.normal(0.0, 0.03, 3)])) for _ in range(8)]
    tracks = [point_tracks(CAMERA, ERROR, rng, turn) for turn in turns]
    assert (
        max(parallax_px(CAMERA, t) for t in tracks) < 0.5 < parallax_px(CAMERA, point_tracks(CAMERA, ERROR, rng, drive(rng, 0.25)))
    )
    assert estimate_from_tracks(CAMERA, tracks, SETTINGS).reason is UndecidedReason.TOO_LITTLE_MOTION


def test_a_wall_tells_nothing_of_disparities() -> None:
    # Before a wall at one depth, wrong disparities look like another distance to the wall and another speed.
    rng = np.random.default_rng(9)
    tracks = [point_tracks(CAMERA, ERROR, rng, drive(rng, 0.5), depth=(8.0, 8.1)) for _ in range(8)]
    report = estimate_from_tracks(CAMERA, tracks, SETTINGS)
    assert report.reason is UndecidedReason.NOT_OBSERVABLE
    assert not report.significant and report.applied.is_identity


def test_too_few_matches_or_frames_decide_nothing() -> None:
    rng = np.random.default_rng(10)
    few = [point_tracks(CAMERA, ERROR, rng, drive(rng, 0.25), count=20) for _ in range(8)]
    assert estimate_from_tracks(CAMERA, few, SETTINGS).reason is UndecidedReason.TOO_FEW_MATCHES
    assert estimate_from_tracks(CAMERA, few[:3], SETTINGS).reason is UndecidedReason.TOO_FEW_FRAMES
    assert estimate_from_tracks(CAMERA, [], SETTINGS).reason is UndecidedReason.TOO_FEW_FRAMES
    none = np.zeros((0, 2))
    empty = [StereoTracks(none, none, none, none, none, none)] * 8
    report = estimate_from_tracks(CAMERA, empty, SETTINGS)
    assert report.reason is UndecidedReason.TOO_FEW_MATCHES
    assert report.reason.value in str(report)


def test_report_is_plain_json() -> None:
    rng = np.random.default_rng(11)
    tracks = [point_tracks(CAMERA, ERROR, rng, drive(rng, 0.25)) for _ in range(4)]
    report = estimate_from_tracks(CAMERA, tracks, SETTINGS)
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert RectificationCorrection.from_dict(yaml.safe_load(yaml.safe_dump(values["correction"]))) == report.correction
    assert values["significant"] is True and values["reason"] is None and values["pairs"] == 4
    undecided = json.loads(json.dumps(estimate_from_tracks(CAMERA, [], SETTINGS).to_dict(), allow_nan=False))
    assert undecided["reason"] == "TOO_FEW_FRAMES" and undecided["row_before_px"] is None


# --- estimation from images -----------------------------------------------------------------------------------------------


def test_error_of_a_rendered_recording_is_corrected() -> None:
    reader = BoardRoom(ERROR)
    refined, report = refine_rectification(reader, RectificationMode.AUTO, QUICK)
    assert isinstance(refined, RectifiedReader) and report is not None and report.significant
    assert largest_difference(CAMERA, report.correction, ERROR) < 0.1
    assert refined.correction == report.correction
    after = _alignment(BoardRoom(IDENTITY).frame(3).right_grey, refined.frame(3).right_grey)
    assert np.median(np.linalg.norm(after, axis=1)) < 0.1 and np.abs(after.mean(axis=0)).max() < 0.05
    again, second = refine_rectification(refined, RectificationMode.AUTO, QUICK)
    assert again is refined and second is not None and not second.significant


def test_good_rendered_recording_is_left_alone() -> None:
    reader = BoardRoom(IDENTITY)
    refined, report = refine_rectification(reader, RectificationMode.AUTO, QUICK)
    assert refined is reader and report is not None
    assert report.reason is None and not report.significant and report.max_shift_px < 0.1


def test_estimation_is_deterministic() -> None:
    reader = BoardRoom(ERROR)
    frames = [(reader.frame(index), reader.frame(index + 1)) for index in (0, 2, 4, 6)]
    first, second = (estimate_rectification(CAMERA, frames, QUICK) for _ in range(2))
    assert first.significant and first == second


def test_a_standing_robot_tells_nothing_and_damaged_frames_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    settings = SelfCalibrationSettings(max_features=300, pairs=5)
    standing = BoardRoom(ERROR, frames=7, step_m=0.0, damaged=4)
    refined, report = refine_rectification(standing, RectificationMode.AUTO, settings)
    assert refined is standing and report is not None and report.reason is UndecidedReason.TOO_LITTLE_MOTION
    assert "image 4 is damaged" in caplog.text


def test_slow_robots_are_seen_over_longer_gaps() -> None:
    # Neighbouring frames are too much alike, but a pair may be up to nine frames apart.
    slow = BoardRoom(ERROR, frames=16, step_m=0.08)
    _, report = refine_rectification(slow, RectificationMode.AUTO, SelfCalibrationSettings(max_features=500, pairs=4, min_pairs=3))
    assert report is not None and report.reason is None and report.significant


def test_off_does_nothing() -> None:
    reader = BoardRoom(ERROR)
    assert refine_rectification(reader, RectificationMode.OFF) == (reader, None)


def test_short_recordings_decide_nothing() -> None:
    _, report = refine_rectification(BoardRoom(ERROR, frames=3), RectificationMode.AUTO, QUICK)
    assert report is not None and report.reason is UndecidedReason.TOO_FEW_FRAMES


def test_depth_cameras_have_no_right_image() -> None:
    frame = StereoFrame(0, _blank(), depth=np.ones((CAMERA.height, CAMERA.width), dtype=np.float32))
    assert estimate_rectification(CAMERA, [(frame, frame)] * 4, QUICK).reason is UndecidedReason.NOT_STEREO
    _, report = refine_rectification(_Still(frame), RectificationMode.AUTO, QUICK)
    assert report is not None and report.reason is UndecidedReason.NOT_STEREO


def test_black_images_have_too_few_matches() -> None:
    frame = StereoFrame(0, _blank(), right=_blank())
    assert estimate_rectification(CAMERA, [(frame, frame)] * 4, QUICK).reason is UndecidedReason.TOO_FEW_MATCHES
    _, report = refine_rectification(_Still(frame), RectificationMode.AUTO, QUICK)
    assert report is not None and report.reason is UndecidedReason.TOO_FEW_MATCHES


def test_images_of_another_size_are_refused() -> None:
    frame = StereoFrame(0, _blank()[:100], right=_blank()[:100])
    with pytest.raises(CalibrationError, match="480x100 px but the calibration is of 480x320"):
        estimate_rectification(CAMERA, [(frame, frame)] * 4, QUICK)
    with pytest.raises(CalibrationError, match="480x100 px"):
        refine_rectification(_Still(frame), RectificationMode.AUTO, QUICK)


def test_unknown_features_are_refused() -> None:
    frame = StereoFrame(0, _blank(), right=_blank())
    with pytest.raises(ConfigError, match="unknown features 'sirf'"):
        estimate_rectification(CAMERA, [(frame, frame)], SelfCalibrationSettings(features="sirf"))


# --- the wrapped recording ------------------------------------------------------------------------------------------------


def test_wrapped_reader_passes_all_but_the_right_image_through() -> None:
    reader = BoardRoom(ERROR, frames=4)
    wrapped = RectifiedReader(reader, ERROR)
    assert wrapped.name == "boards" and RectifiedReader.name == "rectified"
    assert wrapped.camera == reader.camera and len(wrapped) == 4
    np.testing.assert_array_equal(wrapped.stamps_ns, reader.stamps_ns)
    np.testing.assert_array_equal(wrapped.base_T_camera, reader.base_T_camera)
    assert wrapped.ground_truth is None
    before, after = reader.frame(2), wrapped.frame(2)
    assert after.stamp_ns == before.stamp_ns
    np.testing.assert_array_equal(after.left, before.left)
    np.testing.assert_array_equal(after.right_grey, ERROR.warp(before.right_grey, CAMERA))
    assert not RectifiedReader.recognises(Path())


def test_wrapped_reader_passes_depth_through() -> None:
    frame = StereoFrame(0, _blank(), depth=np.ones((CAMERA.height, CAMERA.width), dtype=np.float32))
    assert RectifiedReader(_Still(frame), ERROR).frame(0) is frame


# --- real recordings ------------------------------------------------------------------------------------------------------


def _recording(reader: type[DatasetReader], *parts: str) -> DatasetReader:
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the development data {'/'.join(parts)} is not there")
    return reader(path)


@pytest.mark.data
def test_kitti_excerpt_is_corrected_once() -> None:
    reader = _recording(KittiReader, "kitti_stereo_51")
    refined, report = refine_rectification(reader, RectificationMode.AUTO)
    assert report is not None and report.significant
    assert report.temporal_after_px < 0.75 * report.temporal_before_px
    assert report.row_after_px < 0.5 * report.row_before_px
    assert 2.0 < report.max_shift_px < 6.0 and report.sigma_px < 0.4
    # What was corrected is well rectified, and is left alone.
    again, second = refine_rectification(refined, RectificationMode.AUTO, SelfCalibrationSettings(pairs=8))
    assert again is refined and second is not None and second.reason is None and second.max_shift_px < 0.3


@pytest.mark.data
def test_kitti_halves_agree() -> None:
    # Two halves of the drive share no image; the same rig must come out of both.
    reader = _recording(KittiReader, "kitti_stereo_51")
    halves = []
    for start in (0, 26):
        pairs = [(reader.frame(i), reader.frame(i + 1)) for i in range(start, start + 24, 4)]
        halves.append(estimate_rectification(reader.camera, pairs).correction)
    assert largest_difference(reader.camera, *halves) < 0.8  # where the errors themselves are up to 3.5 px


@pytest.mark.data
def test_euroc_excerpt_stands_still() -> None:
    # The vehicle of this excerpt has not taken off: nothing may be said, and nothing changed.
    reader = _recording(EurocReader, "kimera_vio", "MicroEuroc")
    refined, report = refine_rectification(reader, RectificationMode.AUTO, SelfCalibrationSettings(pairs=5))
    assert refined is reader and report is not None and report.reason is UndecidedReason.TOO_LITTLE_MOTION


# --- helpers --------------------------------------------------------------------------------------------------------------


class _Still(BoardRoom):
    """The same frame again and again."""

    def __init__(self, frame: StereoFrame) -> None:
        super().__init__(IDENTITY, frames=12)
        self._frame = frame

    def frame(self, index: int) -> StereoFrame:
        return self._frame


def _blank() -> np.ndarray:
    return np.zeros((CAMERA.height, CAMERA.width), dtype=np.uint8)


def _alignment(ideal: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N, 2) displacements [px] of corners of one image in another that is nearly equal, away from the border."""
    corners = cv2.goodFeaturesToTrack(ideal[12:-12, 12:-12], 500, 0.02, 8) + np.float32(12.0)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(ideal, other, corners, None, winSize=(15, 15), maxLevel=1)
    return (moved - corners).reshape(-1, 2)[found.ravel() == 1]
