"""Pairs of recordings with poses: their disparity, what is kept of it, several recordings, several processes."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_samples import SyntheticReader, development_data
from pair_samples import WithDepth, check_stereo, drive, same, similarity

from vloc_ros.data import DatasetReader, open_recording
from vloc_ros.data.writers import write_recording
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.training.pairs import TrainingPair
from vloc_ros.training.sources import RecordingPairs, RecordingSettings


def test_depth_is_taken_from_a_depth_image() -> None:
    exact = RecordingPairs(lambda: [WithDepth(drive())], "depth")
    pair = exact.pair(0, np.random.default_rng(0))
    assert pair.stereo is not None and similarity(pair) >= 0.95
    stereo = RecordingPairs(lambda: [drive()], "stereo").pair(0, np.random.default_rng(0)).stereo
    assert stereo is not None
    error = np.abs(stereo.disparity_a - pair.stereo.disparity_a)
    assert np.nanmedian(error) <= 0.25 and np.nanquantile(error, 0.95) <= 1.5


def test_disparities_are_kept(tmp_path: Path) -> None:
    source = RecordingPairs(lambda: [drive()], "tiny", RecordingSettings(cache=str(tmp_path)))
    first = source.pair(0, np.random.default_rng(0))
    files = list(tmp_path.rglob("*.png"))
    assert len(files) == 2
    assert same(first, source.pair(0, np.random.default_rng(0)))
    assert same(first, RecordingPairs(lambda: [drive()], "tiny").pair(0, np.random.default_rng(0)))


def test_no_poses_or_no_neighbours() -> None:
    with pytest.raises(DataError, match="no poses"):
        RecordingPairs(lambda: [WithDepth(drive(), poses=False)], "blind")
    with pytest.raises(DataError, match=r"0\.1 m"):
        RecordingPairs(lambda: [drive()], "sparse", RecordingSettings(max_distance_m=0.1))
    with pytest.raises(DataError, match="at least one"):
        RecordingPairs(lambda: [], "none")


@pytest.mark.data
def test_real_stereo_pairs_agree() -> None:
    source = RecordingPairs(lambda: [open_recording(development_data("kimera_vio") / "MicroEuroc")], "euroc")
    pair = source.pair(3, np.random.default_rng(0))
    assert np.isfinite(pair.warp[..., 0]).mean() >= 0.3 and similarity(pair) >= 0.9
    check_stereo(pair)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of ROS 2, whose messages come in the order of recording."""
    return write_recording(SyntheticReader(6), tmp_path_factory.mktemp("bag") / "drive", "mcap")


NEAR = RecordingSettings(max_distance_m=1.0, max_angle_deg=30.0)


def numbered_pairs(source: RecordingPairs, first: int) -> list[TrainingPair]:
    return [source.pair((first + k) % len(source), np.random.default_rng(k)) for k in range(12)]


FORKED: list[RecordingPairs] = []
OPENED_BY: list[int] = []


def in_worker(first: int) -> tuple[list[TrainingPair], bool]:
    """Pairs, and whether this process opened the recording, once."""
    return numbered_pairs(FORKED[0], first), OPENED_BY.count(os.getpid()) == 1


def test_each_worker_opens_the_recording_for_itself(bag: Path) -> None:
    """The position in an open file is shared with the process that was forked."""

    def opened() -> list[DatasetReader]:
        OPENED_BY.append(os.getpid())
        return [open_recording(bag)]

    source = RecordingPairs(opened, "bag", NEAR)
    expected = [numbered_pairs(source, first) for first in (0, 3)]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # threads do not live on in a forked process, which would wait for them
    FORKED.append(source)  # what is forked has it as it is
    try:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(in_worker, (0, 3), chunksize=1)
    finally:
        FORKED.clear()
        cv2.setNumThreads(threads)
    for (ours, own), theirs in zip(found, expected, strict=True):
        assert own and all(same(one, other) for one, other in zip(ours, theirs, strict=True))


def test_by_name_on_the_command_line(bag: Path, tmp_path: Path) -> None:
    """One recording, or several of one world, parted by commas."""
    pytest.importorskip("torch", reason="training needs torch")
    from vloc_ros.config import replace as changed
    from vloc_ros.training.registry import DataSpec, open_source, settings_class

    settings = changed(
        settings_class("contrastive")(), {"recording.max_distance_m": 0.0, "recording.cache": str(tmp_path / "kept")}
    )
    other = write_recording(SyntheticReader(6), tmp_path / "again", "mcap")
    with pytest.raises(DataError, match=r"no two of the 6 frames with a pose in 'drive' are within 0 m"):
        open_source(DataSpec.parse(f"recording:{bag}"), settings)
    spec = DataSpec.parse(f"recording:{bag},{other}:0.5")
    assert str(spec) == "recording:drive+again" and spec.weight == 0.5
    wide = changed(settings, {"recording.max_distance_m": 0.01})
    source = open_source(spec, wide)
    assert len(source) == 12 and source.pair(0, np.random.default_rng(0)).tag == "recording:drive+again"
    assert len(list((tmp_path / "kept").rglob("*.png"))) == 2
    with pytest.raises(DataError, match="no recording at"):
        open_source(DataSpec.parse(f"recording:{bag},{tmp_path / 'nothing'}"), settings)
    with pytest.raises(ConfigError, match="max_distance_m"):
        changed(settings, {"recording.max_distance_m": -1})
