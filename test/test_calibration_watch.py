"""The watch over a promoted model, on maps: it goes back from one that finds less where a loop is to be expected, and only then."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from calibration_maps import RingDrive, panorama, ring_map
from calibration_samples import k, layout, ring
from watch_samples import add_model, search, use

from vloc_ros.calibration.rollback import Outcome, RollbackSettings
from vloc_ros.calibration.watch import Expected, ModelWatch, WatchSettings
from vloc_ros.errors import DataError
from vloc_ros.mapping import KeyframeId, MapStore, SessionKind
from vloc_ros.mapping.closures import Closure, closures_of, replace_closures
from vloc_ros.mapping.model_versions import SwitchReason, finish_switch, number_in_use, pending_switch
from vloc_ros.mapping.searches import Search
from vloc_ros.pose_graph import Label, LabelReason, Verdict

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
LAP = 40
SETTINGS = WatchSettings(roll_back=RollbackSettings(window=20, stretch=4, resamples=300))


def test_a_loop_is_expected_where_an_older_keyframe_is_near_and_looks_the_same_way() -> None:
    there, back, elsewhere = ring(100.0), ring(100.0)[::-1], ring(100.0) + np.array([500.0, 0.0])
    expected = Expected(layout([there, there, back, elsewhere]), WatchSettings())
    assert expected.at(k(50, 2)) and not expected.at(k(50, 1)), "nothing is older than the first drive"
    assert not expected.at(k(50, 3)), "it looks the other way"
    assert not expected.at(k(50, 4)) and not expected.at(k(999, 1))
    assert not Expected(layout([there, there], component=[0, 1]), WatchSettings()).at(k(50, 2)), "nobody knows where it is"


def test_the_keyframes_just_before_are_no_loop_but_those_of_a_round_before_are() -> None:
    expected = Expected(layout([ring(130.0, radius=10.0)]), WatchSettings(gap=20.0))
    assert not expected.at(k(40)) and expected.at(k(100))
    assert not Expected(layout([ring(130.0, radius=10.0)]), WatchSettings(gap=70.0)).at(k(65))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ring_map(tmp_path_factory.mktemp("ring") / "site.vloc", laps=4, keyframes=LAP)


@pytest.fixture
def promoted(taught: Path, tmp_path: Path) -> Iterator[MapStore]:
    """A map whose model was found better; before, four of five searches of the second lap found their loop."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    path = tmp_path / "site.vloc"
    path.write_bytes(taught.read_bytes())
    with MapStore.open(path) as store:
        searched(store, 1, 0, np.zeros(LAP - 2, dtype=bool))
        searched(store, 2, 0, np.arange(LAP) % 5 > 0)
        add_model(store, tmp_path, 1)
        use(store, 1, SwitchReason.PROMOTED)
        yield store


def searched(store: MapStore, lap: int, version: int, found: np.ndarray, first: int = 0) -> None:
    for number, one in enumerate(found, start=first + 1):
        search(store, KeyframeId(lap, number), version, bool(one), time.time_ns())


def test_a_model_that_finds_less_is_rolled_back_once_and_for_all(promoted: MapStore, tmp_path: Path) -> None:
    watch = ModelWatch(SETTINGS, tmp_path / "watch.json")
    begun = watch.look(promoted)
    assert begun is not None and begun.watch is not None and begun.watch.queries == 0
    assert begun.watch.expected == pytest.approx(0.8), "the first lap has no loops to be found"
    searched(promoted, 3, 1, np.arange(LAP) % 5 == 0)
    seen = watch.look(promoted)
    assert seen is not None and seen.watch is not None and seen.watch.outcome is Outcome.ROLL_BACK
    pending = pending_switch(promoted)
    assert pending is not None and pending == seen.asked
    assert (pending.version, pending.reason) == (0, SwitchReason.ROLLED_BACK)
    assert pending.figures["from"] == 1 and pending.figures["outcome"] == "roll_back" and pending.figures["queries"] == 20
    assert watch.look(promoted) is None and pending_switch(promoted) == pending
    assert finish_switch(promoted, pending.number) and number_in_use(promoted) == 0
    assert watch.look(promoted) is None, "nothing promoted is in use"


def test_a_model_that_is_as_good_is_kept(promoted: MapStore, tmp_path: Path) -> None:
    watch = ModelWatch(SETTINGS, tmp_path / "watch.json")
    watch.look(promoted)
    searched(promoted, 3, 1, np.ones(LAP, dtype=bool))
    seen = watch.look(promoted)
    assert seen is not None and seen.watch is not None and seen.watch.outcome is Outcome.KEEP and seen.asked is None
    searched(promoted, 4, 1, np.zeros(LAP, dtype=bool))
    seen = watch.look(promoted)
    assert seen is not None and seen.asked is None and pending_switch(promoted) is None, "a decision is final"


def test_killed_between_two_looks_it_goes_on_where_it_was(promoted: MapStore, tmp_path: Path) -> None:
    ModelWatch(SETTINGS, tmp_path / "watch.json").look(promoted)
    searched(promoted, 3, 1, np.zeros(15, dtype=bool))
    seen = ModelWatch(SETTINGS, tmp_path / "watch.json").look(promoted)
    assert seen is not None and seen.watch is not None and (seen.watch.queries, seen.watch.outcome) == (15, Outcome.UNDECIDED)
    assert ModelWatch(SETTINGS, tmp_path / "watch.json").look(promoted) == seen, "nothing is counted twice"
    searched(promoted, 3, 1, np.zeros(5, dtype=bool), first=15)
    seen = ModelWatch(SETTINGS, tmp_path / "watch.json").look(promoted)
    assert seen is not None and seen.asked is not None


def test_a_file_that_cannot_be_read_is_begun_anew(promoted: MapStore, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "watch.json").write_text('{"format": "vloc watch 1", "promotion": ')
    searched(promoted, 3, 1, np.zeros(10, dtype=bool))
    seen = ModelWatch(SETTINGS, tmp_path / "watch.json").look(promoted)
    assert seen is not None and seen.watch is not None and seen.watch.queries == 10
    assert "begins anew" in caplog.text


def test_what_the_pose_graph_rejects_was_not_found(promoted: MapStore, tmp_path: Path) -> None:
    """A model that takes each place for the one across finds something every time."""
    watch = ModelWatch(SETTINGS, tmp_path / "watch.json")
    watch.look(promoted)
    closures = {(closure.a, closure.b): closure for closure in closures_of(promoted)}
    for number in range(1, LAP + 1):
        across = KeyframeId(2, (number - 1 + LAP // 2) % LAP + 1)
        search(promoted, KeyframeId(3, number), 1, True, time.time_ns(), across)
        verdict = Verdict(Label.OUTLIER, 0.0, 900.0, 2, LabelReason.REJECTED)
        closures[across, KeyframeId(3, number)] = Closure(across, KeyframeId(3, number), verdict)
    replace_closures(promoted, list(closures.values()))
    seen = watch.look(promoted)
    assert seen is not None and seen.watch is not None and seen.watch.share == 0.0 and seen.asked is not None


def test_searches_before_the_switch_and_by_others_do_not_count(promoted: MapStore, tmp_path: Path) -> None:
    watch = ModelWatch(SETTINGS, tmp_path / "watch.json")
    watch.look(promoted)
    search(promoted, KeyframeId(3, 1), 1, False, 5)
    searched(promoted, 4, 0, np.zeros(LAP, dtype=bool))
    searched(promoted, 1, 1, np.zeros(LAP - 2, dtype=bool))
    seen = watch.look(promoted)
    assert seen is not None and seen.watch is not None and seen.watch.queries == 0


@needs_torch
def test_what_somebody_asked_for_is_not_taken_back(taught: Path, tmp_path: Path) -> None:
    path = tmp_path / "site.vloc"
    path.write_bytes(taught.read_bytes())
    with MapStore.open(path) as store:
        watch = ModelWatch(SETTINGS, tmp_path / "watch.json")
        assert watch.look(store) is None
        searched(store, 2, 0, np.ones(LAP, dtype=bool))
        add_model(store, tmp_path, 1)
        use(store, 1, SwitchReason.ASKED)
        searched(store, 3, 1, np.zeros(LAP, dtype=bool))
        assert watch.look(store) is None and pending_switch(store) is None


@needs_torch
def test_without_anything_to_compare_with_nothing_is_taken_back(taught: Path, tmp_path: Path) -> None:
    path = tmp_path / "site.vloc"
    path.write_bytes(taught.read_bytes())
    with MapStore.open(path) as store:
        searched(store, 2, 0, np.ones(7, dtype=bool))
        add_model(store, tmp_path, 1)
        use(store, 1, SwitchReason.PROMOTED)
        searched(store, 3, 1, np.zeros(LAP, dtype=bool))
        seen = ModelWatch(SETTINGS, tmp_path / "watch.json").look(store)
        assert seen is not None and seen.watch is None and "fewer than 8 loops" in seen.text and pending_switch(store) is None
        off = ModelWatch(WatchSettings(enabled=False), tmp_path / "off.json")
        assert off.look(store) is None


def test_a_window_shorter_than_two_stretches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shorter than two stretches"):
        ModelWatch(WatchSettings(roll_back=RollbackSettings(window=10, stretch=10)), tmp_path / "watch.json")


def test_a_search_that_found_nothing_has_no_partner_to_ask_about() -> None:
    nothing = Search(k(5), 1, "site-1", None, None, None, None, False, "nothing_found", 1)
    assert not Expected(layout([ring(10.0)]), WatchSettings()).found(nothing)


def driven(store: MapStore, elsewhere: bool = False) -> int:
    """A session of one more lap, which nothing has joined to the map."""
    session = store.begin_session(SessionKind.TEACH, "another day")
    place = {"wall": panorama(8), "scene": 8} if elsewhere else {}
    drive = RingDrive(store, session, LAP, session - 1, **place)
    for _ in range(LAP):
        drive.step()
    return session


def test_a_model_that_is_blind_in_a_new_session_goes_back_when_the_one_before_is_not(promoted: MapStore, tmp_path: Path) -> None:
    watch, session = ModelWatch(SETTINGS, tmp_path / "watch.json"), driven(promoted)
    searched(promoted, session, 1, np.zeros(20, dtype=bool))
    seen = watch.look(promoted)
    assert seen is not None and seen.asked is None and "finds no loop" not in seen.text, "so few say nothing"
    searched(promoted, session, 1, np.zeros(20, dtype=bool), first=20)
    texts = []
    while seen is not None and seen.asked is None and len(texts) < 6:
        seen = watch.look(promoted)
        assert seen is not None
        texts.append(seen.text)
    assert f"finds no loop in session s{session}, in which the model before finds 4 at the 4 keyframes" in texts[0]
    assert seen is not None and seen.asked is not None
    assert (seen.asked.version, seen.asked.reason) == (0, SwitchReason.ROLLED_BACK)
    assert seen.asked.figures["found_by_the_model_before"] >= 5 and seen.asked.figures["session"] == session


def test_a_session_on_new_ground_is_no_reason_to_go_back(promoted: MapStore, tmp_path: Path) -> None:
    watch, session = ModelWatch(SETTINGS, tmp_path / "watch.json"), driven(promoted, elsewhere=True)
    searched(promoted, session, 1, np.zeros(LAP, dtype=bool))
    texts = [seen.text for seen in (watch.look(promoted) for _ in range(7)) if seen is not None]
    assert "the model before finds 0 at the 20 keyframes" in texts[4], texts
    assert "finds no loop" not in texts[6] and pending_switch(promoted) is None, "what was asked is not asked again"
