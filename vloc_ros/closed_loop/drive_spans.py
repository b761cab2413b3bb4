"""Stretches of a drive: who or what led the robot, and where and why it stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any, TypeVar

import numpy as np

from vloc_ros.closed_loop.judge import STANDING_MPS, JudgedDrive, steps_m
from vloc_ros.closed_loop.record import DriveRecord
from vloc_ros.mapping.state import State
from vloc_ros.path_following import DriveState, StopReason

_T = TypeVar("_T")


@unique
class Mode(Enum):
    """What led the robot."""

    LOCALISED = "localised"
    DEAD_RECKONING = "dead reckoning"
    LOST = "lost or searching"
    OPERATOR = "operator drives"


@dataclass(frozen=True, slots=True)
class Stop:
    """The robot was told to stop, and nobody else drove it.

    Attributes:
        first, last: frames.
        reasons: in the order in which they arose.
        stands: whether it came to a stand.
        blind_m: true distance driven from the last fix before the stop until it stood [m]; None without such a fix, and where
            it never stood.
    """

    first: int
    last: int
    reasons: tuple[StopReason, ...]
    stands: bool
    blind_m: float | None

    def to_dict(self, drive: JudgedDrive) -> dict[str, Any]:
        """All about the stop by name."""
        seconds = elapsed_s(drive.record)
        return {
            "from_s": float(seconds[self.first]),
            "to_s": float(seconds[self.last]),
            "station_m": float(drive.station[self.last]),
            "reasons": [reason.name for reason in self.reasons],
            "stands": self.stands,
            "blind_m": self.blind_m,
        }


def elapsed_s(record: DriveRecord) -> np.ndarray:
    """(F,) time since the first frame [s]."""
    stamps = record.run.stamps_ns
    return np.asarray((stamps - stamps[:1]) * 1e-9)


def modes(record: DriveRecord) -> tuple[Mode, ...]:
    """What led the robot at each frame."""
    known = {State.LOCALISED: Mode.LOCALISED, State.DEAD_RECKONING: Mode.DEAD_RECKONING}
    return tuple(
        Mode.OPERATOR if operator else known.get(frame.state, Mode.LOST)
        for frame, operator in zip(record.run.frames, record.operator, strict=True)
    )


def spans(values: Sequence[_T]) -> Iterator[tuple[_T, int, int]]:
    """Stretches of equal values: (value, first index, last index)."""
    first = 0
    for index in range(1, len(values) + 1):
        if index == len(values) or values[index] != values[first]:
            yield values[first], first, index - 1
            first = index


def stops(drive: JudgedDrive) -> list[Stop]:
    """Where the robot was told to stop, in order; a stop ends where it drives on or where the operator takes over."""
    record = drive.record
    halted = [state is DriveState.STOPPED and not operator for state, operator in zip(record.states, record.operator, strict=True)]
    driven = np.concatenate([[0.0], np.cumsum(steps_m(record))])
    return [_stop(drive, first, last, driven) for held, first, last in spans(halted) if held]


def _stop(drive: JudgedDrive, first: int, last: int, driven: np.ndarray) -> Stop:
    record = drive.record
    reasons = dict.fromkeys(reason for reason in record.reasons[first : last + 1] if reason is not None)
    standing = np.flatnonzero(np.abs(record.twists[first : last + 1, 0]) < STANDING_MPS)
    fixes = np.flatnonzero(np.isfinite(drive.inliers[: first + 1]))
    blind = None
    if len(standing) and len(fixes):
        blind = float(driven[first + standing[0]] - driven[fixes[-1]])
    return Stop(first, last, tuple(reasons), bool(len(standing)), blind)
