"""Configuration: one frozen dataclass per component; the same keys serve YAML, the command line and ROS parameters.

A component declares its fields with :func:`param`, which carries documentation, unit and range. A configuration dataclass may
hold others, so that keys nest: ``odometry.min_inliers``.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vloc_ros.errors import ConfigError

T = TypeVar("T")
Scalar = bool | int | float | str
_SCIENTIFIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")
"""What YAML 1.1 takes for text unless it has both a point and the sign of the exponent: 1e-4."""
UNCONFIGURED = "while unconfigured"
"""When what is not live can be changed in a node."""


@dataclass(frozen=True, slots=True)
class Key:
    """One leaf of a configuration: its dotted name, type, default value and metadata."""

    name: str
    type: type
    value: Any
    doc: str
    unit: str | None
    min: float | None
    max: float | None
    live: bool = False
    fixed: bool = False

    @property
    def changeable(self) -> str:
        """When a node that was started takes another value: "while running", "while unconfigured" or "never"."""
        return "never" if self.fixed else "while running" if self.live else UNCONFIGURED


def param(
    default: Any,
    doc: str,
    *,
    unit: str | None = None,
    min: float | None = None,
    max: float | None = None,
    live: bool = False,
    fixed: bool = False,
) -> Any:
    """A configuration field.

    Args:
        default: its value when none is given.
        doc: one line of documentation.
        unit: of a number.
        min: of its inclusive range.
        max: of its inclusive range.
        live: whoever has it takes another value while it runs, and nothing that was computed before contradicts that value.
        fixed: it counts at the start only.
    """
    metadata = {"doc": doc, "unit": unit, "min": min, "max": max, "live": live, "fixed": fixed}
    return dataclasses.field(default=default, metadata=metadata)


def section(cls: type[T], *, live: bool = True, **defaults: Any) -> T:
    """A field that holds the configuration of another component.

    Args:
        cls: of the configuration.
        live: False says that nothing of it changes while running here.
        defaults: of some of its fields, where they are others here.
    """
    return dataclasses.field(default_factory=partial(cls, **defaults), metadata={"live": live, "defaults": defaults})


def keys(config: Any, prefix: str = "", *, live: bool = True) -> Iterator[Key]:
    """All leaves of a configuration, in the order of their declaration; ``live=False`` says that none of them is live here."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from keys(value, name + ".", live=live and field.metadata.get("live", True))
        else:
            meta = field.metadata
            yield Key(
                name,
                hints[field.name],
                value,
                meta.get("doc", ""),
                meta.get("unit"),
                meta.get("min"),
                meta.get("max"),
                live and meta.get("live", False),
                meta.get("fixed", False),
            )


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values, ready for YAML or JSON."""
    result: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            result[field.name] = to_dict(value)
        else:
            result[field.name] = value.value if isinstance(value, Enum) else value
    return result


def to_flat_dict(config: Any, prefix: str = "") -> dict[str, Any]:
    """Plain values by dotted name, as ROS parameters and the records of trainings have them."""
    return {key.name: key.value.value if isinstance(key.value, Enum) else key.value for key in keys(config, prefix)}


def from_dict(cls: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Build a configuration from nested or dotted keys; missing keys keep their defaults.

    Raises:
        ConfigError: a key is unknown, of the wrong type, or out of range.
    """
    nested = _nest(values)
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for name, value in nested.items():
        if name not in fields:
            raise ConfigError(f"unknown key '{prefix}{name}'; known here: {', '.join(fields)}")
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise ConfigError(f"'{prefix}{name}' is a section, not a value; its keys are nested under it")
            value = _merge(fields[name].metadata.get("defaults", {}), value)
            arguments[name] = from_dict(typing.cast(type, hints[name]), value, f"{prefix}{name}.")
        else:
            arguments[name] = _checked(f"{prefix}{name}", hints[name], value, fields[name].metadata)
    return cls(**arguments)


def replace(config: T, values: Mapping[str, Any]) -> T:
    """A copy with some (nested or dotted) keys changed; checks as :func:`from_dict` does."""
    merged = _merge(to_dict(config), _nest(values))
    return from_dict(type(config), merged)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file, either plain keys or a ROS parameter file (``/**: ros__parameters: ...``).

    Raises:
        ConfigError: the file cannot be read or is not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold 'key: value' lines, not a {type(values).__name__}")
    for body in values.values():
        if isinstance(body, dict) and set(body) == {"ros__parameters"}:
            return dict(body["ros__parameters"])
    return values


def dump_yaml(config: Any) -> str:
    """The effective configuration as YAML with the documentation, unit and range of each key as comments."""
    lines: list[str] = []
    opened: list[str] = []
    for key in keys(config):
        *sections, leaf = key.name.split(".")
        for depth, name in enumerate(sections):
            if opened[: depth + 1] != sections[: depth + 1]:
                lines.append(f"{'  ' * depth}{name}:")
        opened = sections
        note = key.doc + (f" [{key.unit}]" if key.unit else "")
        if key.min is not None or key.max is not None:
            low = "" if key.min is None else f"{key.min:g}"
            high = "" if key.max is None else f"{key.max:g}"
            note += f" ({low}..{high})"
        value = key.value.value if isinstance(key.value, Enum) else key.value
        text = yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()
        lines.append(f"{'  ' * len(sections)}{leaf}: {text}  # {note}")
    return "\n".join(lines) + "\n"


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """``["odometry.min_inliers=20"]`` to ``{"odometry.min_inliers": 20}``.

    Raises:
        ConfigError: a text is not of the form ``key=value``.
    """
    values: dict[str, Any] = {}
    for text in assignments:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ConfigError(f"'{text}' is not of the form key=value, for example odometry.min_inliers=20")
        values[name.strip()] = yaml.safe_load(value)
    return values


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        head, _, rest = str(name).partition(".")
        entry = {rest: value} if rest else value
        if isinstance(entry, Mapping):
            entry = _nest(entry)
            if isinstance(nested.get(head), dict):
                entry = _merge(nested[head], entry)
        nested[head] = entry
    return nested


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = _merge(merged[name], value)
        else:
            merged[name] = value
    return merged


def _checked(name: str, hint: Any, value: Any, meta: Mapping[str, Any]) -> Any:
    value = _converted(name, hint, value)
    low, high = meta.get("min"), meta.get("max")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value != value:
            raise ConfigError(f"'{name}' is not a number")
        if low is not None and value < low:
            raise ConfigError(f"'{name}' = {value} is below its minimum {low:g}")
        if high is not None and value > high:
            raise ConfigError(f"'{name}' = {value} is above its maximum {high:g}")
    return value


def _converted(name: str, hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        if isinstance(value, hint):
            return value
        word = ("on" if value else "off") if isinstance(value, bool) else value  # YAML 1.1 reads an unquoted off as false
        try:
            return hint(word)
        except ValueError:
            choices = ", ".join(str(member.value) for member in hint)
            raise ConfigError(f"'{name}' = {value!r} is not one of: {choices}") from None
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if value is None:
            return None
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str) and _SCIENTIFIC.fullmatch(value):
        return float(value)
    if (hint is not bool and isinstance(value, bool)) or not isinstance(value, hint):
        raise ConfigError(f"'{name}' must be of type {hint.__name__}, not {type(value).__name__} ({value!r})")
    return value
