"""The promotion test: better models pass; worse, equal, collapsed, broken and badly calibrated ones never do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from promotion_samples import IDS, PLACES, evidence, held_out, passes, queries_of, unit

from vloc_ros.calibration.descriptor_spread import DescriptorSpread
from vloc_ros.calibration.promotion import (
    AgainstPromotion,
    Decision,
    HeldOutScores,
    Measure,
    PromotionSettings,
    consecutive_stretches,
    decide,
    level_of_attempt,
)
from vloc_ros.errors import DataError
from vloc_ros.evaluation.block_bootstrap import lower_bound
from vloc_ros.evaluation.calibration_report import verdict_section, write_calibration_report
from vloc_ros.evaluation.model_evidence import ModelEvidence
from vloc_ros.evaluation.place_queries import PlaceQueries
from vloc_ros.mapping.keyframe import KeyframeId

QUICK = PromotionSettings(resamples=400)


def collapsed(vectors: np.ndarray, name: str = "new") -> HeldOutScores:
    return HeldOutScores.judged(name, IDS, queries_of(vectors, vectors), np.zeros(PLACES), vectors)


def test_a_better_model_is_promoted() -> None:
    decision = decide(held_out("old", 1.4, 1), held_out("new", 0.7, 2), QUICK)
    assert decision.promote and decision.reasons == ()
    assert decision.gain is not None and decision.lower is not None and 0.0 < decision.lower < decision.gain
    assert decision.p_value is not None and decision.p_value < 0.05
    assert (decision.queries, decision.stretches) == (PLACES, PLACES // 10)
    assert decision.average_precision.after == pytest.approx(decision.average_precision.before + decision.gain)
    assert "new takes over from old" in str(decision)


@pytest.mark.parametrize("measure", Measure)
@pytest.mark.parametrize("seed", range(5))
def test_a_worse_or_the_same_model_never_is(measure: Measure, seed: int) -> None:
    settings = replace(QUICK, measure=measure)
    good, bad = held_out("old", 0.7, seed), held_out("new", 1.4, seed + 50)
    for after in (bad, good):
        decision = decide(good, after, settings, seed=seed)
        assert not decision.promote and AgainstPromotion.NOT_SIGNIFICANT in decision.reasons
    same = decide(good, good, settings)
    assert (same.gain, same.lower, same.p_value) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-3])
def test_a_collapsed_model_never_is(seed: int, noise: float) -> None:
    """All alike, but for a noise that makes even a perfect ranking: it is worth nothing in a world of other noise."""
    rng = np.random.default_rng(seed)
    vectors = unit(unit(rng.normal(size=32)) + noise * rng.normal(size=(PLACES, 32)))
    decision = decide(held_out("old", 3.0, seed), collapsed(vectors), QUICK)
    assert not decision.promote and AgainstPromotion.COLLAPSED in decision.reasons
    if noise == 0.0:
        assert AgainstPromotion.NOT_SIGNIFICANT in decision.reasons


def test_descriptors_in_one_line_or_without_anything_have_collapsed() -> None:
    side = np.zeros((PLACES, 32))
    side[:, 0] = np.where(np.arange(PLACES) % 2, 1.0, -1.0)
    for vectors in (side, np.zeros((PLACES, 32))):
        assert AgainstPromotion.COLLAPSED in decide(held_out("old", 1.0, 0), collapsed(vectors), QUICK).reasons
    assert DescriptorSpread.of(side).dimension == pytest.approx(1.0)
    assert DescriptorSpread.of(np.eye(9)[:, :8]).dimension > 7.0
    even = DescriptorSpread.of(np.concatenate([np.eye(4), -np.eye(4)]))
    assert (even.variance, even.dimension) == (pytest.approx(1.0), pytest.approx(4.0))
    wide = DescriptorSpread.of(np.random.default_rng(0).normal(size=(5, 500)))
    tall = DescriptorSpread.of(np.random.default_rng(0).normal(size=(5, 500)).repeat(200, axis=0))
    assert wide.dimension == pytest.approx(tall.dimension)


def test_what_is_not_a_number_is_never_promoted() -> None:
    old, new = held_out("old", 1.4, 1), held_out("new", 0.7, 2)
    first, second = passes(0.7, 2)
    second[3, 3] = np.nan
    judged = HeldOutScores.judged("new", IDS, queries_of(first, second), new.confidence, np.concatenate([first, second]))
    broken = [
        judged,
        replace(new, confidence=np.full(PLACES, np.nan)),
        replace(new, confidence=np.full(PLACES, 1.5)),
        replace(new, spread=DescriptorSpread(np.nan, np.nan)),
        replace(new, scores=replace(new.scores, recall_at_1=np.full(PLACES, np.inf))),
    ]
    for after in broken:
        decision = decide(old, after, QUICK)
        assert not decision.promote and AgainstPromotion.NOT_FINITE in decision.reasons
        assert decision.gain is None and decision.lower is None
        assert Decision.from_dict(json.loads(json.dumps(decision.to_dict(), allow_nan=False))) == decision
    assert AgainstPromotion.NOT_FINITE in decide(broken[0], new, QUICK).reasons


def test_a_worse_calibrated_model_is_not_promoted() -> None:
    old, new = held_out("old", 1.4, 1), held_out("new", 0.7, 2)
    decision = decide(old, replace(new, confidence=np.full(PLACES, 0.1)), QUICK)
    assert decision.reasons == (AgainstPromotion.WORSE_CALIBRATED,)
    assert decision.ece.before == pytest.approx(0.0, abs=1e-9) and decision.ece.after is not None and decision.ece.after > 0.5
    assert decide(old, replace(new, confidence=np.full(PLACES, 0.1)), replace(QUICK, max_ece_rise=1.0)).promote


def test_too_little_to_say() -> None:
    old, new = held_out("old", 1.4, 1), held_out("new", 0.7, 2)
    few = decide(old, new, replace(QUICK, min_queries=PLACES + 1))
    assert few.reasons == (AgainstPromotion.TOO_FEW_QUERIES,)
    one = decide(old, new, QUICK, stretches=np.zeros(PLACES, dtype=np.int64))
    assert set(one.reasons) == {AgainstPromotion.TOO_FEW_STRETCHES, AgainstPromotion.NOT_SIGNIFICANT} and one.lower is None
    nothing = replace(old.scores, known=np.zeros(PLACES, dtype=bool))
    empty = decide(replace(old, scores=nothing), replace(new, scores=nothing), QUICK)
    assert not empty.promote and empty.queries == 0 and empty.average_precision.before is None


def test_only_the_same_queries_are_compared() -> None:
    old, new = held_out("old", 1.4, 1), held_out("new", 0.7, 2)
    with pytest.raises(DataError, match="did not answer the same"):
        decide(old, replace(new, queries=tuple(reversed(IDS))), QUICK)
    with pytest.raises(DataError, match="stretches for 3"):
        decide(old, new, QUICK, stretches=np.arange(3))
    with pytest.raises(DataError, match="each query once"):
        replace(new, queries=(IDS[0],) * PLACES)


def test_the_same_seed_gives_the_same_decision_and_it_survives_json() -> None:
    old, new = held_out("old", 1.0, 1), held_out("new", 0.9, 2)
    decision = decide(old, new, QUICK, seed=5)
    assert decision == decide(old, new, QUICK, seed=5)
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
    values = decision.to_dict()
    for bad in ({**values, "reasons": ["WEATHER"]}, {**values, "ece": 3}, {k: v for k, v in values.items() if k != "gain"}):
        with pytest.raises(DataError, match="promotion test cannot be read"):
            Decision.from_dict(bad)


def test_later_attempts_must_show_more() -> None:
    assert level_of_attempt(0.05, 1) == 0.05 and level_of_attempt(0.05, 3) == pytest.approx(0.05 / 9)
    assert sum(level_of_attempt(0.05, n) for n in range(1, 10000)) < 1.65 * 0.05
    with pytest.raises(DataError, match="from 1"):
        level_of_attempt(0.05, 0)
    old, new = held_out("old", 1.4, 1), held_out("new", 0.7, 2)
    first, tenth = (decide(old, new, replace(QUICK, resamples=4000), attempt=n) for n in (1, 10))
    assert first.lower is not None and tenth.lower is not None and tenth.lower < first.lower


def test_stretches_follow_the_route() -> None:
    ids = [KeyframeId(1, 5), KeyframeId(1, 1), KeyframeId(2, 0), KeyframeId(1, 9), KeyframeId(1, 12)]
    assert consecutive_stretches(ids, 2).tolist() == [0, 0, 2, 1, 1]
    assert consecutive_stretches([], 2).tolist() == []


def differences(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Of two models that differ by chance alone, each in its own way along the route; bounded and often zero, as of Recall@1."""
    strength = np.abs(rng.normal(0.0, 0.4, (blocks, 1)))
    tendency = rng.normal(0.0, 0.5, (blocks, 1))
    noise = tendency * strength + rng.normal(0.0, 0.5, (blocks, 10))
    return np.where(np.abs(noise) < 0.4, 0.0, np.clip(noise, -1.0, 1.0)).ravel()


@pytest.mark.parametrize("blocks", [8, 20])
def test_false_promotions_are_about_as_rare_as_stated(blocks: int) -> None:
    """Of 400 models that are no better about 20 pass: between 8 and 34 does with a probability of 99.8 % if it is 5 %."""
    rows = np.arange(10 * blocks) // 10
    passed = [
        lower_bound(differences(np.random.default_rng(seed), blocks), rows, 0.05, seed=seed, resamples=300).lower > 0.0
        for seed in range(400)
    ]
    assert 8 <= sum(passed) <= 34


def test_single_queries_would_be_fooled() -> None:
    """The same differences with each query as a stretch of its own: neighbours are counted as if they were independent."""
    passed = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        values = np.repeat(rng.normal(size=12), 10) + 0.1 * rng.normal(size=120)
        passed.append(lower_bound(values, np.arange(120), 0.05, seed=seed, resamples=200).lower > 0.0)
    assert np.mean(passed) > 0.15


def test_the_bound_is_that_of_students_t_for_normal_blocks() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(1.0, 1.0, 1000)
    bound = lower_bound(values, np.arange(1000), 0.05, seed=0, resamples=1500)
    assert bound.lower == pytest.approx(values.mean() - 1.645 * values.std() / np.sqrt(1000), abs=0.006)
    uneven = lower_bound(np.array([1.0, 1.0, 1.0, 3.0]), np.array([0, 0, 0, 1]), 0.05, seed=0)
    assert uneven.mean == 1.5 and uneven.lower < 0.0
    widened = lower_bound(values, np.arange(1000), 0.05, seed=0, extra_error=1.0, resamples=10)
    assert widened.standard_error == pytest.approx(1.0, abs=0.001)
    assert lower_bound(values, np.arange(1000), 0.05, seed=0, least_error=2.0, resamples=10).standard_error == 2.0


def test_a_bound_of_nothing_is_refused() -> None:
    for values, blocks, level in (([1.0, 2.0], [0, 0], 0.05), ([1.0, np.nan], [0, 1], 0.05), ([1.0, 2.0], [0, 1], 0.5)):
        with pytest.raises(DataError, match="confidence bound"):
            lower_bound(np.array(values), np.array(blocks), level, seed=0)


def test_a_broken_model_is_shown_too(tmp_path: Path) -> None:
    """Similarities and confidences that are no numbers, images that may not answer, and more queries than pixels."""
    first, second = passes(0.7, 2, places=600)
    queries = queries_of(first, second)
    queries.allowed[:, :40] = False
    queries.allowed[7] = False
    good = ModelEvidence.of("old", queries, {"similarity": np.full(600, 0.5)})
    bad = PlaceQueries(np.where(np.arange(600) % 9, queries.similarity, np.nan), queries.relevant, queries.allowed)
    broken = ModelEvidence.of("new", bad, {"similarity": np.full(600, 0.5), "calibrated": np.full(600, np.nan)})
    old, new = held_out("old", 1.4, 1), held_out("new", 0.7, 2, confidence=np.full(PLACES, np.nan))
    write_calibration_report(tmp_path / "report.html", "Broken", good, broken, decide(old, new, QUICK))
    assert AgainstPromotion.NOT_FINITE.value in Page((tmp_path / "report.html").read_text()).text
    stored = json.loads((tmp_path / "report.json").read_text())["models"][1]
    assert list(stored["confidence"]) == ["similarity"] and stored["separation_auroc"] is None and stored["failed"] == 1


def test_the_report_shows_both_models_and_why(tmp_path: Path) -> None:
    before, after = evidence("old <model>", 1.4, 1, common=0.5), evidence("new", 0.7, 2)
    old, new = held_out("old <model>", 1.4, 1, common=0.5), held_out("new", 0.7, 2)
    good = decide(old, new, QUICK)
    write_calibration_report(tmp_path / "out" / "good.html", "Site <A>", before, after, good, threshold=0.5)
    page = Page((tmp_path / "out" / "good.html").read_text())
    assert page.tags.count("img") == 4 and all(address.startswith("data:image/png") for address in page.addresses)
    assert "new takes over" in page.text and "Site <A>" in page.text and "F1 at similarity 0.5" in page.text
    refused = Page(verdict_section(decide(new, old, QUICK)))
    assert "new stays" in refused.text and "not promoted" in refused.text and AgainstPromotion.NOT_SIGNIFICANT.value in refused.text
    stored = json.loads((tmp_path / "out" / "good.json").read_text())
    assert Decision.from_dict(stored["decision"]) == good
    first, second = stored["models"]
    assert second["recall_at_1"] > first["recall_at_1"] and second["separation_auroc"] > first["separation_auroc"]
    assert second["confidence"]["calibrated"]["count"] == PLACES
