"""Rectification refinement: the estimation of the error from points and from images, and the decision to correct it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from rectification_samples import (
    CAMERA,
    ERROR,
    BoardRoom,
    Still,
    alignment,
    blank,
    drive,
    largest_difference,
    point_tracks,
)

from vloc_ros.data import DatasetReader, EurocReader, KittiReader, StereoFrame
from vloc_ros.data.rectified import RectifiedReader
from vloc_ros.errors import CalibrationError, ConfigError
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.rectification import RectificationCorrection
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
    after = alignment(BoardRoom(IDENTITY).frame(3).right_grey, refined.frame(3).right_grey)
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
    frame = StereoFrame(0, blank(), depth=np.ones((CAMERA.height, CAMERA.width), dtype=np.float32))
    assert estimate_rectification(CAMERA, [(frame, frame)] * 4, QUICK).reason is UndecidedReason.NOT_STEREO
    _, report = refine_rectification(Still(frame), RectificationMode.AUTO, QUICK)
    assert report is not None and report.reason is UndecidedReason.NOT_STEREO


def test_black_images_have_too_few_matches() -> None:
    frame = StereoFrame(0, blank(), right=blank())
    assert estimate_rectification(CAMERA, [(frame, frame)] * 4, QUICK).reason is UndecidedReason.TOO_FEW_MATCHES
    _, report = refine_rectification(Still(frame), RectificationMode.AUTO, QUICK)
    assert report is not None and report.reason is UndecidedReason.TOO_FEW_MATCHES


def test_images_of_another_size_are_refused() -> None:
    frame = StereoFrame(0, blank()[:100], right=blank()[:100])
    with pytest.raises(CalibrationError, match="480x100 px but the calibration is of 480x320"):
        estimate_rectification(CAMERA, [(frame, frame)] * 4, QUICK)
    with pytest.raises(CalibrationError, match="480x100 px"):
        refine_rectification(Still(frame), RectificationMode.AUTO, QUICK)


def test_unknown_features_are_refused() -> None:
    frame = StereoFrame(0, blank(), right=blank())
    with pytest.raises(ConfigError, match="unknown features 'sirf'"):
        estimate_rectification(CAMERA, [(frame, frame)], SelfCalibrationSettings(features="sirf"))


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
