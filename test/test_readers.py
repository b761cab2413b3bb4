"""The contract that every reader keeps, on written recordings and on real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_samples import StereoWithDepth, SyntheticReader, development_data

from vloc_ros.data import DatasetReader, TumReader, formats, open_recording, write_recording
from vloc_ros.data.reader import _READERS
from vloc_ros.errors import CalibrationError, DataError, VlocError

READER_OF = {"kitti": "kitti", "utias": "utias", "euroc": "euroc", "tum": "tum", "images": "images", "mcap": "bag"}


def check_contract(reader: DatasetReader) -> None:
    """What :class:`DatasetReader` promises."""
    assert len(reader) > 0
    assert reader.stamps_ns.shape == (len(reader),) and reader.stamps_ns.dtype == np.int64
    assert np.allclose(reader.base_T_camera[:3, :3] @ reader.base_T_camera[:3, :3].T, np.eye(3), atol=1e-9)
    for index in {0, len(reader) // 2, len(reader) - 1}:
        frame = reader.frame(index)
        assert frame.size == (reader.camera.width, reader.camera.height)
        assert (frame.right is None) != (frame.depth is None)
        assert frame.stamp_ns == reader.stamps_ns[index]
        again = reader.frame(index)
        np.testing.assert_array_equal(again.left, frame.left)
    truth = reader.ground_truth
    if truth is not None:
        assert truth.poses.shape == (len(truth.stamps_ns), 4, 4) and len(truth) > 0
        assert np.all(np.diff(truth.stamps_ns) > 0)
        assert np.allclose(truth.poses[:, :3, :3] @ truth.poses[:, :3, :3].transpose(0, 2, 1), np.eye(3), atol=1e-3)
    with pytest.raises(IndexError):
        reader.frame(len(reader))


def recognised(path: Path) -> list[str]:
    return [name for name in formats() if _READERS[name].recognises(path)]


def _copy(tmp_path: Path, format: str) -> Path:
    return write_recording(StereoWithDepth(3), tmp_path / "recording", format)


@pytest.mark.parametrize("format", READER_OF)
def test_written_recordings(tmp_path: Path, format: str) -> None:
    path = _copy(tmp_path, format)
    assert recognised(path) == [READER_OF[format]]
    reader = open_recording(path)
    assert reader.name == READER_OF[format]
    check_contract(reader)
    check_contract(open_recording(path, READER_OF[format]))


def test_rgbd_recordings(tmp_path: Path) -> None:
    for format in ("images", "mcap"):
        check_contract(open_recording(write_recording(SyntheticReader(3, rgbd=True), tmp_path / format, format)))


def test_every_reader_is_covered() -> None:
    assert set(READER_OF.values()) == set(formats())


def _slow_camera_tum(path: Path) -> DatasetReader:
    # Colour and depth of this excerpt were thinned out separately: the nearest ones are 42 to 65 ms apart.
    return TumReader(path, max_difference_ns=70_000_000)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "format", "count", "open_with", "has_truth"),
    [
        ("kitti_stereo_51", "kitti", 51, open_recording, True),
        ("kimera_vio/MicroEuroc", "euroc", 32, open_recording, True),
        ("rtabmap_stereo_rect", "images", 2, open_recording, False),
        ("tum_fr1_desk", "tum", 149, _slow_camera_tum, True),
    ],
)
def test_real_recordings(name: str, format: str, count: int, open_with: Callable[[Path], DatasetReader], has_truth: bool) -> None:
    path = development_data(name)
    assert recognised(path) == [format]
    reader = open_with(path)
    check_contract(reader)
    assert len(reader) == count
    assert (reader.ground_truth is not None) == has_truth


@pytest.mark.parametrize("name", ["nowhere", "empty", "text.txt", "strange"])
def test_what_is_no_recording(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "notes.txt").write_text("hello")
    (tmp_path / "text.txt").write_text("hello")
    expected = {"nowhere": "no recording at", "empty": "is empty"}.get(name, "not recognised; name it with --format")
    with pytest.raises(DataError, match=expected):
        open_recording(tmp_path / name)


@pytest.mark.parametrize("format", READER_OF.values())
@pytest.mark.parametrize("name", ["empty", "text.txt", "strange"])
def test_no_reader_recognises_or_opens_it(tmp_path: Path, format: str, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "notes.txt").write_text("hello")
    (tmp_path / "text.txt").write_text("hello")
    assert recognised(tmp_path / name) == []
    with pytest.raises(VlocError, match=name):
        open_recording(tmp_path / name, format)


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown format 'avi'; known: kitti, utias, euroc, tum, bag, images"):
        open_recording(tmp_path, "avi")


def test_two_formats_that_fit_must_be_told_apart(tmp_path: Path) -> None:
    path = write_recording(StereoWithDepth(3), tmp_path / "recording", "tum")
    other = write_recording(StereoWithDepth(3), tmp_path / "other", "images")
    for entry in other.iterdir():
        if entry.name != "calibration.yaml":
            entry.rename(path / entry.name)
    with pytest.raises(DataError, match=r"fits several formats \(tum, images\); name one"):
        open_recording(path)
    assert open_recording(path, "tum").frame(0).depth is not None


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("kitti", "calib.txt is missing"),
        ("utias", "512x384"),  # Without calibration.yaml it is the published camera, which these small images are not of.
        ("euroc", "cam1/sensor.yaml is missing"),
        ("tum", "cannot tell the camera"),
        ("images", "calibration.yaml is missing"),
    ],
)
def test_missing_calibration(tmp_path: Path, format: str, message: str) -> None:
    path = _copy(tmp_path, format)
    next(iter([*path.rglob("calib*"), *path.rglob("cam1/sensor.yaml")])).unlink()
    with pytest.raises(CalibrationError, match=message):
        open_recording(path, format)


@pytest.mark.parametrize("format", ["kitti", "utias", "euroc", "images"])
def test_left_and_right_of_different_sizes(tmp_path: Path, format: str) -> None:
    path = _copy(tmp_path, format)
    right = sorted(file for file in path.rglob("*.png") if file.parent.name in ("image_3", "right") or "cam1" in file.parts)
    cv2.imwrite(str(right[1]), np.zeros((48, 60, 3), dtype=np.uint8))
    reader = open_recording(path)
    reader.frame(0)
    with pytest.raises(DataError, match=f"{right[1].name} is 60x48 px but the camera of this recording is 64x48"):
        reader.frame(1)


@pytest.mark.parametrize("format", ["kitti", "utias", "euroc", "tum", "images"])
@pytest.mark.parametrize("kept", [0, 30, 1000])
def test_truncated_png(tmp_path: Path, format: str, kept: int) -> None:
    path = _copy(tmp_path, format)
    for file in path.rglob("*.png"):
        if file.stem in ("000001", "1700000000.223456823", "1700000000223456823"):
            file.write_bytes(file.read_bytes()[:kept])
    reader = open_recording(path)
    reader.frame(0)
    with pytest.raises(DataError, match=r"\.png: the image is (empty|a truncated PNG)"):
        reader.frame(1)


@pytest.mark.parametrize("format", ["kitti", "utias", "images"])
def test_an_image_without_partner(tmp_path: Path, format: str) -> None:
    path = _copy(tmp_path, format)
    lost = next(file for file in path.rglob("000001.png") if file.parent.name in ("image_3", "right"))
    lost.unlink()
    with pytest.raises(DataError, match=r"000001\.png has no partner"):
        open_recording(path)


@pytest.mark.parametrize("format", ["kitti", "utias", "euroc", "tum", "images"])
def test_an_image_that_vanishes_after_opening(tmp_path: Path, format: str) -> None:
    reader = open_recording(_copy(tmp_path, format))
    for file in tmp_path.rglob("*.png"):
        file.unlink()
    with pytest.raises(DataError, match=r"\.png: cannot be read: No such file"):
        reader.frame(0)
