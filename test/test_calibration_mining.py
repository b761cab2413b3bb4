"""Mining of training tuples: from the labels of a real graph of a ring whose halves look alike, and as published."""

from collections import Counter

import numpy as np
import pytest
from calibration_samples import closure, k, layout
from loop_samples import REGISTRAR, Scene, circle, drive, new_map

from vloc_ros.calibration.exclusion import PUBLISHED_EXCLUSION, Exclusion, ExclusionSettings
from vloc_ros.calibration.layout import Layout
from vloc_ros.calibration.mining import PUBLISHED_MINING, Miner, MiningSettings, miner_for
from vloc_ros.calibration.published_mining import (
    PUBLISHED_CANDIDATES,
    PUBLISHED_FILTER,
    FilterSettings,
    PublishedMiningSettings,
    Triplet,
    filter_triplets,
    mine_published,
)
from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet
from vloc_ros.config import from_dict, replace
from vloc_ros.errors import DataError, MapError
from vloc_ros.loop_closure import Candidate, LoopVerifier, Rejection, VerificationSettings, store_judgement
from vloc_ros.loop_closure.search import find_loops
from vloc_ros.loop_closure.settings import LoopClosureSettings
from vloc_ros.mapping import KeyframeId, MapStore
from vloc_ros.mapping.closures import closures_of, graph_revision, replace_closures
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.training_tuples import TupleKind, WithdrawalReason, tuples_of, withdrawals_of
from vloc_ros.pose_graph import Label
from vloc_ros.retrieval.of_map import MapDescriptor

LOOPS = replace(LoopClosureSettings(), {"loops.gates.gap.keyframes": 8, "loops.gates.gap.seconds": 1.0})
FIRST, SECOND = circle(45, 1.5), circle(24, 0.8, start=1.0)
TRUTH = {k(row + 1): pose[:3, 3] for row, pose in enumerate(FIRST)} | {
    k(row + 1, 2): pose[:3, 3] for row, pose in enumerate(SECOND)
}
EXCLUSION = {"frames": 2, "path": 6.0, "distance": 6.0, "near_frames": 1, "near_path": 2.0}
SETTINGS = from_dict(MiningSettings, {"negatives": 3, "attempts": 20, "exclusion": EXCLUSION})


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A map of two sessions around a ring whose halves look alike, with its labels; and the store's file."""
    path = tmp_path_factory.mktemp("ring") / "ring.vloc"
    with new_map(path) as store:
        drive(store, Scene.ring(1, twin=True), FIRST, 1)
        drive(store, Scene.ring(1, twin=True), SECOND, 2)
        store_judgement(store, find_loops(store, LOOPS).judgement)
    return path.read_bytes()


@pytest.fixture
def store(judged, tmp_path):
    (tmp_path / "ring.vloc").write_bytes(judged)
    with MapStore.open(tmp_path / "ring.vloc") as store:
        yield store


@pytest.fixture(scope="module")
def mined(judged, tmp_path_factory):
    """What that map yields, and the miner that yielded it."""
    path = tmp_path_factory.mktemp("mined") / "ring.vloc"
    path.write_bytes(judged)
    with MapStore.open(path) as store:
        miner = miner_for(store, SETTINGS, registrar=REGISTRAR)
        yield miner.mine_into_map(), miner, store


def apart(a, b):
    return float(np.linalg.norm(TRUTH[a] - TRUTH[b]))


def by_label(store, label):
    return {(c.b, c.a): c.verdict for c in closures_of(store) if c.verdict.label is label}


def test_labels_become_tuples_and_pairs_that_are_true(mined):
    found, _, store = mined
    inliers, outliers = by_label(store, Label.INLIER), by_label(store, Label.OUTLIER)
    assert len(inliers) >= 15 and len(outliers) >= 15
    weights = {(item.anchor, item.positive): item.weight for item in found.tuples.tuples}
    assert weights == {pair: inliers[pair].weight for pair in weights}
    assert len(weights) + found.counts["without_negatives"] == len(inliers) and len(weights) >= 30
    for item in found.tuples.tuples:
        assert apart(item.anchor, item.positive) < 5.0 and 1 <= len(item.negatives) <= 3
        assert all(min(apart(n, item.anchor), apart(n, item.positive)) > 5.0 for n in item.negatives)
        assert item.graph_revision == found.revision == graph_revision(store)
    assert {(pair.query, pair.negative) for pair in found.tuples.pairs} == outliers.keys()
    assert all(apart(pair.query, pair.negative) > 5.0 and pair.weight == 1.0 for pair in found.tuples.pairs)
    assert found.counts["inlier"] == len(inliers) and found.counts["outlier"] == len(outliers)
    assert found.counts["near_outliers"] == 0
    assert tuples_of(store) == found.tuples and check_map(store.path) == []


def test_negatives_are_the_hardest_that_geometry_tells_apart(mined):
    """By brute force over all keyframes, for a sample of the tuples."""
    found, _, store = mined
    lay, verifier = Layout.of(store), LoopVerifier(store, REGISTRAR, VerificationSettings())
    ids, vectors = MapDescriptor.of(store, "auto").stored(store)
    inliers = set(lay.inliers) | {(b, a) for a, b in lay.inliers}
    alike = Counter()
    for item in found.tuples.tuples[::7]:
        place = {item.anchor, item.positive}
        for near in ids:
            if any(
                near.session == end.session
                and (abs(near.keyframe - end.keyframe) < 2 or abs(lay.path_m[lay.row[near]] - lay.path_m[lay.row[end]]) <= 2.0)
                for end in (item.anchor, item.positive)
            ):
                place |= {b for a, b in inliers if a == near}

        def is_far(other, place=place):
            for known in place:
                gap = np.linalg.norm(lay.positions[lay.row[other]] - lay.positions[lay.row[known]])
                if gap <= 6.0 or (other.session == known.session and abs(other.keyframe - known.keyframe) <= 2):
                    return False
            return True

        scores = vectors @ vectors[ids.index(item.anchor)]
        ranked = [ids[row] for row in np.argsort(-scores, kind="stable") if is_far(ids[row])][:20]
        outcomes = {id: verifier.verify(min(id, item.anchor), max(id, item.anchor), 0.0) for id in ranked}
        unlike = [id for id, o in outcomes.items() if isinstance(o, Rejection) and o.inliers < 20]
        alike.update(rejected=len(unlike), matched=len(ranked) - len(unlike))
        assert item.negatives == tuple(unlike[:3])
    assert alike["matched"] > 0, "look-alikes on the other side of the ring are not learned as negatives by similarity alone"


def relabelled(store, change, revision=None):
    """Write the labels of a later solution: those of ``change`` (pairs) differ."""
    revision = revision or graph_revision(store) + 1
    verdicts = [(c.a, c.b, change.get((c.b, c.a), c.verdict.label)) for c in closures_of(store)]
    replace_closures(store, [closure(a, b, label, revision) for a, b, label in verdicts])
    return revision


def test_a_flipped_label_withdraws_its_tuples_and_mining_again_changes_nothing(store):
    miner = miner_for(store, SETTINGS, registrar=REGISTRAR)
    before = miner.mine_into_map()
    flipped, undecided = (item.keyframes[:2] for item in before.tuples.tuples[:2])
    false = before.tuples.pairs[0].keyframes
    revision = relabelled(store, {flipped: Label.OUTLIER, undecided: Label.UNDECIDED, false: Label.UNDECIDED})
    after = miner.mine_into_map()
    assert {item.graph_revision for item in after.tuples.items} == {revision} == {before.revision + 1}
    pairs = {item.keyframes[:2] for item in after.tuples.tuples}
    assert pairs == {item.keyframes[:2] for item in before.tuples.tuples} - {flipped, undecided}
    assert false not in {pair.keyframes for pair in after.tuples.pairs}
    # the two keyframes are at one place, whatever the label says of their relative pose
    assert after.counts["near_outliers"] == 1 and flipped not in {pair.keyframes for pair in after.tuples.pairs}
    reasons = {(w.kind, (w.a, w.b)): w.reason for w in withdrawals_of(store)}
    assert reasons == {
        (TupleKind.TUPLE, flipped): WithdrawalReason.FLIPPED,
        (TupleKind.TUPLE, undecided): WithdrawalReason.UNDECIDED,
        (TupleKind.PAIR, false): WithdrawalReason.UNDECIDED,
    }
    state = tuples_of(store), withdrawals_of(store)
    anew = miner_for(store, SETTINGS, registrar=REGISTRAR).mine_into_map()
    assert anew.tuples == after.tuples and (tuples_of(store), withdrawals_of(store)) == state
    literal = miner_for(store, replace(SETTINGS, {"outliers_apart": False, "attempts": 1}), registrar=REGISTRAR).mine()
    assert OutlierPair(*flipped, 1.0, revision) in literal.tuples.pairs


def test_a_graph_that_moves_on_meanwhile_is_mined_again(judged, tmp_path):
    path = tmp_path / "ring.vloc"
    path.write_bytes(judged)
    small = replace(SETTINGS, {"negatives": 1, "attempts": 2})
    with MapStore.open(path) as store, MapStore.open(path) as graph:
        left = [1]

        def overtaken(closures):
            if left:
                left.pop()
                relabelled(graph, {})
            return closures

        miner = miner_for(store, small, registrar=REGISTRAR)
        found = miner.mine_into_map(overtaken)
        assert not left and found.revision == 2 and tuples_of(store) == found.tuples
        left += [1, 1]
        with pytest.raises(MapError, match="moved on 2 times while it was mined"):
            miner.mine_into_map(overtaken, tries=2)
        assert tuples_of(store) == found.tuples


def test_nothing_is_learned_between_sessions_that_no_inlier_joins(store):
    inner = [c for c in closures_of(store) if c.a.session == c.b.session]
    replace_closures(store, inner)
    lay = Layout.of(store)
    assert not lay.joined(k(1), k(1, 2)) and np.isnan(lay.distance(k(1), k(1, 2))) and lay.path_apart(k(1), k(1, 2)) == np.inf
    small = replace(SETTINGS, {"attempts": 12})
    found = miner_for(store, small, registrar=REGISTRAR).mine().tuples
    assert found.tuples and all(n.session == item.anchor.session for item in found.tuples for n in item.negatives)
    lax = replace(small, {"exclusion.distance": 0.0})
    found = miner_for(store, lax, registrar=REGISTRAR).mine().tuples
    assert any(n.session != item.anchor.session for item in found.tuples for n in item.negatives)


def test_the_layout_is_that_of_the_labels(store):
    lay = Layout.of(store)
    truth = np.array([TRUTH[id] for id in lay.ids])
    rows = np.arange(0, len(lay.ids), 5)
    gaps = np.linalg.norm(lay.positions[rows, None] - lay.positions[None, rows], axis=2)
    true_gaps = np.linalg.norm(truth[rows, None] - truth[None, rows], axis=2)
    assert np.abs(gaps - true_gaps).max() < 1.0, "both sessions are in one frame, and the loop is closed"
    chord = 2.0 * 12.0 * np.sin(np.pi / 30.0)
    assert lay.path_apart(k(10), k(4)) == pytest.approx(6 * chord, abs=0.5)
    assert lay.within_path(k(10), 3.0 * chord + 0.8) == tuple(k(n) for n in range(7, 14))
    assert lay.within_path(k(1, 2), 0.1) == (k(1, 2),)
    replace_closures(store, [closure(k(1), k(31)), closure(k(2), k(20, 2))])
    with pytest.raises(MapError, match=r"s1/k\d+ to s\d/k\d+ is an inlier but does not hold its measured pose"):
        Layout.of(store)


def test_a_map_without_labels_yields_nothing(tmp_path):
    with new_map(tmp_path / "m.vloc") as store:
        with pytest.raises(MapError, match="no keyframe yet"):
            Layout.of(store)
        drive(store, Scene.ring(1), circle(4, 0.2), 1)
        found = miner_for(store, SETTINGS, registrar=REGISTRAR).mine_into_map()
        assert found.tuples == TupleSet() and found.revision == 0 and found.counts["inlier"] == 0


def test_settings_take_the_published_values():
    published = from_dict(MiningSettings, PUBLISHED_MINING)
    assert published.exclusion == ExclusionSettings(100, 0.0, 0.0, 1, 0.0) and published.verification.min_inliers == 6
    assert not from_dict(PublishedMiningSettings, PUBLISHED_CANDIDATES).retry
    assert from_dict(FilterSettings, PUBLISHED_FILTER).exclusion == published.exclusion


# --- exclusion, with known answers


def test_published_exclusion_counts_frames_from_both_and_from_partners_of_neighbours():
    # s1/k1000 is an inlier's partner of s1/k501, a neighbour of the anchor; that of s1/k502 is too far from it to count
    exclusion = Exclusion(from_dict(ExclusionSettings, PUBLISHED_EXCLUSION), [(k(501), k(1000)), (k(2000), k(502))])
    around = exclusion.around(k(500), k(100))
    assert around == {k(500), k(100), k(1000)}
    answers = {n: exclusion.excludes(around, k(n)) for n in (400, 600, 200, 900, 1100, 399, 601, 201, 899, 1101, 2000)}
    assert answers == {n: n in (400, 600, 200, 900, 1100) for n in answers}
    assert not exclusion.excludes(around, k(500, 2)), "another session has other frames"


def test_metres_exclude_where_keyframes_are_sparse_and_spare_where_they_are_dense():
    # thirty metres with a keyframe each 10 m, then a turn on the spot of 50 keyframes, then a way back 3 m beside the first
    out = [[10.0 * n, 0.0] for n in range(4)]
    turn = [[30.0, 0.001 * n] for n in range(1, 51)]
    back = [[30.0 - 10.0 * n, 3.0] for n in range(1, 4)]
    lay = layout([out + turn + back])
    by_path = Exclusion(ExclusionSettings(2, 15.0, 0.0, 1, 0.0), (), lay)
    assert by_path.are_near(k(4), k(54)), "50 frames apart and at one spot"
    assert by_path.are_near(k(2), k(4)) and not by_path.are_near(k(1), k(4)), "few frames apart but 30 m"
    assert not by_path.are_near(k(1), k(57))
    by_graph = Exclusion(ExclusionSettings(2, 15.0, 5.0, 1, 0.0), (), lay)
    assert by_graph.are_near(k(1), k(57)), "3 m beside each other, 60 m of way apart"
    near = Exclusion(ExclusionSettings(2, 15.0, 5.0, 0, 1.0), [(k(30), k(1))], lay)
    assert near.around(k(5), k(2)) == {k(5), k(2), k(1)}, "a partner of what is near along the path"


def test_metres_need_a_map():
    with pytest.raises(DataError, match=r"set exclusion.path, exclusion.distance and exclusion.near_path to 0"):
        Exclusion(ExclusionSettings(), [])


# --- as published

LAP, BETWEEN = 24, 8
TWO_LAPS = circle(2 * LAP, 2.0)


@pytest.fixture(scope="module")
def laps(tmp_path_factory):
    path = tmp_path_factory.mktemp("laps") / "laps.vloc"
    with new_map(path) as store:
        drive(store, Scene.ring(1), TWO_LAPS, 1)
        # the best candidate of s1/k31 loses its features, and cannot be verified any more
        describer = MapDescriptor.of(store, "vlad")
        index = describer.index(store, [keyframe.id for keyframe in store.keyframes()])
        for id in index.ids:
            describer.keep(store, id, index.vector(id))
        best = index.search(index.vector(k(31)), 1, lambda other: other.keyframe <= 31 - BETWEEN).ids[0]
        store.database.execute("DELETE FROM features WHERE session = ? AND keyframe = ?", best)
        store.database.insert("features", (*best, 0, 32, "float16", b"", b""))
        yield store, describer, index, best


def reference(store, index, anchor, settings):
    """The definition, spelled out: (positive, negatives) or None."""
    verifier = LoopVerifier(store, REGISTRAR, settings.verification)
    vector = index.vector(anchor)
    before = [id for id in index.ids if id < anchor]
    near = sorted(before, key=lambda id: -float(index.vector(id) @ vector))[: settings.neighbours or 2 * settings.between]
    far = [id for id in near if anchor.keyframe - id.keyframe >= settings.between]
    far = [id for id in far if np.linalg.norm(index.vector(id) - vector) <= settings.max_distance]
    matches = {id: isinstance(verifier.verify(id, anchor, 0.0), Candidate) for id in near}
    tried = far[: settings.verification.attempts] if settings.retry else far[:1]
    positive = next((id for id in tried if matches[id] or not settings.retry), None)
    if positive is None:
        return None
    others = [id for id in near if min(abs(id.keyframe - p.keyframe) for p in (anchor, positive)) > settings.between]
    return positive, tuple(id for id in others if not matches[id])


@pytest.mark.parametrize("retry", [True, False])
def test_published_mining_is_as_defined_and_the_retry_mends_it(laps, retry):
    store, describer, index, best = laps
    settings = PublishedMiningSettings(between=BETWEEN, neighbours=20, max_distance=1.3, retry=retry)
    anchors = [k(5), k(31), k(44)]
    found = mine_published(store, describer, REGISTRAR, settings, anchors)
    wanted = {anchor: reference(store, index, anchor, settings) for anchor in anchors}
    assert {t.anchor: (t.positive, t.negatives) for t in found.triplets} == {a: r for a, r in wanted.items() if r is not None}
    assert wanted[k(5)] is None and wanted[k(31)] is not None and len(wanted[k(44)][1]) >= 2
    positive = wanted[k(31)][0]
    if retry:
        assert abs(positive.keyframe - (31 - LAP)) <= 2 and positive != best and found.counts["failed"] >= 1
        assert {c.b: c.a for c in found.candidates} == {t.anchor: t.positive for t in found.triplets}
    else:
        assert positive == best and k(31) not in {c.b for c in found.candidates}, "defect M1: it failed and is a positive"


def test_triplets_are_filtered_by_labels_with_known_answer():
    triplets = [
        Triplet(k(500), k(100), (k(400), k(399), k(1050), k(1200), k(1300), k(399))),
        Triplet(k(700), k(300), (k(650),)),
        Triplet(k(800), k(90), (k(1500),)),
        Triplet(k(500), k(100), (k(1500),)),
        Triplet(k(900), k(91), ()),
    ]
    inliers, outliers = [(k(100), k(500)), (k(501), k(1000))], [(k(90), k(800)), (k(3), k(700))]
    settings = from_dict(FilterSettings, {**PUBLISHED_FILTER, "negatives": 2})
    pairs = (OutlierPair(k(700), k(3), 1.0, 7), OutlierPair(k(800), k(90), 1.0, 7))
    kept = TrainingTuple(k(500), k(100), (k(399), k(1200)), 1.0, 7)
    false = TrainingTuple(k(800), k(90), (k(1500),), 1.0, 7)
    assert filter_triplets(triplets, inliers, outliers, settings, 7) == TupleSet((kept, false), pairs)
    strict = replace(settings, {"drop_outliers": True})
    assert filter_triplets(triplets, inliers, outliers, strict, 7) == TupleSet((kept,), pairs)
    assert isinstance(kept.anchor, KeyframeId)


def test_a_miner_follows_the_map_as_it_grows(tmp_path):
    with new_map(tmp_path / "m.vloc") as store:
        drive(store, Scene.ring(1), circle(30, 1.25), 1)
        store_judgement(store, find_loops(store, LOOPS).judgement)
        settings = replace(SETTINGS, {"negatives": 2, "attempts": 4})
        miner = Miner(store, MapDescriptor.of(store, "auto"), REGISTRAR, settings)
        once = miner.mine_into_map()
        drive(store, Scene.ring(1), circle(12, 0.5, start=0.5), 2)
        store_judgement(store, find_loops(store, LOOPS).judgement)
        grown = miner.mine_into_map()
        anew = miner_for(store, settings, registrar=REGISTRAR).mine()
    assert grown.tuples == anew.tuples and grown.revision == once.revision + 1
    assert any(item.anchor.session == 2 for item in grown.tuples.tuples) and once.tuples.tuples
