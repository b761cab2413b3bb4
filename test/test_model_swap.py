"""The swap to another version of the model while keyframes are searched for: step by step, without a node."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from map_samples import UNTUNED
from swap_samples import GATES, ask, assert_each_search_was_by_the_version_in_use, in_use, teach_with_versions

from vloc_ros.cli import main
from vloc_ros.config import replace
from vloc_ros.mapping import KeyframeId, MapStore
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.model_versions import NO_VERSION, SwitchReason, ask_switch, finish_switch, pending_switch, undescribed
from vloc_ros.mapping.searches import searches_of
from vloc_ros.mapping.variances import variances_of
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.redescribe import redescribe
from vloc_ros.ros.place_recognition_settings import RecognitionNodeSettings
from vloc_ros.ros.recognition_report import report
from vloc_ros.ros.recognizer import Recognizer

pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")

OUT = 8
KEYFRAMES = 2 * OUT - 1


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return teach_with_versions(tmp_path_factory.mktemp("walk"), OUT, 2).read_bytes()


@pytest.fixture
def path(taught: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "site.vloc"
    path.write_bytes(taught)
    return path


def recognizer(path: Path, **values: object) -> Recognizer:
    own = {"map": str(path), "begin_with": 4, **GATES}
    named = {name.replace("__", "."): value for name, value in values.items()}
    return Recognizer(replace(RecognitionNodeSettings(), own | {"redescribe_at_once": 2} | named))


def settle(running: Recognizer, most: int = 200) -> int:
    """Let it work until nothing is left to do; how many portions that took."""
    for portions in range(most):
        searched = running.step() is not None
        if not running.follow() and not searched and not running.waiting:
            return portions
    raise AssertionError("it does not end")


def test_the_old_model_searches_until_the_new_one_knows_every_keyframe(path: Path) -> None:
    running = recognizer(path)
    running.announce(KeyframeId(1, KEYFRAMES))
    ask(path, 1)
    models, lefts = [], []
    while running.waiting:
        detection = running.step()
        models.append(running.model.split()[0])
        assert detection is not None
        running.follow()
        lefts.append(running.swap.left)
        with MapStore.open(path, read_only=True) as store:
            described = KEYFRAMES - len(undescribed(store, "site-1"))
        assert in_use(path) == (0 if described < KEYFRAMES else 1), "in use only when it knows all of them"
    assert len(models) == KEYFRAMES and models == sorted(models) and set(models) == {UNTUNED, "site-1"}
    assert lefts[0] == KEYFRAMES - 2 and lefts[1] == KEYFRAMES - 4, "one portion after each search"
    with MapStore.open(path, read_only=True) as store:
        assert [row.model for row in searches_of(store)] == models
        assert len(variances_of(store, "site-1")) == KEYFRAMES and pending_switch(store) is None
        assert all(row.probability is not None for row in searches_of(store, 1) if row.partner is not None)
    assert running.swap.swaps == 1 and running.counts["keyframes"] == KEYFRAMES
    values = report(running)
    assert values["model"].startswith("site-1 ") and values["model_swaps"] == "1" and "model_on_its_way" not in values
    running.close()
    assert_each_search_was_by_the_version_in_use(path)
    assert check_map(path) == []


def test_where_nobody_waits_it_goes_on_alone_and_says_how_far_it_is(path: Path) -> None:
    running = recognizer(path)
    running.announce(KeyframeId(1, 1))
    settle(running)
    ask(path, 1)
    assert running.follow() and report(running)["keyframes_to_describe"] == str(KEYFRAMES - 2)
    assert report(running)["model_on_its_way"] == "site-1" and report(running)["model"].startswith(UNTUNED)
    settle(running)
    assert in_use(path) == 1 and report(running)["model"].startswith("site-1")
    running.close()


def test_a_newer_request_calls_the_older_one_off(path: Path) -> None:
    running = recognizer(path)
    running.announce(KeyframeId(1, 1))
    settle(running)
    ask(path, 1)
    for _ in range(3):
        assert running.follow()
    ask(path, 2)
    settle(running)
    assert in_use(path) == 2 and running.swap.swaps == 1
    with MapStore.open(path, read_only=True) as store:
        assert len(undescribed(store, "site-1")) in (0, KEYFRAMES - 6, KEYFRAMES) and undescribed(store, "site-2") == []
    ask(path, NO_VERSION, SwitchReason.ROLLED_BACK)
    settle(running)
    assert in_use(path) == NO_VERSION and running.model.startswith(UNTUNED) and running.swap.swaps == 2
    running.close()
    assert check_map(path) == []


def test_a_switch_that_somebody_else_finished_is_followed(path: Path) -> None:
    running = recognizer(path)
    running.announce(KeyframeId(1, 1))
    settle(running)
    with MapStore.open(path) as store:
        switch = ask_switch(store, 2, SwitchReason.ASKED)
        assert redescribe(store, MapDescriptor.of(store, "site-2")) == 0 and finish_switch(store, switch.number)
    assert not running.follow() and running.model.startswith("site-2")
    running.close()


def test_what_was_never_searched_for_is_made_up_for_by_the_version_in_use(path: Path) -> None:
    first = recognizer(path)
    first.announce(KeyframeId(1, KEYFRAMES))
    for _ in range(5):
        first.step()
    first.close()
    ask(path, 1)
    second = recognizer(path, begin_with=KEYFRAMES)
    second.announce(KeyframeId(1, KEYFRAMES))
    while second.swap.swaps == 0:  # the first search makes the detector ready
        second.step()
        second.follow()
    second.close()
    third = recognizer(path)
    third.announce(KeyframeId(1, KEYFRAMES))
    settle(third)
    with MapStore.open(path, read_only=True) as store:
        rows = searches_of(store)
    assert {row.keyframe.keyframe for row in rows} == set(range(1, KEYFRAMES + 1)), "described is not searched for"
    assert [row.keyframe.keyframe for row in rows if row.model == UNTUNED][:5] == [1, 2, 3, 4, 5]
    third.close()


def test_what_was_described_by_command_is_searched_for_all_the_same(path: Path) -> None:
    if UNTUNED != "place":
        pytest.skip("descriptors of hog may be those of a release that kept no searches; place cannot run here")
    with MapStore.open(path) as store:
        assert redescribe(store, MapDescriptor.of(store, "auto")) == 0
    running = recognizer(path)
    running.announce(KeyframeId(1, 1))
    settle(running)
    with MapStore.open(path, read_only=True) as store:
        assert [row.keyframe.keyframe for row in searches_of(store)] == list(range(1, KEYFRAMES + 1))
    running.close()


def test_a_descriptor_that_the_user_names_stays(path: Path) -> None:
    running = recognizer(path, loops__descriptor="hog")
    running.announce(KeyframeId(1, 1))
    ask(path, 1)
    settle(running)
    assert not running.follow() and running.model == "hog" and in_use(path) == 0
    running.close()


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_and_says_why(path: Path) -> None:
    running = recognizer(path)
    running.announce(KeyframeId(1, KEYFRAMES))
    assert running.step() is not None
    ask(path, 1)
    with MapStore.open(path) as store:
        store.database.execute("UPDATE model_weights SET crc = crc + 1 WHERE number = 1")
    assert not running.follow() and "fails its checksum" in running.swap.problem
    assert running.step() is not None and running.model.startswith(UNTUNED) and in_use(path) == 0
    assert not running.follow() and running.swap.problem, "it waits before it tries again"
    running.close()


def test_a_keyframe_without_an_image_stops_the_swap_and_not_the_search(path: Path) -> None:
    running = recognizer(path)
    running.announce(KeyframeId(1, 1))
    settle(running)
    ask(path, 1)
    with MapStore.open(path) as store:
        store.database.execute("DELETE FROM image WHERE keyframe = 9")
    for _ in range(10):
        running.follow()
    assert "no image of keyframe s1/k9" in running.swap.problem and running.swap.swaps == 0
    assert running.model.startswith(UNTUNED) and np.isfinite(running.swap.left or 0)
    running.close()


def test_vloc_loops_shows_the_probabilities_and_what_became_of_them(path: Path, tmp_path: Path, capsys) -> None:
    out, gap = tmp_path / "out", [f"--set={name}={value}" for name, value in GATES.items()]
    assert main(["loops", "--map", str(path), "--out", str(out), "--descriptor", "site-1", "--json", *gap]) == 0
    values = json.loads(capsys.readouterr().out)
    of_model, baseline = values["confidence"]["match probability"], values["confidence"]["similarity"]
    assert values["descriptor"] == "site-1" and values["candidates"] > 0
    rows = {name: list(csv.DictReader((out / f"{name}.csv").open())) for name in ("closures", "rejections")}
    assert len(rows["closures"]) == values["candidates"]
    found = [float(row["probability"]) for of_file in rows.values() for row in of_file]
    assert found and all(0.0 < value < 1.0 for value in found)
    with MapStore.open(path, read_only=True) as store:
        searched = [row for row in searches_of(store, 1) if row.partner is not None]
    assert of_model["count"] == baseline["count"] == len(searched) and 0.0 <= of_model["ece"] <= 1.0
    shown = Page((out / "loops.html").read_text())
    assert "How sure the model was" in shown.text and "% likely" in shown.text
    assert main(["loops", "--map", str(path), "--descriptor", "site-1", *gap]) == 0
    assert f"best matches of {len(searched)} keyframes" in capsys.readouterr().out
    assert main(["loops", "--map", str(path), "--out", str(out), "--descriptor", "hog", *gap]) == 0
    assert "calibration error" not in capsys.readouterr().out
    assert "How sure the model was" not in (out / "loops.html").read_text()
