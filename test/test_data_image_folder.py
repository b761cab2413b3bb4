from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from data_samples import CAMERA, SyntheticReader, development_data, texture

from vloc_ros.data import open_recording, write_recording
from vloc_ros.data.calibration import Calibration, read_calibration, write_calibration
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry.se3 import BASE_T_OPTICAL

GOOD = "width: 64\nheight: 48\nfx: 50\nfy: 50\ncx: 31\ncy: 24\nbaseline: 0.1\n"


def _folder(path: Path, other: str = "right", names: tuple[str, ...] = ("8", "9", "10")) -> Path:
    for side in ("left", other):
        (path / side).mkdir(parents=True)
        for number, name in enumerate(names):
            image = texture(number) if side != "depth" else np.full((48, 64), 1000 * (number + 1), dtype=np.uint16)
            cv2.imwrite(str(path / side / f"{name}.png"), image)
    (path / "calibration.yaml").write_text(GOOD)
    return path


def test_images_are_in_natural_order_at_ten_hertz(tmp_path: Path) -> None:
    reader = open_recording(_folder(tmp_path))
    np.testing.assert_array_equal(reader.frame(2).left, texture(2))
    np.testing.assert_array_equal(reader.stamps_ns, [0, 100_000_000, 200_000_000])
    np.testing.assert_array_equal(reader.base_T_camera, BASE_T_OPTICAL)
    assert reader.ground_truth is None


def test_depth_in_millimetres_or_as_told(tmp_path: Path) -> None:
    path = _folder(tmp_path, "depth")
    for line, expected in (("", 3.0), ("depth_scale: 5000\n", 0.6)):
        (path / "calibration.yaml").write_text(GOOD.replace("baseline: 0.1\n", "") + line)
        reader = open_recording(path)
        depth = reader.frame(2).depth
        assert depth is not None and reader.camera.baseline == 0.1
        np.testing.assert_allclose(depth, expected)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fx: 50\n", "", "lacks fx"),
        ("baseline: 0.1\n", "", "lacks baseline"),
        ("baseline: 0.1", "baseline: -0.1", "baseline -0.1 m must be positive"),
        ("fx: 50", "fx: fifty", "'fx' must be a number, not 'fifty'"),
        ("fx: 50", "fx: .inf", "'fx' must be a finite number"),
        ("fx: 50", "fx: true", "'fx' must be a finite number"),
        ("fx: 50", "focal: 50", "unknown key 'focal'; known: width"),
        ("cx: 31", "cx: 310", "lies outside the 64x48 image"),
        ("width: 64", "width: 64.5", "whole numbers"),
        ("width: 64", "width: 65", r"is of 65x48 images but .*8\.png is 64x48"),
        ("baseline: 0.1", "baseline: 0.1\ndepth_scale: 0", "depth_scale 0.0 must be positive"),
        ("baseline: 0.1", "baseline: 0.1\nbase_T_camera: [1, 2]", "'base_T_camera' must be a list of 4 x 4 numbers"),
        ("baseline: 0.1", f"baseline: 0.1\nbase_T_camera: {[2.0] * 16}", "'base_T_camera' is not a rigid transform"),
        (GOOD, "- 1\n", "must hold 'key: value' lines"),
        (GOOD, "a: [", "is not valid YAML"),
    ],
)
def test_inconsistent_calibrations_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = _folder(tmp_path)
    (path / "calibration.yaml").write_text(GOOD.replace(old, new))
    with pytest.raises(CalibrationError, match=rf"calibration\.yaml.*{message}"):
        open_recording(path)


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    (path / "calibration.yaml").write_text(GOOD.replace("0.1", "1e-1"))
    assert open_recording(path).camera.baseline == pytest.approx(0.1)


def test_calibration_round_trip(tmp_path: Path) -> None:
    pose = SyntheticReader().base_T_camera
    write_calibration(tmp_path / "calibration.yaml", Calibration(CAMERA, pose, 5000.0))
    again = read_calibration(tmp_path / "calibration.yaml")
    assert again.camera == CAMERA and again.depth_scale == 5000.0
    assert again.base_T_camera is not None
    np.testing.assert_array_equal(again.base_T_camera, pose)


@pytest.mark.parametrize(("text", "message"), [("1.0\n2.0\n", "has 2 stamps for 3 images"), ("1\n2\nx\n", "line 3: 'x' is not a")])
def test_damaged_stamps_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = _folder(tmp_path)
    (path / "stamps.txt").write_text(text)
    with pytest.raises(DataError, match=rf"stamps\.txt.*{message}"):
        open_recording(path)


def test_right_and_depth_at_once_is_ambiguous(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    (path / "depth").mkdir()
    with pytest.raises(DataError, match="holds both right and depth"):
        open_recording(path)


def test_folders_without_images(tmp_path: Path) -> None:
    path = _folder(tmp_path, names=())
    with pytest.raises(DataError, match="there are no images in"):
        open_recording(path)


def test_an_extra_right_image_is_named(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    (path / "left" / "9.png").unlink()
    with pytest.raises(DataError, match=r"right/9\.png has no partner"):
        open_recording(path)


def test_calibration_of_the_ros_calibrator(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    (path / "calibration.yaml").unlink()
    template = (
        "%YAML:1.0\n---\nimage_width: 64\nimage_height: 48\nprojection_matrix:\n   rows: 3\n   cols: 4\n"
        "   data: [ 50., 0., 31., {}, 0., 50., 24., 0., 0., 0., 1., 0. ]\n"
    )
    for side, shift in (("left", "0."), ("right", "-6.")):
        (path / f"{side}.yaml").write_text(template.format(shift))
    assert open_recording(path).camera.baseline == pytest.approx(0.12)
    (path / "right.yaml").write_text(template.format("-6.").replace("64", "60"))
    with pytest.raises(CalibrationError, match="different sizes"):
        open_recording(path)
    (path / "right.yaml").write_text("image_width: 64\nimage_height: 48\n")
    with pytest.raises(CalibrationError, match=r"right\.yaml: 'projection_matrix' must be a list of 3 x 4 numbers"):
        open_recording(path)


@pytest.mark.data
def test_real_rectified_pair() -> None:
    reader = open_recording(development_data("rtabmap_stereo_rect"))
    assert reader.camera.baseline == pytest.approx(58.3627 / 487.6087, rel=1e-4)
    np.testing.assert_array_equal(reader.stamps_ns, [0, 100_000_000])


def test_written_stamps_are_exact(tmp_path: Path) -> None:
    path = write_recording(SyntheticReader(2), tmp_path / "out", "images")
    assert (path / "stamps.txt").read_text().splitlines()[0] == "1700000000.123456789"
