"""The SROS 2 policy of the nodes: each in an enclave of its own, with what the table says and nothing else.

The format is that of "ROS 2 Access Control Policies" (design.ros2.org), version 0.2.0: names that are not absolute are expanded
with the namespace and the name of the node by ``ros2 security create_permission``, as ROS expands them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape, quoteattr

from vloc_ros.errors import ConfigError
from vloc_ros.interfaces.description import NodeInterface
from vloc_ros.interfaces.table import EVERY_NODE, NODES, TOPICS

ENCLAVES = "/vloc_ros"
"""The enclave of a node is this and its name."""
_KINDS = (
    ("topics", "topic", "publish", "publishes"),
    ("topics", "topic", "subscribe", "subscribes"),
    ("services", "service", "reply", "serves"),
    ("services", "service", "request", "calls"),
)


def enclave_arguments(node: str, wanted: str = "auto") -> list[str]:
    """Arguments of ROS that put a node into its enclave.

    Args:
        node: its name.
        wanted: true, false, or auto: where security is on, as ROS itself asks for it (``ROS_SECURITY_ENABLE`` is "true").
    """
    on = os.environ.get("ROS_SECURITY_ENABLE") == "true" if wanted == "auto" else wanted == "true"
    return ["--enclave", f"{ENCLAVES}/{node}"] if on else []


def policy_xml(namespace: str = "/", remappings: Mapping[str, str] | None = None, nodes: Iterable[str] = NODES) -> str:
    """The policy as XML.

    Args:
        namespace: in which the nodes run.
        remappings: topics of the table by the names they have here, as they are given to the launch file.
        nodes: of which ones; all by default.

    Raises:
        ConfigError: there is no such node or topic, or a name is none of ROS.
    """
    renamed = dict(remappings or {})
    for name in renamed:
        if name not in TOPICS:
            raise ConfigError(f"no node has a topic '{name}'; the topics are: {', '.join(TOPICS)}")
    space = "/" + namespace.strip("/")
    for name in (*([] if space == "/" else [space]), *renamed.values()):
        _check(name)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<policy version="0.2.0">', "  <enclaves>"]
    for node in nodes:
        if node not in NODES:
            raise ConfigError(f"there is no node '{node}'; the nodes are: {', '.join(NODES)}")
        lines += _enclave(NODES[node], space, renamed)
    return "\n".join([*lines, "  </enclaves>", "</policy>", ""])


def _enclave(node: NodeInterface, namespace: str, renamed: Mapping[str, str]) -> list[str]:
    lines = [f"    <enclave path={quoteattr(f'{ENCLAVES}/{node.name}')}>", "      <profiles>"]
    lines.append(f"        <profile ns={quoteattr(namespace)} node={quoteattr(node.name)}>")
    for group, item, right, attribute in _KINDS:
        names = (*getattr(EVERY_NODE, attribute), *getattr(node, attribute))
        if names:
            lines.append(f'          <{group} {right}="ALLOW">')
            lines += [f"            <{item}>{escape(renamed.get(name, name))}</{item}>" for name in sorted(names)]
            lines.append(f"          </{group}>")
    return [*lines, "        </profile>", "      </profiles>", "    </enclave>"]


def _check(name: str) -> None:
    """A wild card or a space in a name would grant more than it says."""
    parts = name.removeprefix("~").removeprefix("/").split("/")
    if not all(part.isidentifier() and part.isascii() for part in parts):
        raise ConfigError(f"'{name}' is not a name of ROS: letters, digits and _ between single slashes")
