"""Precision and recall of loop closures under the three-fold criterion, and the share of correct matches over thresholds.

A loop closure is believed when three agree: the descriptors are similar enough, geometric registration succeeds, and the robust
pose graph accepts it (Lajoie and Beltrame, "Self-supervised domain calibration and uncertainty estimation for place
recognition", RA-L 2022). With a truth, what is believed is judged by it. Without one, the verdict of geometry and graph stands in
for the truth, and what is judged is the descriptor alone: that is how the share of correct matches is meant.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum, unique
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError
from vloc_ros.evaluation.retrieval_metrics import NOT_FOUND, Answers

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
THRESHOLDS = 10


@unique
class Criterion(Enum):
    """What it takes to believe a loop closure, besides a threshold on its descriptors."""

    SIMILARITY = "similarity"
    """Nothing."""
    REGISTERED = "registered"
    """Geometric registration succeeds."""
    THREE_FOLD = "three_fold"
    """Registration succeeds and the robust pose graph accepts it."""


@dataclass(frozen=True, slots=True)
class ClosureOutcomes:
    """What became of the best candidate of each query.

    Attributes:
        score: (Q,) float64 similarity, larger is better (a distance with its sign turned will do); -inf without a candidate.
        registered: (Q,) bool: geometric registration succeeded.
        accepted: (Q,) bool: the robust pose graph has it as an inlier.
        right: (Q,) bool: it is a loop, by the truth, or by :meth:`verified` where there is none.
        known: (Q,) bool: there is a loop to be found.
    """

    score: Array
    registered: Mask
    accepted: Mask
    right: Mask
    known: Mask

    def __post_init__(self) -> None:
        shapes = {getattr(self, name).shape for name in self.__slots__}
        if len(shapes) != 1 or self.score.ndim != 1:
            raise DataError(f"the outcomes of loop closures must be one per query, but their shapes are {sorted(shapes)}")
        if np.isnan(self.score).any() or np.isposinf(self.score).any():
            raise DataError(
                "the score of a loop closure is not a number; leave out queries that could not be described, or use -inf"
            )

    @property
    def matched(self) -> Mask:
        """(Q,) bool: there is a candidate."""
        return np.isfinite(self.score)

    @property
    def verified(self) -> Mask:
        """(Q,) bool: geometry and graph agree with it."""
        return np.asarray(self.matched & self.registered & self.accepted, dtype=bool)


def closure_answers(outcomes: ClosureOutcomes, criterion: Criterion = Criterion.THREE_FOLD) -> Answers:
    """The closures that may be believed under a criterion, for :func:`~vloc_ros.evaluation.retrieval_metrics.precision_recall`.

    One that fails the criterion is believed at no threshold: it cannot be a false positive, and its query is a missed one.
    """
    believed = outcomes.matched.copy()
    if criterion is not Criterion.SIMILARITY:
        believed &= outcomes.registered
    if criterion is Criterion.THREE_FOLD:
        believed &= outcomes.accepted
    return Answers(
        first_right=np.where(outcomes.matched & outcomes.right, 0, NOT_FOUND).astype(np.int64),
        best_score=np.where(believed, outcomes.score, -np.inf),
        known=outcomes.known,
        failed=~outcomes.matched,
    )


@dataclass(frozen=True, slots=True)
class CorrectMatches:
    """Share of correct ones among the matches that a threshold lets through, over thresholds (Table I of the paper).

    Attributes:
        mean, std: over the thresholds that let any match through (the standard deviation with n - 1; 0 of one threshold).
        thresholds: those, the strictest first.
        shares: at each of them.
    """

    mean: float
    std: float
    thresholds: tuple[float, ...]
    shares: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def correct_matches(outcomes: ClosureOutcomes, thresholds: Array | None = None) -> CorrectMatches | None:
    """Mean and spread over thresholds of the share of matches that geometry and graph agree with; None without a match.

    Args:
        outcomes: of all queries.
        thresholds: smallest scores; by default :func:`score_thresholds`, as the paper does not name its own. Two models whose
            scores differ in scale can be compared only with these.
    """
    if not outcomes.matched.any():
        return None
    chosen = score_thresholds(outcomes.score) if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    passed = outcomes.score[None, :] >= np.sort(chosen)[::-1, None]
    passed &= outcomes.matched
    counts = passed.sum(axis=1)
    used = counts > 0
    if not used.any():
        return None
    shares = (passed & outcomes.verified)[used].sum(axis=1) / counts[used]
    std = float(shares.std(ddof=1)) if len(shares) > 1 else 0.0
    return CorrectMatches(float(shares.mean()), std, tuple(np.sort(chosen)[::-1][used].tolist()), tuple(shares.tolist()))


def score_thresholds(score: Array, count: int = THRESHOLDS) -> Array:
    """(count,) thresholds that let 1/count, 2/count ... all of the matches through, whatever the scale of their scores."""
    matched = np.sort(score[np.isfinite(score)])[::-1]
    last = -(-np.arange(1, count + 1) * len(matched) // count) - 1
    return np.asarray(matched[last], dtype=np.float64) if len(matched) else np.empty(0)
