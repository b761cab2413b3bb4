"""What the table of topics and services is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of the nodes.

    Attributes:
        name: relative to the namespace of the nodes, or absolute.
        types: message types, ``package/msg/Name``; more than one where a setting chooses.
        doc: what it carries.
        group: what it belongs to, for pictures and tables.
    """

    name: str
    types: tuple[str, ...]
    doc: str
    group: str


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a node: its name relative to the namespace, or ``~/`` the node; its type, and what it does."""

    name: str
    type: str
    doc: str


@dataclass(frozen=True, slots=True)
class NodeInterface:
    """What one node talks about, whatever its settings are.

    Attributes:
        name: of the node, and of its executable.
        doc: what it does.
        publishes: names of topics.
        subscribes: names of topics.
        serves: names of services.
        calls: names of services of others.
        only_with: setting under which a topic is used, for those that are not used always.
    """

    name: str
    doc: str
    publishes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    only_with: Mapping[str, str] = field(default_factory=dict)


def resolved(name: str, namespace: str, node: str) -> str:
    """Full name of a topic or service, as ROS 2 expands it (design article "Topic and Service name mapping to DDS").

    Args:
        name: absolute, relative, or ``~/...``.
        namespace: of the node, ``/`` or ``/robot``.
        node: its name.
    """
    if name.startswith("/"):
        return name
    before = f"/{namespace.strip('/')}/".replace("//", "/")
    return before + (f"{node}/{name[2:]}" if name.startswith("~/") else name)
