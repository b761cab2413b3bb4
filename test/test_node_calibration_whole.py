"""Place recognition, pose graph and calibration as processes while a robot drives: to a better model, and back again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ros_samples as samples
from calibration_maps import SMALL, RingDrive, base_weights, ring_map
from diagnostic_msgs.msg import DiagnosticArray
from map_samples import UNTUNED
from nav_msgs.msg import Odometry
from std_msgs.msg import String
from swap_samples import ask, assert_each_search_was_by_the_version_in_use, in_use
from test_node_place_recognition import said

from vloc_ros.data.weights import load_weights
from vloc_ros.mapping import KeyframeId, MapStore, SessionKind
from vloc_ros.mapping.closures import closures_of
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.model_versions import SwitchReason, add_version, ask_switch, name_of, switches, undescribed, versions
from vloc_ros.mapping.searches import searches_of
from vloc_ros.pose_graph import Label
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.switching import end_switch
from vloc_ros.ros.conversions import odometry_to_ros
from vloc_ros.ros.model_message import ModelHint, loads

pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")

LAP = 48
PATIENCE_S = 240.0
UNSURE = 1e-6 * np.eye(6)
AT_ONCE = {"niceness": 0, "supervisor.niceness": 0, "supervisor.budget.share": 2.0, "watch_period": 0.2}
"""The trainer takes its part of a busy machine like others."""


@dataclass
class Site:
    """The running nodes, and what they say."""

    path: Path
    probe: samples.Probe
    nodes: dict[str, samples.NodeProcess]
    diagnostics: list[DiagnosticArray]
    candidates: list[Odometry]
    hints: list[String]

    def value(self, node: str, key: str) -> str:
        return said(self.diagnostics, node).get(key, "")

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        try:
            self.probe.wait(condition, what, PATIENCE_S)
        except AssertionError:
            raise AssertionError(
                f"{what} did not come: {said(self.diagnostics, 'place rec')}, {said(self.diagnostics, 'calibration')}"
            ) from None

    def announce(self, id: KeyframeId) -> None:
        self.probe.publish("keyframes", odometry_to_ros(time.time_ns(), "map", str(id), np.eye(4), UNSURE))

    def searched(self) -> dict[KeyframeId, int]:
        """The version that searched for each keyframe last."""
        with MapStore.open(self.path, read_only=True) as store:
            return {row.keyframe: row.version for row in sorted(searches_of(store), key=lambda row: row.searched_ns)}

    def share_found(self, version: int) -> float:
        """Of the searches in the second session."""
        with MapStore.open(self.path, read_only=True) as store:
            return float(np.mean([row.verified for row in searches_of(store, version) if row.keyframe.session == 2]))

    def labels(self, label: Label) -> int:
        with MapStore.open(self.path, read_only=True) as store:
            return sum(closure.verdict.label is label for closure in closures_of(store))


@contextmanager
def running(path: Path, folder: Path, calibration: dict[str, Any]) -> Iterator[Site]:
    environment = samples.ros_environment()
    parameters = {
        "pose_graph": {"solver.period": 0.2},
        "place_recognition": {"begin_with": 8, "redescribe_at_once": 1, "loops.gates.gap.seconds": 5.0},
        "calibration": {**AT_ONCE, **calibration},
    }
    with ExitStack() as stack:
        probe = stack.enter_context(samples.probe(environment))
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        candidates = probe.listen(Odometry, "loop_closures/candidates", latched=True)
        hints = probe.listen(String, "model", latched=True)
        nodes = {
            name: stack.enter_context(samples.node(name, {"map": str(path), **values}, folder, environment))
            for name, values in parameters.items()
        }
        site = Site(path, probe, nodes, diagnostics, candidates, hints)
        for name in ("pose_graph", "place_recognition", "calibration"):
            site.wait(lambda name=name: said(diagnostics, name), name)
        yield site
        for node in nodes.values():
            assert node.end(timeout_s=60.0) == 0, node.output
            assert "Traceback" not in node.output


def collapsed_weights(base: Path) -> Path:
    """Weights that were spoiled: of their descriptors one sign is left, so that half of all places are the same."""
    import torch

    from vloc_ros.networks.files import load_network, save_network

    network, _ = load_network(base)
    with torch.no_grad():
        network.pool.fc.weight[1:] = 0.0
        network.pool.fc.bias[1:] = 0.0
    path = base.with_name("collapsed.safetensors")
    save_network(path, network, "nothing")
    return path


def add_model(path: Path, weights: Path, *, use: bool) -> None:
    with MapStore.open(path) as store:
        version = add_version(store, weights.read_bytes(), load_weights(weights)[1])
        if use:
            assert end_switch(store, ask_switch(store, version.number, SwitchReason.ASKED))


def assert_one_model_answers(site: Site, number: int) -> None:
    """Every keyframe has a descriptor of the version in use, and each candidate is of the search that its version made."""
    assert check_map(site.path) == []
    assert_each_search_was_by_the_version_in_use(site.path)
    with MapStore.open(site.path, read_only=True) as store:
        described, vectors = MapDescriptor.of(store, "auto").stored(store)
        assert described == [keyframe.id for keyframe in store.keyframes()] and len(np.unique(vectors, axis=0)) > 1
        assert not number or undescribed(store, name_of(number)) == []
        loops = {(str(row.partner), str(row.keyframe)) for row in searches_of(store) if row.verified}
    told = {(message.header.frame_id, message.child_frame_id) for message in site.candidates}
    assert told and told <= loops


@pytest.mark.slow
def test_from_labels_to_a_better_model_that_finds_the_loops_of_the_rest_of_the_drive(tmp_path: Path) -> None:
    """Three rounds have labels; the model in use is a bad one, and finds hardly a loop."""
    path = ring_map(tmp_path / "site.vloc", laps=3, keyframes=LAP)
    base = base_weights(tmp_path)
    add_model(path, collapsed_weights(base), use=True)
    learning = {"base": str(base), "training.epochs": 1, "training.learning_rate": 1e-4, "trigger.labels": 30, "trigger.quiet": 1.0}
    with running(path, tmp_path, {**SMALL, **learning}) as site, MapStore.open(path) as store:
        site.announce(KeyframeId(3, LAP))
        site.wait(lambda: site.value("place rec", "keyframes_searched") == str(3 * LAP), "the first three rounds")
        site.wait(lambda: site.value("calibration: calibration", "trainer_pid"), "the trainer")
        trainer = int(site.value("calibration: calibration", "trainer_pid"))
        assert os.sched_getscheduler(trainer) == os.SCHED_OTHER, "its niceness is not as set"
        assert site.labels(Label.INLIER) >= 2 * LAP - 5 and set(site.searched().values()) == {1}
        assert len(site.candidates) < LAP
        robot = RingDrive(store, store.begin_session(SessionKind.TEACH, "on"), LAP, 3)
        driven = []
        while in_use(path) != 2 and len(driven) < LAP // 2:  # while it trains, and is re-described
            driven.append(robot.step())
            site.announce(driven[-1])
            time.sleep(0.2)
        site.wait(lambda: in_use(path) == 2, "the switch")
        assert loads(site.hints[-1].data) == ModelHint("site-2", versions(store)[1].card.sha256)
        last = switches(store)[-1]
        assert (last.version, last.reason) == (2, SwitchReason.PROMOTED) and last.figures["gain"] > 0.0
        site.wait(lambda: site.value("place rec", "model").startswith("site-2"), "the model in place recognition")
        after = [robot.step() for _ in range(LAP // 2)]
        for id in after:
            site.announce(id)
        site.wait(lambda: set(after) <= site.searched().keys(), "the rest of the drive")
        assert {site.searched()[id] for id in after} == {2}
        names = {str(id) for id in after}
        site.wait(lambda: sum(m.child_frame_id in names for m in site.candidates) > LAP // 4, "its candidates")
        assert_one_model_answers(site, 2)
        site.wait(lambda: "version 2: " in site.value("calibration: calibration", "watch"), "the watch over it")


@pytest.mark.slow
def test_a_promoted_model_that_finds_less_is_rolled_back_and_the_one_before_searches_again(tmp_path: Path) -> None:
    path = ring_map(tmp_path / "site.vloc", laps=1, keyframes=LAP)
    add_model(path, collapsed_weights(base_weights(tmp_path)), use=False)
    watching = {"trigger.automatic": False, "watch.roll_back.window": 20, "watch.roll_back.stretch": 4}
    with running(path, tmp_path, watching) as site, MapStore.open(path) as store:
        robot = RingDrive(store, store.begin_session(SessionKind.TEACH, "on"), LAP, 1)

        def drive(keyframes: int) -> list[KeyframeId]:
            ids = [robot.step() for _ in range(keyframes)]
            for id in ids:
                site.announce(id)
            site.wait(lambda: set(ids) <= site.searched().keys(), f"the searches up to {ids[-1]}")
            return ids

        drive(LAP)
        site.wait(lambda: site.labels(Label.INLIER) > LAP // 2, "the labels of its loops")
        ask(path, 1)
        site.wait(lambda: in_use(path) == 1, "the promotion")
        site.wait(lambda: "version 1: undecided" in site.value("calibration: calibration", "watch"), "the watch over it")
        left = 2 * LAP
        while in_use(path) == 1 and left:
            left -= len(drive(4))
        site.wait(lambda: in_use(path) == 0, "the way back")
        assert site.share_found(1) < site.share_found(0) - 0.2
        back = switches(store)[-1]
        assert (back.version, back.reason, back.figures["from"]) == (0, SwitchReason.ROLLED_BACK, 1)
        assert loads(site.hints[-1].data) == ModelHint()
        site.wait(lambda: site.value("place rec", "model").startswith(UNTUNED), "the model before")
        found = len(site.candidates)
        again = drive(LAP // 2)
        assert {site.searched()[id] for id in again} == {0}
        site.wait(lambda: len(site.candidates) - found > LAP // 4, "candidates as before")
        assert_one_model_answers(site, 0)
