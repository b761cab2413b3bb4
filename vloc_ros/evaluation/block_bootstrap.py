"""A confidence bound of a mean over queries that are not independent: neighbouring keyframes see the same things.

Whole stretches of the route are resampled instead of single queries (the cluster or block bootstrap: Davison and Hinkley,
"Bootstrap Methods and their Application", 1997, sections 2.4 and 3.8), and the bound is studentised, because the plain percentiles
are too narrow for the ten or twenty stretches that a route has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from vloc_ros.errors import DataError

Array = NDArray[np.float64]
RESAMPLES = 4000


@dataclass(frozen=True, slots=True)
class MeanBound:
    """A mean and how small it may be.

    Attributes:
        mean: over all values.
        standard_error: from the differences between blocks.
        lower: one-sided lower confidence bound of the mean.
        p_value: of the hypothesis that the mean is zero or less.
        blocks: how many.
    """

    mean: float
    standard_error: float
    lower: float
    p_value: float
    blocks: int


def lower_bound(
    values: Array,
    blocks: NDArray[np.int64],
    level: float,
    *,
    seed: int,
    least_error: float = 0.0,
    extra_error: float = 0.0,
    resamples: int = RESAMPLES,
) -> MeanBound:
    """The mean of some values with a one-sided lower bound at confidence ``1 - level``; the upper one is that of ``-values``.

    The bound is ``mean - quantile * error``, where the quantile is the larger one of the bootstrapped t statistic and of Student's
    t with one degree of freedom less than there are blocks: where few blocks differ at all, the bootstrap knows of too little.

    Args:
        values: (N,) finite.
        blocks: (N,) number of the block of each value.
        level: error probability, in (0, 0.5).
        seed: of the resampling; the same seed gives the same bound.
        least_error: standard error that the values have at least, whatever the blocks say.
        extra_error: standard error of something independent that was subtracted from the values.
        resamples: how many times blocks are drawn.

    Raises:
        DataError: there are fewer than two blocks, a value is not finite, or the level is not in (0, 0.5).
    """
    names, rows = np.unique(blocks, return_inverse=True)
    if len(names) < 2 or values.shape != blocks.shape or not np.isfinite(values).all():
        raise DataError("a confidence bound needs finite values, each with its block, of at least two blocks")
    if not 0.0 < level < 0.5:
        raise DataError(f"the error probability of a confidence bound must be between 0 and 0.5, not {level}")
    sums = np.bincount(rows, weights=values).astype(np.float64)
    counts = np.bincount(rows).astype(np.float64)
    mean, own_error = (float(value[0]) for value in _means(sums[None], counts[None]))
    error = float(np.hypot(max(own_error, least_error), extra_error))
    drawn = _statistics(sums, counts, mean, np.random.default_rng(seed), resamples)
    freedoms = len(names) - 1
    quantile = max(_quantile(drawn, level), float(stdtrit(freedoms, 1.0 - level)))
    if error <= _rounding(mean):
        return MeanBound(mean, 0.0, mean, 0.0 if mean > 0.0 else 1.0, len(names))
    beyond = (1.0 + np.count_nonzero(drawn >= mean / error)) / (1.0 + resamples)
    p_value = max(float(beyond), float(1.0 - stdtr(freedoms, mean / error)))
    return MeanBound(mean, error, mean - quantile * error, p_value, len(names))


def _means(sums: Array, counts: Array) -> tuple[Array, Array]:
    """Means of (R, B) blocks and their standard errors, to first order, for blocks of unequal size."""
    total = counts.sum(axis=1)
    means = sums.sum(axis=1) / total
    blocks = sums.shape[1]
    residual = sums - means[:, None] * counts
    return means, np.sqrt(np.sum(residual**2, axis=1) * blocks / (blocks - 1)) / total


def _statistics(sums: Array, counts: Array, mean: float, rng: np.random.Generator, resamples: int) -> Array:
    """(resamples,) t statistics; infinite where the blocks drawn happen to be all alike, yet not as the mean is."""
    chosen = rng.integers(0, len(sums), (resamples, len(sums)))
    means, errors = _means(sums[chosen], counts[chosen])
    away = means - mean
    away[np.abs(away) <= _rounding(mean)] = 0.0
    errors = np.where(errors <= _rounding(mean), 0.0, errors)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(away == 0.0, 0.0, away / errors), dtype=np.float64)


def _quantile(drawn: Array, level: float) -> float:
    """The value that a share of at most ``level`` of the drawn ones exceeds; without interpolation, as some may be infinite.

    Infinite ones say nothing of the size of an error, so the largest finite one stands in for them.
    """
    ranked = np.sort(drawn)
    finite = ranked[np.isfinite(ranked)]
    value = float(ranked[int(np.ceil((1.0 - level) * len(ranked))) - 1])
    return value if np.isfinite(value) else float(finite[-1] if len(finite) else 0.0)


def _rounding(mean: float) -> float:
    return 1e-12 * max(1.0, abs(mean))
