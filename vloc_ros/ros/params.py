"""ROS parameters declared from the metadata of configuration dataclasses, and read back into them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from vloc_ros.config import Key, from_dict, keys, replace
from vloc_ros.errors import ConfigError

T = TypeVar("T")
_INT64_MAX = 2**63 - 1
_OF_ROS = ("use_sim_time", "start_type_description_service")
_OF_ROS_PREFIX = "qos_overrides."


def descriptor(key: Key) -> ParameterDescriptor:
    """Description (with the unit), choices, range, and when it can be changed, of a configuration key."""
    text = key.doc + (f" [{key.unit}]" if key.unit else "")
    result = ParameterDescriptor(name=key.name, description=text, read_only=key.fixed)
    result.additional_constraints = when = constraint(key.changeable)
    if isinstance(key.value, Enum):
        choices = ", ".join(str(member.value) for member in type(key.value))
        result.additional_constraints = f"one of: {choices}; {when}"
    elif key.min is not None or key.max is not None:
        if isinstance(key.value, bool) or not isinstance(key.value, int | float):
            return result
        if isinstance(key.value, int):
            low = -_INT64_MAX if key.min is None else int(key.min)
            high = _INT64_MAX if key.max is None else int(key.max)
            result.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
        else:
            low_f = -sys.float_info.max if key.min is None else float(key.min)
            high_f = sys.float_info.max if key.max is None else float(key.max)
            result.floating_point_range = [FloatingPointRange(from_value=low_f, to_value=high_f, step=0.0)]
    if key.value is None:
        result.dynamic_typing = True
    return result


def constraint(when: str) -> str:
    """What ``ros2 param describe`` shows of when a parameter can be changed (:attr:`~vloc_ros.config.Key.changeable`)."""
    return f"can be changed: {when}"


def take_overrides(node: Node) -> dict[str, Any]:
    """The parameters a node was started with, undeclared so that they can be declared with their descriptors.

    The node must have been made with ``automatically_declare_parameters_from_overrides=True``.
    """
    values: dict[str, Any] = {}
    for name, parameter in node.get_parameters_by_prefix("").items():
        if name in _OF_ROS or name.startswith(_OF_ROS_PREFIX):
            continue
        values[name] = _plain(parameter.value)
        node.undeclare_parameter(name)
    return values


def split(overrides: Mapping[str, Any], configs: Iterable[Any], others: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Overrides by the configuration whose keys they are.

    Raises:
        ConfigError: a key belongs to none of them; the text names it and the nearest ones known.
    """
    known = [{key.name for key in keys(config)} for config in configs]
    parts: list[dict[str, Any]] = [{} for _ in known]
    for name, value in overrides.items():
        owner = next((index for index, names in enumerate(known) if name in names), None)
        if owner is not None:
            parts[owner][name] = value
        elif name not in others:
            raise ConfigError(_unknown(name, set().union(*known, others)))
    return parts


def declare(node: Node, config: T, overrides: Mapping[str, Any]) -> T:
    """Declare each key of a configuration on a node.

    Args:
        node: to declare on.
        config: its defaults.
        overrides: dotted keys to change; integers are accepted where a float is meant.

    Returns:
        The effective configuration.

    Raises:
        ConfigError: a value has the wrong type, or lies outside its range.
    """
    effective = replace(config, overrides)
    for key in keys(effective):
        node.declare_parameter(key.name, _plain(key.value), descriptor(key), ignore_override=True)
    return effective


def read(node: Node, config: T, changes: Mapping[str, Any] | None = None) -> T:
    """The configuration that a node's declared parameters now make, with some changed.

    Raises:
        ConfigError: a value has the wrong type, or lies outside its range.
    """
    values = {key.name: _plain(node.get_parameter(key.name).value) for key in keys(config)}
    values.update(changes or {})
    return from_dict(type(config), values)


def numbers(name: str, values: Any) -> list[float]:
    """A list of numbers as floats.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(values, list | tuple) and not hasattr(values, "tolist"):
        raise ConfigError(f"'{name}' must be a list of numbers, not {values!r}")
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise ConfigError(f"'{name}' must hold numbers only, not {list(values)!r}")
    return [float(value) for value in values]


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if not isinstance(value, str | bytes) and hasattr(value, "__iter__") else value


def _unknown(name: str, known: set[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, sorted(known), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`vloc config` lists the keys"
    return f"unknown parameter '{name}'; {hint}"
