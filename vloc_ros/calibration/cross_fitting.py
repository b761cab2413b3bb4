"""The confidence in each held-out match, learned from other stretches of the route than its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.calibration.probability import (
    CandidateVerdicts,
    FitRefusal,
    MatchProbability,
    ProbabilitySettings,
    fit_probability,
)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """The probability of a match, learned and judged.

    Attributes:
        confidence: (Q,) probability of each match, by what other stretches taught; None where it cannot be learned.
        probability: what all of them teach: for use on the robot; None where it cannot be learned.
        refusal: why not.
    """

    confidence: Array | None
    probability: MatchProbability | None
    refusal: FitRefusal | None


def cross_fit(
    verdicts: CandidateVerdicts, blocks: NDArray[np.int64], settings: ProbabilitySettings, folds: int, seed: int = 0
) -> CrossFitted:
    """Learn the probability of a match from all stretches but some, and apply it to those; in turns, deterministic by seed.

    A match whose similarity or variance is not a number, or whose variance is not positive (of an image with nothing to describe),
    teaches nothing and has the probability 0.

    Args:
        verdicts: best matches of all queries.
        blocks: (Q,) int64 number of the stretch of each query: one stretch never teaches and is judged at once.
        settings: of the probability.
        folds: parts of the stretches.
        seed: which stretches are a part.
    """
    usable = _usable(verdicts)
    numbers = np.random.default_rng([seed, 17]).permutation(np.unique(blocks))
    if len(numbers) < 2:
        return CrossFitted(None, None, FitRefusal.TOO_FEW_WRONG if not (~verdicts.right).any() else FitRefusal.TOO_FEW_RIGHT)
    part_of = {int(number): place % min(folds, len(numbers)) for place, number in enumerate(numbers)}
    part = np.array([part_of[int(block)] for block in blocks], dtype=np.int64)
    confidence = np.zeros(len(verdicts))
    for fold in range(min(folds, len(numbers))):
        inside = part == fold
        fitted = fit_probability(_of(verdicts, usable & ~inside), settings)
        if isinstance(fitted, FitRefusal):
            return CrossFitted(None, None, fitted)
        judged = _of(verdicts, inside)
        confidence[inside] = fitted(judged.similarity, judged.variance)
    whole = fit_probability(_of(verdicts, usable), settings)
    if isinstance(whole, FitRefusal):
        return CrossFitted(None, None, whole)
    return CrossFitted(np.where(usable, confidence, 0.0), whole, None)


def _usable(verdicts: CandidateVerdicts) -> NDArray[np.bool_]:
    usable = np.isfinite(verdicts.similarity)
    if verdicts.variance is not None:
        usable &= np.isfinite(verdicts.variance) & (verdicts.variance > 0.0)
    return np.asarray(usable, dtype=bool)


def _of(verdicts: CandidateVerdicts, rows: NDArray[np.bool_]) -> CandidateVerdicts:
    return replace(
        verdicts,
        similarity=verdicts.similarity[rows],
        variance=None if verdicts.variance is None else verdicts.variance[rows],
        right=verdicts.right[rows],
        weight=verdicts.weight[rows],
    )
