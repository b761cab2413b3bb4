"""The command line: what it does, and that everything wrong is one sentence and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from map_samples import UNTUNED
from ros_samples import CAMERA, walk, write_recording

from vloc_ros.cli import build_parser, main
from vloc_ros.data import open_recording
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.model_versions import undescribed

# Those of the path follower, the pose graph, the calibration and the node aerial have nothing to say about localisation.
NO_LOCALISATION = ("aerial", "path_follower", "pose_graph", "calibration")
LOCALIZATION_FILES = sorted(
    file for file in (Path(__file__).parent.parent / "config").glob("*.yaml") if file.stem not in NO_LOCALISATION
)
FAST = ["--set", "stereo.min_depth=0.8", "--set", "keyframes.distance=0.3", "--set", "features.max_features=500"]


@pytest.fixture(scope="module")
def corridor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen frames of a rendered corridor as a KITTI folder."""
    return write_recording(tmp_path_factory.mktemp("corridor") / "drive", walk(16))


@pytest.fixture(scope="module")
def site(corridor: Path) -> Path:
    path = corridor.parent / "site.vloc"
    assert main(["teach", str(corridor), "--step", "2", "--map", str(path), *FAST]) == 0
    return path


def numbers(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments] + ["--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def sentence(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command that must fail says: one line on stderr, nothing on stdout, exit code 1."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


def test_teach_and_repeat_with_a_report(corridor: Path, site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = numbers(capsys, "repeat", corridor, "--start", 1, "--step", 2, "--map", site, "--out", tmp_path / "run", *FAST)
    assert result["frames"] == result["localised"] == 8 and result["false_fixes"] == 0
    assert result["median_position_error_m"] < 0.03
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "data:image" in html and "http://" not in html.replace("http://www.w3.org", "")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["features"]["max_features"] == 500
    assert len((tmp_path / "run" / "trajectory.tum").read_text().splitlines()) == 9


@pytest.mark.skipif(UNTUNED == "hog", reason="no network runs here")
def test_teaching_describes_the_keyframes_so_that_localisation_starts_at_once(site: Path) -> None:
    with MapStore.open(site, read_only=True) as store:
        assert store.keyframes() and not undescribed(store, UNTUNED)


def test_the_truth_is_not_in_the_map(site: Path) -> None:
    truth = site.with_suffix(".truth.tum")
    assert truth.exists(), "it is kept beside the map, for judging"
    kept = truth.read_text()
    truth.unlink()
    try:
        assert b"truth" not in site.read_bytes()
    finally:
        truth.write_text(kept)


def test_odometry_needs_no_map(corridor: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = numbers(capsys, "odometry", corridor, *FAST)
    assert result["frames"] == 16 and result["reasons"] == {} and result["median_odometry_inliers"] > 30


def test_appending_a_session(corridor: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "two.vloc"
    for extra in ([], ["--append"]):
        numbers(capsys, "teach", corridor, "--stop", 6, "--map", path, *extra, *FAST)
    assert numbers(capsys, "map", "info", path)["sessions"] == 2
    assert check_map(path) == []


def test_map_commands(site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    info = numbers(capsys, "map", "info", site)
    assert info["keyframes"] >= 3 and info["camera"]["width"] == CAMERA.width and info["features"] == "unet"
    assert numbers(capsys, "map", "check", site)["healthy"] is True
    for kind in ("tum", "kitti", "g2o", "images"):
        assert numbers(capsys, "map", "export", site, "--to", kind, "--out", tmp_path / kind)["keyframes"] == info["keyframes"]
        assert (tmp_path / kind).exists()
    copy = tmp_path / "copy.vloc"
    copy.write_bytes(site.read_bytes())
    assert numbers(capsys, "map", "prune", copy, "--distance", "0.7")["removed"] > 0
    damaged = bytearray(site.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 64] = bytes(64)
    copy.write_bytes(bytes(damaged))
    assert main(["map", "check", str(copy)]) == 1


def test_convert_to_a_bag_and_read_it_back(corridor: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    numbers(capsys, "convert", corridor, "--to", "mcap", "--out", tmp_path / "bag", "--stop", 3)
    bag, folder = open_recording(tmp_path / "bag"), open_recording(corridor)
    assert len(bag) == 3 and np.array_equal(bag.frame(1).left, folder.frame(1).left)


def test_config_prints_what_it_reads(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["config", "--features", "orb", "--set", "odometry.window_px=11"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["config", "--config", str(tmp_path / "mine.yaml")]) == 0
    assert capsys.readouterr().out == text and "name: orb" in text and "window_px: 11" in text


@pytest.mark.parametrize("file", LOCALIZATION_FILES, ids=lambda path: path.stem)
def test_the_files_of_the_nodes_serve_the_command_line(file: Path) -> None:
    assert main(["config", "--config", str(file)]) == 0


def test_every_command_has_help_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("demo", "teach", "repeat", "odometry", "map", "play", "up", "convert", "simulate", "config"):
        with pytest.raises(SystemExit) as stop:
            build_parser().parse_args([command, "--help"])
        assert stop.value.code == 0 and f"vloc {command}" in capsys.readouterr().out.split("examples:")[1]


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = "import sys, vloc_ros.cli; vloc_ros.cli.build_parser(); print(sorted({'numpy','cv2','scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_wrong_input_is_one_sentence(corridor: Path, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.vloc").write_text("not a map")
    missing = tmp_path / "none"
    assert "none" in sentence(capsys, "odometry", missing)
    assert "empty" in sentence(capsys, "odometry", tmp_path / "empty")
    assert "not recognised" in sentence(capsys, "odometry", tmp_path / "text.vloc")
    assert "unknown format" in sentence(capsys, "odometry", corridor, "--format", "vhs")
    assert "no frame is chosen" in sentence(capsys, "odometry", corridor, "--start", 100)
    assert "--step" in sentence(capsys, "odometry", corridor, "--step", 0)
    assert "odometry.windw" in sentence(capsys, "odometry", corridor, "--set", "odometry.windw=3")
    assert "surf" in sentence(capsys, "odometry", corridor, "--features", "surf")
    assert "none.yaml" in sentence(capsys, "odometry", corridor, "--config", tmp_path / "none.yaml")
    assert "exists already" in sentence(capsys, "teach", corridor, "--map", site)
    assert "none" in sentence(capsys, "repeat", corridor, "--map", missing)
    assert "text.vloc" in sentence(capsys, "repeat", corridor, "--map", tmp_path / "text.vloc")
    assert "orb" in sentence(capsys, "repeat", corridor, "--map", site, "--features", "orb")
    assert "folder" in sentence(capsys, "teach", corridor, "--map", tmp_path / "no" / "site.vloc")
    assert "darkness" in sentence(capsys, "simulate", "--out", tmp_path / "x", "--condition", "darkness")


def test_a_truncated_image_names_the_file(corridor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive = write_recording(tmp_path / "drive", walk(3))
    image = drive / "image_0" / "000001.png"
    image.write_bytes(image.read_bytes()[:-200])
    path = tmp_path / "site.vloc"
    assert "000001.png" in sentence(capsys, "teach", drive, "--map", path, "--rectification", "off", *FAST)
    assert check_map(path) == [], "what was taught before is kept"


def test_black_and_white_images_teach_nothing_and_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value in (0, 255):
        drive = write_recording(tmp_path / f"drive{value}", walk(3))
        for file in drive.glob("image_*/*.png"):
            cv2.imwrite(str(file), np.full((CAMERA.height, CAMERA.width), value, np.uint8))
        capsys.readouterr()
        assert main(["teach", str(drive), "--map", str(tmp_path / f"{value}.vloc"), "--json", *FAST]) == 1
        assert json.loads(capsys.readouterr().out)["keyframes"] == 0


def test_the_demo_with_a_recording_runs_the_nodes(corridor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = numbers(capsys, "demo", "--data", corridor, "--out", tmp_path / "demo", *FAST)
    assert result["repeat"]["frames"] == result["repeat"]["localised"] == 8
    assert result["repeat"]["false_fixes"] == 0 and result["teach"]["frames"] == 8
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_the_demo_in_the_simulated_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = numbers(capsys, "demo", "--out", tmp_path / "demo")
    assert result["repeat"]["localised_percent"] > 90.0 and result["repeat"]["false_fixes"] == 0
    assert result["repeat"]["median_position_error_m"] < 0.05
