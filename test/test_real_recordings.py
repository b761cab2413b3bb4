"""What the README promises on real recordings, through the command line as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from data_samples import development_data

from vloc_ros import runs
from vloc_ros.cli import main
from vloc_ros.data import StereoFrame, open_recording
from vloc_ros.localization import Localizer
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.integrity import check_map
from vloc_ros.settings import Settings

pytestmark = pytest.mark.data


def vloc(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Numbers that a command prints with --json."""
    capsys.readouterr()
    assert main([str(argument) for argument in (*arguments, "--json")]) == 0
    return dict(json.loads(capsys.readouterr().out))


@pytest.fixture(scope="module")
def kitti_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kitti") / "kitti.vloc"
    assert main(["teach", str(development_data("kitti_stereo_51")), "--step", "2", "--map", str(path)]) == 0
    return path


def test_odometry_drift(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = vloc(capsys, "odometry", development_data("kitti_stereo_51"))
    assert numbers["translation_drift_percent"] <= 1.0
    assert numbers["rotation_drift_deg_per_m"] <= 0.02
    assert numbers["rate_hz"] > 0.0


def test_teach_on_even_repeat_on_odd_frames(kitti_map: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert check_map(kitti_map) == []
    source = development_data("kitti_stereo_51")
    numbers = vloc(capsys, "repeat", source, "--start", 1, "--step", 2, "--map", kitti_map, "--out", tmp_path / "out")
    assert numbers["frames"] == numbers["localised"] == 25
    assert numbers["median_position_error_m"] <= 0.05
    assert numbers["median_rotation_error_deg"] <= 0.2
    assert numbers["within"]["0.25m_2deg"] == 100.0 and numbers["false_fixes"] == 0
    for name in ("report.html", "report.json", "trajectory.tum", "config.yaml", "frames.jsonl"):
        assert (tmp_path / "out" / name).stat().st_size > 0


def test_rgbd_desk(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source, desk = development_data("tum_fr1_desk"), tmp_path / "desk.vloc"
    split = int(0.6 * len(open_recording(source)))
    # A camera in a hand that turns fast is what `sift_fast` is better at: docs/features.md.
    taught = vloc(capsys, "teach", source, "--stop", split, "--map", desk, "--features", "sift_fast")
    assert taught["interrupted_frames"] == 0
    numbers = vloc(capsys, "repeat", source, "--start", split, "--map", desk)
    assert numbers["false_fixes"] == 0 and numbers["localised_percent"] > 80.0


def squeezed(frame: StereoFrame, size: tuple[int, int], stamp_ns: int) -> StereoFrame:
    """A frame made to look as if the camera of another map had taken it."""
    assert frame.right is not None
    left, right = (np.asarray(cv2.resize(image, size), dtype=np.uint8) for image in (frame.left, frame.right))
    return StereoFrame(stamp_ns, left, right)


def test_another_place_is_never_believed(kitti_map: Path, tmp_path: Path) -> None:
    kitti, euroc = (open_recording(development_data(name)) for name in ("kitti_stereo_51", "kimera_vio/MicroEuroc"))
    euroc_map = tmp_path / "euroc.vloc"
    with runs.new_map(euroc_map, euroc, Settings()) as store:
        assert sum(result.keyframe is not None for result in runs.teach(euroc, store, Settings())) > 0
    for reader, map_path in ((euroc, kitti_map), (kitti, euroc_map)):
        with MapStore.open(map_path, read_only=True) as store:
            localizer = Localizer(store.camera, store, Settings())
            size = (store.camera.width, store.camera.height)
            for number in range(len(reader)):
                result = localizer.process(squeezed(reader.frame(number), size, 10**9 + number * 10**8))
                assert result.map_T_base is None and not result.fix and result.reason is not None


def test_another_camera_is_refused_in_one_sentence(kitti_map: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = development_data("kimera_vio/MicroEuroc")
    assert main(["repeat", str(source), "--map", str(kitti_map)]) == 1
    error = capsys.readouterr().err.strip()
    assert "camera" in error and "752" in error and "1241" in error and len(error.splitlines()) == 1
