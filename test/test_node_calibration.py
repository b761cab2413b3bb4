"""The calibration node as a process over real topics, with the real trainer: what it says, whom it obeys, and how it dies."""

from __future__ import annotations

import importlib.util
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ros_samples as samples
from calibration_maps import SMALL, base_weights, ring_map
from calibration_nodes import Said, calibrating, trainers, trigger
from nav_msgs.msg import Odometry
from std_msgs.msg import String
from watch_samples import add_model, search, use

from vloc_ros.mapping import KeyframeId, MapStore
from vloc_ros.mapping.closures import Closure, closures_of, replace_closures
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.model_versions import SwitchReason, finish_switch, number_in_use, pending_switch, versions
from vloc_ros.mapping.opening import side_files
from vloc_ros.mapping.training_tuples import tuple_counts
from vloc_ros.pose_graph import Label, LabelReason, Verdict
from vloc_ros.ros.conversions import odometry_to_ros
from vloc_ros.ros.model_message import ModelHint, loads

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
LAPS, LAP = 3, 48
KILLS = 20
UNSURE = 1e-4 * np.eye(6)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ring_map(tmp_path_factory.mktemp("ring") / "site.vloc", laps=LAPS, keyframes=LAP)


@pytest.fixture
def path(taught: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "site.vloc"
    copy.write_bytes(taught.read_bytes())
    return copy


def odometry(lag_s: float) -> Odometry:
    return odometry_to_ros(time.time_ns() - int(1e9 * lag_s), "odom", "base_link", np.eye(4), UNSURE)


def in_use(path: Path) -> int:
    """Number of the version that the map uses, which must be consistent."""
    with MapStore.open(path, read_only=True) as store:
        return number_in_use(store)


def test_services_and_what_holds_the_trainer_up(path: Path, tmp_path: Path) -> None:
    parameters = {"trigger.automatic": False, "late.pause": 3.0}
    with calibrating(path, tmp_path, **parameters) as (probe, node, said):
        said.wait("label_inlier", str((LAPS - 1) * LAP))
        assert said["waits_because"] == "it begins only when the service trigger is called" and said["message"] == "idle"
        assert trigger(probe, "pause").success
        answer = trigger(probe, "trigger")
        assert answer.success and "the calibration 1 begins" in answer.message and "~/resume" in answer.message
        said.wait("message", "paused: somebody asked for it")
        answer = trigger(probe, "trigger")
        assert not answer.success and "is running already" in answer.message
        for _ in range(3):
            probe.publish("odometry", odometry(0.1))
        assert "late" not in said["paused_because"]
        probe.publish("odometry", odometry(0.8))
        said.wait("paused_because", "the localisation is late; somebody asked for it")
        assert said["trainer_starts"] == "0" and int(said["localisation_late_messages"]) >= 1
        answer = trigger(probe, "resume")
        assert answer.success and "when it may" in answer.message
        # once nothing holds it up it begins, and says that so short a route has too few places to judge by
        said.wait("last_calibration", "1, done: only ", 200.0)
        assert said["paused_because"] == "" and said["trainer_starts"] == "1" and float(said["cpu_seconds"]) > 0.1
        probe.publish("odometry", odometry(4000.0))
        said.wait("problem_bad_stamp", "use_sim_time")
        assert node.end(timeout_s=60.0) == 0, node.output
    assert "Traceback" not in node.output


def test_labels_withdraw_tuples_and_new_ones_begin_a_calibration(path: Path, tmp_path: Path) -> None:
    from vloc_ros.calibration.tuples import TrainingTuple, TupleSet
    from vloc_ros.mapping.training_tuples import TupleOrigin, replace_tuples

    with MapStore.open(path) as store:
        closure = next(c for c in closures_of(store) if c.verdict.label is Label.INLIER)
        mined = TrainingTuple(closure.b, closure.a, (KeyframeId(1, 20),), 1.0, 1)
        assert replace_tuples(store, TupleSet((mined,), ()), 1, TupleOrigin.LABELS)
        labels = len(closures_of(store))
    with calibrating(path, tmp_path, **{"trigger.labels": labels + 1}) as (probe, node, said):
        said.wait("waits_because", f"{labels} of {labels + 1} labels are new")
        assert "1, and 0 outlier pairs" in said["tuples"]
        with MapStore.open(path) as store:
            closures = closures_of(store)
            changed = Verdict(Label.UNDECIDED, 0.5, 5.0, 2, LabelReason.AGREES)
            new = Closure(KeyframeId(1, 1), KeyframeId(3, 1), Verdict(Label.INLIER, 1.0, 1.0, 2, LabelReason.AGREES))
            extra = Closure(KeyframeId(1, 2), KeyframeId(3, 2), new.verdict)
            both = [Closure(c.a, c.b, changed) if (c.a, c.b) == (closure.a, closure.b) else c for c in closures]
            replace_closures(store, [*both, new, extra])
        labelled = probe.node.create_publisher(Odometry, "loop_closures/undecided", samples.qos.latched())
        labelled.publish(odometry_to_ros(1, str(closure.a), str(closure.b), np.eye(4), UNSURE))
        said.wait("tuples", "1 withdrawn")
        said.wait("calibration", "1")
        assert said["graph_revision"] == "2"
        assert node.end(timeout_s=60.0) == 0, node.output
    with MapStore.open(path, read_only=True) as store:
        assert tuple_counts(store).tuples == 0
    assert (tmp_path / "site.calibration" / "job-1" / "settings.json").is_file()


@needs_torch
def test_a_promoted_model_that_does_worse_is_rolled_back_while_the_robot_drives(path: Path, tmp_path: Path) -> None:
    with MapStore.open(path) as store:
        for number in range(1, LAP + 1):
            search(store, KeyframeId(2, number), 0, number % 5 > 0, time.time_ns())
        version = add_model(store, tmp_path, 1)
        use(store, 1, SwitchReason.PROMOTED)
    watching = {"trigger.automatic": False, "watch.roll_back.window": 20, "watch.roll_back.stretch": 4}
    with calibrating(path, tmp_path, **watching) as (probe, node, said):
        hints = probe.listen(String, "model", latched=True)
        probe.wait(lambda: hints and loads(hints[-1].data) == ModelHint("site-1", version.card.sha256), "the model in use", 180.0)
        said.wait("watch", "version 1: undecided after 0 loops to be found")
        for number in range(1, 25):
            with MapStore.open(path) as store:  # as place_recognition does, a keyframe at a time
                search(store, KeyframeId(3, number), 1, number % 6 == 0, time.time_ns())
        probe.wait(lambda: loads(hints[-1].data) == ModelHint(), "the way back", 60.0)
        said.wait("model_asked_because", SwitchReason.ROLLED_BACK.value)
        said.wait("watch", "version 1: roll_back after")
        with MapStore.open(path) as store:
            pending = pending_switch(store)
            assert pending is not None and (pending.version, pending.reason) == (0, SwitchReason.ROLLED_BACK)
            assert pending.figures["from"] == 1 and pending.figures["share"] < 0.3
            assert number_in_use(store) == 1 and finish_switch(store, pending.number)
        said.wait("model_in_use", "")
        probe.wait(lambda: said["model_in_use"] == "", "what was before")
        assert node.end(timeout_s=60.0) == 0, node.output


def test_without_a_map_it_says_so(tmp_path: Path) -> None:
    with samples.node("calibration", {}, tmp_path, samples.ros_environment()) as node:
        assert node.wait(180.0) != 0
    assert "no map is named" in node.output and "Traceback" not in node.output


def learning(tmp_path: Path) -> dict[str, Any]:
    """Parameters of a small calibration that begins by itself."""
    own = {"base": str(base_weights(tmp_path)), "trigger": {"labels": 20, "quiet": 0.0}}
    supervisor = {"back_off": 0.2, "budget": {"share": 2.0}}
    return {**SMALL, **own, "supervisor": supervisor}


def finished(path: Path, tmp_path: Path) -> str:
    """Hash of the weights of a calibration that nobody interrupts."""
    with calibrating(path, tmp_path, **learning(tmp_path)) as (_, node, said):
        said.wait("last_calibration", "1, done", 400.0)
        assert node.end(timeout_s=60.0) == 0, node.output
    with MapStore.open(path, read_only=True) as store:
        return versions(store)[0].card.sha256


@pytest.mark.slow
@needs_torch
def test_killed_twenty_times_at_random_it_comes_to_the_same_model(taught: Path, path: Path, tmp_path: Path) -> None:
    """The trainer and the node are killed (kill -9) by turns; the old model stays, no trainer outlives its node, work goes on."""
    rng = random.Random(5)
    (tmp_path / "whole").mkdir()
    whole = tmp_path / "whole" / "site.vloc"
    whole.write_bytes(path.read_bytes())
    expected = finished(whole, tmp_path)
    whole.unlink()
    kills = 0
    while kills < KILLS:
        with calibrating(path, tmp_path, **learning(tmp_path)) as (probe, node, said):

            def done(said: Said = said) -> bool:
                return "1, done" in said["last_calibration"]

            probe.wait(lambda node=node: trainers(node.process.pid) or done(), f"the trainer after {kills} kills", 180.0)
            time.sleep(rng.uniform(0.0, 6.0))
            children = trainers(node.process.pid)
            if children and kills % 2:
                children[0].kill()
                kills += 1
                old = children[0].pid
                probe.wait(
                    lambda node=node, old=old: any(child.pid != old for child in trainers(node.process.pid)) or done(),
                    "another trainer",
                    180.0,
                )
            left = trainers(node.process.pid)
            finished_here = not left and done()
            node.process.kill()
            node.process.wait()
            kills += bool(left)
            deadline = time.monotonic() + 5.0
            while any(other.is_running() and other.status() != psutil.STATUS_ZOMBIE for other in left):
                assert time.monotonic() < deadline, "a trainer outlives its node"
                time.sleep(0.02)
        assert check_map(path) == [] and in_use(path) == 0
        if finished_here:  # a quick machine: begin again, from the map as it was
            shutil.rmtree(tmp_path / "site.calibration")
            for old_file in (path, *side_files(path)):
                old_file.unlink(missing_ok=True)
            path.write_bytes(taught.read_bytes())
    with calibrating(path, tmp_path, **learning(tmp_path)) as (probe, node, said):
        hints = probe.listen(String, "model", latched=True)
        said.wait("last_calibration", "1, done", 400.0)
        values = said.values
        assert node.end(timeout_s=60.0) == 0, node.output
    with MapStore.open(path, read_only=True) as store:
        (version,) = versions(store)
        pending = pending_switch(store)
    assert version.card.sha256 == expected and version.decision is not None
    if version.decision["promote"]:
        assert pending is not None and pending.version == 1
        assert loads(hints[-1].data) == ModelHint("site-1", expected) and "is asked for" in values["promotion"]
    else:
        assert pending is None and values["last_reasons"]
