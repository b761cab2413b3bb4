"""Held-out queries and who may answer them; the confidence that other stretches teach; plans of a calibration."""

import dataclasses
import math

import numpy as np
import pytest
from calibration_maps import small_settings
from calibration_samples import k, layout, ring

from vloc_ros.calibration.cross_fitting import cross_fit
from vloc_ros.calibration.held_out import HeldOutSettings, held_out_places
from vloc_ros.calibration.plan import Plan, key_of, read_plan, stands, write_plan
from vloc_ros.calibration.probability import CandidateVerdicts, FitRefusal, Method, ProbabilitySettings
from vloc_ros.calibration.stretches import Side, StretchSettings, split_route
from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet
from vloc_ros.config import replace

SETTINGS = HeldOutSettings(near=3.0, far=8.0, gap_frames=10, gap_path=12.0)
LAP = 2.0 * np.pi * 60.0


def two_laps(reverse=False):
    """A lap, and one more a metre beside it; or the second one the other way round."""
    first, second = ring(LAP), ring(LAP, radius=61.0, step=61.0 / 60.0)
    return layout([first, second[::-1] if reverse else second], [(k(1), k(1, 2))])


def split_of(lay):
    return split_route(lay, StretchSettings(length=30.0, every=3, gap=10.0, radius=10.0))


def test_later_visits_to_held_out_places_are_asked_and_clean_keyframes_answer():
    lay = two_laps()
    split = split_of(lay)
    places = held_out_places(lay, split, lay.ids, SETTINGS, 10)
    assert {split.sides[id] for id in places.queries} == {Side.HELD_OUT}
    assert {split.sides[id] for id in places.database} == {Side.HELD_OUT, Side.GAP}
    known = [id for id, is_known in zip(places.queries, places.known, strict=True) if is_known]
    assert {id.session for id in known} == {2} and len(known) >= 40
    assert all(id.session == 1 for id, is_known in zip(places.queries, places.known, strict=True) if not is_known)
    rows = range(0, len(places.queries), 7)
    for row, query in ((row, places.queries[row]) for row in rows):
        for column, other in enumerate(places.database):
            distance = float(np.linalg.norm(lay.positions[lay.row[query]] - lay.positions[lay.row[other]]))
            turned = lay.turned(query, other)
            one, two = distance <= 3.0 and turned <= math.radians(30.0), distance > 8.0 or turned > math.radians(120.0)
            assert places.relevant[row, column] == one
            before = other < query and (other.session != query.session or lay.path_apart(query, other) > 12.0)
            assert places.allowed[row, column] == ((one or two) and before)


def test_the_way_back_is_another_place_and_so_nothing_is_known():
    lay = two_laps(reverse=True)
    places = held_out_places(lay, split_of(lay), lay.ids, SETTINGS, 10)
    assert not places.known.any() and places.allowed.any()
    sideways = dataclasses.replace(SETTINGS, near_angle=math.pi, far_angle=math.pi)
    assert held_out_places(lay, split_of(lay), lay.ids, sideways, 10).known.sum() >= 40


def test_all_visits_of_a_place_are_one_stretch():
    lay = two_laps()
    places = held_out_places(lay, split_of(lay), lay.ids, SETTINGS, 10)
    block = dict(zip(places.queries, places.blocks.tolist(), strict=True))
    twins = [(a, b) for a in block for b in block if a.session < b.session and lay.distance(a, b) < 1.3]
    assert len(twins) >= 40 and np.mean([block[a] == block[b] for a, b in twins]) > 0.6
    assert all(abs(block[a] - block[b]) <= 1 for a, b in twins)


def test_what_was_learned_from_answers_nothing_and_nothing_near_it_is_asked():
    lay = two_laps()
    split = split_of(lay)
    whole = held_out_places(lay, split, lay.ids, SETTINGS, 10)
    assert held_out_places(lay, split, lay.ids, SETTINGS, 10, split.training, 10.0).queries == whole.queries
    moved = held_out_places(lay, split, lay.ids, SETTINGS, 10, [whole.queries[-1]], 8.0)
    assert whole.queries[-1] not in moved.queries + moved.database
    assert all(lay.distance(id, whole.queries[-1]) > 8.0 for id in moved.queries) and len(moved.queries) < len(whole.queries) - 5


def test_keyframes_without_images_and_an_empty_side_are_no_error():
    lay = two_laps()
    split = split_of(lay)
    usable = [id for id in lay.ids if id.keyframe % 2]
    places = held_out_places(lay, split, usable, SETTINGS, 10)
    assert set(places.database) <= set(usable) and len(places.queries) > 20
    nothing = held_out_places(lay, split, [], SETTINGS, 10)
    assert len(nothing.queries) == 0 and nothing.relevant.shape == (0, 0)


# --- the confidence that other stretches teach


def verdicts(count=400, seed=1, informative=True):
    """Matches of stretches of ten; the similarity says how likely each is right, the variance too."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0.0, 2.0, count)
    right = rng.random(count) < 1.0 / (1.0 + np.exp(-logit))
    similarity = 0.9 + 0.02 * logit if informative else rng.random(count)
    return CandidateVerdicts.of(similarity, right, np.exp(-0.1 * logit + 0.1 * rng.normal(size=count)))


def ece(confidence, right):
    from vloc_ros.evaluation.confidence_metrics import expected_calibration_error, reliability

    return expected_calibration_error(reliability(confidence, right))


def test_confidence_is_calibrated_on_stretches_that_did_not_teach_it():
    taught, blocks = verdicts(), np.arange(400) // 10
    found = cross_fit(taught, blocks, ProbabilitySettings(), 5, seed=3)
    assert found.refusal is None and found.probability is not None and found.probability.needs_variance
    assert ece(found.confidence, taught.right) < 0.1 < 0.3 < ece(np.clip(taught.similarity, 0, 1), taught.right)
    again = cross_fit(taught, blocks, ProbabilitySettings(), 5, seed=3)
    assert np.array_equal(found.confidence, again.confidence)


def test_no_stretch_judges_what_it_taught():
    """Labels of one stretch are turned round: confidences inside that stretch stay as they were."""
    taught, blocks = verdicts(), np.arange(400) // 10
    inside = blocks == 7
    turned = dataclasses.replace(taught, right=np.where(inside, ~taught.right, taught.right))
    first, second = (cross_fit(v, blocks, ProbabilitySettings(), 5, seed=3).confidence for v in (taught, turned))
    assert np.array_equal(first[inside], second[inside]) and not np.array_equal(first[~inside], second[~inside])


def test_what_says_nothing_is_told_nothing():
    taught, blocks = verdicts(), np.arange(400) // 10
    variance = taught.variance.copy()
    variance[:5] = np.inf
    found = cross_fit(dataclasses.replace(taught, variance=variance), blocks, ProbabilitySettings(), 5)
    assert (found.confidence[:5] == 0.0).all() and found.refusal is None
    few = cross_fit(taught, blocks, ProbabilitySettings(min_right=5000), 5)
    assert few.confidence is None and few.probability is None and few.refusal is FitRefusal.TOO_FEW_RIGHT
    assert cross_fit(taught, np.zeros(400, dtype=np.int64), ProbabilitySettings(), 5).confidence is None
    baseline = cross_fit(taught, blocks, ProbabilitySettings(method=Method.SIMILARITY), 5)
    assert np.array_equal(baseline.confidence, np.clip(taught.similarity, 0.0, 1.0))


# --- plans


def some_tuples(revision=2):
    return TupleSet((TrainingTuple(k(1), k(2), (k(9),), 0.5, revision),), (OutlierPair(k(3), k(8), 1.0, revision),))


def test_a_plan_comes_back_and_a_damaged_one_is_none(tmp_path, caplog):
    plan = Plan("abc", 2, some_tuples())
    (tmp_path / "run-000000000000").mkdir()
    (tmp_path / "run-of-the-user").mkdir()
    write_plan(tmp_path, plan)
    (tmp_path / plan.name).mkdir()
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan and (tmp_path / plan.name).is_dir()
    assert not (tmp_path / "run-000000000000").exists() and (tmp_path / "run-of-the-user").exists()
    (tmp_path / "tuples.json").write_text((tmp_path / "tuples.json").read_text().replace("s1/k9", "s1/k7"))
    assert read_plan(tmp_path) is None and "begins anew" in caplog.text
    (tmp_path / "plan.json").write_text('{"key": 1}')
    assert read_plan(tmp_path) is None and read_plan(tmp_path / "elsewhere") is None


def test_a_plan_is_of_its_weights_settings_and_labels():
    settings = small_settings()
    key = key_of(settings, "aa")
    assert key != key_of(settings, "bb") and key != key_of(replace(settings, {"training.epochs": 7}), "aa")
    assert key != key_of(replace(settings, {"mining.negatives": 7}), "aa")
    for free in ({"training.checkpoint_every": 7}, {"promotion.level": 0.1}, {"held_out.near": 1.0}, {"probability.min_right": 9}):
        assert key == key_of(replace(settings, free), "aa"), free
    held, plan = some_tuples(3), Plan(key, 2, some_tuples(2))
    assert stands(plan, held) and not stands(plan, TupleSet(held.tuples, ())) and not stands(plan, TupleSet((), held.pairs))
    other = dataclasses.replace(plan, tuples=TupleSet(plan.tuples.tuples, ()))
    assert other.name != plan.name and stands(other, TupleSet(held.tuples, ()))


@pytest.mark.parametrize("share", [0.0])
def test_settings_round_trip_as_json(share):
    import json

    from vloc_ros.calibration.settings import default_settings
    from vloc_ros.config import to_dict

    settings = small_settings(max_misfit=share)
    assert replace(default_settings(), json.loads(json.dumps(to_dict(settings)))) == settings
