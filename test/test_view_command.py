"""``vloc view``: what is shown of a map and a run, the recording, and the sentence where Rerun is not installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ros_samples import walk, write_recording

from vloc_ros.cli import main
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.closures import Closure, put_spatial_edges, replace_closures
from vloc_ros.mapping.keyframe import Edge, EdgeKind
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict
from vloc_ros.views import scene_of

FAST = ["--set", "stereo.min_depth=0.8", "--set", "keyframes.distance=0.3", "--set", "features.max_features=500"]
needs_rerun = pytest.mark.skipif(
    importlib.util.find_spec("rerun") is None, reason="rerun-sdk is not installed (requirements/view.txt has it)"
)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A map of a corridor with a closure, and a run in it."""
    folder = tmp_path_factory.mktemp("view")
    recording, site, run = write_recording(folder / "drive", walk(10)), folder / "site.vloc", folder / "run"
    sift = ["--features", "sift_fast"]
    assert main(["teach", str(recording), "--step", "2", "--map", str(site), *sift, *FAST]) == 0
    assert main(["repeat", str(recording), "--map", str(site), "--out", str(run), *FAST]) == 0
    with MapStore.open(site) as store:
        first, *_, last = store.keyframes()
        a_T_b = np.linalg.inv(first.map_T_base) @ last.map_T_base
        put_spatial_edges(store, [Edge(first.id, last.id, EdgeKind.SPATIAL, a_T_b, 0.01 * np.eye(6))])
        verdict = Verdict(Label.OUTLIER, 0.0, 99.0, 1, LabelReason.REJECTED)
        replace_closures(store, [Closure(first.id, last.id, verdict)])
    return site, run


def test_a_scene_has_the_map_and_the_run(drive):
    site, run = drive
    with MapStore.open(site, read_only=True) as store:
        keyframes, scene = store.keyframes(), scene_of(store, run)
    (route,) = scene.routes
    np.testing.assert_array_equal(route.positions, [keyframe.map_T_base[:3, 3] for keyframe in keyframes])
    (closures,) = scene.closures
    assert closures.label is Label.OUTLIER
    np.testing.assert_array_equal(closures.ends, [[route.positions[0], route.positions[-1]]])
    assert scene.run is not None and len(scene.run.frames) == 10


def test_a_folder_that_holds_no_run_is_a_sentence(drive, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())  # the run is read before Rerun is imported
    assert main(["view", str(drive[0]), str(tmp_path), "--out", str(tmp_path / "a.rrd")]) == 1
    assert "holds no recorded run" in capsys.readouterr().err
    assert not (tmp_path / "a.rrd").exists()


WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"rerun", "rerun_bindings"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "rerun" else found(name, package)
from vloc_ros.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_rerun_it_is_a_sentence(drive):
    result = subprocess.run([sys.executable, "-c", WITHOUT, "view", str(drive[0])], capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert result.stderr.strip() == (
        "vloc view: vloc view needs rerun-sdk, which is not installed: pip install --no-deps -r requirements/view.txt"
    )


def test_nothing_else_imports_rerun():
    code = "import sys, vloc_ros.views, vloc_ros.cli, vloc_ros.commands.view; sys.exit('rerun' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@needs_rerun
def test_the_recording_holds_everything(drive, tmp_path, capsys):
    site, run = drive
    out = tmp_path / "drive.rrd"
    assert main(["view", str(site), str(run), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["frames"] == 10
    assert said["images"] >= said["keyframes"] > 0
    printed = subprocess.run([sys.executable, "-m", "rerun", "rrd", "print", str(out)], capture_output=True, text=True, timeout=120)
    assert printed.returncode == 0, printed.stderr
    for entity in ("/map/session_1/route", "/map/session_1/keyframes", "/map/closures/outlier", "/map/robot", "/map/run"):
        assert entity in printed.stdout, entity
    for entity in ("/image", "/inliers/map", "/uncertainty/position", "/state"):
        assert entity in printed.stdout, entity


@needs_rerun
def test_without_images_it_is_smaller(drive, tmp_path):
    sizes = []
    for option in ([], ["--no-images"]):
        out = tmp_path / f"{len(option)}.rrd"
        assert main(["view", str(drive[0]), "--out", str(out), *option]) == 0
        sizes.append(out.stat().st_size)
    assert sizes[1] < sizes[0]


@needs_rerun
def test_a_file_that_cannot_be_written_is_a_sentence(drive, tmp_path, capsys):
    assert main(["view", str(drive[0]), "--out", str(tmp_path / "nowhere" / "a.rrd")]) == 1
    assert "cannot write" in capsys.readouterr().err
