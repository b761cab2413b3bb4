"""The probability of a match: calibrated on pairs it was not learned from, monotone, stored beside its weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vloc_ros.calibration.match_fit import JudgedMatches, fit_match_model, held_out_summary
from vloc_ros.calibration.probability import FitRefusal
from vloc_ros.errors import DataError
from vloc_ros.evaluation.confidence_metrics import summarise_confidence
from vloc_ros.retrieval.match_model import MatchModel, load_match_model, match_model_path, save_match_model

WEIGHTS = "ab" * 32


def judged(seed: int, queries: int = 300) -> JudgedMatches:
    """Ten candidates of each query, whose chance rises with both counts in a way that no logistic regression knows."""
    generator = np.random.default_rng(seed)
    matches = generator.integers(20, 200, 10 * queries).astype(np.float64)
    share = generator.beta(1.2, 2.0, len(matches))
    inliers = np.floor(matches * share)
    chance = 0.02 + 0.95 * np.clip((inliers - 15.0) / 60.0, 0.0, 1.0) ** 1.5
    return JudgedMatches(inliers, share, generator.random(len(matches)) < chance, np.repeat(np.arange(queries), 10))


def fitted(seed: int = 1, queries: int = 300) -> MatchModel:
    model = fit_match_model(judged(seed, queries), "homography", WEIGHTS, "synthetic pairs")
    assert isinstance(model, MatchModel)
    return model


@pytest.mark.parametrize("queries", [60, 600])
def test_it_means_what_it_says_on_pairs_it_was_not_learned_from(queries: int) -> None:
    model, others = fitted(1, queries), judged(2, 1000)
    assert bool(model.knots) == (queries == 600)
    summary = summarise_confidence(model(others.inliers, others.share), others.right)
    assert summary.ece is not None and summary.ece < (0.03 if model.knots else 0.06)
    assert summary.auroc is not None and summary.auroc > 0.85


def test_a_held_out_summary_shows_the_same() -> None:
    summary = held_out_summary(judged(3, 600))
    assert not isinstance(summary, FitRefusal) and summary.ece is not None and summary.ece < 0.04


def test_it_never_falls_with_the_inliers_or_their_share() -> None:
    model = fitted()
    inliers, share = np.meshgrid(np.arange(0.0, 400.0, 5.0), np.linspace(0.0, 1.0, 30))
    chance = model(inliers.ravel(), share.ravel()).reshape(inliers.shape)
    assert (np.diff(chance, axis=0) >= 0.0).all() and (np.diff(chance, axis=1) >= 0.0).all()
    assert chance.min() >= 0.0 and chance.max() <= 1.0 and np.ptp(chance) > 0.8


def test_what_was_never_seen_is_no_surer_than_what_was() -> None:
    model, seen = fitted(), judged(1)
    most = model(np.array([seen.inliers.max()]), np.array([seen.share.max()]))
    assert model(np.array([1e6]), np.array([1.0])) <= most


def test_a_share_that_is_the_same_for_all_is_left_out() -> None:
    some = judged(1)
    model = fit_match_model(replace(some, share=np.full(len(some.right), 0.5)), "ransac", "")
    assert isinstance(model, MatchModel) and model.per_share == 0.0 and model.per_log_inliers > 0.0


def test_too_little_teaches_nothing() -> None:
    some = judged(1)
    none = np.zeros(len(some.right), dtype=bool)
    assert fit_match_model(replace(some, right=none), "", "") is FitRefusal.TOO_FEW_RIGHT
    assert fit_match_model(replace(some, right=~none), "", "") is FitRefusal.TOO_FEW_WRONG
    assert held_out_summary(replace(some, right=none)) is FitRefusal.TOO_FEW_RIGHT
    flat = np.zeros(len(none))
    assert fit_match_model(replace(some, inliers=flat, share=flat), "", "") is FitRefusal.SAME_EVERYWHERE


def test_unequal_lengths_and_no_numbers_are_errors() -> None:
    some = judged(1)
    with pytest.raises(DataError, match="each judged match"):
        replace(some, inliers=some.inliers[1:])
    with pytest.raises(DataError, match="finite"):
        replace(some, share=np.full(len(some.right), np.nan))


@pytest.mark.parametrize("queries", [60, 600])
def test_it_lies_beside_its_weights(queries: int, tmp_path: Path) -> None:
    weights, model = tmp_path / "site.safetensors", fitted(1, queries)
    assert load_match_model(weights, WEIGHTS, "homography") is None
    save_match_model(weights, model)
    assert match_model_path(weights).name == "site_match.json"
    assert load_match_model(weights, WEIGHTS, "homography") == model
    assert load_match_model(weights, WEIGHTS, "patches") is None
    with pytest.raises(DataError, match="other weights"):
        load_match_model(weights, "cd" * 32, "homography")


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 2},
        {"per_share": -1.0},
        {"intercept": float("nan")},
        {"intercept": "much"},
        {"knots": [[0.0, 0.5], [0.0, 0.6]]},
        {"knots": [[0.0, 0.5], [1.0, 0.4]]},
        {"knots": [[0.0, 0.5], [1.0, 1.4]]},
        {"knots": 3},
        {"reranker": 3},
    ],
    ids=str,
)
def test_damaged_values_are_refused(damage: dict[str, object]) -> None:
    values = json.loads(fitted().to_json())
    with pytest.raises(DataError, match="learn it anew"):
        MatchModel.from_json(json.dumps(values | damage))


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '"text"', "{" * 100_000])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="learn it anew"):
        MatchModel.from_json(text)
