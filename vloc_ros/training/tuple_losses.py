"""The losses of system M, on descriptors and on normal distributions of descriptors.

Sources: triplet margin and negative mean square as in its calibration of place recognition; the Bayesian triplet loss after Warburg
et al., "Bayesian Triplet Loss: Uncertainty Quantification in Image Retrieval" (ICCV 2021), in closed form for variances that are
equal in all directions. T tuples with at most N negatives each, P outlier pairs, descriptors of D elements and unit length; every
loss is one number per tuple or pair.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vloc_ros.networks.uncertainty import Described

TRIPLET_MARGIN = math.sqrt(0.1)
BAYESIAN_MARGIN = 0.1
UNRELATED = math.sqrt(2.0)
"""Distance of two unit vectors at right angles, which descriptors of unrelated images have."""
_TINY = 1e-12
"""Below this squares and variances count as this, where a root or a logarithm of zero would make gradients that are not numbers."""


def distance(a: Tensor, b: Tensor) -> Tensor:
    """(...) Euclidean distances of (..., D) vectors; without a gradient where they coincide."""
    return (a - b).square().sum(-1).clamp(min=_TINY).sqrt()


def mean_present(values: Tensor, present: Tensor) -> Tensor:
    """(T,) means of (T, N) values over those of each row that are present, 0 of a row without any."""
    kept = torch.where(present, values, torch.zeros_like(values))
    return kept.sum(1) / present.sum(1).clamp(min=1)


def triplet_margin(
    anchor: Tensor, positive: Tensor, negatives: Tensor, present: Tensor, margin: float = TRIPLET_MARGIN
) -> tuple[Tensor, Tensor]:
    """Triplet margin loss of tuples: the anchor must be nearer to its positive than to each negative, by a margin.

    Args:
        anchor: (T, D).
        positive: (T, D).
        negatives: (T, N, D); anything where there is none.
        present: (T, N) bool: where there is one.
        margin: the margin, of Euclidean distances.

    Returns:
        (T,) losses, sum over the negatives divided by their number; and (T,) the share of negatives that are too near.
    """
    excess = distance(anchor, positive)[:, None] + margin - distance(anchor[:, None], negatives)
    return mean_present(excess.clamp(min=0.0), present), mean_present((excess.detach() > 0.0).to(excess.dtype), present)


def outlier_mean_square(query: Tensor, negative: Tensor) -> Tensor:
    """(P,) the published loss of (P, D) outlier pairs: minus the mean square of the difference.

    It is at least -4 / D, and its gradient is at most 4 / D: next to nothing beside the triplet's for descriptors of thousands of
    elements. See :func:`outlier_hinge`.
    """
    return -(query - negative).square().mean(-1)


def outlier_hinge(query: Tensor, negative: Tensor, apart: float = UNRELATED) -> Tensor:
    """(P,) by how much the distances of (P, D) outlier pairs fall short of what unrelated images have.

    Bounded by 0 and ``apart``. Its gradient has length 1 at either end, whatever D is, as a negative's in the triplet loss; and
    none once the two are as far apart as is wanted.
    """
    return (apart - distance(query, negative)).clamp(min=0.0)


def distance_gap(anchor: Described, positive: Described, negative: Described) -> tuple[Tensor, Tensor]:
    """Mean and variance of tau = |a - p|^2 - |a - n|^2 for independent normal a, p, n.

    Args:
        anchor: means (..., D), variances (...).
        positive: likewise.
        negative: likewise.

    Returns:
        (...) means and (...) variances. Both are exact; the variance is written as a sum of terms none of which is negative, so
        that nothing cancels.
    """
    a, p, n = anchor.mean, positive.mean, negative.mean
    va, vp, vn = _variance(anchor), _variance(positive), _variance(negative)
    ap, an, pn = ((x - y).square().sum(-1) for x, y in ((a, p), (a, n), (p, n)))
    size = a.shape[-1]
    mean = ap - an + size * (vp - vn)
    variance = 2.0 * size * (vp.square() + vn.square() + 2.0 * va * (vp + vn)) + 4.0 * (vp * ap + vn * an + va * pn)
    return mean, variance


def bayesian_triplet(
    anchor: Described,
    positive: Described,
    negatives: Described,
    present: Tensor,
    margin: float = BAYESIAN_MARGIN,
    published_sign: bool = False,
) -> Tensor:
    """(T,) Bayesian triplet loss: -ln P(tau < -margin), tau taken as normal; the mean over the negatives of a tuple.

    Args:
        anchor: means (T, D), variances (T,).
        positive: likewise.
        negatives: means (T, N, D), variances (T, N).
        present: (T, N) bool: where there is a negative.
        margin: by how much the squared distance to the negative is to be larger.
        published_sign: P(tau < +margin) instead, as the released program has it, which asks for nothing while the negative is
            nearer by less than the margin.
    """
    a, p = (Described(part.mean[:, None], _variance(part)[:, None]) for part in (anchor, positive))
    mean, variance = distance_gap(a, p, negatives)
    limit = margin if published_sign else -margin
    score = (limit - mean) / variance.clamp(min=_TINY).sqrt()
    return mean_present(-torch.special.log_ndtr(score), present)


def kl_to_prior(described: Described, prior: float) -> Tensor:
    """(...) KL(N(mean, variance I) || N(0, prior I)) of (..., D) distributions."""
    size, variance = described.mean.shape[-1], _variance(described)
    ratio = variance / prior
    squares = described.mean.square().sum(-1)
    return 0.5 * (size * (ratio - 1.0 - ratio.clamp(min=_TINY).log()) + squares / prior)


def kl_to_widened(variance: Tensor, prior: float, factor: float = 10.0) -> Tensor:
    """(...) KL(N(m, variance) || N(m, factor * prior)) of one element; 0 exactly where the variance is ``factor * prior``."""
    ratio = variance / (factor * prior)
    return 0.5 * (ratio - 1.0 - ratio.clamp(min=_TINY).log())


def _variance(described: Described) -> Tensor:
    if described.variance is None:
        raise TypeError("these descriptors come without a variance")
    return described.variance
