"""A drive along a route, and the card of a model whose descriptors a map holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique


@unique
class SessionKind(Enum):
    """What a session was driven for."""

    TEACH = "teach"
    REPEAT = "repeat"


@dataclass(frozen=True, slots=True)
class Session:
    """One drive: a chain of keyframes joined by odometry edges.

    Attributes:
        id: its number, from 1.
        kind: teach or repeat.
        source: the recording or topic it was made from.
        started: ISO 8601 time (UTC) at which it was begun.
        keyframes: how many keyframes it has.
    """

    id: int
    kind: SessionKind
    source: str
    started: str
    keyframes: int
