"""What a running node publishes, hears, serves and calls, as the ROS graph has it; and a node led through its states."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from ros_samples import Probe

Names = dict[str, set[str]]
_STEPS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "shutdown": Transition.TRANSITION_ACTIVE_SHUTDOWN,
}


class NodeGraph:
    """One node of another process."""

    def __init__(self, probe: Probe, name: str, namespace: str) -> None:
        self.probe, self.name, self.namespace = probe, name, namespace

    @property
    def full_name(self) -> str:
        return f"{self.namespace.rstrip('/')}/{self.name}"

    @property
    def known(self) -> bool:
        """Whether the graph has a node of this name."""
        return (self.name, self.namespace) in self.probe.node.get_node_names_and_namespaces()

    def observe(self) -> dict[str, Names]:
        """Types by name, of what it publishes, subscribes, serves and calls."""
        node = self.probe.node
        asked = {
            "publishes": node.get_publisher_names_and_types_by_node,
            "subscribes": node.get_subscriber_names_and_types_by_node,
            "serves": node.get_service_names_and_types_by_node,
            "calls": node.get_client_names_and_types_by_node,
        }
        return {kind: {name: set(types) for name, types in ask(self.name, self.namespace)} for kind, ask in asked.items()}

    def wait_active(self) -> None:
        """Wait until the node has begun its work."""
        deadline = time.monotonic() + 90.0
        while not self.known:
            assert time.monotonic() < deadline, f"{self.name} does not start"
            time.sleep(0.1)
        while self.state != "active":
            assert time.monotonic() < deadline, f"{self.name} does not become active"
            time.sleep(0.05)

    def settled(self) -> dict[str, Names]:
        """What is observed once nothing has changed any more for a while."""
        seen, since, deadline = self.observe(), time.monotonic(), time.monotonic() + 15.0
        while time.monotonic() - since < 0.8 and time.monotonic() < deadline:
            time.sleep(0.1)
            now = self.observe()
            if now != seen:
                seen, since = now, time.monotonic()
        return seen

    def change(self, step: str) -> bool:
        """Whether it took a transition."""
        request = ChangeState.Request(transition=Transition(id=_STEPS[step]))
        return bool(self.probe.call(f"{self.full_name}/change_state", request, ChangeState).success)

    def lead(self, *steps: str) -> None:
        """Take it through transitions, as a lifecycle manager does."""
        for step in steps:
            assert self.change(step), f"{self.name}: {step}"

    @property
    def state(self) -> str:
        """Which it is in."""
        return str(self.probe.call(f"{self.full_name}/get_state", GetState.Request(), GetState).current_state.label)

    def _set(self, values: Mapping[str, Any]) -> Any:
        messages = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=messages)
        return self.probe.call(f"{self.full_name}/set_parameters_atomically", request, SetParametersAtomically).result

    def set(self, values: Mapping[str, Any]) -> None:
        """Set parameters, all or none."""
        answer = self._set(values)
        assert answer.successful, answer.reason

    def refused(self, values: Mapping[str, Any]) -> str:
        """Try to; the reason why the node did not take them."""
        answer = self._set(values)
        assert not answer.successful
        return str(answer.reason)

    def reconfigure(self, values: Mapping[str, Any]) -> None:
        """Set what can be set only while it is unconfigured, and begin again."""
        self.lead("deactivate", "cleanup")
        self.set(values)
        self.lead("configure", "activate")


def merged(observations: list[dict[str, Names]]) -> dict[str, Names]:
    """The union of what was seen under several settings."""
    total: dict[str, Names] = {}
    for observation in observations:
        for kind, names in observation.items():
            for name, types in names.items():
                total.setdefault(kind, {}).setdefault(name, set()).update(types)
    return total
