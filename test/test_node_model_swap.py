"""The swap to another version of the model by the node, a process of its own: over real topics, and killed at any moment."""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

import pytest
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray
from map_samples import UNTUNED
from nav_msgs.msg import Odometry
from std_msgs.msg import String
from swap_samples import GATES, ask, assert_each_search_was_by_the_version_in_use, in_use, teach_with_versions
from test_node_place_recognition import announced, said

from vloc_ros.mapping import MapStore
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.model_versions import name_of, number_in_use, pending_switch, undescribed, version
from vloc_ros.mapping.searches import searches_of
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.ros.model_message import ModelHint, dumps

pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")

OUT, VERSIONS, KILLS = 10, 3, 20
KEYFRAMES = 2 * OUT - 1
PATIENCE_S = 180.0
PARAMETERS = {**GATES, "begin_with": 4, "redescribe_at_once": 1}


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return teach_with_versions(tmp_path_factory.mktemp("walk"), OUT, VERSIONS).read_bytes()


@pytest.fixture
def path(taught: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "site.vloc"
    path.write_bytes(taught)
    return path


def messages_of(path: Path) -> list[Odometry]:
    with MapStore.open(path, read_only=True) as store:
        return announced(store)


def test_the_map_decides_and_the_topic_only_hints(path: Path, tmp_path: Path) -> None:
    environment, messages = samples.ros_environment(), messages_of(path)
    with (
        samples.probe(environment) as probe,
        samples.node("place_recognition", {"map": str(path), **PARAMETERS}, tmp_path, environment) as node,
    ):
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")

        def now(key: str) -> str:
            return said(diagnostics, "place rec").get(key, "")

        probe.wait(lambda: diagnostics, "the node", PATIENCE_S)
        probe.publish("keyframes", messages[-1])
        probe.wait(lambda: now("keyframes_searched") == str(KEYFRAMES), "all keyframes", PATIENCE_S)
        assert now("model").startswith(UNTUNED) and "model_on_its_way" not in said(diagnostics, "place rec")
        probe.publish("model", String(data="{no JSON"))
        probe.wait(lambda: "is no JSON" in now("problem_bad_model_message"), "the refusal", PATIENCE_S)
        probe.publish("model", String(data=dumps(ModelHint("site-9", "a" * 64))))
        probe.wait(lambda: not now("problem_bad_model_message"), "the hint at nothing", PATIENCE_S)
        assert now("model").startswith(UNTUNED) and in_use(path) == 0, "the map does not ask for it"
        ask(path, 2)
        with MapStore.open(path, read_only=True) as store:
            sha256 = version(store, 2).card.sha256
        probe.publish("model", String(data=dumps(ModelHint("site-2", sha256))))
        probe.wait(lambda: now("model") == f"site-2 {sha256[:12]}", "the swap", PATIENCE_S)
        assert now("model_swaps") == "1" and in_use(path) == 2
        assert node.end(timeout_s=PATIENCE_S) == 0, node.output
    with (
        samples.probe(environment) as probe,
        samples.node("place_recognition", {"map": str(path), **PARAMETERS}, tmp_path, environment) as node,
    ):
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        probe.wait(lambda: diagnostics, "the node", PATIENCE_S)
        for message in messages[-3:]:
            probe.publish("keyframes", message)
        probe.wait(lambda: said(diagnostics, "place rec").get("keyframes_searched") == "3", "the keyframes", PATIENCE_S)
        values = said(diagnostics, "place rec")
        assert values["model"].startswith("site-2") and 1 <= int(values["probability_matches"]) <= 3
        assert 0.0 <= float(values["probability_ece"]) <= 1.0 and 0.0 <= float(values["probability_brier"]) <= 1.0
        assert any("probability 0." in values.get(key, "") for key in ("last_candidate", "last_rejection")), values
        assert node.end(timeout_s=PATIENCE_S) == 0, node.output
    with MapStore.open(path, read_only=True) as store:
        assert {row.version for row in searches_of(store)} == {0, 2}
    assert_each_search_was_by_the_version_in_use(path)
    assert check_map(path) == []


@pytest.mark.slow
def test_killed_at_any_moment_one_version_answers(path: Path, tmp_path: Path) -> None:
    """Three versions in turn, so that there is always one whose descriptors were pruned and must be made again."""
    environment, messages = samples.ros_environment(), messages_of(path)
    seed = random.SystemRandom().randrange(2**32)
    dice, asked, outcomes = random.Random(seed), 0, []
    with samples.probe(environment) as probe:
        first = samples.NodeProcess("place_recognition", {"map": str(path), **PARAMETERS}, tmp_path, environment)
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        probe.wait(lambda: diagnostics, "the node", PATIENCE_S)
        for message in messages:  # kept for every node that starts later
            probe.publish("keyframes", message)
        kill(first)
        for number in range(KILLS):
            asked += ask_if_none_waits(path, asked)
            before, wanted, left = progress(path)
            until = dice.randint(1, left + 1)  # the last one is the switch itself
            delay = dice.uniform(0.0, 0.2)
            sys.stdout.write(f"kill {number}: seed {seed}, {left} left, killed {until} later and after {delay:.3f} s\n")
            node = samples.NodeProcess("place_recognition", {"map": str(path), **PARAMETERS}, tmp_path, environment)
            try:
                wait_for_progress(path, node, wanted, left - until)
                time.sleep(delay)
            finally:
                kill(node)
            outcomes.append(assert_consistent(path, before, wanted, left))
        sys.stdout.write(f"{outcomes.count(True)} of {KILLS} kills came after the switch, {outcomes.count(False)} before it\n")
        ask_if_none_waits(path, asked)
        _, wanted, _ = progress(path)
        with samples.node("place_recognition", {"map": str(path), **PARAMETERS}, tmp_path, environment) as node:
            wait_for_progress(path, node, wanted, -1)
            assert node.end(timeout_s=PATIENCE_S) == 0, node.output
    assert in_use(path) == wanted and True in outcomes and False in outcomes
    assert_consistent(path, wanted, wanted, KEYFRAMES)


def kill(node: samples.NodeProcess) -> None:
    node.process.send_signal(signal.SIGKILL)
    assert node.process.wait(PATIENCE_S) == -signal.SIGKILL, node.output


def pending(path: Path) -> bool:
    with MapStore.open(path, read_only=True) as store:
        return pending_switch(store) is not None


def ask_if_none_waits(path: Path, asked: int) -> int:
    if pending(path):
        return 0
    ask(path, 1 + asked % VERSIONS)
    return 1


def progress(path: Path) -> tuple[int, int, int]:
    """The version in use, the one that is wanted, and how many keyframes that has yet to describe."""
    with MapStore.open(path, read_only=True) as store:
        switch = pending_switch(store)
        assert switch is not None
        return number_in_use(store), switch.version, len(undescribed(store, name_of(switch.version)))


def wait_for_progress(path: Path, node: samples.NodeProcess, wanted: int, left: int) -> None:
    """Until no more than ``left`` keyframes lack their descriptor; below zero: until the switch has taken effect."""
    deadline = time.monotonic() + PATIENCE_S
    with MapStore.open(path, read_only=True) as store:
        while number_in_use(store) != wanted and (left < 0 or len(undescribed(store, name_of(wanted))) > left):
            assert node.process.poll() is None and time.monotonic() < deadline, node.output
            time.sleep(0.005)


def assert_consistent(path: Path, before: int, wanted: int, left: int) -> bool:
    """Whether the switch took effect."""
    assert check_map(path) == []
    with MapStore.open(path, read_only=True) as store:
        number = number_in_use(store)
        assert number in (before, wanted)
        answering = MapDescriptor.of(store, "auto")
        assert answering.descriptor.card.name == (name_of(number) if number else UNTUNED)
        assert len(undescribed(store, name_of(wanted))) <= left, "what is described stays"
        if number:
            ids, vectors = answering.stored(store)
            assert ids == [keyframe.id for keyframe in store.keyframes()] and len(vectors) == KEYFRAMES
            assert list(answering.variances(store)) == ids
    assert_each_search_was_by_the_version_in_use(path)
    return number == wanted
