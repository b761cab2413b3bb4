"""What a writer writes, the reader of that format gives back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_samples import CAMERA, StereoWithDepth, SyntheticReader, assert_poses_close

from vloc_ros.data import DatasetReader, open_recording, write_recording
from vloc_ros.data.trajectory import interpolate
from vloc_ros.geometry import se3

STEREO = ("kitti", "utias", "euroc", "images", "mcap")
RGBD = ("tum", "images", "mcap")
CARRIES_BASE = ("utias", "euroc", "tum", "images", "mcap")


def _written(source: DatasetReader, out: Path, format: str, **choice: int) -> DatasetReader:
    return open_recording(write_recording(source, out / format, format, **choice))


def _assert_camera(actual: DatasetReader, format: str, virtual: bool) -> None:
    intrinsics = ("width", "height", "fx", "fy", "cx", "cy") + (() if virtual and format == "mcap" else ("baseline",))
    for name in intrinsics:
        assert getattr(actual.camera, name) == pytest.approx(getattr(CAMERA, name), rel=1e-11), name


@pytest.mark.parametrize("colour", [True, False], ids=["colour", "grey"])
@pytest.mark.parametrize("format", STEREO)
def test_stereo(tmp_path: Path, format: str, colour: bool) -> None:
    source = SyntheticReader(colour=colour)
    reader = _written(source, tmp_path, format)
    np.testing.assert_array_equal(reader.stamps_ns, source.stamps_ns)
    _assert_camera(reader, format, virtual=False)
    assert len(reader) == len(source)
    for index, expected in enumerate(source):
        actual = reader.frame(index)
        assert actual.stamp_ns == expected.stamp_ns
        np.testing.assert_array_equal(actual.left, expected.left)
        assert actual.right is not None
        np.testing.assert_array_equal(actual.right, expected.right)
    assert_poses_close(reader.base_T_camera, source.base_T_camera if format in CARRIES_BASE else se3.BASE_T_OPTICAL)


@pytest.mark.parametrize("format", RGBD)
def test_rgbd(tmp_path: Path, format: str) -> None:
    source = SyntheticReader(rgbd=True)
    reader = _written(source, tmp_path, format)
    np.testing.assert_array_equal(reader.stamps_ns, source.stamps_ns)
    _assert_camera(reader, format, virtual=True)
    for index, expected in enumerate(source):
        actual = reader.frame(index)
        np.testing.assert_array_equal(actual.left, expected.left)
        assert actual.right is None and actual.depth is not None and expected.depth is not None
        np.testing.assert_allclose(actual.depth, expected.depth, atol=1e-6)
    assert_poses_close(reader.base_T_camera, source.base_T_camera)


def test_tum_from_stereo_whose_reader_knows_the_depth(tmp_path: Path) -> None:
    source = StereoWithDepth(4)
    reader = _written(source, tmp_path, "tum", start=1, step=2)
    assert len(reader) == 2
    depth = reader.frame(1).depth
    assert depth is not None
    np.testing.assert_allclose(depth, source.depth(3), atol=1e-6)
    np.testing.assert_array_equal(reader.frame(1).left, source.frame(3).left)
    assert reader.camera.baseline == CAMERA.baseline


@pytest.mark.parametrize("format", [*STEREO, "tum"])
def test_truth(tmp_path: Path, format: str) -> None:
    source = StereoWithDepth(6)
    reader = _written(source, tmp_path, format)
    truth = reader.ground_truth
    assert truth is not None
    poses = interpolate(truth, source.stamps_ns)
    expected = source.truth_at_frames
    if format == "utias":  # Its world is the base of the first vertex.
        world = expected[0] @ se3.inverse(source.base_T_camera)
        expected = se3.inverse(world) @ expected
    assert_poses_close(poses, expected)
    if format not in ("kitti", "utias"):  # The others keep all samples, not only those of the frames.
        np.testing.assert_array_equal(truth.stamps_ns, source.all_stamps)


@pytest.mark.parametrize("format", [*STEREO, "tum"])
def test_without_truth_there_is_none(tmp_path: Path, format: str) -> None:
    assert _written(StereoWithDepth(2, with_truth=False), tmp_path, format).ground_truth is None


@pytest.mark.parametrize("format", [*STEREO, "tum"])
def test_a_part_of_a_recording(tmp_path: Path, format: str) -> None:
    source = StereoWithDepth(7)
    calls: list[tuple[int, int]] = []
    out = write_recording(source, tmp_path / "part", format, start=1, stop=6, step=2, progress=lambda *call: calls.append(call))
    reader = open_recording(out)
    np.testing.assert_array_equal(reader.stamps_ns, source.stamps_ns[[1, 3, 5]])
    np.testing.assert_array_equal(reader.frame(2).left, source.frame(5).left)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    truth = reader.ground_truth
    assert truth is not None
    assert not np.isnan(interpolate(truth, reader.stamps_ns)).any()
    assert truth.stamps_ns[0] >= source.stamps_ns[0] and truth.stamps_ns[-1] <= source.stamps_ns[6]


class _JumpingBack(SyntheticReader):
    @property
    def stamps_ns(self) -> np.ndarray:
        return super().stamps_ns[[0, 3, 1, 2, 4]]


@pytest.mark.parametrize("format", ["kitti", "utias", "images", "mcap"])
def test_stamps_that_jump_back_survive(tmp_path: Path, format: str) -> None:
    source = _JumpingBack()
    reader = _written(source, tmp_path, format)
    np.testing.assert_array_equal(reader.stamps_ns, source.stamps_ns)
    for index in range(len(source)):
        np.testing.assert_array_equal(reader.frame(index).left, source.frame(index).left)


def test_a_second_conversion_changes_nothing(tmp_path: Path) -> None:
    reader: DatasetReader = SyntheticReader()
    for step, format in enumerate(("mcap", "euroc", "images", "utias", "kitti")):
        reader = open_recording(write_recording(reader, tmp_path / str(step), format))
    np.testing.assert_array_equal(reader.stamps_ns, SyntheticReader().stamps_ns)
    np.testing.assert_array_equal(reader.frame(3).left, SyntheticReader().frame(3).left)
    truth = reader.ground_truth
    assert truth is not None
    assert_poses_close(
        se3.between(truth.poses[0], truth.poses[-1]),
        se3.between(SyntheticReader().truth_at_frames[0], SyntheticReader().truth_at_frames[-1]),
    )
