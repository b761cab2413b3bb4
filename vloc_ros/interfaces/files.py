"""The files of the repository that are made from the table and from the settings."""

from __future__ import annotations

from collections.abc import Callable

from vloc_ros.interfaces.parameters import reference
from vloc_ros.interfaces.picture import message_flow_svg
from vloc_ros.interfaces.policy import policy_xml

GENERATED: dict[str, Callable[[], str]] = {
    "config/sros2_policy.xml": policy_xml,
    "docs/parameters.md": reference,
    "docs/message_flow.svg": message_flow_svg,
}
"""Text of each file by its name."""
