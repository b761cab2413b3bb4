from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_samples import assert_poses_close, development_data, texture

from vloc_ros.data import KittiReader, open_recording
from vloc_ros.errors import CalibrationError, DataError, VlocError

P0 = "5.0e+01 0 3.1e+01 0 0 5.0e+01 2.4e+01 0 0 0 1 0"
P1 = "5.0e+01 0 3.1e+01 -2.5e+01 0 5.0e+01 2.4e+01 0 0 0 1 0"
P2 = "5.0e+01 0 3.1e+01 3.0e+00 0 5.0e+01 2.4e+01 2.0e-01 0 0 1 3.0e-03"
P3 = "5.0e+01 0 3.1e+01 -2.2e+01 0 5.0e+01 2.4e+01 2.0e+00 0 0 1 2.0e-03"
POSES = "1 0 0 0 0 1 0 0 0 0 1 0\n0 0 1 5 0 1 0 6 -1 0 0 7\n1 0 0 0 0 1 0 0 0 0 1 9\n"


def _sequence(root: Path, folders: tuple[str, str] = ("image_0", "image_1"), colour: bool = False, first: int = 0) -> Path:
    path = root / "dataset" / "sequences" / "07"
    for side, folder in enumerate(folders):
        (path / folder).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            cv2.imwrite(str(path / folder / f"{first + number:06d}.png"), texture(2 * number + side, colour))
    (path / "calib.txt").write_text(f"P0: {P0}\nP1: {P1}\nP2: {P2}\nP3: {P3}\nTr: {P0}\n")
    return path


def test_official_layout_with_times_and_poses_beside(tmp_path: Path) -> None:
    path = _sequence(tmp_path)
    (path / "times.txt").write_text("0.000000e+00\n1.036224e-01\n2.070000e-01\n")
    (tmp_path / "dataset" / "poses").mkdir()
    (tmp_path / "dataset" / "poses" / "07.txt").write_text(POSES)
    reader = open_recording(path)
    np.testing.assert_array_equal(reader.stamps_ns, [0, 103_622_400, 207_000_000])
    assert reader.camera.baseline == pytest.approx(0.5)
    truth = reader.ground_truth
    assert truth is not None
    np.testing.assert_allclose(truth.poses[1], [[0, 0, 1, 5], [0, 1, 0, 6], [-1, 0, 0, 7], [0, 0, 0, 1]])


def test_poses_of_colour_images_are_those_of_camera_two(tmp_path: Path) -> None:
    path = _sequence(tmp_path, ("image_2", "image_3"), colour=True)
    (path / "poses.txt").write_text(POSES)
    reader = open_recording(path)
    assert reader.camera.baseline == pytest.approx(25.0 / 50.0)
    truth = reader.ground_truth
    assert truth is not None
    point_camera0 = np.array([1.0, 2.0, 8.0, 1.0])
    point_camera2 = np.linalg.inv(truth.poses[0]) @ point_camera0
    # The projection by P2, of points in camera 0, is that by K of points in the left camera.
    u, v, w = np.fromstring(P2, sep=" ").reshape(3, 4) @ point_camera0
    seen = reader.camera.project(point_camera2[None, :3])[0]
    np.testing.assert_allclose(seen[:2], [u / w, v / w], atol=1e-9)


def test_grey_images_are_preferred(tmp_path: Path) -> None:
    _sequence(tmp_path, ("image_2", "image_3"), colour=True)
    assert open_recording(_sequence(tmp_path)).frame(0).left.ndim == 2


def test_an_excerpt_takes_its_rows_by_number(tmp_path: Path) -> None:
    path = _sequence(tmp_path, first=10)
    rows = [f"1 0 0 {number} 0 1 0 0 0 0 1 0" for number in range(20)]
    (path / "poses.txt").write_text("\n".join(rows))
    (path / "times.txt").write_text("\n".join(f"{number}.5" for number in range(20)))
    reader = open_recording(path)
    np.testing.assert_array_equal(reader.stamps_ns, [10_500_000_000, 11_500_000_000, 12_500_000_000])
    truth = reader.ground_truth
    assert truth is not None
    np.testing.assert_array_equal(truth.poses[:, 0, 3], [10, 11, 12])


def test_two_bare_rows_and_ten_hertz(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _sequence(tmp_path, ("image_l", "image_r"))
    (path / "calib.txt").write_text(f"{P0}\n{P1}")
    with caplog.at_level(logging.INFO):
        reader = open_recording(path)
    np.testing.assert_array_equal(reader.stamps_ns, [0, 100_000_000, 200_000_000])
    assert "10 Hz" in caplog.text
    assert reader.ground_truth is None


@pytest.mark.parametrize(
    ("file", "text", "error", "message"),
    [
        ("calib.txt", f"P0: {P0}\n", CalibrationError, "calib.txt lacks P1"),
        ("calib.txt", "", CalibrationError, "calib.txt lacks P0 and P1"),
        ("calib.txt", f"P0: {P0}\nP1: 1 2 3\n", CalibrationError, "line 2: P1 has 3 numbers instead of 12"),
        ("calib.txt", f"P0: {P0}\nP1: {P1.replace('3.1e+01', '3.3e+01')}\n", CalibrationError, "calib.txt: .*not rectified"),
        ("calib.txt", f"P0: {P1}\nP1: {P0}\n", CalibrationError, "calib.txt: baseline -0.5 m must be positive"),
        (
            "calib.txt",
            f"P0: {P0.replace('3.1e+01', '3.1e+03')}\nP1: {P1.replace('3.1e+01', '3.1e+03')}\n",
            CalibrationError,
            "outside",
        ),
        ("calib.txt", ("P0: " + "0 " * 12 + "\n") + ("P1: " + "0 " * 12), CalibrationError, "singular"),
        ("calib.txt", f"P0: {P0.replace('5.0e+01', 'fifty')}\nP1: {P1}\n", DataError, "line 1 holds something that is not"),
        ("times.txt", "0.1\n0.2\n", DataError, "times.txt has 2 lines but there are 3 images"),
        ("times.txt", "0.1\nhalf past\n0.3", DataError, "times.txt line 2: 'half' is not a number"),
        ("poses.txt", POSES[:30], DataError, "poses.txt line 2"),
        ("poses.txt", POSES.splitlines()[0], DataError, "poses.txt has 1 lines but there are 3 images"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, file: str, text: str, error: type[VlocError], message: str) -> None:
    path = _sequence(tmp_path)
    (path / file).write_text(text)
    with pytest.raises(error, match=message):
        open_recording(path)


def test_the_wrong_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the image folders"):
        KittiReader(tmp_path)


@pytest.mark.data
def test_the_excerpt_moves_forward_along_its_optical_axis() -> None:
    reader = open_recording(development_data("kitti_stereo_51"))
    truth = reader.ground_truth
    assert truth is not None and len(truth) == 51
    steps = np.array([(np.linalg.inv(a) @ b)[:3, 3] for a, b in pairwise(truth.poses)])
    assert np.all(steps[:, 2] > 0.9 * np.linalg.norm(steps, axis=1))
    assert steps[:, 2].sum() == pytest.approx(51.7, abs=0.2)
    assert reader.camera.baseline == pytest.approx(0.5372, abs=1e-4)
    assert_poses_close(truth.poses[0], np.eye(4), 1e-6)
