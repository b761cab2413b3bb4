"""Sequences: places that look alike are told apart by what came before."""

from __future__ import annotations

import numpy as np
import pytest

from vloc_ros.errors import ConfigError, DataError
from vloc_ros.retrieval import BayesFilter, BayesSettings, TrajectorySearch, TrajectorySettings

ONE = np.zeros(60, dtype=np.int64)


def traverse(truth: np.ndarray, rows: int, signal: float = 1.0, seed: int = 0) -> np.ndarray:
    """(Q, rows) scores: noise, and some more where the truth is; a row of -1 is a query off the route."""
    scores = np.random.default_rng(seed).standard_normal((len(truth), rows)).astype(np.float32)
    for query, row in enumerate(truth):
        if row >= 0:
            scores[query, int(row)] += signal
    return 0.2 + 0.1 * scores


def hits(method: TrajectorySearch | BayesFilter, scores: np.ndarray, truth: np.ndarray, slack: int = 1) -> float:
    best = np.array([int(np.argmax(method.update(row))) for row in scores])
    return float(np.mean(np.abs(best - truth) <= slack))


@pytest.mark.parametrize("speed", [1.0, 2.0, -1.0])
def test_a_trajectory_finds_what_single_images_cannot(speed: float) -> None:
    truth = np.arange(30) * speed + (0 if speed > 0 else 59)
    scores = traverse(truth, 60, signal=2.2)
    alone = float(np.mean(np.abs(np.argmax(scores, axis=1) - truth) <= 1))
    slow, fast = sorted((0.8 * speed, 1.2 * speed))
    found = hits(TrajectorySearch(ONE, TrajectorySettings(length=10, min_speed=slow, max_speed=fast)), scores, truth)
    assert alone < 0.7 and found > 0.85


def test_a_trajectory_score_by_hand() -> None:
    """Three rows, two queries, speed 1: the mean of the normalised scores along each diagonal."""
    search = TrajectorySearch(np.zeros(3, dtype=np.int64), TrajectorySettings(length=2, min_speed=1.0, max_speed=1.0, speeds=1))
    first = search.update(np.array([3.0, 0.0, 0.0], dtype=np.float32))
    unit = np.array([np.sqrt(2.0), -np.sqrt(0.5), -np.sqrt(0.5)])
    np.testing.assert_allclose(first, unit, atol=1e-6)
    second = search.update(np.array([0.0, 5.0, 0.0], dtype=np.float32))
    expected = [(-np.sqrt(0.5) + 0.0) / 2, (np.sqrt(2.0) + np.sqrt(2.0)) / 2, -np.sqrt(0.5)]
    np.testing.assert_allclose(second, expected, atol=1e-6)
    search.reset()
    np.testing.assert_allclose(search.update(np.array([3.0, 0.0, 0.0], dtype=np.float32)), unit, atol=1e-6)


def test_nothing_runs_from_one_session_into_the_next() -> None:
    """Rows 0 to 4 and 5 to 9 are two sessions; a line across the border must not help row 6."""
    sessions = np.repeat([1, 2], 5)
    past, now = np.zeros(10, dtype=np.float32), np.zeros(10, dtype=np.float32)
    past[[3, 5]], now[[4, 6]] = 1.0, 1.0
    scores = {}
    for name, groups in (("two", sessions), ("one", np.zeros(10, dtype=np.int64))):
        search = TrajectorySearch(groups, TrajectorySettings(length=3, min_speed=1.0, max_speed=1.0, speeds=1))
        search.update(np.roll(past, -1))
        search.update(past)
        scores[name] = search.update(now)
    assert scores["one"][6] == pytest.approx(scores["one"][4], abs=1e-6)
    assert scores["two"][6] < scores["two"][4] - 0.5


def test_a_belief_does_not_move_from_one_session_into_the_next() -> None:
    start = np.zeros(10, dtype=np.float32)
    start[4] = 1.0
    moved = {}
    for name, groups in (("two", np.repeat([1, 2], 5)), ("one", np.zeros(10, dtype=np.int64))):
        belief = BayesFilter(groups, BayesSettings(spread=0.1, new_place=1.0))
        for _ in range(3):
            belief.update(start)
        moved[name] = belief.update(np.zeros(10, dtype=np.float32))
    assert moved["one"][5] > 4.0 * moved["one"][6] and moved["two"][5] <= moved["two"][6]


def test_the_filter_finds_what_single_images_cannot() -> None:
    truth = np.arange(50.0)
    scores = traverse(truth, 60, signal=2.5)
    alone = float(np.mean(np.abs(np.argmax(scores, axis=1) - truth) <= 1))
    assert alone < 0.75 < 0.85 < hits(BayesFilter(ONE), scores, truth)


def test_the_filter_knows_that_it_is_somewhere_new() -> None:
    truth = np.concatenate([np.full(20, -1), np.arange(20), np.full(20, -1)])
    belief, new = BayesFilter(ONE), []
    for row in traverse(truth, 60, signal=6.0):
        probabilities = belief.update(row)
        assert probabilities.sum() + belief.probability_new == pytest.approx(1.0, abs=1e-5)
        assert (probabilities >= 0.0).all()
        new.append(belief.probability_new)
    assert np.mean(new[5:20]) > 0.8 and np.mean(new[25:40]) < 0.2 and np.mean(new[50:]) > 0.8
    belief.reset()
    assert belief.probability_new == 1.0


@pytest.mark.parametrize("kind", [TrajectorySearch, BayesFilter])
def test_odd_input(kind: type[TrajectorySearch] | type[BayesFilter]) -> None:
    method = kind(np.zeros(4, dtype=np.int64))
    for wrong in (np.zeros(3), np.zeros((1, 4)), np.array([0.0, np.nan, 0.0, 0.0])):
        with pytest.raises(DataError, match="route of 4 rows"):
            method.update(wrong.astype(np.float32))
    # a query that resembles everything alike says nothing
    flat = method.update(np.full(4, 0.3, dtype=np.float32))
    assert np.isfinite(flat).all() and np.ptp(flat) == pytest.approx(0.0, abs=1e-6)
    assert kind(np.zeros(0, dtype=np.int64)).update(np.zeros(0, dtype=np.float32)).shape == (0,)


def test_speeds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ConfigError, match="swap them"):
        TrajectorySearch(ONE, TrajectorySettings(min_speed=2.0, max_speed=1.0))
