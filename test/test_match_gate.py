"""The probability of a match in the search for loops: where it comes from, what it refuses, and what is kept of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from loop_samples import REGISTRAR, Scene, circle, drive, new_map
from test_retrieval_gates import gates, moment
from version_samples import PROBABILITY, variance_of, version_with_variance

from vloc_ros.calibration.probability import MatchProbability, Method
from vloc_ros.config import replace
from vloc_ros.errors import MapError
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.loop_closure import Candidate, Detection, LoopDetector, LoopSettings, Rejection
from vloc_ros.loop_closure.claims import Claim, ClaimBook, JudgedClaims
from vloc_ros.loop_closure.proposer import Proposer
from vloc_ros.mapping import KeyframeId, MapStore
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.model_versions import set_probability
from vloc_ros.mapping.searches import searches_of
from vloc_ros.mapping.variances import variances_of
from vloc_ros.pose_graph import Label
from vloc_ros.retrieval import GateReason, View
from vloc_ros.retrieval.of_map import MapDescriptor

LAP = 20
SETTINGS = replace(LoopSettings(), {"gates.gap.keyframes": 8, "gates.gap.seconds": 1.0, "gates.similarity.min_score": -1.0})


@pytest.fixture(scope="module")
def two_laps(tmp_path_factory):
    path = tmp_path_factory.mktemp("ring") / "ring.vloc"
    with new_map(path) as store:
        drive(store, Scene.ring(1), circle(2 * LAP, 2.0), 1)
    return path.read_bytes()


@pytest.fixture
def store(two_laps, tmp_path):
    path = tmp_path / "ring.vloc"
    path.write_bytes(two_laps)
    with MapStore.open(path) as opened:
        yield opened
    assert check_map(path) == []


def searched(store, describer, settings=SETTINGS):
    finder = LoopDetector(store, describer, REGISTRAR, settings, live=False)
    return finder, [finder.process(keyframe) for keyframe in store.keyframes()]


def by_hand(score, variance):
    logit = -4.0 + 6.0 * min(score, 0.9) - 0.5 * max(math.log(variance), -8.0)
    return 1.0 / (1.0 + math.exp(-logit))


def true_variance(store, a, b):
    return sum(float(np.float32(variance_of(View(features=store.features(id))))) for id in (a, b))


def test_candidates_rejections_and_the_map_carry_the_probability(store):
    describer = version_with_variance(store, MapDescriptor.of(store, "vlad").descriptor)
    _, found = searched(store, describer)
    pairs = [pair for detection in found for pair in (detection.candidate, *detection.rejections) if pair is not None]
    assert sum(isinstance(pair, Candidate) for pair in pairs) >= LAP - 3 and any(isinstance(pair, Rejection) for pair in pairs)
    for pair in pairs:
        assert pair.probability == pytest.approx(by_hand(pair.score, true_variance(store, pair.a, pair.b)), abs=1e-9)
    assert len({round(pair.probability, 6) for pair in pairs}) > len(pairs) // 2
    kept = {row.keyframe: row for row in searches_of(store, 1)}
    assert list(kept) == [keyframe.id for keyframe in store.keyframes()]
    for detection in found:
        row = kept[detection.keyframe]
        assert row.model == "site-1" and row.verified == (detection.candidate is not None)
        if detection.candidate is not None:
            assert (row.partner, row.score, row.probability, row.reason) == (
                *(detection.candidate.a, detection.candidate.score, detection.candidate.probability),
                "",
            )
            assert row.variance == pytest.approx(true_variance(store, row.partner, row.keyframe), rel=1e-6)
        elif detection.rejections:
            best = detection.rejections[0]
            assert (row.partner, row.score, row.reason) == (best.a, best.score, best.reason.name.lower())
        else:
            assert (row.partner, row.score, row.variance, row.probability, row.reason) == (*[None] * 4, "nothing_found")
    assert kept[KeyframeId(1, 1)].reason == "nothing_found"


def test_the_gate_refuses_what_is_improbable_and_says_so(store):
    describer = version_with_variance(store, MapDescriptor.of(store, "vlad").descriptor)
    _, found = searched(store, describer)
    claimed = sorted(pair.probability for d in found for pair in (d.candidate, *d.rejections) if pair is not None)
    least = claimed[len(claimed) // 2]
    finder, gated = searched(store, describer, replace(SETTINGS, {"gates.min_match_probability": least}))
    refused = [refusal for detection in gated for refusal in detection.refusals]
    assert refused and {refusal.reason for refusal in refused} == {GateReason.IMPROBABLE}
    assert finder.counts["improbable"] == len(refused)
    assert all(pair.probability >= least for d in gated for pair in (d.candidate, *d.rejections) if pair is not None)
    only_refused = [d.keyframe for d in gated if d.refusals and d.candidate is None and not d.rejections]
    rows = {row.keyframe: row for row in searches_of(store)}
    assert only_refused and all(rows[id].reason == "improbable" and rows[id].probability < least for id in only_refused)


def test_what_has_no_probability_is_not_gated_by_it(store):
    strict = replace(SETTINGS, {"gates.min_match_probability": 1.0})
    finder, found = searched(store, MapDescriptor.of(store, "vlad"), strict)
    assert finder.counts["candidates"] >= LAP - 3 and finder.counts["improbable"] == 0
    assert all(d.candidate is None or d.candidate.probability is None for d in found)
    assert {(row.version, row.model, row.probability) for row in searches_of(store)} == {(0, "vlad", None)}


def test_the_gate_between_the_others():
    chain, query = (
        gates(similarity__min_score=0.5, min_match_probability=0.7, budget__burst=2, budget__per_second=0.01),
        moment(1, 0, 0),
    )
    others = [moment(2, k, 0.0) for k in range(5)]
    scores = [0.9, 0.8, 0.4, 0.7, 0.6]
    known = {others[0].id: 0.7, others[1].id: 0.69, others[2].id: 0.1, others[3].id: float("nan")}
    passed, refused = chain.check(query, list(zip(others, scores, strict=True)), 0, None, known)
    assert [id for id, _ in passed] == [others[0].id, others[4].id], "0.7 will do, and so will what nobody knows"
    expected = [GateReason.IMPROBABLE, GateReason.TOO_DISSIMILAR, GateReason.IMPROBABLE]
    assert [refusal.reason for refusal in refused] == expected


def test_variances_are_taken_from_the_map_the_next_time(store, monkeypatch):
    describer = version_with_variance(store, MapDescriptor.of(store, "vlad").descriptor)
    _, first = searched(store, describer)
    assert len(variances_of(store, "site-1")) == 2 * LAP
    monkeypatch.setattr(MapDescriptor, "describe", None)
    _, second = searched(store, describer)
    assert [d.candidate and d.candidate.probability for d in first] == [d.candidate and d.candidate.probability for d in second]


def test_a_descriptor_without_its_variance_has_no_probability(store):
    describer = version_with_variance(store, MapDescriptor.of(store, "vlad").descriptor)
    for keyframe in store.keyframes()[: LAP // 2]:
        store.set_global_descriptor(keyframe.id, "site-1", describer.vector(store, keyframe.id))
    finder, found = searched(store, describer)
    tried = [pair for d in found for pair in (d.candidate, *d.rejections) if pair is not None]
    assert any(pair.probability is None for pair in tried) and any(pair.probability is not None for pair in tried)
    for pair in tried:
        assert (pair.probability is None) == (pair.a.keyframe <= LAP // 2)
    assert finder.counts["keyframes"] == 2 * LAP


def test_a_probability_of_similarity_alone_needs_no_variance(store):
    alone = MatchProbability(Method.LOGISTIC, -4.0, 6.0, most_similarity=0.9)
    describer = version_with_variance(store, MapDescriptor.of(store, "vlad").descriptor, alone)
    for keyframe in store.keyframes():
        store.set_global_descriptor(keyframe.id, "site-1", describer.vector(store, keyframe.id))
    _, found = searched(store, describer)
    pairs = [d.candidate for d in found if d.candidate is not None]
    assert pairs and all(p.probability == pytest.approx(1 / (1 + math.exp(4 - 6 * min(p.score, 0.9)))) for p in pairs)


def test_another_proposer_takes_over_between_keyframes(store):
    plain = MapDescriptor.of(store, "vlad")
    describer = version_with_variance(store, plain.descriptor)
    finder = LoopDetector(store, plain, REGISTRAR, SETTINGS, live=False)
    keyframes = store.keyframes()
    for keyframe in keyframes[: LAP + 10]:
        finder.process(keyframe)
    candidates = finder.counts["candidates"]
    assert (finder.descriptor_name, finder.model.version) == ("vlad", 0) and candidates > 0
    for keyframe in keyframes:
        describer.keep(store, keyframe.id, *describer.describe(store, keyframe.id))
    finder.propose_with(Proposer(store, describer))
    assert (finder.descriptor_name, finder.model.version) == ("site-1", 1) and len(finder.described) == 2 * LAP
    assert finder.process(keyframes[0]).candidate is None and finder.counts["keyframes"] == LAP + 10, "searched for already"
    for keyframe in keyframes[LAP + 10 :]:
        finder.process(keyframe)
    assert finder.counts["keyframes"] == 2 * LAP and finder.counts["candidates"] >= candidates + LAP - 12
    assert [row.version for row in searches_of(store)] == [0] * (LAP + 10) + [1] * (LAP - 10)


def test_a_keyframe_that_was_described_but_never_searched_for_may_be_found(store):
    plain = MapDescriptor.of(store, "vlad")
    finder = LoopDetector(store, plain, REGISTRAR, SETTINGS, live=False)
    drive(store, Scene.ring(1), circle(6, 6 / LAP), 2)
    late = drive(store, Scene.ring(1), circle(3, 3 / LAP), 3)
    for keyframe in store.keyframes(2):
        plain.keep(store, keyframe.id, plain.vector(store, keyframe.id))
    finder.propose_with(Proposer(store, plain))
    found = [finder.process(keyframe).candidate for keyframe in store.keyframes(late)]
    assert [candidate.a.session for candidate in found if candidate is not None].count(2) >= 2


def test_a_probability_that_is_none_is_refused_and_a_newer_one_taken_over(store):
    describer = version_with_variance(store, MapDescriptor.of(store, "vlad").descriptor, None)
    proposer = Proposer(store, describer)
    assert proposer.model.version == 1 and proposer.model.probability is None
    set_probability(store, 1, PROBABILITY.to_dict(), None)
    proposer.look_up()
    assert proposer.model.probability == PROBABILITY
    set_probability(store, 1, PROBABILITY.to_dict() | {"per_similarity": -1.0}, None)
    with pytest.raises(MapError, match=r"site-1.*not monotone"):
        proposer.look_up()
    with pytest.raises(MapError, match=r"site-1.*not monotone"):
        Proposer(store, describer)


A, B, C, D = (KeyframeId(1, number) for number in (1, 2, 3, 4))


def candidate(a, b, probability, score=0.5):
    return Candidate(a, b, score, np.eye(4), np.eye(6), 30, 40, probability)


def rejection(a, b, probability, score=0.5):
    return Rejection(a, b, score, RejectReason.TOO_FEW_INLIERS, 3, 40, probability)


def test_the_claim_is_that_of_the_best_match_that_was_tried():
    assert Claim.of(Detection(D, None)) is None
    assert Claim.of(Detection(D, candidate(A, D, 0.8), (rejection(B, D, 0.9),))) == Claim(B, D, 0.5, 0.9, False)
    assert Claim.of(Detection(D, candidate(A, D, 0.8))) == Claim(A, D, 0.5, 0.8, True)


def test_claims_are_judged_by_the_graph_and_else_by_geometry():
    claims = [
        Claim(A, C, 1.5, 0.8, True),
        Claim(B, C, 0.5, 0.75, True),
        Claim(A, D, -0.5, 0.25, False),
        Claim(B, D, 0.5, None, True),
    ]
    judged = JudgedClaims.of(claims, {})
    assert judged.right.tolist() == [True, True, False] and len(judged) == 3, "one without a probability claims nothing"
    assert judged.similarity.tolist() == [1.0, 0.5, 0.0] and judged.probability.tolist() == [0.8, 0.75, 0.25]
    labels = {frozenset((C, A)): Label.OUTLIER, frozenset((B, C)): Label.UNDECIDED, frozenset((A, D)): Label.INLIER}
    assert JudgedClaims.of(claims, labels).right.tolist() == [False, True, True]
    summary = JudgedClaims.of(claims, labels).summaries()["match probability"]
    assert summary.brier == pytest.approx((0.8**2 + 0.25**2 + 0.75**2) / 3)
    assert summary.ece == pytest.approx((0.8 + 0.25 + 0.75) / 3)


def test_the_book_keeps_the_newest_claims_of_one_model():
    book = ClaimBook(2)
    for probability in (0.1, 0.2, 0.3):
        book.add(Detection(D, candidate(A, D, probability)))
        book.add(Detection(D, None))
    assert book.judged({}).probability.tolist() == [0.2, 0.3]
    book.clear()
    assert len(book.judged({})) == 0 and book.judged({}).summaries()["similarity"].ece is None


def test_detections_stay_as_they_were_without_a_model_version(store):
    _, found = searched(store, MapDescriptor.of(store, "vlad"))
    for detection in found:
        for pair in (detection.candidate, *detection.rejections):
            assert pair is None or pair.probability is None
