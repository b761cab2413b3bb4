"""The three-fold criterion, the share of correct matches, and the scores of held-out queries, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vloc_ros.errors import DataError
from vloc_ros.evaluation.closure_metrics import (
    ClosureOutcomes,
    Criterion,
    closure_answers,
    correct_matches,
    score_thresholds,
)
from vloc_ros.evaluation.place_queries import PlaceQueries
from vloc_ros.evaluation.retrieval_metrics import NOT_FOUND, precision_recall, summarise


def six() -> ClosureOutcomes:
    """Six queries: right and verified; wrong, refused by geometry; right, refused by the graph; a wrong one that passes both;
    right and verified; and one without a candidate whose place is known.
    """
    return ClosureOutcomes(
        score=np.array([0.9, 0.8, 0.7, 0.6, 0.5, -np.inf]),
        registered=np.array([True, False, True, True, True, False]),
        accepted=np.array([True, False, False, True, True, False]),
        right=np.array([True, False, True, False, True, False]),
        known=np.array([True, False, True, False, True, True]),
    )


@pytest.mark.parametrize(
    ("criterion", "precision", "recall"),
    [
        (Criterion.SIMILARITY, [1, 1 / 2, 2 / 3, 2 / 4, 3 / 5], [1 / 4, 1 / 4, 2 / 4, 2 / 4, 3 / 4]),
        (Criterion.REGISTERED, [1, 1, 2 / 3, 3 / 4], [1 / 4, 2 / 4, 2 / 4, 3 / 4]),
        (Criterion.THREE_FOLD, [1, 1 / 2, 2 / 3], [1 / 4, 1 / 4, 2 / 4]),
    ],
)
def test_each_criterion_believes_fewer(criterion: Criterion, precision: list[float], recall: list[float]) -> None:
    curve = precision_recall(closure_answers(six(), criterion))
    assert curve is not None
    np.testing.assert_allclose(curve.precision, precision)
    np.testing.assert_allclose(curve.recall, recall)


def test_f1_at_its_best_and_at_one_threshold() -> None:
    answers = closure_answers(six())
    curve, summary = precision_recall(answers), summarise(answers)
    assert curve is not None
    assert summary.max_f1 == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5)) and summary.best_threshold == 0.5
    assert summary.average_precision == pytest.approx(0.25 * 1.0 + 0.25 * 2 / 3)
    point = curve.at(0.6)
    assert (point.precision, point.recall) == (0.5, 0.25) and point.f1 == pytest.approx(1 / 3)
    assert curve.at(0.55) == point and curve.at(-1.0) == curve.at(0.5)
    nothing = curve.at(0.95)
    assert (nothing.precision, nothing.recall, nothing.f1) == (None, 0.0, 0.0)


def test_correct_matches_over_thresholds() -> None:
    """At 0.9, 0.7 and 0.5: 1 of 1, 1 of 3 and 3 of 5 are verified; nothing passes 0.95."""
    found = correct_matches(six(), np.array([0.5, 0.95, 0.7, 0.9]))
    assert found is not None and found.thresholds == (0.9, 0.7, 0.5)
    assert found.shares == pytest.approx((1.0, 1 / 3, 3 / 5))
    assert found.mean == pytest.approx(np.mean([1.0, 1 / 3, 0.6])) and found.std == pytest.approx(np.std([1.0, 1 / 3, 0.6], ddof=1))


def test_the_share_does_not_depend_on_the_scale_of_the_scores() -> None:
    one, other = six(), six()
    rescaled = ClosureOutcomes(np.exp(3.0 * other.score) - 4.0, other.registered, other.accepted, other.right, other.known)
    rescaled.score[-1] = -np.inf
    first, second = correct_matches(one), correct_matches(rescaled)
    assert first is not None and second is not None and first.shares == second.shares


def test_thresholds_let_even_shares_through() -> None:
    scores = np.array([*range(20), -np.inf], dtype=float)
    passed = [int(np.sum(scores >= threshold)) for threshold in score_thresholds(scores, 4)]
    assert passed == [5, 10, 15, 20]
    assert [int(np.sum(np.arange(3) >= t)) for t in score_thresholds(np.arange(3.0), 10)] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 3]


def test_no_match_has_no_share() -> None:
    empty = six()
    silent = ClosureOutcomes(np.full(6, -np.inf), empty.registered, empty.accepted, empty.right, empty.known)
    assert correct_matches(silent) is None and correct_matches(empty, np.array([2.0])) is None
    assert precision_recall(closure_answers(silent)) is None
    assert len(score_thresholds(silent.score)) == 0


def test_bad_outcomes_are_refused() -> None:
    good = six()
    with pytest.raises(DataError, match="one per query"):
        ClosureOutcomes(good.score[:3], good.registered, good.accepted, good.right, good.known)
    with pytest.raises(DataError, match="-inf"):
        ClosureOutcomes(np.full(6, np.nan), good.registered, good.accepted, good.right, good.known)


def queries(similarity: list[list[float]], relevant: list[list[int]], allowed: list[list[int]] | None = None) -> PlaceQueries:
    every = np.ones(np.shape(similarity), dtype=bool)
    mask = every if allowed is None else np.array(allowed, dtype=bool)
    return PlaceQueries(np.array(similarity, dtype=float), np.array(relevant, dtype=bool), mask)


def test_scores_of_queries_by_hand() -> None:
    """Relevant images at ranks 1 and 3; at rank 2; none at all."""
    data = queries([[0.9, 0.8, 0.7, 0.1], [0.4, 0.9, 0.1, 0.2], [0.9, 0.1, 0.2, 0.3]], [[1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    scores = data.scores()
    assert scores.known.tolist() == [True, True, False]
    np.testing.assert_allclose(scores.average_precision, [(1 + 2 / 3) / 2, 0.5, 0.0])
    np.testing.assert_allclose(scores.reciprocal_rank, [1.0, 0.5, 0.0])
    np.testing.assert_allclose(scores.recall_at_1, [1.0, 0.0, 0.0])
    answers = data.answers()
    assert answers.first_right.tolist() == [0, 1, NOT_FOUND] and answers.best_score.tolist() == [0.9, 0.9, 0.9]
    assert summarise(answers).recall[1] == 0.5 and summarise(answers).recall[5] == 1.0
    assert sorted(data.positives) == [0.4, 0.7, 0.9] and len(data.negatives) == 9


def test_neighbours_in_time_may_not_answer() -> None:
    data = queries([[1.0, 0.5, 0.4]], [[1, 1, 0]], [[0, 1, 1]])
    assert data.answers().best_score.tolist() == [0.5] and data.positives.tolist() == [0.5]
    assert data.scores().average_precision.tolist() == [1.0]
    silent = queries([[1.0]], [[1]], [[0]])
    assert silent.answers().failed.tolist() == [True] and not silent.known.any()


def test_ties_do_not_help() -> None:
    """A model to which everything looks alike: the relevant image is last, wherever it is stored."""
    for place in range(4):
        data = queries([[0.7] * 4], [[int(k == place) for k in range(4)]])
        assert data.scores().reciprocal_rank.tolist() == [0.25] and data.answers().first_right.tolist() == [3]


def test_what_is_not_a_number_comes_last_and_is_seen() -> None:
    data = queries([[np.nan, 0.5]], [[1, 0]])
    assert not data.finite and data.scores().reciprocal_rank.tolist() == [0.5] and data.answers().best_score.tolist() == [0.5]
    assert queries([[np.nan, 0.5]], [[1, 0]], [[0, 1]]).finite
    with pytest.raises(DataError, match="shape"):
        PlaceQueries(np.zeros((2, 3)), np.zeros((2, 2), dtype=bool), np.ones((2, 3), dtype=bool))
