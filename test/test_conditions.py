"""What the operator says of the condition: whom it reaches in loops, relocalisation and teaching, and when it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from condition_toys import Hearing, HearingToo, register_hearing
from loop_samples import REGISTRAR, new_map
from rerank_samples import add, picture, places
from ros_samples import CAMERA, walk, write_recording
from test_relocalisation_reranking import SETTINGS, frame, site

from vloc_ros.cli import main
from vloc_ros.config import replace
from vloc_ros.errors import ConfigError
from vloc_ros.localization import Localizer
from vloc_ros.loop_closure import LoopDetector, LoopSettings
from vloc_ros.loop_closure.search import detector_for
from vloc_ros.loop_closure.settings import LoopClosureSettings
from vloc_ros.mapping import KeyframeId, MapStore, SessionKind
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.stages import Stages

__all__ = ["site"]  # fixture
LOOPS = replace(LoopSettings(), {"descriptor": "hearing", "coarse_to_fine.fine": "hearing_too"})
FEW = ["--set", "features.max_features=300", "--set", "keyframes.distance=0.1"]


@pytest.fixture(autouse=True)
def known_toys(monkeypatch: pytest.MonkeyPatch) -> None:
    register_hearing(monkeypatch)


def two_sessions(path: Path) -> Path:
    """Three keyframes of yesterday, three of today."""
    with new_map(path) as store:
        for name in ("yesterday", "today"):
            session = store.begin_session(SessionKind.TEACH, name)
            for number in range(3):
                add(store, session, picture(number))
    return path


def test_keyframes_of_the_newest_session_are_told_and_of_older_ones_it_is_inferred(tmp_path: Path) -> None:
    with MapStore.open(two_sessions(tmp_path / "site.vloc")) as store:
        settings = replace(LOOPS, {"condition": "night"})
        stages = Stages.chosen(settings).of_map(store, settings)
        finder = LoopDetector(store, MapDescriptor.of(store, "hearing"), REGISTRAR, settings, live=False, stages=stages)
        said = []
        for keyframe in store.keyframes():
            finder.process(keyframe)
            said.append(finder.proposer.condition)
            if keyframe.id == KeyframeId(2, 2):
                finder.tune(REGISTRAR, replace(settings, {"condition": "dusk"}))
        assert Hearing.heard == ["", "", "", "night", "night", "dusk"] == HearingToo.heard
        assert said == ["noon", "noon", "noon", "night", "night", "dusk"]


def test_a_lost_robot_tells_both_stages_of_its_image_and_of_no_keyframe(site: Path) -> None:
    said = {"descriptor": "hearing", "condition": "night", "coarse_to_fine.fine": "hearing_too"}
    settings = replace(SETTINGS, {f"localization.{key}": value for key, value in said.items()})
    with MapStore.open(site, read_only=True) as store:
        localizer = Localizer(CAMERA, store, settings)
        assert set(Hearing.heard) == {""} and localizer.search_report == {"fine": "hearing_too"}
        localizer.process(frame(0, np.eye(4)))
        assert Hearing.heard[-1] == "night" and Hearing.heard.count("night") == 1
        assert HearingToo.heard == ["night", *[""] * 5], "five keyframes are compared, and made in memory"
        report = localizer.search_report
        assert report["condition"] == "night" and float(report["fine_ms"]) > 0.0 and report["fine_vectors_made"] == "5"
        localizer.tune(replace(settings, {"localization.condition": ""}))
        localizer.reset()
        localizer.process(frame(1, np.eye(4)))
        assert Hearing.heard[-1] == "" and localizer.search_report["condition"] == "noon"


def test_a_condition_that_nobody_knows_is_refused_before_anything_is_done(site: Path, tmp_path: Path) -> None:
    wrong = {"localization.descriptor": "hearing", "localization.condition": "snow"}
    with MapStore.open(site, read_only=True) as store:
        with pytest.raises(ConfigError, match="'snow' is unknown to 'hearing'; known: noon, dusk, night"):
            Localizer(CAMERA, store, replace(SETTINGS, wrong))
        localizer = Localizer(CAMERA, store, replace(SETTINGS, {"localization.descriptor": "hearing"}))
        localizer.require_known("dusk")
        with pytest.raises(ConfigError, match="'fog' is unknown"):
            localizer.require_known("fog")
    loops = LoopClosureSettings(loops=replace(LoopSettings(), {"descriptor": "auto", "condition": "night"}))
    with (
        MapStore.open(places(tmp_path / "site.vloc")) as store,
        pytest.raises(ConfigError, match=r"the condition .night. says nothing to .(place|hog)."),
    ):
        detector_for(store, loops)


def test_teaching_tells_what_it_taught_and_describing_by_hand_all_that_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording, path = write_recording(tmp_path / "kitti", walk(4)), tmp_path / "site.vloc"
    fine = ["--descriptor", "hearing", "--fine", "hearing_too"]
    assert main(["teach", str(recording), "--map", str(path), *FEW]) == 0
    assert main(["teach", str(recording), "--map", str(path), "--append", *fine, "--condition", "night", *FEW]) == 0
    with MapStore.open(path, read_only=True) as store:
        first, second = (session.keyframes for session in store.sessions())
    assert HearingToo.heard == [""] * first + ["night"] * second and first >= 2
    assert Hearing.heard == [], "what needs no weights is described when it is searched for"
    capsys.readouterr()
    assert main(["map", "redescribe", str(path), *fine, "--condition", "dusk", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["fine"] == "hearing_too" and values["without_fine_vectors"] == 0
    assert Hearing.heard == ["dusk"] * (first + second) and len(HearingToo.heard) == first + second, "its own were there already"
    Hearing.heard.clear()
    before = path.read_bytes()
    assert main(["repeat", str(recording), "--map", str(path), *fine, "--condition", "dusk", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["states"] == {"localised": 4}
    assert set(Hearing.heard) == {"dusk"} and path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--descriptor", "hearing", "--condition", "snow"], "'snow' is unknown to 'hearing'; known: noon, dusk, night;"),
        (["--condition", "night"], "the condition 'night' says nothing to 'auto'"),
        (["--fine", "nobody"], "unknown descriptor 'nobody'"),
        (["--fine", "hog", "--fine-top", "0"], "candidates"),
    ],
)
def test_wrong_words_are_one_sentence_and_no_map_is_made(
    options: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording, path = write_recording(tmp_path / "kitti", walk(3)), tmp_path / "site.vloc"
    assert main(["teach", str(recording), "--map", str(path), *FEW, *options]) == 1
    error = capsys.readouterr().err
    assert text in error and error.startswith("vloc teach: ") and error.count("\n") == 1 and not path.exists()
