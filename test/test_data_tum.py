from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_samples import StereoWithDepth, SyntheticReader, development_data, metres, texture

from vloc_ros.data import TumReader, open_recording, write_recording
from vloc_ros.errors import CalibrationError, DataError

CALIBRATION = "width: 64\nheight: 48\nfx: 50\nfy: 50\ncx: 31\ncy: 24\n"


def _recording(path: Path, rgb: list[str], depth: list[str], size: tuple[int, int] = (64, 48), head: str = "") -> Path:
    for kind, stamps in (("rgb", rgb), ("depth", depth)):
        (path / kind).mkdir(parents=True)
        (path / f"{kind}.txt").write_text(head + "# timestamp filename\n" + "\n".join(f"{t} {kind}/{t}.png" for t in stamps))
        for number, stamp in enumerate(stamps):
            image = texture(number, True, size) if kind == "rgb" else np.full(size[::-1], 5000 * (number + 1), dtype=np.uint16)
            cv2.imwrite(str(path / kind / f"{stamp}.png"), image)
    return path


def test_association_within_twenty_milliseconds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _recording(tmp_path, ["10.000000", "10.033000", "10.066000"], ["10.019999", "10.054000", "10.200000"])
    (path / "calibration.yaml").write_text(CALIBRATION)
    with caplog.at_level(logging.INFO):
        reader = open_recording(path)
    # 10.020 is nearest to 10.033, not to 10.000; 10.054 to 10.066.
    np.testing.assert_array_equal(reader.stamps_ns, [10_033_000_000, 10_066_000_000])
    depth = reader.frame(1).depth
    assert depth is not None
    np.testing.assert_allclose(depth, 2.0)
    assert "2 images have no partner within 20 ms" in caplog.text
    assert reader.camera.baseline == 0.1


def test_unsynchronised_images_are_refused(tmp_path: Path) -> None:
    path = _recording(tmp_path, ["1.00", "1.30"], ["1.095", "1.455"])
    (path / "calibration.yaml").write_text(CALIBRATION)
    with pytest.raises(DataError, match=r"no colour image has a depth image within 20 ms, the nearest is 95\.0 ms"):
        open_recording(path)
    assert len(TumReader(path, max_difference_ns=100_000_000)) == 1


def test_streams_thinned_apart_are_paired_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _recording(tmp_path, ["1.00", "1.13", "1.26"], ["1.05", "1.18", "1.31"])
    (path / "calibration.yaml").write_text(CALIBRATION)
    assert len(open_recording(path)) == 3
    assert "50 ms apart" in caplog.text


def test_listed_images_that_are_absent_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _recording(tmp_path, ["1.0", "2.0", "3.0"], ["1.0", "2.0", "3.0"])
    (path / "calibration.yaml").write_text(CALIBRATION)
    (path / "rgb" / "2.0.png").unlink()
    (path / "rgb" / "3.0.png").rename(path / "rgb" / "3.0.bmp")
    cv2.imwrite(str(path / "rgb" / "3.0.bmp"), texture(9, True))
    with caplog.at_level(logging.INFO):
        reader = open_recording(path)
    np.testing.assert_array_equal(reader.stamps_ns, [1_000_000_000, 3_000_000_000])
    np.testing.assert_array_equal(reader.frame(1).left, texture(9, True)[:, :, ::-1])
    assert "lists 3 images, of which 2 are there" in caplog.text


@pytest.mark.parametrize(
    ("folder", "head", "focal"),
    [
        ("rgbd_dataset_freiburg1_desk", "", 517.3),
        ("fr2_xyz", "", 520.9),
        ("rec", "# file: 'rgbd_dataset_freiburg3_office.bag'\n", 535.4),
        ("tum_fr1_x", "# file: 'rgbd_dataset_freiburg2_desk.bag'\n", 517.3),
    ],
)
def test_the_camera_is_known_by_name(tmp_path: Path, folder: str, head: str, focal: float) -> None:
    reader = open_recording(_recording(tmp_path / folder, ["1.0"], ["1.0"], (640, 480), head))
    if focal == 535.4:
        assert reader.camera.fx == focal
        np.testing.assert_array_equal(reader.frame(0).left, texture(0, True, (640, 480))[:, :, ::-1])
    else:  # Undistorted, which zooms in a little.
        assert focal < reader.camera.fx < 1.1 * focal
        depth = reader.frame(0).depth
        assert depth is not None
        np.testing.assert_array_equal(depth, np.float32(1.0))


def test_a_camera_that_nobody_knows(tmp_path: Path) -> None:
    path = _recording(tmp_path / "afraid_of_fr4", ["1.0"], ["1.0"])
    with pytest.raises(CalibrationError, match=r"cannot tell the camera of .*add a calibration\.yaml"):
        TumReader(path)


def test_images_of_another_size_than_freiburg(tmp_path: Path) -> None:
    path = _recording(tmp_path / "freiburg1", ["1.0"], ["1.0"])
    with pytest.raises(CalibrationError, match=r"640x480 images but .* is 64x48"):
        open_recording(path)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("rgb.txt", "1.0 ../../secret.png", "lies outside that folder"),
        ("rgb.txt", "1.0", "line 1 must hold a stamp and a file name"),
        ("depth.txt", "now depth/1.0.png", "line 1: 'now' is not a number"),
        ("rgb.txt", "1.0 rgb/none.png", "none of the 1 images that .*rgb.txt lists is there"),
        ("groundtruth.txt", "1.0 0 0 0 0 0 0", "groundtruth.txt line 1 has 7 columns"),
    ],
)
def test_damaged_lists_are_named(tmp_path: Path, file: str, text: str, message: str) -> None:
    path = _recording(tmp_path, ["1.0"], ["1.0"])
    (path / "calibration.yaml").write_text(CALIBRATION)
    (path / file).write_text(text)
    with pytest.raises(DataError, match=message):
        open_recording(path)


def test_depth_that_cannot_be_kept_becomes_unknown(tmp_path: Path) -> None:
    class Extreme(StereoWithDepth):
        def depth(self, index: int) -> np.ndarray:
            depth = metres(index)
            depth[0, :5] = [np.nan, np.inf, -1.0, 20.0, 13.1]
            return depth

    reader = open_recording(write_recording(Extreme(1), tmp_path / "tum", "tum"))
    depth = reader.frame(0).depth
    assert depth is not None
    np.testing.assert_allclose(depth[0, :5], [0, 0, 0, 0, 13.1], atol=1e-5)


def test_stereo_without_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the format tum needs depth but the recording is stereo"):
        write_recording(SyntheticReader(2), tmp_path / "tum", "tum")
    assert not (tmp_path / "tum").exists()


@pytest.mark.data
def test_the_excerpt_is_paired_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Its colour and depth images were thinned out separately; see also test_readers.py."""
    assert len(open_recording(development_data("tum_fr1_desk"))) == 149
    assert "ms apart (median)" in caplog.text
