"""Held-out stretches: whatever is trained on is far from what is judged by, and stays so as the map grows."""

from collections import Counter

import numpy as np
import pytest
from calibration_samples import k, layout, ring

from vloc_ros.calibration.stretches import Side, StretchSettings, split_route
from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet
from vloc_ros.config import replace
from vloc_ros.errors import DataError

SETTINGS = StretchSettings()
ROUND = 2.0 * np.pi * 60.0
LAPS = [ring(1.7 * ROUND), ring(0.9 * ROUND, radius=61.0, start=2.0)]
PAIRS = [(k(n), k(n + 377)) for n in range(5, 250, 20)]


def distances(lay, split):
    """Least distances between what is trained on and what is held out: in the graph, and along the path."""
    train, held = ([lay.row[id] for id in ids] for ids in (split.training, split.held_out))
    gaps = np.linalg.norm(lay.positions[train][:, None] - lay.positions[held][None], axis=2)
    session = np.array([id.session for id in lay.ids])
    path = np.abs(lay.path_m[train][:, None] - lay.path_m[held][None])
    path[session[train][:, None] != session[held][None]] = np.inf
    return gaps.min(), path.min()


@pytest.mark.parametrize("seed", range(6))
def test_no_held_out_place_is_trained_on(seed):
    lay = layout(LAPS, PAIRS)
    split = split_route(lay, replace(SETTINGS, {"seed": seed}))
    assert list(split.sides) == list(lay.ids) and not split.of(Side.UNJOINED)
    graph, path = distances(lay, split)
    assert graph > SETTINGS.radius and path > SETTINGS.gap
    train, held = set(split.training), set(split.held_out)
    for a, b in PAIRS:
        assert not ({a, b} & train and {a, b} & held)
    share = len(held) / len(lay.ids)
    assert 0.1 < share < 0.4 and len(train) / len(lay.ids) > 0.3


def test_partners_count_where_the_graph_is_not_asked():
    """Without a radius only inliers tie two laps together; here they lie kilometres apart."""
    lay = layout([ring(ROUND), ring(ROUND) + 5000.0], [(k(n), k(n, 2)) for n in range(1, 370)])
    split = split_route(lay, replace(SETTINGS, {"radius": 0.0, "gap": 0.0}))
    assert Counter(split.sides.values())[Side.HELD_OUT] > 100
    for n in range(1, 370):
        assert split.sides[k(n)] is split.sides[k(n, 2)]
    apart = split_route(layout([ring(ROUND), ring(ROUND) + 5000.0]), replace(SETTINGS, {"radius": 0.0, "gap": 0.0}))
    assert any(apart.sides[k(n)] is not apart.sides[k(n, 2)] for n in range(1, 370)), "else each session has its own stretches"


def test_a_straight_route_has_one_stretch_in_four_held_out_with_gaps_beside_it():
    lay = layout([[[float(n), 0.0] for n in range(960)]])
    sides = list(split_route(lay, SETTINGS).sides.values())
    held = np.array([side is Side.HELD_OUT for side in sides])
    stretches = held.reshape(-1, 30)
    assert (stretches.all(axis=1) | ~stretches.any(axis=1)).all(), "stretches are whole"
    assert (stretches.any(axis=1).reshape(-1, 4).sum(axis=1) == 1).all(), "one of each four"
    near = np.array([np.abs(np.flatnonzero(held) - n).min() <= 10 for n in range(960)])
    assert [side is Side.GAP for side in sides] == (near & ~held).tolist()


def test_who_has_seen_both_sides_is_used_by_neither_and_decides_nothing():
    route = [[float(n), 0.0] for n in range(240)]
    bare = replace(SETTINGS, {"radius": 0.0, "gap": 0.0})
    alone = split_route(layout([route]), bare)
    held, trained = alone.held_out[0], alone.training[0]
    both, after, other = k(1, 2), k(2, 2), k(3, 2)
    tracks = [route, [[900.0, 0.0], [901.0, 0.0], [902.0, 0.0]]]
    split = split_route(layout(tracks, [(held, both), (trained, both), (both, after), (both, other), (held, other)]), bare)
    assert [split.sides[id] for id in (both, after, other)] == [Side.GAP, Side.GAP, Side.HELD_OUT]
    assert all(split.sides[id] is side for id, side in alone.sides.items())


def test_the_split_follows_from_the_seed_alone():
    lay = layout(LAPS, PAIRS)
    splits = [split_route(lay, replace(SETTINGS, {"seed": seed})).sides for seed in (1, 1, 2, 3, 4)]
    assert splits[0] == splits[1] and any(split != splits[0] for split in splits[2:])


@pytest.mark.parametrize("seed", range(4))
def test_what_was_trained_on_is_never_held_out_as_the_map_grows(seed):
    settings = replace(SETTINGS, {"seed": seed})
    whole = split_route(layout(LAPS, PAIRS), settings).sides
    cuts = [[LAPS[0][:150]], [LAPS[0][:400]], [LAPS[0], LAPS[1][:100]]]
    for tracks in cuts:
        ids = {k(n, session) for session, track in enumerate(tracks, 1) for n in range(1, len(track) + 1)}
        before = split_route(layout(tracks, [pair for pair in PAIRS if ids.issuperset(pair)]), settings).sides
        changes = Counter((before[id], whole[id]) for id in before if before[id] is not whole[id])
        assert set(changes) <= {(Side.TRAINING, Side.GAP)} and sum(changes.values()) <= 10, "only at the end of what was known"


def test_what_nothing_joins_to_the_route_is_left_alone():
    lay = layout(LAPS, component=[0, 1])
    split = split_route(lay, SETTINGS)
    assert set(split.of(Side.UNJOINED)) == {id for id in lay.ids if id.session == 2}
    other = split_route(lay, SETTINGS, session=2)
    assert set(other.of(Side.UNJOINED)) == {id for id in lay.ids if id.session == 1} and other.held_out and other.training
    with pytest.raises(DataError, match="no keyframe of session 7"):
        split_route(lay, SETTINGS, session=7)


def test_a_route_shorter_than_its_stretches_may_have_nothing_held_out():
    short = layout([[[float(n), 0.0] for n in range(20)]])
    counts = Counter(bool(split_route(short, replace(SETTINGS, {"seed": seed})).held_out) for seed in range(40))
    assert counts[False] > 20 and counts[True] > 2, "the first stretch is drawn once in four"


def test_tuples_go_to_their_side():
    lay = layout(LAPS, PAIRS)
    split = split_route(lay, SETTINGS)
    t, h = split.training, split.held_out
    mixed = TrainingTuple(t[1], t[0], (h[0], t[-1]), 1.0, 1)
    judged = TrainingTuple(h[1], h[0], (t[0], h[-1]), 1.0, 1)
    across = TrainingTuple(t[1], h[0], (t[-1],), 1.0, 1)
    pairs = OutlierPair(t[3], t[0], 1.0, 1), OutlierPair(t[3], h[0], 1.0, 1), OutlierPair(h[3], h[0], 1.0, 1)
    every = TupleSet((mixed, judged, across), pairs)
    assert split.training_tuples(every) == TupleSet((TrainingTuple(t[1], t[0], (t[-1],), 1.0, 1),), pairs[:1])
    assert split.held_out_tuples(every) == TupleSet((TrainingTuple(h[1], h[0], (h[-1],), 1.0, 1),), pairs[2:])
