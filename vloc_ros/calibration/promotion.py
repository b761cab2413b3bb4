"""The promotion test: whether a new model is better than the one in use, on held-out places, with a confidence bound.

Both models answer the same queries against the same images; the differences query by query are averaged, and the new model is
promoted only when the one-sided lower confidence bound of their mean is above zero, its confidence is not worse calibrated, its
numbers are finite and its descriptors still differ between places. Every reason against it is kept, not only the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum, unique
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.calibration.descriptor_spread import DescriptorSpread
from vloc_ros.config import param
from vloc_ros.errors import DataError
from vloc_ros.evaluation.block_bootstrap import MeanBound, lower_bound
from vloc_ros.evaluation.confidence_metrics import expected_calibration_error, reliability
from vloc_ros.evaluation.place_queries import PlaceQueries, QueryScores
from vloc_ros.mapping.keyframe import KeyframeId

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@unique
class Measure(Enum):
    """What decides, of each query."""

    AVERAGE_PRECISION = "average_precision"
    RECIPROCAL_RANK = "reciprocal_rank"
    RECALL_AT_1 = "recall_at_1"


@unique
class AgainstPromotion(Enum):
    """Why a model is not promoted."""

    TOO_FEW_QUERIES = "too few held-out queries have their place in the map"
    TOO_FEW_STRETCHES = "the held-out queries come from too few stretches of the route"
    NOT_SIGNIFICANT = "the gain on held-out places is not significant"
    WORSE_CALIBRATED = "its confidence is further from the truth (expected calibration error)"
    NOT_FINITE = "a descriptor, score or confidence is not a finite number"
    COLLAPSED = "its descriptors hardly differ between places"


@dataclass(frozen=True)
class PromotionSettings:
    """What a new model must show."""

    measure: Measure = param(Measure.AVERAGE_PRECISION, "average_precision, reciprocal_rank or recall_at_1; its gain decides")
    level: float = param(0.05, "how often the first test may promote a model that is no better", min=1e-6, max=0.4)
    min_gain: float = param(0.0, "the gain must be larger than this with that confidence", min=0.0, max=1.0)
    min_queries: int = param(50, "fewer held-out queries with a known place decide nothing", min=2)
    min_stretches: int = param(8, "fewer stretches decide nothing", min=2)
    stretch: int = param(10, "successive queries of one session that are taken as one stretch", min=1)
    max_ece_rise: float = param(0.02, "the expected calibration error may rise by so much", min=0.0, max=1.0)
    bins: int = param(10, "bins of equal width of the expected calibration error", min=1, max=1000)
    min_spread: float = param(0.01, "least variance of unit descriptors over the images; 0: all alike", min=0.0, max=1.0)
    min_dimension: float = param(2.0, "least effective dimension of the descriptors (participation ratio)", min=1.0)
    resamples: int = param(4000, "how many times the stretches are drawn", min=100, max=1000000)


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """What one model makes of the held-out queries.

    Attributes:
        model: its name.
        queries: (Q) names of the queries.
        scores: of each query.
        confidence: (Q,) claimed probability that the best match is right.
        right: (Q,) bool: it is.
        spread: of its descriptors of the held-out images.
    """

    model: str
    queries: tuple[KeyframeId, ...]
    scores: QueryScores
    confidence: Array
    right: Mask
    spread: DescriptorSpread

    def __post_init__(self) -> None:
        lengths = {len(self.queries), len(self.confidence), len(self.right), len(self.scores.known)}
        if len(lengths) != 1 or len(set(self.queries)) != len(self.queries):
            raise DataError(f"the held-out scores of {self.model} must name each query once and have one value for each")

    @classmethod
    def judged(
        cls, model: str, ids: Sequence[KeyframeId], queries: PlaceQueries, confidence: Array, vectors: NDArray[Any]
    ) -> HeldOutScores:
        """From the similarities of a model.

        Args:
            model: its name.
            ids: (Q) names of the queries.
            queries: similarities, with what they are judged by.
            confidence: (Q,) claimed probability that the best match is right.
            vectors: (N, D) its descriptors of all held-out images.

        Raises:
            DataError: there is not one name and one confidence for each query.
        """
        # where all similarities are equal the best match is no match, so it is not right
        right = queries.answers().first_right == 0
        scores = queries.scores()
        if not queries.finite:
            scores = replace(scores, average_precision=np.full(len(queries), np.nan))
        return cls(model, tuple(ids), scores, confidence, right, DescriptorSpread.of(vectors))

    def of(self, measure: Measure) -> Array:
        """(Q,) a measure of each query."""
        return np.asarray(getattr(self.scores, measure.value), dtype=np.float64)

    @property
    def finite(self) -> bool:
        """Whether every number is one, and every confidence a probability."""
        numbers = all(np.isfinite(self.of(measure)).all() for measure in Measure)
        return bool(numbers and np.all((self.confidence >= 0.0) & (self.confidence <= 1.0)) and self.spread.finite)


@dataclass(frozen=True, slots=True)
class Compared:
    """One number of the two models; None where the data say nothing."""

    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a promotion test with its figures; None where the data say nothing.

    Attributes:
        promote: whether the new model takes over.
        reasons: everything that speaks against it; empty exactly when it is promoted.
        before, after: names of the models.
        measure: whose gain decides.
        gain: mean gain per query.
        lower: one-sided lower confidence bound of the gain.
        p_value: of the hypothesis that there is no gain.
        level: error probability of the bound.
        attempt: number of this test on these places, from 1.
        queries: held-out queries with a known place.
        stretches: they come from.
        average_precision, reciprocal_rank, recall_at_1: means over those queries.
        ece: expected calibration error over all queries.
        spread, dimension: of the descriptors.
        seed: of the resampling.
    """

    promote: bool
    reasons: tuple[AgainstPromotion, ...]
    before: str
    after: str
    measure: Measure
    gain: float | None
    lower: float | None
    p_value: float | None
    level: float
    attempt: int
    queries: int
    stretches: int
    average_precision: Compared
    reciprocal_rank: Compared
    recall_at_1: Compared
    ece: Compared
    spread: Compared
    dimension: Compared
    seed: int

    def __str__(self) -> str:
        figures = ""
        if self.gain is not None and self.lower is not None:
            bound = f"at least {self.lower:+.4f} with {1.0 - self.level:.1%} confidence"
            figures = f" (gain in {self.measure.value.replace('_', ' ')} {self.gain:+.4f}, {bound})"
        if self.promote:
            return f"{self.after} takes over from {self.before}{figures}"
        return f"{self.before} stays{figures}: {'; '.join(reason.value for reason in self.reasons)}"

    @property
    def figures(self) -> dict[str, Any]:
        """The few that a switch of models is remembered with."""
        return {name: getattr(self, name) for name in ("before", "gain", "lower", "p_value", "queries", "attempt")}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"reasons": [reason.name for reason in self.reasons], "measure": self.measure.value}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Decision:
        """Inverse of :meth:`to_dict`.

        Raises:
            DataError: a value is missing or is none that this release knows.
        """
        try:
            read = {field.name: values[field.name] for field in fields(cls)}
            for name in ("average_precision", "reciprocal_rank", "recall_at_1", "ece", "spread", "dimension"):
                read[name] = Compared(**read[name])
            reasons = tuple(AgainstPromotion[name] for name in read["reasons"])
            return cls(**(read | {"reasons": reasons, "measure": Measure(read["measure"])}))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the record of a promotion test cannot be read ({error!r})") from None


def level_of_attempt(level: float, attempt: int) -> float:
    """The error probability of the n-th test on the same places: ``level / n ** 2``.

    Who tries often enough is lucky once; so the n-th attempt gets less, and all attempts together promote a model that is no
    better with a probability of at most 1.65 times the level, however many there are (the sum of 1 / n ** 2).

    Raises:
        DataError: the attempt is not counted from 1.
    """
    if attempt < 1:
        raise DataError(f"attempts are counted from 1, not from {attempt}")
    return level / attempt**2


def consecutive_stretches(queries: Sequence[KeyframeId], length: int) -> NDArray[np.int64]:
    """(Q,) number of the stretch of each query: up to ``length`` of one session that follow each other, in order of their names."""
    stretches = np.zeros(len(queries), dtype=np.int64)
    number, filled, session = -1, length, None
    for row in sorted(range(len(queries)), key=lambda row: queries[row]):
        if filled == length or queries[row].session != session:
            number, filled, session = number + 1, 0, queries[row].session
        stretches[row], filled = number, filled + 1
    return stretches


def decide(
    before: HeldOutScores,
    after: HeldOutScores,
    settings: PromotionSettings | None = None,
    *,
    stretches: NDArray[np.int64] | None = None,
    attempt: int = 1,
    seed: int = 0,
) -> Decision:
    """Compare two models on the same held-out queries; deterministic by seed.

    Args:
        before: the model in use.
        after: the new one.
        settings: what it must show.
        stretches: (Q,) number of the stretch of the route of each query, by default :func:`consecutive_stretches`.
        attempt: number of this test on these places, from 1; later ones must show more (:func:`level_of_attempt`).
        seed: of the resampling.

    Raises:
        DataError: the two did not answer the same queries, or the stretches are not one per query.
    """
    settings = settings or PromotionSettings()
    if before.queries != after.queries or not np.array_equal(before.scores.known, after.scores.known):
        raise DataError(f"{before.model} and {after.model} cannot be compared: they did not answer the same held-out queries")
    if stretches is None:
        stretches = consecutive_stretches(before.queries, settings.stretch)
    if len(stretches) != len(before.queries):
        raise DataError(f"there are {len(before.queries)} held-out queries but stretches for {len(stretches)}")
    known, level = before.scores.known, level_of_attempt(settings.level, attempt)
    bound = None
    if before.finite and after.finite and len(np.unique(stretches[known])) >= 2:
        gains = after.of(settings.measure)[known] - before.of(settings.measure)[known]
        bound = lower_bound(gains, stretches[known], level, seed=seed, resamples=settings.resamples)
    ece = Compared(_ece(before, settings), _ece(after, settings))
    reasons = tuple(_against(before, after, settings, stretches[known], bound, ece))
    means = {m.value: Compared(_number(before.of(m)[known]), _number(after.of(m)[known])) for m in Measure}
    return Decision(
        promote=not reasons,
        reasons=reasons,
        before=before.model,
        after=after.model,
        measure=settings.measure,
        gain=None if bound is None else bound.mean,
        lower=None if bound is None else bound.lower,
        p_value=None if bound is None else bound.p_value,
        level=level,
        attempt=attempt,
        queries=int(known.sum()),
        stretches=len(np.unique(stretches[known])),
        ece=ece,
        spread=Compared(_number(before.spread.variance), _number(after.spread.variance)),
        dimension=Compared(_number(before.spread.dimension), _number(after.spread.dimension)),
        seed=seed,
        **means,
    )


def _against(
    before: HeldOutScores,
    after: HeldOutScores,
    settings: PromotionSettings,
    stretches: NDArray[np.int64],
    bound: MeanBound | None,
    ece: Compared,
) -> Iterator[AgainstPromotion]:
    """Everything that speaks against the new model; ``stretches`` are those of the queries with a known place."""
    if not (before.finite and after.finite):
        yield AgainstPromotion.NOT_FINITE
    if len(stretches) < settings.min_queries:
        yield AgainstPromotion.TOO_FEW_QUERIES
    if len(np.unique(stretches)) < settings.min_stretches:
        yield AgainstPromotion.TOO_FEW_STRETCHES
    spread = after.spread
    if spread.finite and (spread.variance < settings.min_spread or spread.dimension < settings.min_dimension):
        yield AgainstPromotion.COLLAPSED
    if bound is None or not bound.lower > settings.min_gain:
        yield AgainstPromotion.NOT_SIGNIFICANT
    if ece.before is not None and ece.after is not None and ece.after > ece.before + settings.max_ece_rise:
        yield AgainstPromotion.WORSE_CALIBRATED


def _ece(scores: HeldOutScores, settings: PromotionSettings) -> float | None:
    if not scores.finite:
        return None
    return expected_calibration_error(reliability(scores.confidence, scores.right, settings.bins))


def _number(values: Array | float) -> float | None:
    """Mean as JSON can hold it: None of no values, or where one is not a number."""
    mean = float(np.mean(values)) if np.size(values) else float("nan")
    return mean if np.isfinite(mean) else None
