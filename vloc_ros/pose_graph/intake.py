"""What is taken into a growing graph, and why the rest is not."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry import se3
from vloc_ros.geometry.uncertainty import information, of_inverse

Array = NDArray[np.float64]
_RIGID = 1e-3
_MOST_SYMMETRY_ERROR = 1e-6


@unique
class Rejection(Enum):
    """Why a keyframe or a candidate was not taken."""

    NOT_FINITE = "its pose or covariance holds values that are not numbers"
    NOT_RIGID = "its pose is not a rotation and a translation"
    INDEFINITE_COVARIANCE = "its covariance is not symmetric and positive definite"
    SELF_LOOP = "it joins a keyframe to itself"
    DUPLICATE = "the same pair is known with a better measurement that agrees with it"
    TOO_MANY_OF_PAIR = "the same pair has too many contradictory measurements already"
    UNKNOWN_KEYFRAME = "it names a keyframe that did not come in time"
    TOO_MANY_WAITING = "too many others wait for keyframes that have not come"
    KEYFRAME_KNOWN = "the keyframe is known already"


@unique
class Intake(Enum):
    """What became of a candidate."""

    ADDED = "it is in the graph"
    REPLACED = "it took the place of a worse measurement of the same pair"
    WAITING = "it waits for a keyframe that has not come yet"
    REJECTED = "it was rejected"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A measured relative pose of two keyframes that may be the same place.

    Attributes:
        a: name of one keyframe.
        b: name of the other.
        a_T_b: (4, 4) pose of b in a.
        covariance: (6, 6), right perturbation, translation first.
    """

    a: int
    b: int
    a_T_b: Array
    covariance: Array

    def reversed(self) -> Candidate:
        """The same measurement from b to a."""
        return Candidate(self.b, self.a, se3.inverse(self.a_T_b), of_inverse(self.a_T_b, self.covariance))


def fault(a_T_b: Array, covariance: Array | None) -> Rejection | None:
    """What is wrong with a measurement, None when nothing is."""
    if not np.all(np.isfinite(a_T_b)) or (covariance is not None and not np.all(np.isfinite(covariance))):
        return Rejection.NOT_FINITE
    rotation = a_T_b[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=_RIGID) or np.linalg.det(rotation) < 0.0:
        return Rejection.NOT_RIGID
    if covariance is not None and not is_covariance(covariance):
        return Rejection.INDEFINITE_COVARIANCE
    return None


def is_covariance(covariance: Array) -> bool:
    """Whether a matrix is symmetric and positive definite, far enough from singular to be inverted."""
    if information(covariance) is None:
        return False
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    return bool(np.max(np.abs(covariance - covariance.T) / scale) < _MOST_SYMMETRY_ERROR)


class WaitingRoom:
    """Candidates that name keyframes which have not come yet: a bounded number, for a bounded time."""

    def __init__(self, most: int, longest_s: float) -> None:
        self._most, self._longest_s = most, longest_s
        self._waiting: OrderedDict[int, tuple[float, Candidate]] = OrderedDict()
        self._next = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, candidate: Candidate, now_s: float) -> bool:
        """Let one wait; False when the room is full."""
        if len(self._waiting) >= self._most:
            return False
        self._waiting[self._next] = now_s, candidate
        self._next += 1
        return True

    def take(self, keyframe: int) -> list[Candidate]:
        """Those that name a keyframe; they leave the room."""
        keys = [key for key, (_, candidate) in self._waiting.items() if keyframe in (candidate.a, candidate.b)]
        return [self._waiting.pop(key)[1] for key in keys]

    def expired(self, now_s: float) -> list[Candidate]:
        """Those that waited too long; they leave the room."""
        keys = [key for key, (since, _) in self._waiting.items() if now_s - since > self._longest_s]
        return [self._waiting.pop(key)[1] for key in keys]


class Rejections:
    """How many were rejected, for which reason, and the last ones by name."""

    def __init__(self) -> None:
        self.counts: Counter[Rejection] = Counter()
        self.last: dict[Rejection, tuple[int, int]] = {}

    def add(self, reason: Rejection, a: int, b: int) -> None:
        """Count one: a candidate a-b, or a keyframe (a equals b)."""
        self.counts[reason] += 1
        self.last[reason] = a, b
