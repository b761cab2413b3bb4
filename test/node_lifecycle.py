"""A node led through its states again and again, as a lifecycle manager does: what it took it gives back."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
from node_graph import Names, NodeGraph

from vloc_ros.interfaces import EVERY_NODE
from vloc_ros.interfaces.description import resolved

ROUNDS = 3
_PATIENCE_S = 40.0
_GROWTH_BYTES = 24 * 2**20
"""Of a round: less than the images and descriptors that a node which forgets to let go would keep."""


class Resources:
    """What a process of a node holds."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.threads, self.files, self.bytes = 0, 0, 0
        self.children: list[str] = []
        self.look()

    def look(self) -> None:
        """Look again."""
        with self._process.oneshot():
            self.threads, self.files = self._process.num_threads(), self._process.num_fds()
            self.bytes = int(self._process.memory_info().rss)
        self.children = [child.name() for child in self._process.children(recursive=True)]


def wait(condition: Callable[[], object], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def of_every_node(graph: NodeGraph) -> dict[str, set[str]]:
    """Names that a node has in every state."""
    space, name = graph.namespace, graph.name
    return {
        "publishes": {resolved(each, space, name) for each in EVERY_NODE.publishes},
        "subscribes": {"/clock"},
        "serves": {resolved(each, space, name) for each in EVERY_NODE.serves},
        "calls": set(),
    }


def extra(graph: NodeGraph) -> dict[str, set[str]]:
    """What it has beside that."""
    usual = of_every_node(graph)
    return {kind: set(names) - usual[kind] for kind, names in graph.observe().items() if set(names) - usual[kind]}


def leaves_nothing(graph: NodeGraph, pid: int, work: Callable[[], None]) -> None:
    """Lead an unconfigured node through its states; ``work`` is done while it is active.

    After each round it has no topic, service or child of its own; after the last no more threads, files or memory than after the
    first, which brings in libraries.
    """
    resources: list[Resources] = []
    for number in range(ROUNDS):
        graph.lead("configure")
        inactive: dict[str, Names] = graph.settled() if number == 0 else {}
        graph.lead("activate")
        work()
        graph.lead("deactivate")
        if number == 0:
            wait(lambda seen=inactive: graph.observe() == seen, lambda: f"after deactivate: {graph.observe()}")
        graph.lead("cleanup")
        wait(lambda: not extra(graph), lambda: f"{graph.name} still has {extra(graph)} after cleanup")
        resources.append(Resources(pid))
        wait(lambda: has_freed(resources), lambda: f"{graph.name}, after each round: {[vars(each) for each in resources]}")
    grown = resources[-1].bytes - resources[0].bytes
    assert grown < (ROUNDS - 1) * _GROWTH_BYTES, f"{graph.name} has grown by {grown >> 20} MiB in {ROUNDS - 1} rounds"


def has_freed(rounds: list[Resources]) -> bool:
    """Whether, by now, it holds no more than after the first round."""
    rounds[-1].look()
    now, first = rounds[-1], rounds[0]
    return not now.children and now.threads <= first.threads and now.files <= first.files
