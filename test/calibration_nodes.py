"""The calibration node as a process, what it says, and the trainers that it starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray

CHILD = "vloc_ros.calibration.child"


class Said:
    """The newest diagnostics of the node."""

    def __init__(self, probe: samples.Probe) -> None:
        self._probe = probe
        self._messages = probe.listen(DiagnosticArray, "/diagnostics")

    @property
    def values(self) -> dict[str, str]:
        for message in reversed(self._messages):
            for status in message.status:
                if status.name.endswith("calibration: calibration"):
                    return {pair.key: pair.value for pair in status.values} | {"message": status.message}
        return {}

    def __getitem__(self, key: str) -> str:
        return self.values.get(key, "")

    def wait(self, key: str, text: str, timeout_s: float = 180.0) -> None:
        try:
            self._probe.wait(lambda: text in self[key], key, timeout_s)
        except AssertionError:
            raise AssertionError(f"'{text}' did not come as {key}: {self.values}") from None


@contextmanager
def calibrating(path: Path, folder: Path, **parameters: Any) -> Iterator[tuple[samples.Probe, samples.NodeProcess, Said]]:
    environment = samples.ros_environment()
    # where a machine has no idle moment, a trainer that waits for one would never get any
    hurried = {"niceness": 0, "supervisor.niceness": 0}
    given = {"map": str(path), "trigger.quiet": 0.0, "watch_period": 0.5} | hurried | parameters
    with (
        samples.probe(environment) as probe,
        samples.node("calibration", given, folder, environment) as node,
    ):
        yield probe, node, Said(probe)


def trainers(node: int) -> list[psutil.Process]:
    """The trainers of a node, by their command line; those that wait to be buried are none."""
    try:
        found = psutil.Process(node).children(recursive=True)
        return [child for child in found if child.status() != psutil.STATUS_ZOMBIE and CHILD in child.cmdline()]
    except psutil.Error:
        return []


def trigger(probe: samples.Probe, service: str) -> Any:
    return probe.call(f"calibration/{service}", samples.Trigger.Request())
