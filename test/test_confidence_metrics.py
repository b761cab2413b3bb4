"""Calibration error, reliability, intervals and AUROC against answers worked out by hand or by another way of computing them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from vloc_ros.errors import DataError
from vloc_ros.evaluation.confidence_metrics import (
    Binning,
    auroc,
    expected_calibration_error,
    reliability,
    summarise_confidence,
    wilson_interval,
)


def outcomes(*bins: tuple[float, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Confidences and outcomes of (confidence, how many, how many of them right)."""
    confidence = np.concatenate([np.full(count, value) for value, count, _ in bins])
    right = np.concatenate([np.arange(count) < hits for _, count, hits in bins])
    return confidence, right


PERFECT = outcomes((0.05, 20, 1), (0.25, 8, 2), (0.5, 10, 5), (0.75, 4, 3), (1.0, 3, 3))


@pytest.mark.parametrize("binning", Binning)
@pytest.mark.parametrize("bins", [5, 10, 100])
def test_perfect_calibration_has_no_error(binning: Binning, bins: int) -> None:
    error = expected_calibration_error(reliability(*PERFECT, bins, binning))
    # fewer bins pool several confidences, each of which is right on average
    assert error == pytest.approx(0.0, abs=1e-12)


def test_by_hand() -> None:
    """Ten at 0.95 of which five are right, thirty at 0.15 of which three are: (10 * 0.45 + 30 * 0.05) / 40."""
    confidence, right = outcomes((0.95, 10, 5), (0.15, 30, 3))
    low, high = reliability(confidence, right, 10)
    assert (low.low, low.high, low.count, low.precision) == (0.1, 0.2, 30, 0.1)
    assert (high.low, high.high, high.count, high.precision) == (0.9, 1.0, 10, 0.5)
    assert low.confidence == pytest.approx(0.15)
    assert expected_calibration_error((low, high)) == pytest.approx(0.15)
    summary = summarise_confidence(confidence, right, 10)
    assert summary.ece == pytest.approx(0.15) and summary.ece_equal_mass == pytest.approx(0.15)
    assert summary.precision == pytest.approx(0.2)
    assert summary.brier == pytest.approx((5 * 0.05**2 + 5 * 0.95**2 + 3 * 0.85**2 + 27 * 0.15**2) / 40)
    assert summary.auroc == pytest.approx((5 * 27 + 0.5 * (5 * 5 + 3 * 27)) / (8 * 32))
    assert json.loads(json.dumps(summary.to_dict()))["bins"] == 10


def test_the_bins_decide_what_is_seen() -> None:
    """Confidences 0.1 too high and 0.1 too low cancel in one bin and do not in two."""
    confidence, right = outcomes((0.4, 10, 3), (0.6, 10, 7))
    assert expected_calibration_error(reliability(confidence, right, 1)) == pytest.approx(0.0)
    assert expected_calibration_error(reliability(confidence, right, 2)) == pytest.approx(0.1)


def test_edges_belong_to_one_bin() -> None:
    confidence = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    bins = reliability(confidence, np.ones(6, dtype=bool), 5)
    assert [one.count for one in bins] == [1, 1, 1, 1, 2]


def test_equal_mass_keeps_equal_confidences_together() -> None:
    confidence = np.array([0.3] * 7 + [0.5, 0.6, 0.7])
    bins = reliability(confidence, np.ones(10, dtype=bool), 5, Binning.EQUAL_MASS)
    assert [(one.low, one.high, one.count) for one in bins] == [(0.3, 0.5, 8), (0.6, 0.7, 2)]
    spread = reliability(np.linspace(0.0, 0.1, 100), np.ones(100, dtype=bool), 5, Binning.EQUAL_MASS)
    assert [one.count for one in spread] == [20] * 5 and spread[0].low == 0.0 and spread[-1].high == 0.1


def test_nothing_says_nothing() -> None:
    empty = summarise_confidence(np.empty(0), np.empty(0, dtype=bool))
    assert (empty.count, empty.ece, empty.ece_equal_mass, empty.brier, empty.auroc, empty.precision) == (0, *[None] * 5)


@pytest.mark.parametrize("confidence", [[-0.01], [1.01], [np.nan], [np.inf]])
def test_what_is_no_probability_is_refused(confidence: list[float]) -> None:
    with pytest.raises(DataError, match="from 0 to 1"):
        reliability(np.array(confidence), np.array([True]))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="shapes"):
        reliability(np.array([0.5, 0.5]), np.array([True]))
    with pytest.raises(DataError, match="at least one bin"):
        reliability(np.array([0.5]), np.array([True]), 0)
    with pytest.raises(DataError, match="one per label"):
        auroc(np.array([0.5]), np.array([True, False]))
    with pytest.raises(DataError, match="must be numbers"):
        auroc(np.array([np.nan, 0.2]), np.array([True, False]))


@pytest.mark.parametrize(("successes", "total"), [(0, 7), (7, 7), (1, 3), (40, 100), (999, 1000)])
def test_wilson_interval_is_scipys(successes: int, total: int) -> None:
    expected = binomtest(successes, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, total) == pytest.approx((expected.low, expected.high))
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_auroc_by_counting_pairs() -> None:
    rng = np.random.default_rng(1)
    score, positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    pairs = [(p > n) + 0.5 * (p == n) for p in score[positive] for n in score[~positive]]
    assert auroc(score, positive) == pytest.approx(np.mean(pairs))
    assert auroc(-score, positive) == pytest.approx(1.0 - np.mean(pairs))


def test_auroc_of_simple_cases() -> None:
    score = np.array([0.1, 0.2, 0.8, 0.9])
    assert auroc(score, np.array([False, False, True, True])) == 1.0
    assert auroc(score, np.array([True, True, False, False])) == 0.0
    assert auroc(np.zeros(4), np.array([True, False, True, False])) == 0.5
    assert auroc(np.array([-np.inf, 1.0]), np.array([False, True])) == 1.0
    assert auroc(score, np.ones(4, dtype=bool)) is None
