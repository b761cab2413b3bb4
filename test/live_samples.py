"""Settings with every live key changed, and a search for components that still hold the old ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from enum import Enum
from types import ModuleType
from typing import Any

from vloc_ros.config import keys, replace
from vloc_ros.localization.submap import Submap

# What these hold of the settings of PnP is the noise of key points, which is not live: landmarks were made with it.
NOISE_ONLY = (Submap,)


def other(value: Any, low: float | None, high: float | None) -> Any:
    """Another value within the range."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"another {value}"
    step = 1 if isinstance(value, int) else 0.01 * abs(value) or 0.001
    return value + step if high is None or value + step <= high else value - step


def with_all_live_changed(settings: Any) -> Any:
    """A copy in which each live key has another value."""
    live = {key.name: other(key.value, key.min, key.max) for key in keys(settings) if key.live}
    assert live and not any(isinstance(value, Enum) for value in live.values())
    return replace(settings, live)


def held(part: Any, kinds: set[type], seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Every settings object that a component, or a part of it, holds; and where."""
    seen = set() if seen is None else seen
    if id(part) in seen or isinstance(part, (type, ModuleType, *NOISE_ONLY)):
        return
    seen.add(id(part))
    if isinstance(part, dict | list | tuple):
        for item in part.values() if isinstance(part, dict) else part:
            yield from held(item, kinds, seen)
        return
    if not type(part).__module__.startswith("vloc_ros"):
        return
    slots = [name for cls in type(part).__mro__ for name in getattr(cls, "__slots__", ())]
    for name in {*getattr(part, "__dict__", {}), *slots}:
        value = getattr(part, name, None)
        if type(value) in kinds:
            yield f"{type(part).__name__}.{name}", value
        else:
            yield from held(value, kinds, seen)


def sections(settings: Any) -> Iterator[Any]:
    """The settings, and those nested in them."""
    yield settings
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from sections(value)


def nobody_holds_the_old(component: Any, before: Any, after: Any) -> None:
    """Wherever a component holds settings that have changed, it is the new ones."""
    changed = {type(a): a for a, b in zip(sections(after), sections(before), strict=True) if a != b}
    found = list(held(component, set(changed)))
    assert found
    for where, value in found:
        assert value == changed[type(value)], where
