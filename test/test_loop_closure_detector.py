"""Detection and verification of loops on drives around a ring whose truth is known."""

from collections import Counter

import numpy as np
import pytest
from live_samples import nobody_holds_the_old, with_all_live_changed
from loop_samples import REGISTRAR, Scene, circle, drive, new_map

from vloc_ros.config import replace
from vloc_ros.errors import ConfigError, DataError, MapError
from vloc_ros.features import Features
from vloc_ros.geometry import se3
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.loop_closure import Candidate, LoopDetector, LoopSettings, LoopVerifier, Rejection, VerificationSettings
from vloc_ros.mapping import KeyframeId, MapStore
from vloc_ros.mapping.assets import model_asset
from vloc_ros.mapping.integrity import check_map
from vloc_ros.retrieval.gates import GateReason
from vloc_ros.retrieval.of_map import MapDescriptor

LAP = 24
TRUTH = circle(2 * LAP, 2.0)
SETTINGS = replace(LoopSettings(), {"gates.gap.keyframes": 8, "gates.gap.seconds": 1.0})


@pytest.fixture(scope="module")
def two_laps(tmp_path_factory):
    """Bytes of a map of two laps around a ring on which every place looks different."""
    path = tmp_path_factory.mktemp("ring") / "ring.vloc"
    with new_map(path) as store:
        drive(store, Scene.ring(1), TRUTH, 1)
    return path.read_bytes()


@pytest.fixture
def path(two_laps, tmp_path):
    (tmp_path / "ring.vloc").write_bytes(two_laps)
    return tmp_path / "ring.vloc"


def detector(store, settings=SETTINGS, live=False):
    return LoopDetector(store, MapDescriptor.of(store, "vlad"), REGISTRAR, settings, live=live)


def relative(a, b):
    return se3.between(TRUTH[a.keyframe - 1], TRUTH[b.keyframe - 1])


def test_the_second_lap_closes_with_the_first(path):
    with MapStore.open(path) as store:
        finder = detector(store)
        found = [finder.process(keyframe).candidate for keyframe in store.keyframes()]
        assert finder.process(store.keyframes()[-1]).candidate is None, "a keyframe is searched for once"
    candidates = [candidate for candidate in found if candidate is not None]
    assert sum(candidate.b.keyframe > LAP for candidate in candidates) >= LAP - 2
    squared = []
    for c in candidates:
        assert c.a < c.b and c.b.keyframe - c.a.keyframe > 8 and c.inliers >= 20 and c.matches >= c.inliers and 0 < c.score <= 1
        xi = se3.log(se3.between(relative(c.a, c.b), c.a_T_b))
        assert np.linalg.norm(xi[:3]) < 0.6
        squared.append(xi @ np.linalg.solve(c.covariance, xi))
    # six degrees of freedom; the floor for what matches cannot know makes it smaller
    assert 0.5 < np.median(squared) < 8.0


def test_counts_say_what_became_of_everything(path):
    with MapStore.open(path) as store:
        finder = detector(store, replace(SETTINGS, {"gates.similarity.min_score": 0.15}))
        results = [finder.process(keyframe) for keyframe in store.keyframes()]
    expected = Counter(keyframes=len(results), candidates=sum(r.candidate is not None for r in results))
    expected.update(rejection.reason.name.lower() for r in results for rejection in r.rejections)
    expected.update(refusal.reason.value for r in results for refusal in r.refusals)
    assert finder.counts == expected
    assert expected["too_dissimilar"] > 0


def test_other_gates_and_thresholds_count_from_the_next_keyframe_on(path):
    with MapStore.open(path) as store:
        finder = detector(store, live=True)
        keyframes = store.keyframes()
        assert sum(finder.process(keyframe).candidate is not None for keyframe in keyframes[:32]) >= 6
        finder.tune(REGISTRAR, replace(SETTINGS, {"verification.min_inliers": 10000}))
        found = [finder.process(keyframe) for keyframe in keyframes[32:36]]
        assert not any(detection.candidate for detection in found)
        assert RejectReason.TOO_FEW_INLIERS in {rejection.reason for detection in found for rejection in detection.rejections}
        refused, candidates = finder.counts["too_dissimilar"], finder.counts["candidates"]
        finder.tune(REGISTRAR, replace(SETTINGS, {"gates.similarity.min_score": 1.0}))
        detection = finder.process(keyframes[38])
        assert {refusal.reason for refusal in detection.refusals} == {GateReason.TOO_DISSIMILAR}
        assert finder.counts["too_dissimilar"] == refused + len(detection.refusals), "the counts go on"
        assert finder.counts["candidates"] == candidates >= 6
        after = with_all_live_changed(SETTINGS)
        finder.tune(REGISTRAR, after)
        assert finder.process(keyframes[40]).candidate is not None
        nobody_holds_the_old(finder, SETTINGS, after)


def test_it_goes_on_where_it_stopped_and_reads_no_features_to_describe_again(path, monkeypatch):
    with MapStore.open(path) as store:
        describer = MapDescriptor.of(store, "vlad")
        finder = LoopDetector(store, describer, REGISTRAR, SETTINGS, live=False)
        first = [finder.process(keyframe) for keyframe in store.keyframes()]
        stored = store.global_descriptors("vlad")
        assert len(stored[0]) == 2 * LAP and model_asset(store, "vlad") == describer.assets
    assert check_map(path) == []
    described = []
    monkeypatch.setattr(MapDescriptor, "describe", lambda self, store, id: described.append(id))
    with MapStore.open(path) as store:
        again = detector(store)
        second = [again.process(keyframe) for keyframe in store.keyframes()]
    assert described == []
    for one, other in zip(first, second, strict=True):
        assert (one.candidate is None) == (other.candidate is None)
        if one.candidate is not None and other.candidate is not None:
            assert (one.candidate.a, one.candidate.inliers) == (other.candidate.a, other.candidate.inliers)


def test_keyframes_that_come_later_are_found_online(path):
    with MapStore.open(path) as store:
        finder = detector(store, live=True)
        for keyframe in store.keyframes():
            finder.process(keyframe)
        # the second drive begins elsewhere on the ring, in a frame of its own
        truth = circle(8, 8 / LAP, start=1.0)
        session = drive(store, Scene.ring(1), truth, 2)
        found = [finder.process(keyframe).candidate for keyframe in store.keyframes(session)]
        candidates = [candidate for candidate in found if candidate is not None]
        assert len(candidates) >= 5
        for c in candidates:
            expected = se3.between(TRUTH[c.a.keyframe - 1], truth[c.b.keyframe - 1])
            assert c.a.session == 1 and c.b.session == 2
            assert np.linalg.norm((se3.inverse(expected) @ c.a_T_b)[:3, 3]) < 0.6


def test_the_budget_holds_online_only(path):
    tight = replace(SETTINGS, {"gates.budget.per_second": 0.01, "gates.budget.burst": 2})
    for live in (True, False):
        with MapStore.open(path) as store:
            finder = detector(store, tight, live=live)
            for keyframe in store.keyframes():
                finder.process(keyframe)
        assert (finder.counts["over_budget"] > 0) == live


def blinded(store, id):
    """A keyframe loses its features: whatever resembles it cannot be verified."""
    store.database.execute("DELETE FROM features WHERE session = ? AND keyframe = ?", id)
    store.database.insert("features", (*id, 0, 32, "float16", b"", b""))


def test_the_next_best_candidate_is_tried_when_one_fails(path):
    with MapStore.open(path) as store:
        verifier = LoopVerifier(store, REGISTRAR, VerificationSettings(attempts=3))
        query, right, near = KeyframeId(1, LAP + 5), KeyframeId(1, 5), KeyframeId(1, 6)
        blinded(store, right)
        ranking = [(right, 0.9), (KeyframeId(1, 15), 0.8), (near, 0.7), (KeyframeId(1, 7), 0.6)]
        outcome = verifier.first_verified(query, iter(ranking))
        assert outcome.candidate is not None and outcome.candidate.a == near and outcome.candidate.score == 0.7
        assert [(r.a, r.score) for r in outcome.rejections] == ranking[:2]
        assert all(r.b == query for r in outcome.rejections)
        assert [r.reason for r in outcome.rejections] == [RejectReason.TOO_FEW_MATCHES, RejectReason.TOO_FEW_INLIERS]
        short = LoopVerifier(store, REGISTRAR, VerificationSettings(attempts=2)).first_verified(query, iter(ranking))
        assert short.candidate is None and len(short.rejections) == 2, "the budget ends it"
        assert verifier.first_verified(query, []).candidate is None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (VerificationSettings(min_inliers=5000), RejectReason.TOO_FEW_INLIERS),
        (VerificationSettings(max_distance=0.1), RejectReason.MOTION_TOO_LARGE),
    ],
)
def test_a_rejection_says_why(path, settings, reason):
    with MapStore.open(path) as store:
        outcome = LoopVerifier(store, REGISTRAR, settings).verify(KeyframeId(1, 5), KeyframeId(1, LAP + 6), 0.5)
    assert isinstance(outcome, Rejection) and outcome.reason is reason and outcome.score == 0.5 and outcome.matches > 0


def test_a_small_share_of_inliers_is_not_enough(path):
    with MapStore.open(path) as store:
        a, b = KeyframeId(1, 5), KeyframeId(1, LAP + 5)
        verifier = LoopVerifier(store, REGISTRAR, VerificationSettings(min_ratio=0.9))
        good = verifier.verify(a, b, 0.5)
        assert isinstance(good, Candidate)
        # a third of what b sees is elsewhere than it should be
        features = verifier.features(b)
        moved = features.keypoints.copy()
        moved[::3] = np.random.default_rng(0).uniform([0, 0], [159, 119], moved[::3].shape)
        verifier._features[b] = Features(moved, features.scores, features.sizes, features.descriptors, features.disparity)
        bad = verifier.verify(a, b, 0.5)
    assert isinstance(bad, Rejection) and bad.reason is RejectReason.LOW_INLIER_RATIO and bad.inliers >= 20


def test_descriptors_of_another_model_are_refused_by_name(path):
    with MapStore.open(path) as store:
        described = MapDescriptor.of(store, "vlad")
        described.keep(store, KeyframeId(1, 1), described.vector(store, KeyframeId(1, 1)))
        other = MapDescriptor.of(store, "vlad", MapDescriptor.of(store, "vlad").assets)
        assert other.descriptor.card == described.descriptor.card, "the map's own vocabulary is used again"
        with pytest.raises(ConfigError, match="unknown descriptor 'gum'"):
            MapDescriptor.of(store, "gum")
        with pytest.raises(DataError, match="no vocabulary"):
            MapDescriptor.of(store, "vlad", b"nonsense")
        with pytest.raises(MapError, match=r"has no image of keyframe s1/k1.*use one of local features"):
            MapDescriptor.of(store, "hog").vector(store, KeyframeId(1, 1))
        assert MapDescriptor.of(store, "auto").descriptor.name == "vlad", "this map has no images"


def test_a_map_without_features_has_nothing_to_learn_from(tmp_path):
    with new_map(tmp_path / "m.vloc") as store, pytest.raises(DataError, match="cannot make"):
        MapDescriptor.of(store, "vlad")
