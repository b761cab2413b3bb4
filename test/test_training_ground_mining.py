"""Mining of places that look like another one: the hardest of all or of some, and what is never a negative."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from vloc_ros.errors import TrainingError
from vloc_ros.training.ground_mining import (
    GroundMiner,
    GroundMining,
    GroundMiningSettings,
    MinedPlace,
    Shown,
    Tiles,
    dumps,
    loads,
)
from vloc_ros.training.ground_sites import GroundImages, GroundSite, GroundSource
from vloc_ros.training.ground_views import GroundViewSettings
from vloc_ros.training.sampling import Weighted


def tiles(sites: int = 8, conditions: int = 2) -> Tiles:
    names = tuple(f"c{k}" for k in range(conditions))
    made = [GroundSite(f"s{k}", (None,) * conditions, names, (0, 0, 192, 64)) for k in range(sites)]
    return Tiles([Weighted(GroundSource("set", made, GroundImages(1)), 1.0, "set")], GroundViewSettings(side=64, zoom_max=1.0))


def likeness(shown):
    """The descriptor of a tile is its number: those next to it are its hardest negatives."""
    return np.array([[float(one.tile)] for one in shown], dtype=np.float32)


def mine(places: Tiles, before=(), cache=0, describe=likeness, **settings):
    chosen = GroundMiningSettings(**({"negatives": 3, "refresh": 40} | settings))
    return GroundMiner(places, chosen, 1).mine(cache, before, describe)


def test_tiles_cover_a_site_half_overlapping():
    places = tiles(sites=1)
    assert places.centre.tolist() == [[31.5 + 32 * k, 31.5] for k in range(5)]
    small = Tiles(
        [Weighted(GroundSource("set", [GroundSite("s", (None,), ("c",), (0, 0, 70, 40))], GroundImages(1)), 1.0, "set")],
        GroundViewSettings(side=64, zoom_min=2.0, zoom_max=2.0),
    )
    assert small.centre.tolist() == [[34.5, 19.5]]


def test_places_that_overlap_are_no_negatives():
    places = tiles(sites=2)
    assert places.elsewhere(0, np.arange(10)).tolist() == [False, False, False, True, True] + [True] * 5


def test_full_mining_picks_the_hardest_of_all():
    places = tiles()
    for one in mine(places):
        tile = one.place.tile
        allowed = np.flatnonzero(places.elsewhere(tile, np.arange(len(places))))
        expected = sorted(np.abs(allowed - tile).tolist())[:3]
        assert [abs(shown.tile - tile) for shown in one.negatives] == expected
        assert one.other != one.place.condition


def test_partial_mining_looks_at_some_and_at_those_from_before():
    places = tiles(sites=40)
    looked = []

    def describe(shown):
        looked.append(len(shown))
        return likeness(shown)

    first = mine(places, describe=describe, mining=GroundMining.PARTIAL, samples=12)
    assert looked[0] < 12 + 40 + 1 < len(places)
    full = {one.place.tile: one.negatives for one in mine(places, refresh=200)}
    before = [MinedPlace(one.place, one.other, full[one.place.tile]) for one in first]
    again = mine(places, before, mining=GroundMining.PARTIAL, samples=12)

    def farthest(tile: int, negatives) -> int:
        return max(abs(shown.tile - tile) for shown in negatives)

    hardest = {tile: farthest(tile, negatives) for tile, negatives in full.items()}
    assert all(farthest(one.place.tile, one.negatives) <= hardest[one.place.tile] for one in again)
    assert any(farthest(one.place.tile, one.negatives) > hardest[one.place.tile] for one in first)


def test_random_mining_describes_nothing():
    places = tiles()
    found = mine(places, describe=None, mining=GroundMining.RANDOM)
    for one in found:
        assert places.elsewhere(one.place.tile, np.array([shown.tile for shown in one.negatives])).all()
    assert len({one.negatives for one in found}) > 20


def test_all_places_come_once_before_any_comes_again_and_a_number_says_all():
    places = tiles()
    found = mine(places, refresh=80)
    assert sorted(one.place.tile for one in found[:40]) == list(range(40)) == sorted(one.place.tile for one in found[40:])
    assert mine(places, cache=3) == mine(places, cache=3) != mine(places, cache=4)


def test_a_site_in_one_condition_is_seen_twice_in_it():
    assert all(one.place.condition == one.other == 0 for one in mine(tiles(conditions=1)))


def test_a_single_site_may_have_no_negatives():
    found = mine(tiles(sites=1), negatives=10)
    assert {len(one.negatives) for one in found} <= {0, 1, 2} and any(len(one.negatives) == 0 for one in found)


def test_what_was_mined_is_kept_and_checked():
    places = tiles()
    found = mine(places)
    text = dumps(found, 2)
    assert loads(text, 2, places, 40, "it") == found
    for bad in (
        text[:-9],
        text.replace("vloc", "other"),
        "[]",
        dumps(found[1:], 2),
        dumps([MinedPlace(Shown(99, 0), 0, ())] * 40, 2),
    ):
        with pytest.raises(TrainingError, match="it is damaged"):
            loads(bad, 2, places, 40, "it")
    with pytest.raises(TrainingError, match="it is damaged"):
        loads(text, 3, places, 40, "it")
