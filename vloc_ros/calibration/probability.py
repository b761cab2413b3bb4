"""From similarity and variance to the probability that a candidate is right.

What a network calls its variance has no unit, and its similarity is no probability. The verdicts of geometry and of the robust pose
graph on the loop closures of some stretches of the route say which candidates were right; a monotone regression of these on the
similarity and the logarithm of the variance makes a probability of both. It must be judged on other stretches than those
(:func:`compare_methods`).

The probability is that of candidates like those that it was fitted to: if the verdicts are of all candidates that retrieval
proposed, rejected by geometry or by the graph, it holds before verification; if they are of verified ones only, after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from vloc_ros.calibration.monotone import fit_isotonic, fit_logistic, platt_targets
from vloc_ros.config import param
from vloc_ros.errors import DataError
from vloc_ros.evaluation.confidence_metrics import ConfidenceSummary, summarise_confidence

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@unique
class Method(Enum):
    """How a probability is made."""

    SIMILARITY = "similarity"
    """The similarity itself, cut to 0..1: the baseline, with nothing to fit."""
    LOGISTIC = "logistic"
    """Logistic regression that may only rise with similarity and fall with variance."""
    ISOTONIC = "isotonic"
    """Isotonic regression on the logistic one: any monotone shape, for many verdicts."""


@unique
class FitRefusal(Enum):
    """Why no probability can be learned."""

    TOO_FEW_RIGHT = "there are too few verdicts that a candidate is right"
    TOO_FEW_WRONG = "there are too few verdicts that a candidate is wrong"
    NOT_FINITE = "a similarity, a variance or a weight is not a finite number, or a variance or a weight is not positive"
    SAME_EVERYWHERE = "the similarity is the same for all candidates"


@dataclass(frozen=True)
class ProbabilitySettings:
    """How the probability of being right is learned.

    Ten verdicts of the rarer kind are what a variable of a logistic regression asks for (Peduzzi et al., J. Clin. Epidemiol. 1996);
    a network that was tuned well gives few wrong ones.
    """

    method: Method = param(Method.LOGISTIC, "similarity, logistic or isotonic")
    min_right: int = param(10, "fewer right candidates teach nothing", min=2)
    min_wrong: int = param(10, "fewer wrong candidates teach nothing", min=2)


@dataclass(frozen=True, slots=True)
class CandidateVerdicts:
    """Candidates that have been judged.

    Attributes:
        similarity: (N,) of the descriptors.
        variance: (N,) of the pair (:func:`pair_variance`), None where the model has none.
        right: (N,) bool.
        weight: (N,) how sure the verdict is, larger than 0 to 1.
    """

    similarity: Array
    variance: Array | None
    right: Mask
    weight: Array

    @classmethod
    def of(cls, similarity: Array, right: Mask, variance: Array | None = None, weight: Array | None = None) -> CandidateVerdicts:
        """Verdicts of equal weight unless said otherwise.

        Raises:
            DataError: the arrays differ in length.
        """
        weight = np.ones(len(right)) if weight is None else weight
        for values in (similarity, weight, *(() if variance is None else (variance,))):
            if values.shape != right.shape or values.ndim != 1:
                raise DataError(
                    f"each candidate needs one value and one verdict, but the shapes are {values.shape} and {right.shape}"
                )
        return cls(similarity, variance, right, weight)

    def __len__(self) -> int:
        return len(self.right)


def pair_variance(query: Array, match: Array) -> Array:
    """Variance of the difference of two independent descriptors, per dimension: the sum of their own."""
    return np.asarray(query + match, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class MatchProbability:
    """A fitted probability of being right; it never falls with similarity and never rises with variance.

    Attributes:
        method: how it was made.
        intercept, per_similarity, per_log_variance: of the logistic regression; the last is None for a model without variance.
        most_similarity, least_log_variance: the limits of what was seen: beyond them a candidate is no surer than at them.
        knots: of the isotonic regression on the logit, rising pairs (logit, probability); empty for the others.
        right, wrong: how many verdicts taught it.
    """

    method: Method
    intercept: float = 0.0
    per_similarity: float = 0.0
    per_log_variance: float | None = None
    most_similarity: float = 1.0
    least_log_variance: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()
    right: int = 0
    wrong: int = 0

    @property
    def needs_variance(self) -> bool:
        """Whether candidates must come with a variance."""
        return self.per_log_variance is not None

    def __call__(self, similarity: Array, variance: Array | None = None) -> Array:
        """(N,) probabilities of candidates; 0 where the similarity or the variance is not a number or not positive.

        Raises:
            DataError: it was fitted with variances, and none are given.
        """
        if self.needs_variance and variance is None:
            raise DataError("this match probability was learned from similarity and variance, but no variance is given")
        usable = _usable(similarity, variance if self.needs_variance else None)
        similarity = np.where(usable, similarity, 0.0)
        if self.method is Method.SIMILARITY:
            return np.where(usable, np.clip(similarity, 0.0, 1.0), 0.0)
        logit = self._logit(similarity, None if variance is None else np.where(usable, variance, 1.0))
        if self.method is Method.LOGISTIC:
            return np.where(usable, expit(logit), 0.0)
        knots = np.array(self.knots)
        return np.where(usable, np.interp(logit, knots[:, 0], knots[:, 1]), 0.0)

    def _logit(self, similarity: Array, variance: Array | None) -> Array:
        logit = self.intercept + self.per_similarity * np.minimum(similarity, self.most_similarity)
        if self.per_log_variance is not None and variance is not None:
            logit = logit + self.per_log_variance * np.maximum(np.log(variance), self.least_log_variance)
        return np.asarray(logit, dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the model card."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return values | {"method": self.method.value, "knots": [list(knot) for knot in self.knots]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MatchProbability:
        """Inverse of :meth:`to_dict`.

        Raises:
            DataError: a value is missing, of the wrong type, not finite, or would make the probability fall with similarity or
                rise with variance.
        """
        try:
            knots = tuple((float(x), float(y)) for x, y in values["knots"])
            slope = values["per_log_variance"]
            read = cls(
                method=Method(values["method"]),
                intercept=float(values["intercept"]),
                per_similarity=float(values["per_similarity"]),
                per_log_variance=None if slope is None else float(slope),
                most_similarity=float(values["most_similarity"]),
                least_log_variance=float(values["least_log_variance"]),
                knots=knots,
                right=int(values["right"]),
                wrong=int(values["wrong"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"the match probability of a model card cannot be read ({error!r}); calibrate again") from None
        if not read._is_monotone():
            raise DataError("the match probability of a model card is not monotone in similarity and variance; calibrate again")
        return read

    def _is_monotone(self) -> bool:
        numbers = [self.intercept, self.per_similarity, self.per_log_variance or 0.0, self.most_similarity, self.least_log_variance]
        knots = np.array(self.knots).reshape(-1, 2)
        if not np.isfinite(numbers).all() or not np.isfinite(knots).all() or (self.method is Method.ISOTONIC and not len(knots)):
            return False
        rising = bool(np.all(np.diff(knots[:, 0]) > 0.0) and np.all(np.diff(knots[:, 1]) >= 0.0))
        inside = bool(np.all((knots[:, 1] >= 0.0) & (knots[:, 1] <= 1.0)))
        return rising and inside and self.per_similarity >= 0.0 and (self.per_log_variance or 0.0) <= 0.0


def fit_probability(verdicts: CandidateVerdicts, settings: ProbabilitySettings | None = None) -> MatchProbability | FitRefusal:
    """Learn the probability from verdicts, or say why that cannot be done. Deterministic.

    A variance that is the same for all candidates is left out.
    """
    settings = settings or ProbabilitySettings()
    if settings.method is Method.SIMILARITY:
        return MatchProbability(Method.SIMILARITY)
    refusal = _refusal(verdicts, settings)
    if refusal is not None:
        return refusal
    features, signs = [verdicts.similarity], [1]
    if verdicts.variance is not None and _varies(np.log(verdicts.variance)):
        features.append(np.log(verdicts.variance))
        signs.append(-1)
    targets = platt_targets(verdicts.right, verdicts.weight)
    intercept, slopes = fit_logistic(np.column_stack(features), targets, verdicts.weight, tuple(signs))
    with_variance = len(signs) > 1
    logit = intercept + np.column_stack(features) @ slopes
    knots: tuple[tuple[float, float], ...] = ()
    if settings.method is Method.ISOTONIC:
        knots = tuple(zip(*(ends.tolist() for ends in fit_isotonic(logit, targets, verdicts.weight)), strict=True))
    return MatchProbability(
        method=settings.method,
        intercept=intercept,
        per_similarity=float(slopes[0]),
        per_log_variance=float(slopes[1]) if with_variance else None,
        most_similarity=float(verdicts.similarity.max()),
        least_log_variance=float(features[1].min()) if with_variance else 0.0,
        knots=knots,
        right=int(verdicts.right.sum()),
        wrong=int((~verdicts.right).sum()),
    )


def compare_methods(
    taught: CandidateVerdicts, held_out: CandidateVerdicts, settings: ProbabilitySettings | None = None
) -> dict[Method, ConfidenceSummary | FitRefusal]:
    """Each method, the baseline first, fitted to some verdicts and judged by others: those of other stretches of the route.

    Raises:
        DataError: the verdicts taught with have variances, and the held-out ones do not.
    """
    settings = settings or ProbabilitySettings()
    result: dict[Method, ConfidenceSummary | FitRefusal] = {}
    for method in Method:
        fitted = fit_probability(taught, ProbabilitySettings(method, settings.min_right, settings.min_wrong))
        if isinstance(fitted, FitRefusal):
            result[method] = fitted
        else:
            result[method] = summarise_confidence(fitted(held_out.similarity, held_out.variance), held_out.right)
    return result


def _refusal(verdicts: CandidateVerdicts, settings: ProbabilitySettings) -> FitRefusal | None:
    usable = _usable(verdicts.similarity, verdicts.variance) & np.isfinite(verdicts.weight) & (verdicts.weight > 0.0)
    if not usable.all():
        return FitRefusal.NOT_FINITE
    if _effective(verdicts.weight[verdicts.right]) < settings.min_right:
        return FitRefusal.TOO_FEW_RIGHT
    if _effective(verdicts.weight[~verdicts.right]) < settings.min_wrong:
        return FitRefusal.TOO_FEW_WRONG
    return None if _varies(verdicts.similarity) else FitRefusal.SAME_EVERYWHERE


def _effective(weight: Array) -> float:
    """How many verdicts of equal weight say as much (Kish, "Survey Sampling", 1965)."""
    # rounding must not make 20 equal verdicts 19.999
    return round(float(weight.sum() ** 2 / np.sum(weight**2)), 6) if len(weight) else 0.0


def _usable(similarity: Array, variance: Array | None) -> Mask:
    usable = np.isfinite(similarity)
    if variance is not None:
        usable &= np.isfinite(variance) & (variance > 0.0)
    return np.asarray(usable, dtype=bool)


def _varies(values: Array) -> bool:
    return bool(np.ptp(values) > 1e-9 * max(1.0, float(np.abs(values).max())))
