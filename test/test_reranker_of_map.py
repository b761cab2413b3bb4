"""Re-ranking the keyframes of a map: what is kept, made, made again, left out, and never mixed up."""

import os
import stat

import numpy as np
import pytest
from map_samples import age
from rerank_samples import PLACE, QUERY, SAME, picture, places, reranker_of_scenes, seen_again

from vloc_ros.config import from_dict, replace
from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import ConfigError, WeightsError
from vloc_ros.localization.parameters import LocalizationSettings
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.patches import keyframes_with_patches, patch_counts, patches_of, put_patches
from vloc_ros.retrieval import GateReason, Needs, RerankSettings, View, create_reranker
from vloc_ros.retrieval.rerank_ransac import RansacReranker
from vloc_ros.retrieval.reranker_of_map import RerankerOfMap, chosen_reranker
from vloc_ros.retrieval.reranking import rerank

RANSAC = RerankSettings(reranker="ransac", min_inliers=20)
WRONG = [id for id in PLACE if id != PLACE[SAME]]
SEARCH = [*WRONG, PLACE[SAME]]
"""What a search found: the right one last."""


@pytest.fixture
def path(tmp_path):
    return places(tmp_path / "site.vloc")


def of_map(store, settings=RANSAC, reranker=None, **kwargs):
    return RerankerOfMap(store, reranker or chosen_reranker(settings), settings, **kwargs)


def test_the_same_place_comes_first_and_the_others_are_refused_with_a_reason(path):
    with MapStore.open(path) as store:
        judged = of_map(store).of_keyframe(QUERY, SEARCH)
        assert judged.ids[0] == PLACE[SAME] and sorted(judged.ids) == sorted(SEARCH)
        assert judged.believed == [PLACE[SAME]]
        assert judged.doubts == dict.fromkeys(WRONG, GateReason.RERANK_INLIERS)
        assert judged.compared == len(SEARCH) and judged.milliseconds > 0.0 and judged.probabilities == {}
        live = of_map(store).of_view(View(image=seen_again()), SEARCH)
        assert live.believed == [PLACE[SAME]], "an image that is no keyframe"
        nowhere = of_map(store).of_view(View(image=picture(99)), SEARCH)
        assert nowhere.believed == [] and len(nowhere.doubts) == len(SEARCH), "none of them is an answer"
        black = of_map(store).of_view(View(image=np.zeros_like(picture(0))), SEARCH)
        assert black.believed == [] and black.ids == SEARCH, "ties keep the order of the search"


def test_each_threshold_has_its_reason(path):
    def known(inliers, share):
        return np.where(inliers > 20, 0.8, 0.1)

    with MapStore.open(path) as store:
        share = of_map(store, replace(RANSAC, {"min_inliers": 0, "min_share": 1.0})).of_keyframe(QUERY, SEARCH)
        assert share.doubts[PLACE[SAME]] is GateReason.RERANK_SHARE
        asked = replace(RANSAC, {"min_inliers": 0, "min_probability": 0.9})
        chance = of_map(store, asked, probability=known).of_keyframe(QUERY, SEARCH)
        assert chance.doubts[PLACE[SAME]] is GateReason.RERANK_PROBABILITY and chance.probabilities[PLACE[SAME]] == 0.8
        tuned = of_map(store, asked, probability=known)
        tuned.tune(replace(asked, {"min_probability": 0.5}))
        assert tuned.of_keyframe(QUERY, SEARCH).believed == [PLACE[SAME]]


def test_patches_are_made_once_and_survive_a_restart(path):
    with MapStore.open(path) as store:
        first = of_map(store)
        judged = first.of_keyframe(QUERY, SEARCH)
        assert first.counts == {"patches_made": len(SEARCH) + 1}
        assert first.of_keyframe(QUERY, SEARCH).doubts == judged.doubts and first.counts["patches_made"] == len(SEARCH) + 1
    with MapStore.open(path, read_only=True) as store:
        second = of_map(store, cached=2)
        for _ in range(2):
            again = second.of_keyframe(QUERY, SEARCH)
            assert (again.ids, again.doubts) == (judged.ids, judged.doubts)
        assert second.counts == {} and len(second._kept) == 2
        assert keyframes_with_patches(store, RansacReranker().card) == {*PLACE, QUERY}
    assert check_map(path) == []


def test_a_map_that_is_only_read_gives_the_same_and_stays_as_it_is(path):
    age(path, 3)
    before = path.read_bytes()
    with MapStore.open(path, read_only=True) as store:
        of = of_map(store)
        read = of.of_keyframe(QUERY, SEARCH)
        assert of.of_keyframe(QUERY, SEARCH).ids == read.ids and of.counts == {"patches_made": len(SEARCH) + 1}, "kept in memory"
        assert of.take_problem() == ""
    assert path.read_bytes() == before
    with MapStore.open(path) as store:
        written = of_map(store).of_keyframe(QUERY, SEARCH)
    assert (written.ids, written.doubts) == (read.ids, read.doubts)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where nobody else may")
def test_a_map_on_a_read_only_disk(path):
    path.chmod(stat.S_IRUSR)
    path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with MapStore.open(path, read_only=True) as store:
            assert of_map(store).of_keyframe(QUERY, SEARCH).believed == [PLACE[SAME]]
    finally:
        path.parent.chmod(stat.S_IRWXU)


def test_a_full_disk_is_said_and_nothing_is_lost(path):
    with MapStore.open(path) as store:
        store.database.execute(f"PRAGMA max_page_count = {store.database.pragma('page_count')}")
        of = of_map(store)
        assert of.of_keyframe(QUERY, SEARCH).believed == [PLACE[SAME]]
        assert "are not kept: " in (said := of.take_problem()) and "the disk is full" in said
        assert of.take_problem() == "" and keyframes_with_patches(store, RansacReranker().card) == set()
        store.database.execute("PRAGMA max_page_count = 1000000")
        assert of_map(store).of_keyframe(QUERY, SEARCH).believed == [PLACE[SAME]]
        assert keyframes_with_patches(store, RansacReranker().card) == {*PLACE, QUERY}
    assert check_map(path) == []


def test_damaged_patches_are_said_and_made_again(path):
    card = RansacReranker().card
    with MapStore.open(path) as store:
        judged = of_map(store).of_keyframe(QUERY, SEARCH)
        whole = {id: patches_of(store, card, id) for id in PLACE}
        store.database.execute("UPDATE patches SET content = x'0102' WHERE keyframe = ?", (PLACE[SAME].keyframe,))
        put_patches(store, card, {PLACE[0]: whole[PLACE[0]][:-7]})  # whole for the map, and cut off for the re-ranker
        of = of_map(store)
        again = of.of_keyframe(QUERY, SEARCH)
        assert (again.ids, again.doubts) == (judged.ids, judged.doubts)
        assert of.counts == {"patches_made": 2, "patches_made_again": 2} and "made again" in of.take_problem()
        assert {id: patches_of(store, card, id) for id in PLACE} == whole
    assert check_map(path) == []


def test_patches_of_other_weights_are_never_compared(path):
    card = RansacReranker().card
    other = ModelCard(card.name, card.dimension, "ff" * 32, card.preprocessing)
    with MapStore.open(path) as store:
        expected = of_map(store).of_keyframe(QUERY, SEARCH)
        wrong = patches_of(store, card, PLACE[0])
        put_patches(store, other, dict.fromkeys([*PLACE, QUERY], wrong))
        assert of_map(store).of_keyframe(QUERY, SEARCH).doubts == expected.doubts
        assert [count.keyframes for count in patch_counts(store)] == [len(PLACE) + 1] * 2
        store.database.execute("DELETE FROM patches WHERE fingerprint IN (SELECT fingerprint FROM patch_card WHERE sha256 = '')")
        of = of_map(store)
        assert of.of_keyframe(QUERY, SEARCH).doubts == expected.doubts and of.counts == {"patches_made": len(SEARCH) + 1}
        assert patches_of(store, other, PLACE[1]) == wrong, "they stay for whoever has those weights"


def test_keyframes_without_an_image_are_not_compared_and_stay_where_the_search_had_them(tmp_path, caplog):
    path = places(tmp_path / "site.vloc", without_image=(0, 2))
    with MapStore.open(path) as store:
        of = of_map(store)
        judged = of.of_keyframe(QUERY, SEARCH)
        assert judged.ids[0] == PLACE[SAME] and judged.ids[-2:] == [PLACE[0], PLACE[2]]
        assert judged.believed == [PLACE[SAME], PLACE[0], PLACE[2]], "nothing speaks against them"
        assert of.counts["keyframes_without_image"] == 2 and judged.compared == len(SEARCH) - 2
        assert "has no image, so that ransac cannot compare it" in caplog.text
        assert of.of_keyframe(PLACE[0], SEARCH).ids == SEARCH and not of.prepare(PLACE[0]) and of.prepare(PLACE[1])


def test_a_damaged_image_is_said_and_left_out(path):
    with MapStore.open(path) as store:
        store.database.execute("UPDATE image SET jpeg = x'00' WHERE keyframe = 1")
        of = of_map(store)
        judged = of.of_keyframe(QUERY, SEARCH)
        assert judged.ids[0] == PLACE[SAME] and judged.ids[-1] == PLACE[0] and PLACE[0] not in judged.doubts
        assert of.counts["keyframes_unreadable"] == 1 and "keyframe s1/k1 is not compared" in of.take_problem()
        assert of.of_keyframe(PLACE[0], SEARCH).ids == SEARCH


def test_features_of_the_right_kind_serve_a_map_without_images(tmp_path):
    path = places(tmp_path / "site.vloc", without_image=tuple(range(len(PLACE) + 1)))
    reranker = reranker_of_scenes()
    assert reranker.needs is Needs.FEATURES
    with MapStore.open(path) as store:
        of = of_map(store, reranker=reranker)
        assert of.of_keyframe(PLACE[2], PLACE).believed == [PLACE[2]], "the others have random features"
        assert of.of_view(View(features=store.features(PLACE[4])), PLACE).believed == [PLACE[4]]
        assert of.counts == {"patches_made": len(PLACE)}


def test_only_the_best_candidates_are_compared_and_for_no_longer_than_allowed(path):
    with MapStore.open(path) as store:
        few = of_map(store, replace(RANSAC, {"candidates": 2})).of_keyframe(QUERY, SEARCH)
        assert few.compared == 2 and few.ids[2:] == SEARCH[2:] and few.believed == SEARCH[2:]
        hasty = of_map(store, replace(RANSAC, {"max_ms": 1e-6})).of_keyframe(QUERY, SEARCH)
        assert hasty.compared < len(SEARCH) and sorted(hasty.ids) == sorted(SEARCH)


def test_nothing_is_settled_where_no_threshold_is_set():
    """Else whatever has a homography would end the comparison, and re-ranking would do next to nothing."""
    reranker = RansacReranker()
    kept = reranker.prepare([View(image=picture(number)) for number in [SAME] * 9])
    for settings, compared in ((RerankSettings(settle=1), 9), (RerankSettings(settle=1, min_inliers=20), 4)):
        assert len(rerank(reranker, kept[0], range(9), kept.__getitem__, settings).verifications) == compared


def test_who_asks_for_what_is_not_there_is_told(tmp_path):
    assert chosen_reranker(RerankSettings()) is None
    with pytest.raises(ConfigError, match="unknown re-ranker 'ransack'; known: "):
        chosen_reranker(RerankSettings(reranker="ransack"))
    with pytest.raises((ConfigError, WeightsError)):
        chosen_reranker(RerankSettings(reranker=str(tmp_path / "none.safetensors")))
    assert create_reranker("ransac").name == "ransac"


def test_a_lost_robot_has_defaults_of_its_own():
    assert LocalizationSettings().rerank.settle == 1 and RerankSettings().settle == 0
    given = from_dict(LocalizationSettings, {"rerank.reranker": "ransac"}).rerank
    assert (given.reranker, given.settle, given.max_ms) == ("ransac", 1, 300.0)
    assert replace(LocalizationSettings(), {"rerank.settle": 0}).rerank.settle == 0


@pytest.mark.slow
def test_a_network_of_two_stages_serves_a_map(path, tmp_path):
    """Weights that nobody trained: what matters here is what the map keeps, and that other weights do not get it."""
    pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")
    from vloc_ros.networks import Backbone
    from vloc_ros.networks.two_stage import random_two_stage
    from vloc_ros.networks.two_stage_files import save_two_stage

    files = [tmp_path / name for name in ("one.safetensors", "two.safetensors")]
    for seed, file in enumerate(files):
        save_two_stage(file, random_two_stage(Backbone.CCT_SMALL, seed), "nothing")
    settings = [RerankSettings(reranker=str(file)) for file in files]
    with MapStore.open(path) as store:
        of = of_map(store, settings[0])
        judged = of.of_keyframe(QUERY, SEARCH)
        assert judged.compared == len(SEARCH) and of.counts == {"patches_made": len(SEARCH) + 1}
        assert of.name.startswith("homography ")
        again = of_map(store, settings[0])
        assert again.of_keyframe(QUERY, SEARCH).ids == judged.ids and again.counts == {}
        other = of_map(store, settings[1])
        other.of_keyframe(QUERY, SEARCH)
        assert other.counts == {"patches_made": len(SEARCH) + 1} and len(patch_counts(store)) == 2
        # Another way to store them is no other model, and what is there is read as it is.
        half = of_map(store, replace(settings[0], {"storage": "float16"}))
        assert sorted(half.of_keyframe(QUERY, SEARCH).ids) == sorted(SEARCH) and half.counts == {}
        assert {count.size_bytes // count.keyframes for count in patch_counts(store)} == {49236}
    assert check_map(path) == []
