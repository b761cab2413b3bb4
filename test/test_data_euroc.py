from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_samples import development_data
from scipy.spatial.transform import Rotation

from vloc_ros.data import EurocReader, open_recording
from vloc_ros.data.rectify import RawCamera, StereoRectification, rectify_stereo, undistort_single
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry import se3

SIZE = (320, 240)
BODY_T_LEFT = se3.from_rotation_translation(
    Rotation.from_euler("xyz", [0.02, -0.01, np.pi / 2]).as_matrix(), np.array([-0.02, -0.06, 0.01])
)
LEFT_T_RIGHT = se3.from_rotation_translation(
    Rotation.from_rotvec([0.01, 0.02, -0.015]).as_matrix(), np.array([0.11, 0.002, -0.001])
)
COEFFICIENTS = {"radial-tangential": [-0.28, 0.07, 0.0002, 2e-05], "equidistant": [-0.01, 0.02, -0.01, 0.003]}


def _raw(model: str, offset: float = 0.0) -> RawCamera:
    matrix = np.array([[195.0 + offset, 0, 158.0 + offset], [0, 194.0 + offset, 121.0], [0, 0, 1]])
    return RawCamera(SIZE, matrix, model, np.array(COEFFICIENTS[model]))


def _sensor(raw: RawCamera, body_T_camera: np.ndarray) -> str:
    fx, fy, cx, cy = raw.matrix[0, 0], raw.matrix[1, 1], raw.matrix[0, 2], raw.matrix[1, 2]
    return (
        "%YAML:1.0\n# General sensor definitions.\nsensor_type: camera\nT_BS:\n  cols: 4\n  rows: 4\n"
        f"  data: {[float(value) for value in body_T_camera.reshape(16)]}\n"
        f"resolution: [{SIZE[0]}, {SIZE[1]}]\nintrinsics: [{fx}, {fy}, {cx}, {cy}]\n"
        f"distortion_model: {raw.model}\ndistortion_coefficients: {[float(value) for value in raw.coefficients]}\n"
    )


def _project(raw: RawCamera, points: np.ndarray) -> np.ndarray:
    """(N, 2) raw pixels of (N, 3) points of the raw camera."""
    module = cv2.fisheye if raw.model == "equidistant" else cv2
    return np.asarray(module.projectPoints(points[:, None], np.zeros(3), np.zeros(3), raw.matrix, raw.coefficients)[0]).reshape(
        -1, 2
    )


def _dots(pixels: np.ndarray) -> np.ndarray:
    """A picture of soft round spots with sub-pixel places."""
    v, u = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    picture = sum(np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * 2.5**2)) for x, y in pixels)
    return np.asarray(np.clip(255 * picture, 0, 255), dtype=np.uint8)


def _centre(picture: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Centre of mass of the spot nearest to a pixel."""
    v, u = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    weight = picture * ((u - near[0]) ** 2 + (v - near[1]) ** 2 < 12**2)
    return np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()


POINTS = np.array([[0.1, 0.1, 3.0], [-0.9, -0.5, 2.5], [0.9, -0.6, 3.0], [-0.7, 0.8, 3.5], [1.2, 0.7, 4.0]])


def _recording(root: Path, model: str) -> EurocReader:
    """One pair that sees POINTS (of the left raw camera) as spots; the body turns and moves."""
    left, right = _raw(model), _raw(model, 1.5)
    seen = {
        "cam0": (left, BODY_T_LEFT, POINTS),
        "cam1": (right, BODY_T_LEFT @ LEFT_T_RIGHT, se3.transform(se3.inverse(LEFT_T_RIGHT), POINTS)),
    }
    for name, (raw, body_T_camera, points) in seen.items():
        (root / "mav0" / name / "data").mkdir(parents=True)
        (root / "mav0" / name / "sensor.yaml").write_text(_sensor(raw, body_T_camera))
        cv2.imwrite(str(root / "mav0" / name / "data" / "1403715273262142976.png"), _dots(_project(raw, points)))
    return EurocReader(root)


@pytest.mark.parametrize("model", COEFFICIENTS)
def test_rectified_images_show_points_where_the_camera_says(tmp_path: Path, model: str) -> None:
    reader = _recording(tmp_path, model)
    frame = reader.frame(0)
    assert frame.right is not None
    (tmp_path / "V1_GT.txt").write_text("1403715273262142976.000, 1, 2, 3, 1, 0, 0, 0\n")
    truth = reader.ground_truth
    assert truth is not None
    world_T_body = se3.from_rotation_translation(np.eye(3), np.array([1.0, 2.0, 3.0]))
    in_world = se3.transform(world_T_body @ BODY_T_LEFT, POINTS)
    # This goes through everything: rectifying rotation, T_BS, truth, intrinsics and baseline.
    expected = reader.camera.project(se3.transform(se3.inverse(truth.poses[0]), in_world))
    for u, v, disparity in expected:
        np.testing.assert_allclose(_centre(frame.left, np.array([u, v])), [u, v], atol=0.1)
        np.testing.assert_allclose(_centre(frame.right, np.array([u - disparity, v])), [u - disparity, v], atol=0.1)
    assert reader.camera.baseline == pytest.approx(np.linalg.norm(LEFT_T_RIGHT[:3, 3]), rel=1e-6)


def test_the_body_of_an_inertial_unit_is_not_the_base(tmp_path: Path) -> None:
    np.testing.assert_array_equal(_recording(tmp_path, "radial-tangential").base_T_camera, se3.BASE_T_OPTICAL)


def test_a_pair_that_is_rectified_is_left_alone() -> None:
    raw = RawCamera(SIZE, _raw("equidistant").matrix, "radial-tangential", np.zeros(4))
    rectification = rectify_stereo(raw, raw, se3.from_rotation_translation(np.eye(3), np.array([0.2, 0, 0])))
    assert isinstance(rectification, StereoRectification)
    assert rectification.left is None and rectification.right is None
    assert (rectification.camera.fx, rectification.camera.baseline) == (195.0, 0.2)


@pytest.mark.parametrize(("offset", "message"), [([-0.1, 0, 0], "baseline .* must be positive"), ([0, 0.1, 0], "stand above")])
@pytest.mark.parametrize("model", COEFFICIENTS)
def test_pairs_that_are_not_side_by_side(offset: list[float], message: str, model: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        rectify_stereo(_raw(model), _raw(model), se3.from_rotation_translation(np.eye(3), np.array(offset)))


@pytest.mark.parametrize("model", COEFFICIENTS)
def test_undistorting_one_image(model: str) -> None:
    raw = _raw(model)
    matrix, undistort = undistort_single(raw)
    assert undistort is not None
    picture = undistort.image(_dots(_project(raw, POINTS)))
    for point in POINTS:
        pixel = (matrix @ point)[:2] / point[2]
        if np.all(pixel > 12) and np.all(pixel < np.array(SIZE) - 12):
            np.testing.assert_allclose(_centre(picture, pixel), pixel, atol=0.1)


@pytest.mark.parametrize("model", COEFFICIENTS)
def test_depth_is_taken_from_the_nearest_raw_pixel(model: str) -> None:
    raw = _raw(model)
    matrix, undistort = undistort_single(raw)
    assert undistort is not None
    v, u = (axis.astype(np.float32) for axis in np.mgrid[0 : SIZE[1], 0 : SIZE[0]])
    rays = np.linalg.solve(matrix, np.stack([u.ravel(), v.ravel(), np.ones(u.size)])).T
    source = _project(raw, rays).reshape(*u.shape, 2)
    for values, expected in ((u, source[:, :, 0]), (v, source[:, :, 1])):
        error = undistort.depth(values + 1.0)[2:-2, 2:-2] - 1.0 - expected[2:-2, 2:-2]
        assert np.abs(error).max() <= 0.51
        assert abs(error.mean()) < 0.02


@pytest.mark.parametrize("model", COEFFICIENTS)
def test_rectified_pixels_all_come_from_the_image(model: str) -> None:
    white = np.full((SIZE[1], SIZE[0]), 200, dtype=np.uint8)
    _, undistort = undistort_single(_raw(model))
    pair = rectify_stereo(_raw(model), _raw(model, 1.5), LEFT_T_RIGHT)
    for resample in (undistort, pair.left, pair.right):
        assert resample is not None
        assert resample.image(white).min() >= 150  # A quarter of a pixel at the very corner.
    # And little of the field of view is given away for it.
    assert pair.camera.fx < 1.35 * 195.0


def test_a_wrong_lens_model_is_refused() -> None:
    with pytest.raises(CalibrationError, match="unknown distortion model 'mei'"):
        RawCamera(SIZE, np.eye(3), "mei", np.zeros(4))
    with pytest.raises(CalibrationError, match="cannot have 3 coefficients"):
        RawCamera(SIZE, np.eye(3), "plumb_bob", np.ones(3))
    with pytest.raises(CalibrationError, match="differ"):
        rectify_stereo(_raw("equidistant"), _raw("radial-tangential"), LEFT_T_RIGHT)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("intrinsics: [195.0, ", "intrinsics: [", "'intrinsics' must be a list of 1 x 4 numbers"),
        ("intrinsics: [195.0,", "intrinsics: [-195.0,", "focal lengths must be positive"),
        ("intrinsics: [195.0,", "intrinsics: [.nan,", "'intrinsics' must be a finite number"),
        ("resolution: [320, 240]", "", "'resolution' must be a list"),
        ("resolution: [320, 240]", "resolution: [324, 240]", "must be of one size"),
        ("T_BS:", "T_SB:", "'T_BS' must be a list of 4 x 4 numbers"),
        ("0.0, 0.0, 0.0, 1.0]", "0.0, 0.0, 0.5, 1.0]", "'T_BS' is not a rigid transform"),
        ("distortion_model: radial-tangential", "distortion_model: mei", "unknown distortion model 'mei'"),
        ("resolution:", "resolution: [", "is not valid YAML"),
    ],
)
def test_damaged_calibrations_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    _recording(tmp_path, "radial-tangential")
    file = tmp_path / "mav0" / "cam0" / "sensor.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(CalibrationError, match=f"mav0.*{message}"):
        open_recording(tmp_path)


def test_listed_images_that_are_absent_or_unpaired_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _recording(tmp_path, "radial-tangential")
    left = tmp_path / "mav0" / "cam0"
    cv2.imwrite(str(left / "data" / "1403715273362142976.png"), np.zeros((240, 320), np.uint8))
    (left / "data.csv").write_text(
        "#timestamp [ns],filename\n1403715273262142976,1403715273262142976.png\r\n"
        "1403715273312142976,1403715273312142976.png\r\n1403715273362142976,1403715273362142976.png\r\n"
    )
    with caplog.at_level(logging.INFO):
        reader = open_recording(tmp_path)
    np.testing.assert_array_equal(reader.stamps_ns, [1403715273262142976])
    assert "lists 3 images, of which 2 are there" in caplog.text
    assert "1 images have no partner" in caplog.text


def test_unsynchronised_cameras_are_refused(tmp_path: Path) -> None:
    _recording(tmp_path, "radial-tangential")
    data = tmp_path / "mav0" / "cam1" / "data"
    (data / "1403715273262142976.png").rename(data / "1403715273272142976.png")
    with pytest.raises(DataError, match="none of the 1 left and 1 right images have the same stamp"):
        open_recording(tmp_path)


@pytest.mark.parametrize("name", ["../../../secret.png", "/etc/secret.png"])
def test_a_list_cannot_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    _recording(tmp_path, "radial-tangential")
    (tmp_path / "mav0" / "cam0" / "data.csv").write_text(f"1403715273262142976,{name}\n")
    with pytest.raises(DataError, match="outside that folder"):
        open_recording(tmp_path)


def test_truth_with_too_few_columns(tmp_path: Path) -> None:
    reader = _recording(tmp_path, "radial-tangential")
    folder = tmp_path / "mav0" / "state_groundtruth_estimate0"
    folder.mkdir()
    (folder / "data.csv").write_text("#stamp\n1403715273262142976,1,2,3\n")
    with pytest.raises(DataError, match=r"data\.csv line 2 has 4 columns"):
        _ = reader.ground_truth


@pytest.mark.data
def test_real_images_are_rectified() -> None:
    reader = open_recording(development_data("kimera_vio/MicroEuroc"))
    sift, offsets, disparities = cv2.SIFT_create(1500), [], []
    for index in (0, 15, 31):
        frame = reader.frame(index)
        keys, descriptors = zip(*(sift.detectAndCompute(image, None) for image in (frame.left_grey, frame.right_grey)), strict=True)
        for match, second in cv2.BFMatcher().knnMatch(*descriptors, k=2):
            if match.distance < 0.7 * second.distance:
                left, right = np.array(keys[0][match.queryIdx].pt), np.array(keys[1][match.trainIdx].pt)
                offsets.append(left[1] - right[1])
                disparities.append(left[0] - right[0])
    offsets_px = np.array(offsets)
    assert len(offsets_px) > 300
    assert np.median(np.abs(offsets_px)) < 0.5
    assert abs(np.median(offsets_px)) < 0.25
    assert np.mean(np.array(disparities)[np.abs(offsets_px) < 2] > 0) > 0.98
    assert reader.camera.baseline == pytest.approx(0.11, abs=0.001)


@pytest.mark.data
def test_real_truth_moves_points_to_where_they_are_seen() -> None:
    """Stereo points of one frame, moved by the truth into the next, are seen where they are projected."""
    reader = open_recording(development_data("kimera_vio/MicroEuroc"))
    truth = reader.ground_truth
    assert truth is not None
    first, second = reader.frame(20), reader.frame(21)
    poses = {int(stamp): pose for stamp, pose in zip(truth.stamps_ns, truth.poses, strict=True)}
    sift = cv2.SIFT_create(1500)
    (keys, left), (keys_r, right), (keys_2, after) = (
        sift.detectAndCompute(image, None) for image in (first.left_grey, first.right_grey, second.left_grey)
    )
    stereo = {m.queryIdx: m.trainIdx for m, n in cv2.BFMatcher().knnMatch(left, right, k=2) if m.distance < 0.7 * n.distance}
    errors = []
    second_T_first = se3.between(poses[second.stamp_ns], poses[first.stamp_ns])
    for match, other in cv2.BFMatcher().knnMatch(left, after, k=2):
        if match.distance < 0.7 * other.distance and match.queryIdx in stereo:
            a, b = np.array(keys[match.queryIdx].pt), np.array(keys_r[stereo[match.queryIdx]].pt)
            if abs(a[1] - b[1]) < 1.0 and a[0] - b[0] > 1.0:
                point = reader.camera.back_project(a[None], np.array([a[0] - b[0]]))
                seen = reader.camera.project(se3.transform(second_T_first, point))[0, :2]
                errors.append(np.linalg.norm(seen - np.array(keys_2[match.trainIdx].pt)))
    assert len(errors) > 50
    assert np.median(errors) < 2.0
