"""Learning the probability that a re-ranked candidate is right from judged ones, and judging it by others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.calibration.monotone import fit_isotonic, fit_logistic, platt_targets
from vloc_ros.calibration.probability import FitRefusal
from vloc_ros.errors import DataError
from vloc_ros.evaluation.confidence_metrics import ConfidenceSummary, summarise_confidence
from vloc_ros.retrieval.match_model import MatchModel

_LEAST = 10
"""Verdicts of the rarer kind that a regression of one variable asks for, see :class:`ProbabilitySettings`."""
_FOR_ANY_SHAPE = 500
"""Verdicts of the rarer kind from which on an isotonic regression is smoother than the truth is bent."""


@dataclass(frozen=True, slots=True)
class JudgedMatches:
    """Candidates of searches that were compared and judged.

    Attributes:
        inliers: (N,) float64 counts; 0 for one without a homography.
        share: (N,) float64 of the inliers among the matches.
        right: (N,) bool.
        group: (N,) int64: candidates of one number, as those of one query, are never parted between learning and judging.
    """

    inliers: NDArray[np.float64]
    share: NDArray[np.float64]
    right: NDArray[np.bool_]
    group: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Raises DataError where the lengths differ, or a number is not a finite one of what it counts."""
        lengths = {len(self.inliers), len(self.share), len(self.right), len(self.group)}
        if len(lengths) > 1:
            raise DataError(f"each judged match needs inliers, share, verdict and group, but there are {sorted(lengths)} of them")
        if not (np.isfinite(self.inliers).all() and np.isfinite(self.share).all() and (self.inliers >= 0.0).all()):
            raise DataError("judged matches hold inliers or shares that are no finite numbers")

    def select(self, rows: NDArray[np.bool_]) -> JudgedMatches:
        """Those of a (N,) mask."""
        return JudgedMatches(self.inliers[rows], self.share[rows], self.right[rows], self.group[rows])


def fit_match_model(judged: JudgedMatches, reranker: str, weights_sha256: str, learned_from: str = "") -> MatchModel | FitRefusal:
    """Learn the probability, or say why that cannot be done. Deterministic."""
    right, wrong = int(judged.right.sum()), int((~judged.right).sum())
    if right < _LEAST:
        return FitRefusal.TOO_FEW_RIGHT
    if wrong < _LEAST:
        return FitRefusal.TOO_FEW_WRONG
    columns = [np.log1p(judged.inliers), judged.share]
    used = [index for index, column in enumerate(columns) if np.ptp(column) > 1e-9]
    if not used:
        return FitRefusal.SAME_EVERYWHERE
    weight = np.ones(len(judged.right))
    targets = platt_targets(judged.right, weight)
    intercept, found = fit_logistic(np.column_stack([columns[index] for index in used]), targets, weight, (1,) * len(used))
    slopes = np.zeros(2)
    slopes[used] = np.maximum(found, 0.0)
    logit = intercept + np.column_stack(columns) @ slopes
    knots: tuple[tuple[float, float], ...] = ()
    if min(right, wrong) >= _FOR_ANY_SHAPE:
        knots = tuple(zip(*(ends.tolist() for ends in fit_isotonic(logit, targets, weight)), strict=True))
    return MatchModel(
        reranker=reranker,
        weights_sha256=weights_sha256,
        intercept=intercept,
        per_log_inliers=float(slopes[0]),
        per_share=float(slopes[1]),
        most_log_inliers=float(columns[0].max()),
        most_share=float(columns[1].max()),
        knots=knots,
        right=right,
        wrong=wrong,
        learned_from=learned_from,
    )


def held_out_summary(judged: JudgedMatches, parts: int = 2) -> ConfidenceSummary | FitRefusal:
    """How well such a probability holds where it was not learned: each part is judged by what the others taught.

    Parts are runs of neighbouring groups, so that views of one spot are on one side.
    """
    order = np.unique(judged.group)
    part = np.minimum(np.searchsorted(order, judged.group) * parts // max(len(order), 1), parts - 1)
    chances = np.zeros(len(judged.right))
    for number in range(parts):
        fitted = fit_match_model(judged.select(part != number), "", "")
        if isinstance(fitted, FitRefusal):
            return fitted
        rows = part == number
        chances[rows] = fitted(judged.inliers[rows], judged.share[rows])
    return summarise_confidence(chances, judged.right)
