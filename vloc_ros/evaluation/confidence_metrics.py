"""Whether a confidence means what it says: expected calibration error over stated bins, reliability, AUROC, Brier score.

A confidence is the claimed probability that the best match of a query is right. The average precision at one of a query, which
the calibration error of place recognition is defined with, is one when its best match is right and zero when it is not, so its
mean over a bin is the share of right matches in it. A query whose place is not in the map has no right match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum, unique
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from vloc_ros.errors import DataError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
BINS = 10


@unique
class Binning(Enum):
    """How confidences are put into bins."""

    EQUAL_WIDTH = "equal_width"
    """Bin k of M holds confidences from k / M to below (k + 1) / M; the last one holds 1 as well."""
    EQUAL_MASS = "equal_mass"
    """Each bin holds about the same number of queries; equal confidences stay together, so there may be fewer bins."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin that holds at least one query.

    Attributes:
        low, high: confidences that it holds: its edges (equal width), or the smallest and largest in it (equal mass).
        count: queries in it.
        confidence: their mean confidence.
        precision: share of them whose best match is right.
        precision_low, precision_high: Wilson interval of that share at 95 %, as if the queries were independent.
    """

    low: float
    high: float
    count: int
    confidence: float
    precision: float
    precision_low: float
    precision_high: float


def reliability(
    confidence: Array, right: Mask, bins: int = BINS, binning: Binning = Binning.EQUAL_WIDTH
) -> tuple[ReliabilityBin, ...]:
    """The bins of a reliability diagram, by rising confidence; bins without queries are left out.

    Args:
        confidence: (N,) in [0, 1].
        right: (N,) whether the best match is right.
        bins: how many.
        binning: how.

    Raises:
        DataError: a confidence is not in [0, 1], the arrays differ in length, or there is not at least one bin.
    """
    _check(confidence, right)
    if bins < 1:
        raise DataError(f"a reliability diagram needs at least one bin, not {bins}")
    number = _equal_width(confidence, bins) if binning is Binning.EQUAL_WIDTH else _equal_mass(confidence, bins)
    result = []
    for k in np.unique(number).tolist():
        inside, hits = confidence[number == k], int(right[number == k].sum())
        edges = (k / bins, (k + 1) / bins) if binning is Binning.EQUAL_WIDTH else (float(inside.min()), float(inside.max()))
        interval = wilson_interval(hits, len(inside))
        result.append(ReliabilityBin(edges[0], edges[1], len(inside), float(inside.mean()), hits / len(inside), *interval))
    return tuple(result)


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """Mean over queries of the difference between precision and confidence of their bin; None without queries.

    ECE = sum over bins of |B_m| / n * |mAP@1(B_m) - confidence(B_m)|; Naeini et al., "Obtaining well calibrated probabilities
    using Bayesian binning", AAAI 2015, with the mAP@1 of place recognition in the place of accuracy.
    """
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.precision - one.confidence) for one in bins) / total if total else None


def wilson_interval(successes: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Two-sided score interval of a share; Wilson, "Probable inference", JASA 22, 1927. (0, 1) when nothing was tried."""
    if total == 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + 0.5 * level))
    share, spread = successes / total, z * z / total
    centre = (share + 0.5 * spread) / (1.0 + spread)
    half = z * np.sqrt(share * (1.0 - share) / total + 0.25 * spread / total) / (1.0 + spread)
    # at the ends the interval ends there too; rounding must not say otherwise
    low = 0.0 if successes == 0 else max(0.0, float(centre - half))
    return low, 1.0 if successes == total else min(1.0, float(centre + half))


def auroc(score: Array, positive: Mask) -> float | None:
    """Probability that a positive has a larger score than a negative, where a tie counts one half; None without both.

    That is the area under the receiver operating characteristic: Hanley and McNeil, Radiology 143, 1982.

    Args:
        score: (N,) without NaN; infinite ones are ranked as such.
        positive: (N,).

    Raises:
        DataError: a score is NaN, or the arrays differ in length.
    """
    if score.shape != positive.shape or bool(np.isnan(score).any()):
        raise DataError(f"scores must be numbers, one per label; there are {score.shape} scores and {positive.shape} labels")
    ours, theirs = score[positive], np.sort(score[~positive])
    if len(ours) == 0 or len(theirs) == 0:
        return None
    below, not_above = (np.searchsorted(theirs, ours, side=side) for side in ("left", "right"))
    return float(0.5 * (below.sum() + not_above.sum()) / (len(ours) * len(theirs)))


@dataclass(frozen=True, slots=True)
class ConfidenceSummary:
    """The numbers of one confidence; None where the data say nothing.

    Attributes:
        count: queries.
        precision: share whose best match is right.
        ece: expected calibration error over ``bins`` bins of equal width.
        ece_equal_mass: the same over bins of equal mass.
        brier: mean squared difference between confidence and outcome; rewards both calibration and separation.
        auroc: how well it tells right matches from wrong ones.
        bins: how many bins.
    """

    count: int
    precision: float | None
    ece: float | None
    ece_equal_mass: float | None
    brier: float | None
    auroc: float | None
    bins: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def summarise_confidence(confidence: Array, right: Mask, bins: int = BINS) -> ConfidenceSummary:
    """All numbers of a confidence.

    Raises:
        DataError: a confidence is not in [0, 1], or the arrays differ in length.
    """
    errors = [expected_calibration_error(reliability(confidence, right, bins, binning)) for binning in Binning]
    some = len(confidence) > 0
    return ConfidenceSummary(
        count=len(confidence),
        precision=float(right.mean()) if some else None,
        ece=errors[0],
        ece_equal_mass=errors[1],
        brier=float(np.mean((confidence - right) ** 2)) if some else None,
        auroc=auroc(confidence, right),
        bins=bins,
    )


def _equal_width(confidence: Array, bins: int) -> NDArray[np.int64]:
    return np.minimum(np.floor(confidence * bins).astype(np.int64), bins - 1)


def _equal_mass(confidence: Array, bins: int) -> NDArray[np.int64]:
    if len(confidence) == 0:
        return np.zeros(0, dtype=np.int64)
    first = np.arange(1, bins) * len(confidence) // bins
    return np.searchsorted(np.unique(np.sort(confidence)[first]), confidence, side="right").astype(np.int64)


def _check(confidence: Array, right: Mask) -> None:
    if confidence.ndim != 1 or confidence.shape != right.shape:
        raise DataError(f"there must be one confidence per outcome, but their shapes are {confidence.shape} and {right.shape}")
    if not bool(np.all((confidence >= 0.0) & (confidence <= 1.0))):
        raise DataError("a confidence is not a number from 0 to 1; clip or calibrate it first")
