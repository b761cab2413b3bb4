"""Monotone regression of outcomes on scores: bounded logistic regression and isotonic regression, both with Platt's targets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

Array = NDArray[np.float64]
_RIDGE = 1e-4


def platt_targets(right: NDArray[np.bool_], weight: Array) -> Array:
    """(N,) (n+ + 1) / (n+ + 2) for right outcomes and 1 / (n- + 2) for wrong ones, so that none is certain.

    Platt, "Probabilistic outputs for support vector machines", 1999, section 2.2; n+ and n- are sums of weights here.
    """
    positives, negatives = float(weight[right].sum()), float(weight[~right].sum())
    return np.where(right, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))


def fit_logistic(features: Array, targets: Array, weight: Array, signs: tuple[int, ...]) -> tuple[float, Array]:
    """Intercept and coefficients of the logistic regression whose coefficients have the given signs or are zero.

    The weighted log loss is convex and the bounds are a box, so the minimum is the only one; a faint ridge settles what collinear
    features leave open.

    Args:
        features: (N, F), none constant.
        targets: (N,) in (0, 1).
        weight: (N,) positive.
        signs: +1 or -1 for each feature: whether the probability rises or falls with it.
    """
    centre = np.average(features, axis=0, weights=weight)
    scale = np.sqrt(np.average((features - centre) ** 2, axis=0, weights=weight))
    design = np.column_stack([np.ones(len(features)), (features - centre) / scale])
    share = weight / weight.sum()

    def loss(coefficients: Array) -> tuple[float, Array]:
        logits = design @ coefficients
        value = share @ (np.logaddexp(0.0, logits) - targets * logits)
        gradient = design.T @ (share * (expit(logits) - targets))
        slopes = np.concatenate([[0.0], coefficients[1:]])
        return float(value + 0.5 * _RIDGE * slopes @ slopes), gradient + _RIDGE * slopes

    bounds = [(None, None), *((0.0, None) if sign > 0 else (None, 0.0) for sign in signs)]
    found = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12})
    slopes = np.asarray(found.x[1:] / scale, dtype=np.float64)
    return float(found.x[0] - slopes @ centre), slopes


def fit_isotonic(score: Array, targets: Array, weight: Array) -> tuple[Array, Array]:
    """Knots (scores rising, values not falling) of the weighted isotonic regression, by pooling adjacent violators.

    Barlow et al., "Statistical Inference under Order Restrictions", 1972. Each pooled block gives the knots of its first and last
    score, between which it is flat; between blocks the regression is meant to be linear.
    """
    unique, rows = np.unique(score, return_inverse=True)
    mass = np.bincount(rows, weights=weight)
    mean = np.bincount(rows, weights=weight * targets) / mass
    # of each block: value, mass, first and last unique score
    blocks: list[tuple[float, float, int, int]] = []
    for k, (value, amount) in enumerate(zip(mean.tolist(), mass.tolist(), strict=True)):
        blocks.append((value, amount, k, k))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            last, before = blocks.pop(), blocks.pop()
            total = before[1] + last[1]
            blocks.append(((before[0] * before[1] + last[0] * last[1]) / total, total, before[2], last[3]))
    knots = [(unique[end], value) for value, _, first, last in blocks for end in dict.fromkeys((first, last))]
    return np.array([x for x, _ in knots]), np.array([y for _, y in knots])
