"""The watch over a promoted model: whether its candidates are verified as often as those of the model before it.

Only queries at which a loop is to be expected may be counted, before and after alike (the graph says that an older keyframe is
within reach): on new ground no model finds anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum, unique
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.calibration.promotion import level_of_attempt
from vloc_ros.config import param
from vloc_ros.errors import DataError
from vloc_ros.evaluation.block_bootstrap import lower_bound


@unique
class Outcome(Enum):
    """What to do with a promoted model."""

    KEEP = "keep"
    ROLL_BACK = "roll_back"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class RollbackSettings:
    """How a promoted model is watched."""

    window: int = param(100, "queries from one look to the next", min=4, max=1000000)
    stretch: int = param(10, "successive queries that are taken as one stretch", min=1, max=10000)
    windows: int = param(20, "so many looks at most; a model on which none decided stays undecided", min=1, max=1000)
    level: float = param(0.05, "how often the first look may roll back a model that is as good", min=1e-6, max=0.4)
    max_loss: float = param(0.05, "a smaller loss of the share of verified candidates is tolerated", min=0.0, max=1.0)
    resamples: int = param(4000, "how many times the stretches are drawn", min=100, max=1000000)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What share of queries brought a verified candidate before the promotion.

    Attributes:
        share: of the queries.
        standard_error: of it.
        queries: how many.
    """

    share: float
    standard_error: float
    queries: int

    @classmethod
    def of(cls, verified: Sequence[bool], stretch: int) -> Expectation:
        """From the queries of the model in use, in the order of time.

        Raises:
            DataError: there are fewer than two stretches of queries.
        """
        values = np.array(verified, dtype=np.float64)
        share = float(np.mean(values)) if len(values) else 0.0
        bound = lower_bound(values, _stretches(len(values), stretch), 0.05, seed=0, resamples=1)
        # the share of none or all of a few is not known exactly: as if one more had been of either kind
        shrunk = (share * len(values) + 1.0) / (len(values) + 2.0)
        return cls(share, max(bound.standard_error, _binomial_error(shrunk, len(values))), len(values))


@dataclass(frozen=True, slots=True)
class Watch:
    """What is said of a promoted model.

    Attributes:
        outcome: what to do.
        queries: seen since the promotion.
        share: of them that brought a verified candidate; None of none.
        expected: the share before.
        least_loss, most_loss: one-sided confidence bounds of the expected share less that seen; None before the first look.
        level: error probability of each bound.
    """

    outcome: Outcome
    queries: int
    share: float | None
    expected: float
    least_loss: float | None = None
    most_loss: float | None = None
    level: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"outcome": self.outcome.value}


class RollbackMonitor:
    """Counts verified candidates after a promotion and looks at them at the end of each window.

    It rolls back once the loss is surely larger than zero, unless it is surely tolerable; it keeps once the loss is surely
    tolerable; else it looks again a window later, with a smaller error probability, as repeated looks would add up
    (:func:`~vloc_ros.calibration.promotion.level_of_attempt`). A decision is final.
    """

    def __init__(self, expected: Expectation, settings: RollbackSettings | None = None, *, seed: int = 0) -> None:
        """Begin after a promotion.

        Raises:
            DataError: a window has fewer than two stretches.
        """
        self._settings = settings or RollbackSettings()
        if self._settings.window < 2 * self._settings.stretch:
            stretch = self._settings.stretch
            raise DataError(f"a window of {self._settings.window} queries is shorter than two stretches of {stretch}; widen it")
        self._expected = expected
        self._seed = seed
        self._verified: list[bool] = []
        self._watch = Watch(Outcome.UNDECIDED, 0, None, expected.share)

    @property
    def watch(self) -> Watch:
        """What is said so far."""
        return self._watch

    def observe(self, verified: bool) -> Watch:
        """Count one query at which a loop was to be expected; nothing changes after a decision or after the last window."""
        if self._watch.outcome is not Outcome.UNDECIDED or len(self._verified) == self._settings.window * self._settings.windows:
            return self._watch
        self._verified.append(bool(verified))
        count = len(self._verified)
        if count % self._settings.window == 0:
            self._watch = self._look()
        else:
            past = self._watch
            bounds = (past.least_loss, past.most_loss, past.level)
            self._watch = Watch(Outcome.UNDECIDED, count, float(np.mean(self._verified)), self._expected.share, *bounds)
        return self._watch

    def to_dict(self) -> dict[str, Any]:
        """What must be kept so that a process that is killed goes on where it was."""
        return {"expected": asdict(self._expected), "verified": [int(one) for one in self._verified], "seed": self._seed}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], settings: RollbackSettings | None = None) -> RollbackMonitor:
        """Inverse of :meth:`to_dict`, under the same settings.

        Raises:
            DataError: a value is missing or of the wrong type.
        """
        try:
            stored = values["expected"]
            expected = Expectation(float(stored["share"]), float(stored["standard_error"]), int(stored["queries"]))
            monitor = cls(expected, settings, seed=int(values["seed"]))
            seen = [bool(one) for one in values["verified"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the watch over a promoted model cannot be read ({error!r})") from None
        for one in seen:
            monitor.observe(one)
        return monitor

    def _look(self) -> Watch:
        settings, count = self._settings, len(self._verified)
        level = level_of_attempt(settings.level, count // settings.window)
        loss = self._expected.share - np.array(self._verified, dtype=np.float64)
        stretches = _stretches(count, settings.stretch)

        def least_of(values: NDArray[np.float64]) -> float:
            # a window without any success, or any failure, has no spread of its own, yet is as uncertain as another
            own, other = _binomial_error(self._expected.share, count), self._expected.standard_error
            return lower_bound(
                values, stretches, level, seed=self._seed, least_error=own, extra_error=other, resamples=settings.resamples
            ).lower

        least, most = least_of(loss), -least_of(-loss)
        outcome = Outcome.UNDECIDED
        if most <= settings.max_loss:
            outcome = Outcome.KEEP
        elif least > 0.0:
            outcome = Outcome.ROLL_BACK
        return Watch(outcome, count, float(np.mean(self._verified)), self._expected.share, least, most, level)


def _stretches(count: int, length: int) -> NDArray[np.int64]:
    return np.arange(count, dtype=np.int64) // length


def _binomial_error(share: float, count: int) -> float:
    """Standard error of a share of independent queries: that of dependent ones is larger."""
    return float(np.sqrt(share * (1.0 - share) / count))
