"""A node that hostile messages are thrown at: how many it has taken, what it says, and what it must not have done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostile_messages
import psutil
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_graph import NodeGraph
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters, SetParametersAtomically
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

MOST_GROWTH_BYTES = 300 * 2**20
"""What a node may hold on to: what it keeps of a megabyte here and there, and the middleware's queues of them."""
_PATIENCE_S = 60.0
_PACE_S = 0.003
_MOST_ROUNDS = 30


@dataclass(frozen=True)
class Target:
    """A topic, the type of its messages, and a message that is as it should be."""

    topic: str
    good: Any
    with_stamp_of: str | None = None
    """Another target, whose stamps most of these messages bear: without them no pair of images would ever be made."""


class FuzzedNode:
    """A node of another process, and everything that is known of how it bears it."""

    def __init__(self, probe: samples.Probe, process: samples.NodeProcess, name: str, folder: Path) -> None:
        self.probe, self.process, self.name, self.folder = probe, process, name, folder
        self.graph = NodeGraph(probe, name, "/")
        self._diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        self._psutil = psutil.Process(process.process.pid)
        self._publishers: dict[tuple[str, Any], Any] = {}
        self.graph.wait_active()
        self._memory: int | None = None
        self.attacked: set[str] = set()

    def said(self) -> dict[str, str]:
        """The newest of everything in its diagnostics."""
        values: dict[str, str] = {}
        for message in self._diagnostics[-20:]:
            for status in message.status:
                if f"/{self.name}:" in status.name:
                    values |= {pair.key: pair.value for pair in status.values}
        return values

    def fresh(self) -> dict[str, str]:
        """What it says after now: it still comes to its report."""
        heard = len(self._diagnostics)

        def again() -> bool:
            return any(f"/{self.name}:" in status.name for message in self._diagnostics[heard:] for status in message.status)

        self.wait(again, "diagnostics")
        del self._diagnostics[:-40]
        return self.said()

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float = _PATIENCE_S) -> None:
        assert self.process.process.poll() is None, f"it ended:\n{self.tail()}"
        try:
            self.probe.wait(condition, what, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.said()}\n{self.tail()}") from None

    def tail(self) -> str:
        """The end of its output."""
        return self.process.output[-6000:]

    def attack(self, targets: list[Target], count: int, number: int = 0) -> None:
        """Send hostile messages to all targets by turns until so many were taken from each, by the node's own count."""
        sent = self._made(targets, count, number)
        order = [(target, index) for index in range(count) for target in targets]
        before = {target.topic: self._taken(target) for target in targets}
        for _ in range(_MOST_ROUNDS):
            missing = {t.topic: count - self._taken(t) + before[t.topic] for t in targets}
            if max(missing.values()) <= 0:
                break
            for target, index in order:
                if missing[target.topic] > 0 and index < missing[target.topic] + 20:
                    self.publisher(target.topic, type(target.good)).publish(sent[target.topic][index])
                    time.sleep(_PACE_S)
            self.fresh()
        taken = {target.topic: self._taken(target) - before[target.topic] for target in targets}
        assert min(taken.values()) >= count, f"not all were taken: {taken} of {count}\n{self.tail()}"
        self.attacked |= {target.topic for target in targets}
        self._check()

    def _made(self, targets: list[Target], count: int, number: int) -> dict[str, list[Any]]:
        made: dict[str, list[Any]] = {}
        for place, target in enumerate(targets):
            batch = hostile_messages.messages(type(target.good), count, target.good, 100 * number + place)
            if target.with_stamp_of is not None:
                for index, (message, other) in enumerate(zip(batch, made[target.with_stamp_of], strict=True)):
                    if index % 5:
                        message.header.stamp = other.header.stamp
            made[target.topic] = batch
        return made

    def _taken(self, target: Target) -> int:
        own = target.topic.lstrip("/").replace(f"{self.name}/", "~/")
        return int(self.said().get(f"taken_{own}", 0))

    def publisher(self, topic: str, kind: Any) -> Any:
        """Of a topic, made with the first message; it waits for the node to listen."""
        key = topic, kind
        if key not in self._publishers:
            wanted = self.probe.node.get_subscriptions_info_by_topic(self.probe.node.resolve_topic_name(topic))
            latched = any(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in wanted)
            profile = QoSProfile(
                history=HistoryPolicy.KEEP_LAST,
                depth=20,
                reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
            )
            publisher = self._publishers[key] = self.probe.node.create_publisher(kind, topic, profile)
            self.wait(lambda: publisher.get_subscription_count() > 0, f"a subscriber of {topic}")
            time.sleep(0.3)
        return self._publishers[key]

    def forget_publishers(self) -> None:
        """Take the topics of the attack away, as what was latched would reach the node again."""
        for publisher in self._publishers.values():
            self.probe.node.destroy_publisher(publisher)
        self._publishers.clear()

    def attack_services(self, count: int) -> None:
        """Parameters with hostile names and values, and transitions that there are not."""
        values = hostile_messages.messages(ParameterValue, count, ParameterValue(), 7)
        known = ["map", "autostart", "mode", "sync.slop"]
        names = [*hostile_messages.TEXTS, *known]
        for index, value in enumerate(values):
            asked = [Parameter(name=names[index % len(names)], value=value)]
            kind, service = ((SetParameters, "set_parameters"), (SetParametersAtomically, "set_parameters_atomically"))[index % 2]
            answer = self._answer(service, kind.Request(parameters=asked), kind)
            results = answer.results if index % 2 == 0 else [answer.result]
            # To take a parameter away that there is not is no error to rclpy.
            nothing = value.type == ParameterType.PARAMETER_NOT_SET and asked[0].name not in known
            assert nothing or not any(result.successful for result in results), asked
        self.probe.call(f"{self.graph.full_name}/describe_parameters", DescribeParameters.Request(names=names), DescribeParameters)
        for id in (0, 9, 100, 200, 255):
            request = ChangeState.Request(transition=Transition(id=id, label="../../x"))
            assert not self._answer("change_state", request, ChangeState).success
        self._check()

    def _answer(self, service: str, request: Any, kind: Any) -> Any:
        try:
            return self.probe.call(f"{self.graph.full_name}/{service}", request, kind)
        except AssertionError as error:
            raise AssertionError(f"{error} to {request}\n{self.tail()}") from None

    def _check(self) -> None:
        """It lives, without a traceback, and what it keeps does not grow with what it gets."""
        assert self.process.process.poll() is None, self.tail()
        self.without_traceback()
        now = self._psutil.memory_info().rss
        # What the first messages make it load is not counted.
        self._memory = now if self._memory is None else self._memory
        assert now - self._memory < MOST_GROWTH_BYTES, f"it grew by {(now - self._memory) >> 20} MiB"

    def without_traceback(self) -> None:
        """No line of the output is a traceback of its own: hostile texts may hold the word, but stay on one line."""
        lines = self.process.output.splitlines()
        assert not [line for line in lines if line.startswith(("Traceback", "  File "))], self.tail()

    def end(self) -> None:
        """It ends well, and has left nothing where it has no business."""
        assert self.process.end(timeout_s=40.0) == 0, self.tail()
        self.without_traceback()
        around = [self.folder, *self.folder.parents[:3]]
        assert [path for folder in around for path in folder.glob("*hostile*")] == []


@contextmanager
def fuzzed(name: str, parameters: Mapping[str, Any], folder: Path) -> Iterator[FuzzedNode]:
    """A node, active."""
    environment = samples.ros_environment()
    with samples.node(name, parameters, folder, environment) as process, samples.probe(environment) as probe:
        yield FuzzedNode(probe, process, name, folder)
