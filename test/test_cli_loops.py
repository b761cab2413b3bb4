"""``vloc loops``: files, numbers, what moves and what goes back, and what is refused."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
from html_page import Page
from loop_samples import Scene, circle, drive, new_map
from map_samples import UNTUNED
from ros_samples import walk, write_recording

from vloc_ros.cli import build_parser, main
from vloc_ros.data import Trajectory
from vloc_ros.data.trajectory import read_kitti_poses, read_tum, write_tum
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.closures import closures_of
from vloc_ros.mapping.integrity import check_map
from vloc_ros.pose_graph.files import read_graph
from vloc_ros.retrieval import GateReason

TRUTH = circle(45, 1.5)
GAP = ["--set", "loops.gates.gap.keyframes=8", "--set", "loops.gates.gap.seconds=1.0"]


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    path = tmp_path_factory.mktemp("ring") / "ring.vloc"
    with new_map(path) as store:
        drive(store, Scene.ring(1, twin=True), TRUTH, 1)
    return path.read_bytes()


@pytest.fixture
def path(ring, tmp_path):
    path = tmp_path / "ring.vloc"
    path.write_bytes(ring)
    with MapStore.open(path, read_only=True) as store:
        stamps = np.array([keyframe.stamp_ns for keyframe in store.keyframes()])
    write_tum(tmp_path / "ring.truth.tum", Trajectory(stamps, TRUTH))
    return path


def numbers(capsys, *arguments):
    capsys.readouterr()
    assert main([str(argument) for argument in ("loops", *arguments)] + ["--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def sentence(capsys, *arguments):
    capsys.readouterr()
    assert main([str(argument) for argument in ("loops", *arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.strip().splitlines()) == 1, captured.err
    return captured.err


def test_everything_is_written_and_fits_together(path, tmp_path, capsys):
    out = tmp_path / "out"
    result = numbers(capsys, "--map", path, "--out", out, *GAP)
    assert result["candidates"] == result["closures"] == sum(result["labels"].values()) > 15
    assert result["labels"]["outlier"] >= 3 and result["labels"]["inlier"] > 10
    assert result["revision"] == 1 and result["moved"] == 0
    (error,) = result["ate_m"]
    assert error["optimised_m"] < error["odometry_m"]

    table = list(csv.DictReader((out / "closures.csv").open()))
    assert len(table) == result["closures"] and all(int(row["inliers"]) >= 20 and row["reason"] for row in table)
    rejected = list(csv.DictReader((out / "rejections.csv").open()))
    by_gates = {reason.value for reason in GateReason}
    assert len(rejected) == sum(count for name, count in result["rejected"].items() if name not in by_gates) > 0
    with MapStore.open(path, read_only=True) as store:
        assert [(str(c.a), c.verdict.label.value) for c in closures_of(store)] == sorted_like(store, table)

    optimised = read_tum(out / "optimised_s1.tum")
    assert len(optimised) == len(TRUTH) == len(read_kitti_poses(out / "optimised_s1.kitti"))
    graph = read_graph(out / "graph.g2o")
    np.testing.assert_allclose(graph.poses, optimised.poses, atol=1e-6)
    assert len(graph.a) == len(TRUTH) - 1 + len(table)
    assert cv2.imread(str(out / "graph.png")) is not None
    page = Page((out / "loops.html").read_text())
    assert "Rejected by the graph" in page.text and all(address.startswith("data:") for address in page.addresses)
    assert check_map(path) == []


def sorted_like(store, table):
    """(a, label) of the rows of the table in the order of the map."""
    rows = {(row["a"], row["b"]): row["label"] for row in table}
    return [(str(c.a), rows[str(c.a), str(c.b)]) for c in closures_of(store)]


def test_poses_move_when_asked_and_go_back(path, capsys):
    def poses():
        with MapStore.open(path, read_only=True) as store:
            return np.stack([keyframe.map_T_base for keyframe in store.keyframes()])

    taught = poses()
    numbers(capsys, "--map", path, *GAP)
    np.testing.assert_array_equal(poses(), taught)
    moved = numbers(capsys, "--map", path, "--apply", *GAP)
    assert moved["moved"] > 0 and moved["revision"] == 2 and np.abs(poses() - taught).max() > 0.01
    assert numbers(capsys, "--map", path, "--restore")["restored"] == moved["moved"]
    np.testing.assert_array_equal(poses(), taught)


def test_poses_do_not_move_under_somebody_who_teaches(path, capsys):
    with MapStore.open(path):
        for option in ("--apply", "--restore"):
            assert "another process is using it" in sentence(capsys, "--map", path, option)


def test_a_recording_is_taught_as_a_new_session_first(tmp_path, capsys):
    fast = ["--set", "stereo.min_depth=0.8", "--set", "keyframes.distance=0.3", "--set", "features.max_features=500"]
    drive_there = write_recording(tmp_path / "drive", walk(12))
    path = tmp_path / "site.vloc"
    first = numbers(capsys, drive_there, "--map", path, *fast)
    assert first["candidates"] == 0 and first["descriptor"] == UNTUNED, "this map has images"
    out = tmp_path / "out"
    second = numbers(capsys, drive_there, "--start", 1, "--map", path, "--out", out, *fast)
    assert second["keyframes"] > first["keyframes"] and second["candidates"] >= 3
    with MapStore.open(path, read_only=True) as store:
        assert len(store.sessions()) == 2
        assert all(c.a.session == 1 and c.b.session == 2 for c in closures_of(store))
    assert (out / "loops.html").read_text().count("data:image/jpeg") >= 3, "pairs are shown"
    assert main(["map", "info", str(path), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["spatial_edges"] == info["closures"] == second["closures"] and info["models"] == [UNTUNED]
    # the same again finds the same; forgetting first makes no difference to what is found
    again = numbers(capsys, "--map", path, "--again", *fast)
    assert (again["candidates"], again["closures"]) == (second["candidates"], second["closures"])


def test_what_is_wrong_is_one_sentence(path, tmp_path, capsys):
    assert "there is no map at" in sentence(capsys, "--map", tmp_path / "none.vloc")
    assert "unknown descriptor 'gum'" in sentence(capsys, "--map", path, "--descriptor", "gum")
    assert "has no image of keyframe s1/k1" in sentence(capsys, "--map", path, "--descriptor", "hog")
    assert "cannot be read" in sentence(capsys, "--map", path, "--weights", tmp_path / "none.npz")
    assert "loops.gates.gap.keyframes" in sentence(capsys, "--map", path, "--set", "loops.gates.gap.keyframes=-1")
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in sentence(capsys, "--map", path, "--out", tmp_path / "file", *GAP)
    with new_map(tmp_path / "empty.vloc"):
        pass
    assert "no keyframe yet" in sentence(capsys, "--map", tmp_path / "empty.vloc")


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["loops", "--help"])
    text = capsys.readouterr().out
    assert "examples:" in text and "vloc loops --map site.vloc --out loops" in text and "--apply" in text
