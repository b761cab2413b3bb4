"""A lost robot that re-ranks the places where it may be, in a small rendered corridor with known truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from live_samples import nobody_holds_the_old, with_all_live_changed
from ros_samples import CAMERA, pair, walk, write_recording

from vloc_ros.cli import main
from vloc_ros.config import replace
from vloc_ros.data import StereoFrame
from vloc_ros.errors import ConfigError
from vloc_ros.geometry import se3
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.localization import FrameResult, Localizer, State
from vloc_ros.mapping import MapStore, Teacher
from vloc_ros.mapping.patches import patch_counts
from vloc_ros.ros.node_settings import LocalizationNodeSettings, Mode
from vloc_ros.ros.pipeline import Pipeline
from vloc_ros.settings import Settings

ALONE = {"localization.descriptor": "thumbnail", "localization.candidates": 1, "localization.sweep": 0}
"""Only the keyframe that the search believes in most is tried."""
SETTINGS = replace(Settings(), {"keyframes.distance": 0.3, "stereo.min_depth": 0.8, "features.max_features": 500, **ALONE})
RANSAC = {"localization.rerank.reranker": "ransac", "localization.rerank.max_ms": 0.0}
POSES = walk(24)
ASIDE = se3.exp(np.array([0.0, 0.0, 0.0, 0.0, 0.25, 0.0]))
"""The camera looks so far to the side, which misleads a descriptor of the whole image."""


def frame(index: int, aside: np.ndarray = ASIDE, place: int = 0) -> StereoFrame:
    return StereoFrame((1 + index) * 10**9, *pair(POSES[index] @ aside, place))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of three corridors; the robot is in the first of them."""
    path, extractor = tmp_path_factory.mktemp("site") / "site.vloc", SETTINGS.features.create()
    with MapStore.create(path, CAMERA, BASE_T_OPTICAL, extractor.name, extractor.fingerprint) as store:
        for place in range(3):
            teacher = Teacher(CAMERA, store, SETTINGS, f"corridor {place}")
            for index in range(0, len(POSES), 2):
                teacher.process(frame(index, np.eye(4), place))
            teacher.close()
    return path


def looks(site: Path, settings: Settings, indices: range = range(1, len(POSES), 3)) -> list[FrameResult]:
    """What each frame alone says to a robot that knows nothing."""
    with MapStore.open(site, read_only=True) as store:
        localizer = Localizer(CAMERA, store, settings)
        results = []
        for index in indices:
            localizer.reset()
            results.append(localizer.process(frame(index)))
        return results


def right(results: list[FrameResult], indices: range = range(1, len(POSES), 3)) -> int:
    """How many found the place."""
    found = 0
    for index, result in zip(indices, results, strict=True):
        if result.map_T_base is None:
            continue
        truth = BASE_T_OPTICAL @ se3.between(POSES[0], POSES[index]) @ se3.inverse(BASE_T_OPTICAL)
        found += bool(np.linalg.norm(result.map_T_base[:3, 3] - truth[:3, 3]) < 0.3)
    return found


def test_more_frames_find_the_place(site: Path) -> None:
    plain, reranked = right(looks(site, SETTINGS)), right(looks(site, replace(SETTINGS, RANSAC)))
    assert reranked >= plain + 2 and reranked >= 6, (plain, reranked)


def test_none_of_them_is_an_answer_and_the_sweep_goes_on(site: Path) -> None:
    strict = replace(SETTINGS, {**RANSAC, "localization.rerank.min_inliers": 100000})
    some = range(1, 8, 3)
    assert all(result.map_T_base is None for result in looks(site, strict, some))
    swept = looks(site, replace(strict, {"localization.sweep": 100}), some)
    assert right(swept, some) == len(some), "every keyframe is tried in its turn"


def test_thresholds_count_from_the_next_frame_on(site: Path) -> None:
    settings = replace(SETTINGS, RANSAC)
    with MapStore.open(site, read_only=True) as store:
        localizer = Localizer(CAMERA, store, settings)
        assert localizer.search_report == {"reranker": "ransac"}
        localizer.process(frame(0, np.eye(4)))
        assert localizer.state is State.LOCALISED and float(localizer.search_report["rerank_ms"]) > 0.0
        after = with_all_live_changed(settings)
        localizer.tune(after)
        nobody_holds_the_old(localizer, settings, after)
        assert localizer.take_stage_problem() == ""
        assert Localizer(CAMERA, store, SETTINGS).search_report == {}


def test_a_reranker_that_cannot_be_made_is_said_when_the_node_is_configured(site: Path) -> None:
    node = replace(LocalizationNodeSettings(), {"map": str(site), "mode": Mode.LOCALIZE.value})
    settings = replace(SETTINGS, {"localization.rerank.reranker": "ransack"})
    with pytest.raises(ConfigError, match="unknown re-ranker 'ransack'"):
        Pipeline(node, settings, BASE_T_OPTICAL).prepare()


def test_teaching_prepares_what_the_localisation_cannot_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording, path = write_recording(tmp_path / "kitti", walk(6)), tmp_path / "site.vloc"
    few = ["--set", "features.max_features=300", "--set", "keyframes.distance=0.1"]
    assert main(["teach", str(recording), "--map", str(path), "--set", "localization.rerank.reranker=ransac", *few]) == 0
    with MapStore.open(path, read_only=True) as store:
        [count] = patch_counts(store)
        assert count.card.name == "ransac" and count.keyframes == len(store.keyframes()) > 1
    before = path.read_bytes()
    capsys.readouterr()
    assert main(["repeat", str(recording), "--map", str(path), "--rerank", "ransac", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["states"] == {"localised": 6} and path.read_bytes() == before
    assert main(["repeat", str(recording), "--map", str(path), "--rerank", "ransack"]) == 1
    assert "unknown re-ranker 'ransack'" in capsys.readouterr().err


def test_a_map_is_prepared_by_hand(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "site.vloc"
    path.write_bytes(site.read_bytes())
    assert main(["map", "redescribe", str(path), "--descriptor", "hog", "--rerank", "ransac", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["reranker"] == "ransac" and values["without_patches"] == 0 and values["left"] == 0
    with MapStore.open(path, read_only=True) as store:
        assert patch_counts(store)[0].keyframes == values["keyframes"]
