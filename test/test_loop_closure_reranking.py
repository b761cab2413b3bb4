"""Re-ranking in the search for loops: the order, what it refuses, what is kept of it, and what the gates see."""

import json

import pytest
from live_samples import nobody_holds_the_old, with_all_live_changed
from loop_samples import REGISTRAR, Scene, circle, drive, new_map
from rerank_samples import reranker_of_scenes

from vloc_ros.cli import main
from vloc_ros.config import replace
from vloc_ros.loop_closure import LoopDetector, LoopSettings
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.patches import keyframes_with_patches
from vloc_ros.mapping.searches import searches_of
from vloc_ros.retrieval import GateReason
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.reranker_of_map import RerankerOfMap
from vloc_ros.retrieval.stages import StagesOfMap

LAP = 20
SETTINGS = replace(
    LoopSettings(),
    {"gates.gap.keyframes": 8, "gates.gap.seconds": 1.0, "gates.similarity.min_score": -1.0, "rerank.candidates": 12},
)


@pytest.fixture(scope="module")
def two_laps(tmp_path_factory):
    """Bytes of a map of two laps around a ring, an arc of which looks just like the one across."""
    path = tmp_path_factory.mktemp("ring") / "ring.vloc"
    with new_map(path) as store:
        drive(store, Scene.ring(1, twin=True), circle(2 * LAP, 2.0), 1)
    return path.read_bytes()


@pytest.fixture
def store(two_laps, tmp_path):
    (tmp_path / "ring.vloc").write_bytes(two_laps)
    with MapStore.open(tmp_path / "ring.vloc") as opened:
        yield opened
    assert check_map(tmp_path / "ring.vloc") == []


def detector(store, settings=SETTINGS, reranked=True, live=False):
    stages = StagesOfMap(reranker=RerankerOfMap(store, reranker_of_scenes(), settings.rerank)) if reranked else None
    return LoopDetector(store, MapDescriptor.of(store, "vlad"), REGISTRAR, settings, live=live, stages=stages)


def searched(store, **kwargs):
    finder = detector(store, **kwargs)
    return finder, [finder.process(keyframe) for keyframe in store.keyframes()]


def test_without_a_reranker_nothing_changes(store):
    finder, found = searched(store, reranked=False)
    assert finder.stages is None and all(detection.rerank_ms is None for detection in found)
    assert not any(reason.startswith("rerank") for reason in finder.counts)
    assert store.database.rows("patches") == []


def test_fewer_pairs_are_verified_in_vain_and_no_loop_is_lost(two_laps, store, tmp_path):
    (tmp_path / "plain.vloc").write_bytes(two_laps)
    with MapStore.open(tmp_path / "plain.vloc") as plain:
        _, before = searched(plain, reranked=False)
    finder, after = searched(store)
    assert sum(d.candidate is not None for d in after) >= sum(d.candidate is not None for d in before) >= LAP - 3
    assert sum(len(d.rejections) for d in after) < sum(len(d.rejections) for d in before)
    assert all(d.rerank_ms is not None and d.rerank_ms > 0.0 for d in after)
    assert keyframes_with_patches(store, reranker_of_scenes().card) == {keyframe.id for keyframe in store.keyframes()}
    assert finder.stages.counts == {"patches_made": 2 * LAP}


def test_what_is_not_accepted_is_refused_counted_and_kept_in_the_map(store):
    finder, found = searched(store, settings=replace(SETTINGS, {"rerank.min_inliers": 10000}))
    refused = [refusal for detection in found for refusal in detection.refusals]
    assert refused and {refusal.reason for refusal in refused} == {GateReason.RERANK_INLIERS}
    assert finder.counts["rerank_inliers"] == len(refused) and finder.counts["candidates"] == 0
    assert not any(detection.rejections for detection in found), "geometry was asked about none of them"
    rows = [row for row in searches_of(store) if row.partner is not None]
    assert rows and {(row.verified, row.reason) for row in rows} == {(False, "rerank_inliers")}


def test_refused_pairs_take_no_budget(store):
    budget = {"gates.budget.per_second": 0.01, "gates.budget.burst": 5, "verification.attempts": 1}
    settings = replace(SETTINGS, {**budget, "rerank.min_inliers": 30})
    finder, found = searched(store, settings=settings, live=True)
    reasons = [refusal.reason for detection in found for refusal in detection.refusals]
    assert reasons.count(GateReason.RERANK_INLIERS) > 100
    assert finder.counts["candidates"] + sum(len(detection.rejections) for detection in found) == 5


def test_the_gates_see_the_score_of_the_search(store):
    scores = {}
    for detection in searched(store)[1]:
        scores |= {(detection.candidate.a, detection.candidate.b): detection.candidate.score} if detection.candidate else {}
    limit = sorted(scores.values())[len(scores) // 2]
    for row in searches_of(store):
        assert row.partner is None or not row.verified or row.score == scores[row.partner, row.keyframe]
    finder, found = searched(store, settings=replace(SETTINGS, {"gates.similarity.min_score": limit}))
    assert finder.counts["too_dissimilar"] > 0
    assert all(detection.candidate.score >= limit for detection in found if detection.candidate)


def test_thresholds_count_from_the_next_keyframe_on(store):
    finder, keyframes = detector(store, live=True), store.keyframes()
    for keyframe in keyframes[: LAP + 10]:
        finder.process(keyframe)
    finder.tune(REGISTRAR, replace(SETTINGS, {"rerank.min_inliers": 10000}))
    detection = finder.process(keyframes[LAP + 10])
    assert detection.candidate is None and {refusal.reason for refusal in detection.refusals} == {GateReason.RERANK_INLIERS}
    after = with_all_live_changed(SETTINGS)
    finder.tune(REGISTRAR, after)
    assert finder.process(keyframes[LAP + 12]).candidate is not None
    nobody_holds_the_old(finder, SETTINGS, after)


def test_the_command_says_what_ordered_the_proposals_and_how_long_it_took(two_laps, tmp_path, capsys):
    path = tmp_path / "ring.vloc"
    path.write_bytes(two_laps)
    gap = ["--set", "loops.gates.gap.keyframes=8", "--set", "loops.gates.gap.seconds=1.0"]
    assert main(["loops", "--map", str(path), "--json", *gap]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert all(plain[key] is None for key in ("fine", "fine_ms", "reranker", "rerank_ms"))
    assert main(["loops", "--map", str(path), "--again", "--rerank", "ransac", *gap]) == 0
    text = capsys.readouterr().out
    assert "re-ranked by" in text and "ransac, " in text and "ms per keyframe (median)" in text


def test_a_reranker_that_cannot_be_made_is_said_before_anything_is_done(tmp_path, capsys):
    path = tmp_path / "new.vloc"
    for command in (["loops", str(tmp_path), "--map", str(path)], ["drive", "--map", str(path)]):
        assert main([*command, "--rerank", "ransack"]) == 1
        captured = capsys.readouterr()
        assert "unknown re-ranker 'ransack'" in captured.err and not path.exists()
