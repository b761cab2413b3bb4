"""What the last queries say together, where one image alone is not enough: scores of a route in, better scores out.

Both methods take the scores of each new query with all rows of a database **in the order of the route** and return scores for the
same rows. They hold state: one object per traverse.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.errors import ConfigError, DataError


@dataclass(frozen=True)
class TrajectorySettings:
    """How the past is searched for straight trajectories."""

    length: int = param(10, "queries that are looked back on", min=2, max=500)
    min_speed: float = param(0.8, "slowest motion along the route [rows per query]", min=-10.0, max=10.0)
    max_speed: float = param(1.25, "fastest motion along the route [rows per query]", min=-10.0, max=10.0)
    speeds: int = param(5, "speeds that are tried between the two", min=1, max=100)


class TrajectorySearch:
    """SeqSLAM (Milford and Wyeth, ICRA 2012, section III-C): the best mean score along a straight line through the last queries."""

    def __init__(self, sessions: NDArray[np.int64], settings: TrajectorySettings | None = None) -> None:
        """For a database whose rows belong to (N,) sessions; no trajectory leads from one session into another.

        Raises:
            ConfigError: the smallest speed is above the largest.
        """
        self._settings = settings or TrajectorySettings()
        if self._settings.min_speed > self._settings.max_speed:
            raise ConfigError(f"min_speed {self._settings.min_speed} is above max_speed {self._settings.max_speed}; swap them")
        self._sessions = np.asarray(sessions, dtype=np.int64)
        self._past: deque[NDArray[np.float32]] = deque(maxlen=self._settings.length)
        chosen = self._settings
        self._speeds = np.linspace(chosen.min_speed, chosen.max_speed, chosen.speeds)

    def reset(self) -> None:
        """Forget the past: the next query begins another traverse."""
        self._past.clear()

    def update(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) mean scores along the best trajectory that ends at each row.

        Each query is first normalised over the database, so that one that resembles everything has no more say than another. A
        part of a trajectory before the start of a session counts as an average score, zero.

        Raises:
            DataError: there is not one score per row.
        """
        self._past.append(_normalised(_checked(scores, len(self._sessions))))
        best = np.full(len(self._sessions), -np.inf, dtype=np.float32)
        for speed in self._speeds:
            total = np.zeros(len(self._sessions), dtype=np.float32)
            for age, past in enumerate(reversed(self._past)):
                total += self._shifted(past, round(age * float(speed)))
            np.maximum(best, total, out=best)
        return best / np.float32(len(self._past))

    def _shifted(self, past: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
        """What a past query scored ``rows`` earlier on the route than each row."""
        if rows == 0:
            return past
        moved = np.zeros_like(past)
        if abs(rows) >= len(past):
            return moved
        here, there = (slice(rows, None), slice(None, -rows)) if rows > 0 else (slice(None, rows), slice(-rows, None))
        same = self._sessions[here] == self._sessions[there]
        moved[here] = np.where(same, past[there], np.float32(0.0))
        return moved


@dataclass(frozen=True)
class BayesSettings:
    """How the robot moves along the route, and how much a score says."""

    speed: float = param(1.0, "motion along the route between two queries [rows]", min=-100.0, max=100.0)
    spread: float = param(1.0, "standard deviation of that motion [rows]", min=0.1, max=100.0)
    stay_known: float = param(0.9, "probability that a query after one on the route is on it too", min=0.01, max=0.999)
    stay_new: float = param(0.9, "probability that a query after one off the route is off it too", min=0.01, max=0.999)
    sharpness: float = param(1.5, "weight of a score in log likelihood, per standard deviation of the scores", min=0.01, max=100.0)
    new_place: float = param(2.0, "standard deviations above the mean at which a score speaks for a known place", min=0.0)


class BayesFilter:
    """Where on the route the robot is, or that it is nowhere on it: a discrete filter (Angeli et al., T-RO 2008; FAB-MAP).

    The places are the rows and one more, "somewhere new". Prediction moves the belief along the route; a score that is ``z``
    standard deviations above the mean of its query has the likelihood ``exp(sharpness z)``, the new place that of ``new_place``.
    """

    def __init__(self, sessions: NDArray[np.int64], settings: BayesSettings | None = None) -> None:
        """For a database whose rows belong to (N,) sessions; motion ends at the ends of a session."""
        self._settings = settings or BayesSettings()
        self._sessions = np.asarray(sessions, dtype=np.int64)
        self._belief = np.zeros(len(self._sessions))
        self._new = 1.0

    @property
    def probability_new(self) -> float:
        """Probability that the last query was not on the route."""
        return self._new

    def reset(self) -> None:
        """Forget the past: nothing is known of where the next query is."""
        self._belief[:], self._new = 0.0, 1.0

    def update(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) probabilities that the query shows each row's place; with :attr:`probability_new` they sum to 1.

        Raises:
            DataError: there is not one score per row.
        """
        z = _normalised(_checked(scores, len(self._sessions))).astype(np.float64)
        if len(z) == 0:
            return np.zeros(0, dtype=np.float32)
        exponents = self._settings.sharpness * np.append(z, self._settings.new_place)
        weighted = np.append(*self._predicted()) * np.exp(exponents - exponents.max())
        weighted /= weighted.sum()
        self._belief, self._new = weighted[:-1], float(weighted[-1])
        return self._belief.astype(np.float32)

    def _predicted(self) -> tuple[NDArray[np.float64], float]:
        chosen, moved = self._settings, np.zeros_like(self._belief)
        for rows, share in self._steps():
            moved += share * self._arrived(rows)
        # what ran off the end of a session, and what lost its way, is somewhere new
        known = chosen.stay_known * moved + (1.0 - chosen.stay_new) * self._new / len(self._belief)
        return known, 1.0 - float(known.sum())

    def _steps(self) -> list[tuple[int, float]]:
        """Motions by whole rows and their probabilities."""
        reach = int(np.ceil(3.0 * self._settings.spread))
        centre = round(self._settings.speed)
        steps = np.arange(centre - reach, centre + reach + 1)
        shares = np.exp(-0.5 * ((steps - self._settings.speed) / self._settings.spread) ** 2)
        return list(zip(steps.tolist(), (shares / shares.sum()).tolist(), strict=True))

    def _arrived(self, rows: int) -> NDArray[np.float64]:
        """The belief after a motion by some rows."""
        if rows == 0:
            return self._belief
        moved = np.zeros_like(self._belief)
        if abs(rows) >= len(moved):
            return moved
        here, there = (slice(rows, None), slice(None, -rows)) if rows > 0 else (slice(None, rows), slice(-rows, None))
        moved[here] = np.where(self._sessions[here] == self._sessions[there], self._belief[there], 0.0)
        return moved


def _checked(scores: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    values = np.asarray(scores, dtype=np.float32)
    if values.shape != (rows,) or not np.isfinite(values).all():
        raise DataError(f"a route of {rows} rows needs as many finite scores, not an array of shape {values.shape}")
    return values


def _normalised(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores in standard deviations above their mean; zeros when all are the same."""
    if len(scores) == 0:
        return scores
    deviation = float(scores.std())
    return np.asarray((scores - scores.mean()) / deviation if deviation > 1e-9 else np.zeros_like(scores), dtype=np.float32)
