"""From similarity and variance to a probability: it recovers a known one, never bends the wrong way, and refuses too little."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from vloc_ros.calibration.monotone import fit_isotonic, fit_logistic, platt_targets
from vloc_ros.calibration.probability import (
    CandidateVerdicts,
    FitRefusal,
    MatchProbability,
    Method,
    ProbabilitySettings,
    compare_methods,
    fit_probability,
    pair_variance,
)
from vloc_ros.errors import DataError
from vloc_ros.evaluation.confidence_metrics import ConfidenceSummary

FITTED = [Method.LOGISTIC, Method.ISOTONIC]


def truth(similarity: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return expit(-9.0 + 12.0 * similarity - 1.5 * (np.log(variance) + 6.0))


def candidates(count: int, seed: int) -> CandidateVerdicts:
    rng = np.random.default_rng(seed)
    similarity, variance = rng.uniform(0.3, 1.0, count), np.exp(rng.normal(-6.0, 0.8, count))
    return CandidateVerdicts.of(similarity, rng.random(count) < truth(similarity, variance), variance)


def fitted(verdicts: CandidateVerdicts, method: Method = Method.LOGISTIC) -> MatchProbability:
    found = fit_probability(verdicts, ProbabilitySettings(method))
    assert isinstance(found, MatchProbability)
    return found


@pytest.mark.parametrize(("method", "tolerance"), [(Method.LOGISTIC, 0.03), (Method.ISOTONIC, 0.08)])
def test_a_known_probability_is_found(method: Method, tolerance: float) -> None:
    model, test = fitted(candidates(8000, 0), method), candidates(2000, 1)
    assert test.variance is not None
    error = model(test.similarity, test.variance) - truth(test.similarity, test.variance)
    assert np.sqrt(np.mean(error**2)) < tolerance
    if method is Method.LOGISTIC:
        assert model.per_similarity == pytest.approx(12.0, rel=0.1) and model.per_log_variance == pytest.approx(-1.5, rel=0.1)


def test_the_error_of_the_similarity_is_cut_on_held_out_candidates() -> None:
    found = compare_methods(candidates(600, 0), candidates(2000, 1))
    assert list(found) == [Method.SIMILARITY, Method.LOGISTIC, Method.ISOTONIC]
    numbers = {method: one for method, one in found.items() if isinstance(one, ConfidenceSummary)}
    assert len(numbers) == 3
    base = numbers[Method.SIMILARITY]
    for method in FITTED:
        ours = numbers[method]
        assert ours.ece is not None and base.ece is not None and ours.ece < 0.5 * base.ece
        assert ours.brier is not None and base.brier is not None and ours.brier < base.brier
        assert ours.auroc is not None and base.auroc is not None and ours.auroc > base.auroc


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(50, 200), method=st.sampled_from(FITTED), noise=st.booleans())
def test_it_never_bends_the_wrong_way(seed: int, count: int, method: Method, noise: bool) -> None:
    """Not even where the verdicts say the opposite: right ones of low similarity and high variance."""
    rng = np.random.default_rng(seed)
    similarity, variance = rng.uniform(-1.0, 1.0, count), rng.lognormal(0.0, 2.0, count)
    right = rng.random(count) < (0.5 if noise else expit(-3.0 * similarity + np.log(variance)))
    model = fit_probability(CandidateVerdicts.of(similarity, right, variance), ProbabilitySettings(method, 2, 2))
    if isinstance(model, FitRefusal):
        assert min(right.sum(), (~right).sum()) < 2
        return
    grid = np.linspace(-1.5, 1.5, 60)
    rising = model(grid, np.full(60, 0.5))
    falling = model(np.full(60, 0.2), np.exp(4.0 * grid))
    assert np.all(np.diff(rising) >= -1e-12) and np.all(np.diff(falling) <= 1e-12)
    assert np.all((rising > 0.0) & (rising < 1.0))


def test_candidates_that_are_told_apart_perfectly_are_not_certain() -> None:
    similarity = np.concatenate([np.linspace(0.0, 0.4, 50), np.linspace(0.6, 1.0, 50)])
    for method in FITTED:
        model = fitted(CandidateVerdicts.of(similarity, similarity > 0.5), method)
        low, middle, high = model(np.array([0.0, 0.5, 1.0]))
        assert 0.0 < low < 0.1 < middle < 0.9 < high < 1.0 and middle == pytest.approx(0.5, abs=0.05)
        assert not model.needs_variance


def test_beyond_what_was_seen_nothing_is_surer() -> None:
    verdicts = candidates(500, 0)
    assert verdicts.variance is not None
    for method in FITTED:
        model = fitted(verdicts, method)
        surest = model(verdicts.similarity.max(keepdims=True), verdicts.variance.min(keepdims=True))
        assert model(np.array([5.0]), np.array([1e-30])) == pytest.approx(surest)


@pytest.mark.parametrize("method", Method)
def test_bad_candidates_are_not_believed(method: Method) -> None:
    model = fitted(candidates(500, 0), method)
    similarity = np.array([np.nan, np.inf, 0.9, 0.9, 0.9, 0.9])
    found = model(similarity, np.array([0.1, 0.1, np.nan, 0.0, -1.0, np.inf]))
    assert found[:2].tolist() == [0.0, 0.0]
    if method is not Method.SIMILARITY:
        assert found.tolist() == [0.0] * 6


def test_a_variance_must_be_given_where_one_was_learned_from() -> None:
    with pytest.raises(DataError, match="no variance"):
        fitted(candidates(500, 0))(np.array([0.5]))


@pytest.mark.parametrize("method", FITTED)
def test_too_little_is_refused(method: Method) -> None:
    few = ProbabilitySettings(method, min_right=20, min_wrong=20)
    similarity = np.linspace(0.0, 1.0, 60)

    def refusal(right: np.ndarray, similarity: np.ndarray = similarity, **more: np.ndarray) -> FitRefusal | MatchProbability:
        return fit_probability(CandidateVerdicts.of(similarity, right, **more), few)

    assert refusal(similarity > 0.7) is FitRefusal.TOO_FEW_RIGHT
    assert refusal(similarity > 0.3) is FitRefusal.TOO_FEW_WRONG
    assert refusal(similarity > 0.5, np.full(60, 0.4)) is FitRefusal.SAME_EVERYWHERE
    assert refusal(np.zeros(0, dtype=bool), np.zeros(0)) is FitRefusal.TOO_FEW_RIGHT
    assert refusal(similarity > 0.5, np.where(similarity > 0.9, np.nan, similarity)) is FitRefusal.NOT_FINITE
    assert refusal(similarity > 0.5, variance=np.zeros(60)) is FitRefusal.NOT_FINITE
    assert refusal(similarity > 0.5, weight=np.zeros(60)) is FitRefusal.NOT_FINITE
    # thirty verdicts of which one has all the weight are about one verdict
    heavy = np.where(similarity == 1.0, 1.0, 1e-4)
    assert refusal(similarity > 0.5, weight=heavy) is FitRefusal.TOO_FEW_RIGHT
    assert isinstance(refusal(similarity > 0.5), MatchProbability)


def test_the_same_variance_everywhere_is_left_out() -> None:
    similarity = np.linspace(0.0, 1.0, 60)
    model = fitted(CandidateVerdicts.of(similarity, similarity > 0.5, np.full(60, 0.3)))
    assert not model.needs_variance and model(np.array([0.9]))[0] > 0.5


@pytest.mark.parametrize("method", Method)
def test_it_survives_json(method: Method) -> None:
    model, test = fitted(candidates(300, 0), method), candidates(50, 1)
    again = MatchProbability.from_dict(json.loads(json.dumps(model.to_dict(), allow_nan=False)))
    assert again == model
    np.testing.assert_array_equal(again(test.similarity, test.variance), model(test.similarity, test.variance))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "guess"},
        {"per_similarity": -1.0},
        {"per_log_variance": 1.0},
        {"intercept": float("nan")},
        {"knots": [[0.0, 0.5], [1.0, 0.4]]},
        {"knots": [[0.0, 0.5], [0.0, 0.6]]},
        {"knots": [[0.0, 0.5], [1.0, 1.4]]},
        {"knots": []},
        {"knots": [[1.0]]},
        {"right": None},
    ],
)
def test_a_damaged_card_is_refused(change: dict[str, object]) -> None:
    values = fitted(candidates(300, 0), Method.ISOTONIC).to_dict()
    with pytest.raises(DataError, match="calibrate again"):
        MatchProbability.from_dict(values | change)
    with pytest.raises(DataError, match="calibrate again"):
        MatchProbability.from_dict({name: value for name, value in values.items() if name not in change})


def test_verdicts_of_little_weight_count_little() -> None:
    verdicts = candidates(400, 0)
    lying = CandidateVerdicts.of(verdicts.similarity, ~verdicts.right, verdicts.variance)
    assert verdicts.variance is not None
    weight = np.concatenate([np.ones(400), np.full(400, 1e-6)])
    both = CandidateVerdicts.of(
        np.tile(verdicts.similarity, 2),
        np.concatenate([verdicts.right, lying.right]),
        np.tile(verdicts.variance, 2),
        weight,
    )
    alone, mixed = fitted(verdicts), fitted(both)
    assert mixed.per_similarity == pytest.approx(alone.per_similarity, rel=1e-2)


def test_isotonic_is_the_max_min_of_means() -> None:
    """The closed form: the largest, over starts up to a point, of the smallest mean from there to an end at or beyond it."""
    rng = np.random.default_rng(4)
    score, right, weight = rng.permutation(40).astype(float), rng.random(40) < 0.5, rng.uniform(0.1, 1.0, 40)
    targets = platt_targets(right, weight)
    x, y = fit_isotonic(score, targets, weight)
    order = np.argsort(score)
    value, mass = targets[order], weight[order]
    means = [[np.average(value[j : k + 1], weights=mass[j : k + 1]) if k >= j else np.inf for k in range(40)] for j in range(40)]
    expected = [max(min(means[j][k] for k in range(i, 40)) for j in range(i + 1)) for i in range(40)]
    np.testing.assert_allclose(np.interp(score[order], x, y), expected, atol=1e-9)
    tied = fit_isotonic(np.zeros(4), np.array([0.0, 1.0, 1.0, 1.0]), np.ones(4))
    assert (tied[0].tolist(), tied[1].tolist()) == ([0.0], [0.75])


def test_logistic_is_at_its_minimum_within_its_signs() -> None:
    features = np.random.default_rng(4).normal(size=(300, 2))
    told = expit(0.3 + features @ [1.2, -0.7])
    intercept, slopes = fit_logistic(features, told, np.ones(300), (1, -1))
    np.testing.assert_allclose([intercept, *slopes], [0.3, 1.2, -0.7], atol=5e-3)
    assert fit_logistic(features, told, np.ones(300), (-1, 1))[1].tolist() == [0.0, 0.0]


def test_platts_targets_by_hand() -> None:
    targets = platt_targets(np.array([True, True, True, False]), np.ones(4))
    assert targets.tolist() == pytest.approx([0.8, 0.8, 0.8, 1 / 3])
    assert pair_variance(np.array([0.1]), np.array([0.2])).tolist() == pytest.approx([0.3])
    with pytest.raises(DataError, match="one verdict"):
        CandidateVerdicts.of(np.zeros(3), np.zeros(2, dtype=bool))
    assert replace(MatchProbability(Method.SIMILARITY), right=3)(np.array([-0.5, 0.5, 1.5])).tolist() == [0.0, 0.5, 1.0]
