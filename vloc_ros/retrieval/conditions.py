"""What somebody says of the condition of images, and who understands it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vloc_ros.errors import ConfigError
from vloc_ros.mapping.keyframe import KeyframeId

ConditionOf = Callable[[KeyframeId], str]
"""In which condition a keyframe was taken; empty where nobody says, so that it is inferred."""


def inferred(id: KeyframeId) -> str:
    """Nobody says anything."""
    return ""


def of_session(session: int, condition: str) -> ConditionOf:
    """The keyframes of one session were taken in a condition; of all others nobody says anything."""
    return lambda id: condition if id.session == session else ""


def known_conditions(*parts: Iterable[str]) -> tuple[str, ...]:
    """The conditions that any of several models knows, each once."""
    return tuple(dict.fromkeys(condition for part in parts for condition in part))


def require_known(condition: str, known: Iterable[str], models: Iterable[str]) -> None:
    """Make sure that a condition, if somebody says one, says something to those who are told.

    Args:
        condition: it, empty where nobody says.
        known: by any of the models.
        models: their names, for the message.

    Raises:
        ConfigError: none of them knows it.
    """
    names, what = tuple(known), " and ".join(f"'{name}'" for name in models)
    if not condition or condition in names:
        return
    if not names:
        raise ConfigError(
            f"the condition '{condition}' says nothing to {what}: leave it out, or choose a descriptor that knows some (disam)"
        )
    raise ConfigError(
        f"the condition '{condition}' is unknown to {what}; known: {', '.join(names)}; leave it out, and it is inferred from each "
        "image"
    )
