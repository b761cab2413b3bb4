"""What the calibration node does between its topics, with a small program as the trainer."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from calibration_maps import ring_map
from calibration_samples import k
from watch_samples import add_model, use

from vloc_ros.calibration.lateness import Lateness, LatenessSettings
from vloc_ros.calibration.node_memory import NodeMemory
from vloc_ros.calibration.settings import default_settings
from vloc_ros.calibration.supervisor import Pause, TrainerState
from vloc_ros.calibration.tuples import TrainingTuple, TupleSet
from vloc_ros.config import replace
from vloc_ros.errors import ConfigError, VlocError
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.closures import Closure, closures_of, replace_closures
from vloc_ros.mapping.model_versions import SwitchReason, pending_switch
from vloc_ros.mapping.training_tuples import TupleOrigin, replace_tuples, tuple_counts
from vloc_ros.pose_graph import Label, LabelReason, Verdict
from vloc_ros.ros.calibration_keeper import CalibrationKeeper
from vloc_ros.ros.calibration_report import message, report
from vloc_ros.ros.calibration_settings import CalibrationNodeSettings
from vloc_ros.ros.problems import Problem, Problems

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
TRAINER = Path(__file__).parent / "slow_trainer.py"
LABELS = 50
"""Inliers and outliers of the map."""


class Clock:
    """A steady clock that a test can push on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Keeper(CalibrationKeeper):
    """Trains with a small program."""

    arguments: tuple[str, ...] = ()

    def program(self) -> list[str]:
        assert (self.memory.job_folder / "settings.json").is_file()
        return [sys.executable, str(TRAINER), str(self.memory.job_folder), *self.arguments]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ring_map(tmp_path_factory.mktemp("ring") / "site.vloc", laps=2, keyframes=40)


@pytest.fixture
def path(taught: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "site.vloc"
    copy.write_bytes(taught.read_bytes())
    return copy


@contextmanager
def keeping(path: Path, *arguments: str, **settings: Any) -> Iterator[tuple[Keeper, Clock]]:
    values = {"map": str(path), "supervisor.niceness": 0, "trigger.labels": LABELS, "trigger.quiet": 0.0} | settings
    clock = Clock()
    keeper = Keeper(replace(CalibrationNodeSettings(), values), default_settings(), Problems(), clock)
    keeper.arguments = arguments
    try:
        yield keeper, clock
    finally:
        keeper.close()


def turn_until(keeper: Keeper, condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come: {report(keeper)}"
        keeper.turn()
        time.sleep(0.02)


def relabel(path: Path, label: Label, count: int, revision: int) -> None:
    """The pose graph says something else of some closures."""
    with MapStore.open(path) as store:
        closures = closures_of(store)
        verdict = Verdict(label, 0.5, 1.0, revision, LabelReason.AGREES)
        changed = [Closure(closure.a, closure.b, verdict) for closure in closures[:count]]
        rest = [Closure(c.a, c.b, dataclasses.replace(c.verdict, revision=revision)) for c in closures[count:]]
        replace_closures(store, changed + rest)


def test_it_begins_when_enough_labels_are_new_and_not_again_before_there_are_more(path: Path) -> None:
    with keeping(path) as (keeper, clock):
        turn_until(keeper, lambda: keeper.memory.last, "the end of a calibration")
        assert keeper.memory.last["ending"] == "done" and keeper.memory.job == 1 and keeper.news == 0
        clock.ahead += 700.0
        keeper.turn()
        assert keeper.why_not() == f"0 of {LABELS} labels are new" and keeper.memory.job == 1
        relabel(path, Label.UNDECIDED, LABELS, 2)
        keeper.labelled()
        clock.ahead += 2.0
        turn_until(keeper, lambda: keeper.memory.job == 2, "the second calibration")
        assert report(keeper)["graph_revision"] == "2" and keeper.labels.decided == {}


def test_too_few_labels_begin_nothing_but_the_service_does(path: Path) -> None:
    with keeping(path, **{"trigger.labels": LABELS + 1}) as (keeper, _):
        keeper.turn()
        assert keeper.why_not() == f"{LABELS} of {LABELS + 1} labels are new" and not keeper.supervisor.busy
        assert keeper.trigger() == f"the calibration 1 begins, of {LABELS} labels"
        with pytest.raises(VlocError, match="the calibration 1 is running already"):
            keeper.trigger()
        turn_until(keeper, lambda: keeper.memory.last, "the end of a calibration")


def test_labels_that_still_come_are_waited_for_and_calibrations_rest(path: Path) -> None:
    with keeping(path, **{"trigger.quiet": 5.0, "trigger.labels": 1}) as (keeper, clock):
        keeper.turn()
        turn_until(keeper, lambda: keeper.memory.last, "the first, of what was there before")
        relabel(path, Label.UNDECIDED, 3, 2)
        keeper.labelled()
        assert "labels are still coming" not in keeper.why_not(), "not read yet"
        clock.ahead += 2.0
        keeper.turn()
        assert keeper.news == 3 and keeper.why_not() == "labels are still coming"
        clock.ahead += 6.0
        assert "600 s lie between two" in keeper.why_not()
        clock.ahead += 600.0
        turn_until(keeper, lambda: keeper.memory.job == 2, "the next")


def test_tuples_of_labels_that_changed_are_withdrawn_at_once(path: Path) -> None:
    with MapStore.open(path) as store:
        closure = closures_of(store)[0]
        mined = TrainingTuple(closure.b, closure.a, (k(20), k(21)), 1.0, 1)
        assert replace_tuples(store, TupleSet((mined,), ()), 1, TupleOrigin.LABELS)
    with keeping(path, **{"trigger.automatic": False}) as (keeper, clock):
        keeper.turn()
        assert keeper.labels.tuples.tuples == 1
        relabel(path, Label.UNDECIDED, 1, 2)
        keeper.labelled()
        clock.ahead += 2.0
        keeper.turn()
        assert keeper.labels.withdrawn == 1 and keeper.labels.tuples.withdrawn == 1
        assert "1 withdrawn" in report(keeper)["tuples"]
        assert keeper.why_not() == "it begins only when the service trigger is called"
    with MapStore.open(path, read_only=True) as store:
        assert tuple_counts(store).tuples == 0


def test_a_node_that_was_killed_goes_on_with_its_calibration(path: Path) -> None:
    with keeping(path, "--steps", "100000") as (keeper, _):
        keeper.turn()
        turn_until(keeper, lambda: keeper.supervisor.status.stage == "training", "some progress")
        steps = int((keeper.memory.job_folder / "step").read_text())
    # closing is as good as kill -9 here: nothing is written at the end
    with keeping(path, "--steps", str(steps + 20)) as (keeper, _):
        assert keeper.memory.running and keeper.memory.job == 1
        assert keeper.why_not() == "one is running"
        turn_until(keeper, lambda: keeper.memory.last, "the end")
        assert keeper.memory.last["begun_at"] >= steps and keeper.memory.job == 1 and not keeper.memory.running


def test_a_pause_outlives_the_node(path: Path) -> None:
    with keeping(path) as (keeper, _):
        keeper.turn()
        assert keeper.pause(True) == "the trainer stands still until ~/resume is called"
    with keeping(path) as (keeper, _):
        keeper.turn()
        time.sleep(0.3)
        assert keeper.supervisor.status.state is TrainerState.PAUSED and keeper.supervisor.status.starts == 0
        assert message(keeper) == "paused: somebody asked for it"
        keeper.active(False)
        assert keeper.pause(False) == "the trainer goes on when it may: the node is not active"
        keeper.active(True)
        turn_until(keeper, lambda: keeper.memory.last, "the end")


def test_late_localisation_stops_the_trainer_for_a_while(path: Path) -> None:
    with keeping(path, "--steps", "100000", **{"late.pause": 2.0}) as (keeper, clock):
        turn_until(keeper, lambda: keeper.supervisor.status.stage == "training", "the training")
        keeper.odometry(10**9, 10**9 + 5 * 10**7)
        assert keeper.supervisor.status.pauses == ()
        keeper.odometry(10**9, 10**9 + 4 * 10**8)
        assert keeper.supervisor.status.pauses == (Pause.LATE,)
        clock.ahead += 1.0
        keeper.odometry(2 * 10**9, 2 * 10**9 + 5 * 10**7)
        assert keeper.supervisor.status.pauses == (Pause.LATE,), "it was late a moment ago"
        clock.ahead += 1.5
        keeper.turn()
        assert keeper.supervisor.status.pauses == ()
        values = report(keeper)
        assert values["localisation_late_messages"] == "1" and float(values["localisation_lag_ms"]) == pytest.approx(50.0)


def test_stamps_of_another_clock_say_nothing() -> None:
    lateness = Lateness(LatenessSettings(limit=0.3, pause=10.0))
    for lag_ns in (10**18, -5 * 10**9):
        lateness.heard(1_700_000_000 * 10**9, 1_700_000_000 * 10**9 + lag_ns, 1.0)
        assert not lateness.comparable and not lateness.late(1.0)
    lateness = Lateness(LatenessSettings(limit=0.0))
    lateness.heard(0, 5 * 10**9, 1.0)
    assert not lateness.late(1.0)


WON = {"promote": True, "decision": {"promote": True, "gain": 0.1}}


@needs_torch
@pytest.mark.parametrize("promote", [True, False])
def test_a_version_that_won_is_asked_for_unless_that_is_left_to_somebody(path: Path, tmp_path: Path, promote: bool) -> None:
    with MapStore.open(path) as store:
        version = add_model(store, tmp_path, 1, WON["decision"])
    done = json.dumps(WON | {"version": version.number})
    with keeping(path, "--steps", "1", "--done", done, promote=promote) as (keeper, _):
        said = []
        turn_until(keeper, lambda: said.append(keeper.turn()) or keeper.memory.last, "the end")
        turn_until(keeper, lambda: keeper.model is not None and bool(keeper.model.wanted.version) is promote, "what is wanted")
        assert keeper.memory.last["promotion"] == keeper.promotion
    with MapStore.open(path, read_only=True) as store:
        pending = pending_switch(store)
    if not promote:
        assert pending is None and "waits for `vloc models promote`" in keeper.promotion
        return
    assert pending is not None and (pending.version, pending.reason) == (version.number, SwitchReason.PROMOTED)
    assert pending.figures == WON["decision"]
    assert keeper.model is not None and keeper.model.wanted.sha256 == version.card.sha256
    assert report(keeper)["model_asked_for"].startswith("site-1 ")


@needs_torch
def test_what_was_rolled_back_does_not_come_back_by_itself(path: Path, tmp_path: Path) -> None:
    with MapStore.open(path) as store:
        version = add_model(store, tmp_path, 1)
        use(store, 1, SwitchReason.PROMOTED)
        from vloc_ros.mapping.model_versions import ask_switch, finish_switch

        assert finish_switch(store, ask_switch(store, 0, SwitchReason.ROLLED_BACK, {"from": version.number}).number)
    with keeping(path, "--steps", "1", "--done", json.dumps(WON | {"version": 1})) as (keeper, _):
        turn_until(keeper, lambda: keeper.memory.last, "the end")
        assert "was rolled back before" in keeper.promotion
    with MapStore.open(path, read_only=True) as store:
        assert pending_switch(store) is None


def test_a_failure_is_told_and_tried_again_only_after_a_rest(path: Path) -> None:
    with keeping(path, "--steps", "1", "--error", "the disk is full") as (keeper, clock):
        turn_until(keeper, lambda: keeper.memory.last, "the end")
        assert keeper._problems.active[Problem.TRAINER] == "the calibration 1 failed: the disk is full"
        assert report(keeper)["last_calibration"] == "1, error: the disk is full"
        keeper.turn()
        assert keeper.memory.job == 1 and "lie between two" in keeper.why_not()
        keeper.arguments = ("--steps", "1")
        clock.ahead += 601.0
        turn_until(keeper, lambda: keeper.memory.last["ending"] == "done", "another try")
        assert keeper.memory.job == 2 and Problem.TRAINER not in keeper._problems.active


def test_old_work_goes_and_reports_of_the_last_calibrations_stay(path: Path) -> None:
    with keeping(path, "--steps", "1", **{"trigger.automatic": False}) as (keeper, _):
        keeper.turn()
        for job in range(1, 6):
            keeper.trigger()
            turn_until(keeper, lambda number=job: keeper.memory.last.get("job") == number, "the end")
        folders = sorted(folder.name for folder in keeper.work.glob("job-*"))
    assert folders == ["job-3", "job-4", "job-5"]


def test_a_memory_that_cannot_be_read_begins_anew_beside_the_old_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "job-7").mkdir()
    for text in ('{"format": ', "[]", '{"format": "something else"}', "\xff"):
        (tmp_path / "node.json").write_text(text, encoding="latin-1")
        memory = NodeMemory.read(tmp_path)
        assert not memory.running and memory.learned == {}
        assert "begins anew" in caplog.text
        caplog.clear()
    memory.begin({"s1/k1 s1/k40": "inlier"})
    again = NodeMemory.read(tmp_path)
    assert again == memory and again.running and again.news({"s1/k1 s1/k40": "inlier"}) == 1
    again.end({"ending": "done"}, learned=True)
    assert NodeMemory.read(tmp_path).news({"s1/k1 s1/k40": "outlier", "s1/k2 s1/k41": "inlier"}) == 2


def test_without_a_map_there_is_nothing_to_do_and_one_may_come_later(taught: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no map is named"):
        CalibrationKeeper(CalibrationNodeSettings(), default_settings(), Problems())
    path = tmp_path / "later.vloc"
    with keeping(path) as (keeper, _):
        assert keeper.turn() is None and keeper.news == 0
        with pytest.raises(VlocError, match="there is no map at"):
            keeper.trigger()
        path.write_bytes(b"this is no map" * 100)
        keeper.turn()
        assert "later.vloc" in keeper._problems.active[Problem.MAP]
        path.write_bytes(taught.read_bytes())
        turn_until(keeper, lambda: keeper.memory.last, "a calibration")
        assert Problem.MAP not in keeper._problems.active
