"""Gates between a search and a candidate: what each refuses, with which reason, and that it is counted."""

from __future__ import annotations

import numpy as np
import pytest

from vloc_ros.config import replace
from vloc_ros.errors import ConfigError
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.retrieval import Background, GateReason, Gates, GateSettings, Moment

S = 1_000_000_000


def moment(session: int, keyframe: int, seconds: float) -> Moment:
    return Moment(KeyframeId(session, keyframe), round(seconds * S))


def gates(**values: object) -> Gates:
    wide = {"gap.keyframes": 0, "gap.seconds": 0.0, "similarity.min_score": -1.0, "budget.burst": 100}
    return Gates(replace(GateSettings(), wide | {name.replace("__", "."): value for name, value in values.items()}))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (moment(1, 90, 60.0), GateReason.TEMPORAL_GAP),
        (moment(1, 110, 60.0), GateReason.TEMPORAL_GAP),
        (moment(1, 89, 95.1), GateReason.TEMPORAL_GAP),
        (moment(1, 89, 95.0), GateReason.TEMPORAL_GAP),
        (moment(1, 89, 94.9), None),
        (moment(1, 111, 105.1), None),
        (moment(2, 100, 100.0), None),
    ],
)
def test_the_gap_in_number_and_in_time(other: Moment, reason: GateReason | None) -> None:
    chain, query = gates(gap__keyframes=10, gap__seconds=5.0), moment(1, 100, 100.0)
    passed, refused = chain.check(query, [(other, 0.9)], now_ns=0)
    assert [refusal.reason for refusal in refused] == ([] if reason is None else [reason])
    assert [id for id, _ in passed] == ([other.id] if reason is None else [])
    assert chain.is_near_in_time(query, other) == (reason is not None)


def test_the_absolute_threshold_refuses_what_is_below_and_what_is_no_number() -> None:
    chain = gates(similarity__min_score=0.5)
    found = [(moment(2, k, 0.0), score) for k, score in enumerate([0.9, 0.5, 0.49, float("nan")])]
    passed, refused = chain.check(moment(1, 0, 0.0), found, now_ns=0)
    assert passed == [(KeyframeId(2, 0), 0.9), (KeyframeId(2, 1), 0.5)]
    assert [refusal.reason for refusal in refused] == [GateReason.TOO_DISSIMILAR] * 2
    assert [refusal.id for refusal in refused] == [KeyframeId(2, 2), KeyframeId(2, 3)]


def test_the_relative_threshold_goes_by_what_else_the_query_resembles() -> None:
    scores = np.concatenate([np.linspace(0.2, 0.4, 101), [0.95, 0.9]])
    background = Background.of(scores)
    assert background.median == pytest.approx(0.302) and background.deviation == pytest.approx(1.4826 * 0.052, abs=1e-9)
    chain = gates(similarity__min_deviations=4.0)
    found = [(moment(2, 0, 0.0), 0.95), (moment(2, 1, 0.0), 0.5)]
    passed, refused = chain.check(moment(1, 0, 0.0), found, 0, background)
    assert [id.keyframe for id, _ in passed] == [0] and refused[0].reason is GateReason.NOT_DISTINCT
    # the same scores stand out of a calmer background
    assert len(chain.check(moment(1, 0, 0.0), found, 0, Background.of(0.1 * scores))[0]) == 2
    # without a background there is nothing to compare with
    assert len(chain.check(moment(1, 0, 0.0), found, 0)[0]) == 2
    assert Background.of([]) == Background(0.0, 0.0)


def test_the_budget_fills_with_time() -> None:
    chain, query = gates(budget__per_second=2.0, budget__burst=3), moment(1, 0, 0.0)
    found = [(moment(2, k, 0.0), 0.9) for k in range(5)]

    def passed_at(seconds: float) -> int:
        return len(chain.check(query, found, round(seconds * S))[0])

    assert [passed_at(t) for t in (10.0, 10.0, 10.4, 10.5, 11.5, 100.0, 50.0, 100.5)] == [3, 0, 0, 1, 2, 3, 0, 3]


def test_all_is_counted_and_the_order_kept() -> None:
    chain = gates(gap__keyframes=2, similarity__min_score=0.5, budget__per_second=0.01, budget__burst=1)
    found = [(moment(1, 1, 0.0), 0.99), (moment(2, 0, 0.0), 0.9), (moment(2, 1, 0.0), 0.8), (moment(2, 2, 0.0), 0.1)]
    passed, refused = chain.check(moment(1, 0, 0.0), found, 0)
    assert passed == [(KeyframeId(2, 0), 0.9)]
    assert [refusal.reason for refusal in refused] == [GateReason.TEMPORAL_GAP, GateReason.OVER_BUDGET, GateReason.TOO_DISSIMILAR]
    chain.check(moment(1, 0, 0.0), found, 0)
    assert chain.refused == {GateReason.TEMPORAL_GAP: 2, GateReason.OVER_BUDGET: 3, GateReason.TOO_DISSIMILAR: 2}
    assert chain.passed == 1


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"budget\.burst"):
        replace(GateSettings(), {"budget.burst": 0})
