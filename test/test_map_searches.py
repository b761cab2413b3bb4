"""Searches and variances of descriptors in a map."""

import math
from dataclasses import replace

import numpy as np
import pytest
from map_samples import teach

from vloc_ros.errors import MapError
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.pruning import prune_map
from vloc_ros.mapping.searches import Search, put_search, searched_keyframes, searches_of
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.variances import variances_of

FIRST, SECOND, THIRD = (KeyframeId(1, number) for number in (1, 2, 3))
FOUND = Search(THIRD, 2, "site-2", 0.75, 0.004, 0.9, FIRST, True, "", 17)
NOTHING = Search(SECOND, 0, "hog", None, None, None, None, False, "nothing_found", 5)


@pytest.fixture
def path(tmp_path):
    return teach(tmp_path / "site.vloc", 6)


def test_what_is_kept_is_read_again_by_keyframe_and_by_version(path):
    with MapStore.open(path) as store:
        for row in (FOUND, NOTHING):
            put_search(store, row)
    with MapStore.open(path, read_only=True) as store:
        assert searches_of(store) == [NOTHING, FOUND]
        assert searches_of(store, 2) == [FOUND] and searches_of(store, 0) == [NOTHING] and searches_of(store, 1) == []
        assert searched_keyframes(store) == {SECOND, THIRD}
    assert check_map(path) == []


def test_a_new_search_takes_the_place_of_that_of_the_same_model_only(path):
    other, newer = replace(FOUND, model="hog", version=0, searched_ns=9), replace(FOUND, verified=False, reason="too_few_inliers")
    with MapStore.open(path) as store:
        for row in (FOUND, other, newer):
            put_search(store, row)
        assert searches_of(store) == [other, newer], "in the order of time"


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": math.nan},
        {"variance": 0.0},
        {"variance": math.nan},
        {"probability": 1.1},
        {"probability": math.nan},
        {"version": -1},
        {"searched_ns": -1},
        {"partner": None},
        {"score": None},
        {"score": None, "partner": None},
        {"keyframe": KeyframeId(7, 7)},
    ],
)
def test_what_makes_no_sense_is_refused(path, wrong):
    with MapStore.open(path) as store:
        with pytest.raises(MapError):
            put_search(store, replace(FOUND, **wrong))
        assert searches_of(store) == []


def test_an_infinite_variance_is_kept(path):
    with MapStore.open(path) as store:
        put_search(store, replace(FOUND, variance=math.inf, probability=0.0))
        assert searches_of(store)[0].variance == math.inf
    assert check_map(path) == []


def test_damage_is_found(path):
    with MapStore.open(path) as store:
        put_search(store, FOUND)
        store.set_global_descriptor(THIRD, "site-2", np.ones(4, np.float32), 0.5)
        for table in ("search", "descriptor_variance"):
            store.database.execute(f"UPDATE {table} SET variance = 0.25")
        with pytest.raises(MapError, match="the search of keyframe s1/k3 fails its checksum"):
            searches_of(store)
        with pytest.raises(MapError, match="the descriptor variance of keyframe s1/k3 fails its checksum"):
            variances_of(store, "site-2")
    texts = [str(problem) for problem in check_map(path)]
    assert len(texts) == 2 and all("fails its checksum" in text for text in texts), texts


def test_rows_that_are_whole_but_make_no_sense_are_found(path):
    with MapStore.open(path) as store:
        values = (*THIRD, "site-2", 2, 0.5, None, 1.5, *FIRST, 1, "", 3)
        store.database.insert("search", values)
        store.database.insert("search", (*SECOND, "site-2", 2, 0.5, None, 0.5, 1, None, 1, "", 3))
    texts = [str(problem) for problem in check_map(path)]
    assert len(texts) == 2 and any("its probability is 1.5" in text for text in texts)
    assert any("its partner or verdict is not one" in text for text in texts)


def test_a_variance_lives_and_dies_with_its_descriptor(path):
    vector = np.ones(4, np.float32)
    with MapStore.open(path) as store:
        store.set_global_descriptor(FIRST, "site-1", vector, 0.25)
        store.set_global_descriptor(SECOND, "site-1", vector, math.inf)
        store.set_global_descriptor(THIRD, "site-1", vector)
        store.set_global_descriptor(FIRST, "site-2", vector, 0.125)
        assert variances_of(store, "site-1") == {FIRST: 0.25, SECOND: math.inf}
        assert variances_of(store, "site-2") == {FIRST: 0.125} and variances_of(store, "hog") == {}
        store.set_global_descriptor(FIRST, "site-1", 2 * vector)
        assert variances_of(store, "site-1") == {SECOND: math.inf}, "the variance was of the descriptor that is gone"
        for wrong in (0.0, -1.0, math.nan):
            with pytest.raises(MapError, match="must be above 0"):
                store.set_global_descriptor(SECOND, "site-1", 3 * vector, wrong)
        np.testing.assert_array_equal(store.global_descriptors("site-1")[1][1], vector)
        assert variances_of(store, "site-1") == {SECOND: math.inf}, "all or nothing"
    assert check_map(path) == []


def test_pruning_takes_searches_and_variances_along(path):
    with MapStore.open(path) as store:
        for keyframe in store.keyframes():
            store.set_global_descriptor(keyframe.id, "site-1", np.ones(4, np.float32), 0.25)
            put_search(store, replace(FOUND, keyframe=keyframe.id, partner=SECOND))
    result = prune_map(path, 1000.0, None, 10.0)
    assert result.removed > 0
    with MapStore.open(path, read_only=True) as store:
        left = [keyframe.id for keyframe in store.keyframes()]
        assert [row.keyframe for row in searches_of(store)] == left == list(variances_of(store, "site-1"))
        assert {row.partner for row in searches_of(store)} == {SECOND}, "history keeps the name of what is gone"
    assert check_map(path) == []
