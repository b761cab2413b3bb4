"""What a search result must pass before geometry spends time on it; every refusal has a reason and is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Generic, TypeVar

import numpy as np

from vloc_ros.config import param, section
from vloc_ros.mapping.keyframe import KeyframeId

_NS_PER_S = 1e9


@unique
class GateReason(Enum):
    """Why a keyframe that a search found does not become a candidate."""

    TEMPORAL_GAP = "temporal_gap"
    """It was taken just before or after the query: the odometry joins them already."""
    TOO_DISSIMILAR = "too_dissimilar"
    """Its similarity is below the threshold."""
    NOT_DISTINCT = "not_distinct"
    """It is hardly more similar to the query than any other keyframe is."""
    IMPROBABLE = "improbable"
    """The model says itself that it is too likely to be wrong."""
    RERANK_INLIERS = "rerank_inliers"
    """Re-ranking found no homography, or too few inliers of it."""
    RERANK_SHARE = "rerank_share"
    """Re-ranking found too small a share of inliers among the matches."""
    RERANK_PROBABILITY = "rerank_probability"
    """By what re-ranking found, it is too likely to be another place."""
    RERANK_NOTHING = "rerank_nothing"
    """Re-ranking found nothing to compare in one of the two images."""
    OVER_BUDGET = "over_budget"
    """Others have used up the verifications of this second."""


@dataclass(frozen=True)
class TemporalGapSettings:
    """What is too near in time to be a loop."""

    keyframes: int = param(20, "keyframes of one session this many or fewer apart are no loop", min=0, live=True)
    seconds: float = param(
        10.0, "keyframes of one session this much or less apart in time are no loop", unit="s", min=0.0, live=True
    )


@dataclass(frozen=True)
class SimilarityGateSettings:
    """How similar a keyframe must be."""

    min_score: float = param(0.0, "smallest similarity; what is good depends on the descriptor", min=-1.0, max=1.0, live=True)
    min_deviations: float = param(
        0.0, "how many robust standard deviations above the median score of the query; 0: not asked", min=0.0, live=True
    )


@dataclass(frozen=True)
class BudgetSettings:
    """How much geometry may be asked of the computer."""

    per_second: float = param(10.0, "verifications per second on average", unit="1/s", min=0.01, live=True)
    burst: int = param(5, "verifications at once after a pause", min=1, live=True)


@dataclass(frozen=True)
class GateSettings:
    """All gates."""

    gap: TemporalGapSettings = section(TemporalGapSettings)
    similarity: SimilarityGateSettings = section(SimilarityGateSettings)
    min_match_probability: float = param(
        0.0,
        "smallest probability of being one place, by the model version in use; 0: not asked, nor where the probability is unknown",
        min=0.0,
        max=1.0,
        live=True,
    )
    budget: BudgetSettings = section(BudgetSettings)


@dataclass(frozen=True, slots=True)
class Moment:
    """Which keyframe, and when it was taken [ns]."""

    id: KeyframeId
    stamp_ns: int


class TemporalGap:
    """Refuses keyframes of the query's own session that are near it in number or in time; other sessions pass."""

    def __init__(self, settings: TemporalGapSettings | None = None) -> None:
        self._settings = settings or TemporalGapSettings()

    def check(self, query: Moment, other: Moment) -> GateReason | None:
        """None when they may be a loop."""
        if query.id.session != other.id.session:
            return None
        near = abs(query.id.keyframe - other.id.keyframe) <= self._settings.keyframes
        soon = abs(query.stamp_ns - other.stamp_ns) <= self._settings.seconds * _NS_PER_S
        return GateReason.TEMPORAL_GAP if near or soon else None


@dataclass(frozen=True, slots=True)
class Background:
    """How similar a query is to keyframes in general: the median of its scores, and their robust standard deviation."""

    median: float
    deviation: float

    @classmethod
    def of(cls, scores: Sequence[float]) -> Background:
        """From the scores of a query with many keyframes, most of which show other places.

        The deviation is 1.4826 times the median absolute deviation (that of a normal distribution), which the few keyframes of the
        right place do not disturb. Of no scores both are zero.
        """
        if len(scores) == 0:
            return cls(0.0, 0.0)
        values = np.asarray(scores, dtype=np.float64)
        median = float(np.median(values))
        return cls(median, 1.4826 * float(np.median(np.abs(values - median))))


class SimilarityGate:
    """Refuses what is not similar enough, in absolute terms or beside what else the query resembles."""

    def __init__(self, settings: SimilarityGateSettings | None = None) -> None:
        self._settings = settings or SimilarityGateSettings()

    def check(self, score: float, background: Background | None = None) -> GateReason | None:
        """None when the score will do; without a background only the absolute threshold counts."""
        if not score >= self._settings.min_score:
            return GateReason.TOO_DISSIMILAR
        wanted = self._settings.min_deviations
        if wanted > 0.0 and background is not None and score < background.median + wanted * background.deviation:
            return GateReason.NOT_DISTINCT
        return None


class ProbabilityGate:
    """Refuses what is probably another place; what nobody knows the probability of passes."""

    def __init__(self, least: float) -> None:
        self._least = least

    def check(self, probability: float | None) -> GateReason | None:
        """None when it is probable enough, or unknown."""
        return None if probability is None or probability >= self._least else GateReason.IMPROBABLE


class Budget:
    """A token bucket over time: so many verifications per second, a few of them at once."""

    def __init__(self, settings: BudgetSettings | None = None) -> None:
        self._settings = settings or BudgetSettings()
        self._left = float(self._settings.burst)
        self._filled_ns: int | None = None

    def tune(self, settings: BudgetSettings) -> None:
        """Another rate from now on; a smaller bucket loses what does not fit into it."""
        self._settings = settings
        self._left = min(self._left, float(settings.burst))

    def spend(self, now_ns: int) -> GateReason | None:
        """Take one verification at a time [ns]; None when there was one. A clock that goes back fills nothing."""
        if self._filled_ns is not None and now_ns > self._filled_ns:
            earned = (now_ns - self._filled_ns) / _NS_PER_S * self._settings.per_second
            self._left = min(self._left + earned, float(self._settings.burst))
        self._filled_ns = now_ns
        if self._left < 1.0:
            return GateReason.OVER_BUDGET
        self._left -= 1.0
        return None


Id = TypeVar("Id")


@dataclass(frozen=True, slots=True)
class Refusal(Generic[Id]):
    """A search result that a gate refused."""

    id: Id
    score: float
    reason: GateReason


class Gates:
    """All gates in order of their cost, and how often each refused."""

    def __init__(self, settings: GateSettings | None = None) -> None:
        settings = settings or GateSettings()
        self._budget = Budget(settings.budget)
        self.refused: Counter[GateReason] = Counter()
        self.passed = 0
        self.tune(settings)

    def tune(self, settings: GateSettings) -> None:
        """Take over other settings; the counts, and what is left of the budget, go on."""
        self._gap = TemporalGap(settings.gap)
        self._similarity = SimilarityGate(settings.similarity)
        self._probability = ProbabilityGate(settings.min_match_probability)
        self._budget.tune(settings.budget)

    def is_near_in_time(self, query: Moment, other: Moment) -> bool:
        """Whether the temporal gap refuses a pair. Not counted: for ``where`` of a search, so that neighbours take no place."""
        return self._gap.check(query, other) is not None

    def check(
        self,
        query: Moment,
        found: Sequence[tuple[Moment, float]],
        now_ns: int,
        background: Background | None = None,
        probabilities: Mapping[KeyframeId, float] | None = None,
    ) -> tuple[list[tuple[KeyframeId, float]], list[Refusal[KeyframeId]]]:
        """Part search results, best first, into those to verify and those refused, in the same order.

        Args:
            query: what was searched for.
            found: keyframes and their scores.
            now_ns: the time that the budget goes by [ns].
            background: what else the query resembles, for the relative threshold.
            probabilities: of being one place, of those keyframes of which it is known.
        """
        known = probabilities or {}
        passed: list[tuple[KeyframeId, float]] = []
        refused: list[Refusal[KeyframeId]] = []
        for other, score in found:
            reason = (
                self._gap.check(query, other)
                or self._similarity.check(score, background)
                or self._probability.check(known.get(other.id))
                or self._budget.spend(now_ns)
            )
            if reason is None:
                passed.append((other.id, score))
            else:
                refused.append(Refusal(other.id, score, reason))
        self.refused.update(refusal.reason for refusal in refused)
        self.passed += len(passed)
        return passed, refused
