from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_samples import assert_poses_close, texture
from scipy.spatial.transform import Rotation

from vloc_ros.data import UtiasReader, open_recording
from vloc_ros.data.utias import GRIZZLY_BASE_T_CAMERA, IN_THE_DARK, MULTISEASON
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry import se3

T_sv = np.array(
    [
        [0.000796327, -1, 0, 0.119873],
        [-0.330472, -0.000263164, -0.943816, 1.49473],
        [0.943815, 0.000751586, -0.330472, 0.354804],
        [0, 0, 0, 1],
    ]
)


def _pose(k: float) -> np.ndarray:
    """world_T_vehicle at a place along a turning path; place 0 is the world."""
    return se3.from_rotation_translation(Rotation.from_euler("z", 0.2 * k).as_matrix(), np.array([0.5 * k, 0.05 * k * k, 0.0]))


def _row(this: tuple[int, int], other: tuple[int, int], other_T_this: np.ndarray, columns: int = 20) -> str:
    return ",".join([*map(str, (*this, *other)), *(f"{value:.12e}" for value in other_T_this.reshape(16))][:columns])


def _run(path: Path, number: int, vertices: range, stamps: bool = True) -> Path:
    run = path / f"run_{number:06d}"
    for side in ("left", "right"):
        (run / "images" / side).mkdir(parents=True)
        for vertex in vertices:
            cv2.imwrite(str(run / "images" / side / f"{vertex:06d}.png"), texture(vertex, True, (512, 384)))
    if stamps:
        rows = [f"{vertex},{1_470_000_000_000_000_000 + vertex * 300_000_001}" for vertex in vertices]
        (run / "timestamps_images.txt").write_text("\n".join(rows))
    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path taught with four vertices and repeated with two, a bit beside and in between."""
    path = tmp_path / "some_path"
    teach = _run(path, 0, range(4))
    rows = [_row((0, k), (0, k + 1), se3.between(_pose(k + 1), _pose(k))) for k in range(3)]
    (teach / "transforms_temporal.txt").write_text("\n".join(rows))
    repeat = _run(path, 12, range(5, 8))
    rows = [_row((12, k), (0, k - 4), se3.between(_pose(k - 4), _pose(k - 3.7)), 16) for k in (5, 6)]
    (repeat / "transforms_spatial.txt").write_text("\n".join(rows))
    return path


def test_the_teach_run_is_chained(path: Path) -> None:
    reader = open_recording(path / "run_000000")
    truth = reader.ground_truth
    assert truth is not None
    np.testing.assert_array_equal(truth.stamps_ns, reader.stamps_ns)
    assert reader.stamps_ns[3] == 1_470_000_000_900_000_003
    for k in range(4):
        assert_poses_close(truth.poses[k], _pose(k) @ np.linalg.inv(T_sv), 1e-5)


def test_a_repeat_run_hangs_on_the_teach_run(path: Path) -> None:
    reader = UtiasReader(path / "run_000012")
    assert reader.run == 12 and len(reader) == 3
    truth = reader.ground_truth
    assert truth is not None
    np.testing.assert_array_equal(truth.stamps_ns, reader.stamps_ns[:2])  # The last vertex was not localised.
    for index, k in enumerate((1.3, 2.3)):
        assert_poses_close(truth.poses[index], _pose(k) @ np.linalg.inv(T_sv), 1e-5)


def test_a_path_folder_stands_for_its_first_run(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        reader = open_recording(path)
    assert isinstance(reader, UtiasReader) and reader.run == 0
    assert "holds 2 runs" in caplog.text


def test_a_closed_loop_keeps_the_pose_of_its_start(path: Path) -> None:
    file = path / "run_000000" / "transforms_temporal.txt"
    file.write_text(file.read_text() + "\n" + _row((0, 3), (0, 0), np.eye(4)))
    truth = UtiasReader(path).ground_truth
    assert truth is not None
    assert_poses_close(truth.poses[0], GRIZZLY_BASE_T_CAMERA, 1e-9)


def test_the_camera_looks_forward_and_down() -> None:
    forward = GRIZZLY_BASE_T_CAMERA[:3, 2]
    assert forward[0] > 0.9 and forward[2] == pytest.approx(-0.3305, abs=1e-3)
    assert_poses_close(GRIZZLY_BASE_T_CAMERA @ T_sv, np.eye(4), 1e-5)
    # It is to the left of the middle by about half of the baseline, and above the vehicle frame.
    assert GRIZZLY_BASE_T_CAMERA[1, 3] == pytest.approx(0.12, abs=1e-3) and GRIZZLY_BASE_T_CAMERA[2, 3] > 1.0
    assert np.linalg.det(GRIZZLY_BASE_T_CAMERA[:3, :3]) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "camera", "warns"),
    [("in-the-dark", IN_THE_DARK, False), ("UTIAS_InTheDark", IN_THE_DARK, False), ("multiseason", MULTISEASON, False),
     ("other", MULTISEASON, True)],
)  # fmt: skip
def test_the_camera_by_the_name_of_the_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, camera: object, warns: bool
) -> None:
    _run(tmp_path / name, 3, range(1))
    assert open_recording(tmp_path / name).camera == camera
    assert ("taking the multiseason camera" in caplog.text) == warns
    assert open_recording(tmp_path / name).ground_truth is None


def test_published_calibration() -> None:
    assert MULTISEASON.fx * MULTISEASON.baseline == pytest.approx(93.201, abs=1e-3)
    assert IN_THE_DARK.fx * IN_THE_DARK.baseline == pytest.approx(93.053, abs=1e-3)


def test_own_calibration_wins(path: Path) -> None:
    pose = ", ".join(map(str, se3.BASE_T_OPTICAL.reshape(16)))
    text = "width: 512\nheight: 384\nfx: 400.5\nfy: 401.5\ncx: 250\ncy: 190\nbaseline: 0.3\n" + f"base_T_camera: [{pose}]\n"
    (path / "calibration.yaml").write_text(text)
    reader = open_recording(path)
    assert (reader.camera.fx, reader.camera.baseline) == (400.5, 0.3)
    assert_poses_close(reader.base_T_camera, se3.BASE_T_OPTICAL)
    (path / "calibration.yaml").write_text(text.replace("512", "640"))
    with pytest.raises(CalibrationError, match=r"calibration\.yaml is of 640x384 images but .*000000\.png is 512x384"):
        open_recording(path)


def test_without_stamps_at_ten_hertz(tmp_path: Path) -> None:
    _run(tmp_path, 0, range(2), stamps=False)
    np.testing.assert_array_equal(open_recording(tmp_path).stamps_ns, [0, 100_000_000])


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("timestamps_images.txt", "0,1\n1,2\n2,3", "has no stamp for vertex 3"),
        ("timestamps_images.txt", "0\n1", "line 1 must hold a vertex and a stamp"),
        ("timestamps_images.txt", "0,1\n1,soon", "line 2: 'soon' is not a number"),
        ("transforms_temporal.txt", "0,0,0,1,1,0,0", "line 1 has 7 columns instead of 16 or 20"),
        ("transforms_temporal.txt", _row((0, 0), (0, 1), np.diag([2.0, 1, 1, 1])), "line 1: the transform is not rigid"),
        (
            "transforms_temporal.txt",
            _row((0, 0), (0, 1), np.eye(4)) + "\n" + _row((0, 2), (0, 3), np.eye(4)),
            "vertex .0, 2. is not reached",
        ),
    ],
)
def test_damaged_files_are_named(path: Path, file: str, text: str, message: str) -> None:
    (path / "run_000000" / file).write_text(text)
    with pytest.raises(DataError, match=f"{file}.*{message}"):
        open_recording(path)


def test_images_must_be_named_by_vertex(path: Path) -> None:
    for side in ("left", "right"):
        (path / "run_000000" / "images" / side / "000001.png").rename(path / "run_000000" / "images" / side / "one.png")
    with pytest.raises(DataError, match=r"one\.png is not named by the number"):
        open_recording(path)
