from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from data_samples import SyntheticReader, texture

from vloc_ros.data import StereoFrame, open_recording, write_recording
from vloc_ros.data.output import write_bytes, write_text
from vloc_ros.errors import DataError

FORMATS = ("kitti", "utias", "euroc", "tum", "images", "mcap")


class _Source(SyntheticReader):
    def depth(self, index: int) -> np.ndarray:
        return np.ones((48, 64), dtype=np.float32)


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_with_contents_is_left_alone(tmp_path: Path, format: str) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(DataError, match="is not an empty folder"):
        write_recording(_Source(2), tmp_path, format)
    assert [entry.name for entry in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_folder_is_filled_and_nothing_else_is_left(tmp_path: Path, format: str) -> None:
    (tmp_path / "out").mkdir()
    write_recording(_Source(2), tmp_path / "out", format)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert not [file for file in tmp_path.rglob("*") if "part" in file.name]
    assert len(open_recording(tmp_path / "out")) == 2


class _Damaged(_Source):
    def frame(self, index: int) -> StereoFrame:
        if index == 2:
            raise DataError("frame 2 is damaged")
        return super().frame(index)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("existed", [True, False])
def test_a_source_that_breaks_leaves_nothing(tmp_path: Path, format: str, existed: bool) -> None:
    if existed:
        (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="frame 2 is damaged"):
        write_recording(_Damaged(4), tmp_path / "out", format)
    assert (tmp_path / "out").exists() == existed
    assert not list(tmp_path.rglob("*.png")) and not list(tmp_path.rglob("*.mcap"))


@contextmanager
def _small_files(limit: int) -> Iterator[None]:
    """Let the operating system refuse to write more than ``limit`` bytes to a file, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path, format: str) -> None:
    with _small_files(2000), pytest.raises(DataError, match=r"cannot (write|make).*(File too large|full)"):
        write_recording(_Source(3), tmp_path / "out", format)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is not an empty folder"):
        write_recording(_Source(2), tmp_path / "file", "kitti")
    with pytest.raises(DataError, match="cannot make the folder"):
        write_recording(_Source(2), tmp_path / "file" / "below", "kitti")


def test_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not bind root, so the refusal of the operating system is played back."""

    def refuse(*_: object, **__: object) -> str:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(DataError, match=r"cannot write to .*out: Read-only file system"):
        write_recording(_Source(2), tmp_path / "out", "kitti")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with _small_files(100), pytest.raises(DataError, match=r"cannot write .*file\.txt"):
        write_bytes(path, bytes(1000))
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot write the format 'avi'; known: kitti, utias, euroc, tum, images, mcap"):
        write_recording(_Source(2), tmp_path / "out", "avi")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("start", "stop", "step", "message"), [(5, None, 1, "no frame is chosen"), (0, 0, 1, "no frame"), (0, 3, 0, "step 0")]
)
def test_an_empty_choice(tmp_path: Path, start: int, stop: int | None, step: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_recording(_Source(5), tmp_path / "out", "kitti", start, stop, step)


@pytest.mark.parametrize("format", ["kitti", "utias", "euroc"])
def test_rgbd_does_not_fit_stereo_formats(tmp_path: Path, format: str) -> None:
    with pytest.raises(DataError, match=f"the format {format} needs stereo pairs but the recording is RGB-D"):
        write_recording(SyntheticReader(2, rgbd=True), tmp_path / "out", format)


class _Mixed(SyntheticReader):
    def frame(self, index: int) -> StereoFrame:
        stamp = int(self.stamps_ns[index])
        if index == 0:
            return StereoFrame(stamp, texture(1), right=texture(2))
        return StereoFrame(stamp, texture(1, True), right=texture(2, True))


def test_grey_and_colour_do_not_mix_in_kitti(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="frame 1 is grey and others are colour, or the reverse"):
        write_recording(_Mixed(2), tmp_path / "out", "kitti")


class _Repeated(_Source):
    @property
    def stamps_ns(self) -> np.ndarray:
        return np.full(self.count, 7, dtype=np.int64)


@pytest.mark.parametrize("format", ["euroc", "tum"])
def test_equal_stamps_cannot_name_files(tmp_path: Path, format: str) -> None:
    with pytest.raises(DataError, match=f"two frames have the same stamp, by which the format {format} names its files"):
        write_recording(_Repeated(2), tmp_path / "out", format)


class _PartialTruth(_Source):
    @property
    def ground_truth(self) -> object:  # type: ignore[override]
        truth = super().ground_truth
        assert truth is not None
        return type(truth)(truth.stamps_ns[:3], truth.poses[:3])


@pytest.mark.parametrize("format", ["kitti", "utias"])
def test_truth_that_does_not_cover_all_frames_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture, format: str) -> None:
    reader = open_recording(write_recording(_PartialTruth(4), tmp_path / "out", format))
    assert reader.ground_truth is None
    assert "the truth is not known at 2 of 4 frames" in caplog.text
