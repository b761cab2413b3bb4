"""The fine stage: a second descriptor that puts the best that a search found into its own order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from map_samples import CAMERA
from rerank_samples import PLACE, QUERY, SAME, places
from rerank_toys import LeftHalf, halves, register_toys

from vloc_ros.config import from_dict
from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.features import create_extractor
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.patches import keyframes_with_patches, patch_counts, patches_of
from vloc_ros.retrieval import (
    CoarseToFineSettings,
    Doubt,
    FineReranker,
    GateReason,
    GlobalDescriptor,
    Needs,
    RerankSettings,
    Thumbnail,
    Verification,
    View,
    fine_stage,
)
from vloc_ros.retrieval.reranker_of_map import RerankerOfMap
from vloc_ros.retrieval.reranking import rerank

LEVELS = [50, 110, 0, 55, 110]
"""Left halves of candidates; black has nothing to describe."""


class Long(GlobalDescriptor):
    """The largest that keeps to 8 KiB."""

    name = "long"

    @property
    def card(self) -> ModelCard:
        return ModelCard(self.name, 4096)

    def describe(self, view: View) -> np.ndarray:
        vector = np.random.default_rng(int(view.image[0, 0])).normal(size=4096)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def views(levels: Sequence[int]) -> list[View]:
    return [View(image=halves(level, 77)) for level in levels]


def ranked(query: int, levels: Sequence[int], settings: RerankSettings | None = None):
    fine = FineReranker(LeftHalf())
    kept = fine.prepare(views(levels))
    return rerank(fine, fine.prepare(views([query]))[0], range(len(kept)), kept.__getitem__, settings or RerankSettings())


def test_the_order_is_that_of_the_fine_similarity_and_equal_ones_keep_that_of_the_search():
    found = ranked(100, LEVELS)
    assert found.ids == [1, 4, 3, 0, 2]
    similar = [one.similarity for one in found.verifications]
    assert similar[:4] == pytest.approx([np.cos(0.1), np.cos(0.1), np.cos(0.45), np.cos(0.5)], abs=2e-3)
    assert found.accepted == [True] * 4 + [False], "without a homography, and black never"
    assert found.verifications[4].similarity is None and found.verifications[4].doubt is Doubt.NOTHING_TO_COMPARE


def test_the_search_has_its_share_in_the_order():
    kept = FineReranker(LeftHalf()).prepare(views([110, 100, 50, 0]))
    scores = {7: 0.5, 8: 0.55, 9: 0.6, 5: 0.9}  # by the names that the search gave

    def ids(share: float, known: dict[int, float] | None = scores) -> list[int]:
        fine = FineReranker(LeftHalf(), share)
        query = fine.prepare(views([110]))[0]
        return rerank(fine, query, [5, 9, 8, 7], lambda id: kept[[7, 8, 9, 5].index(id)], RerankSettings(), scores=known).ids

    assert ids(0.0) == ids(0.5, None) == [7, 8, 9, 5]
    assert ids(0.5) == [8, 7, 9, 5], "0.55 + cos 0.1 is more than 0.5 + cos 0; black is not compared and stays the last"
    assert ids(1.0) == [9, 8, 7, 5]


def test_a_negative_similarity_comes_before_none_at_all():
    assert ranked(10, [0, 250]).ids == [1, 0]


def test_only_the_best_of_the_search_are_compared():
    assert ranked(110, [50, 55, 110], RerankSettings(candidates=2)).ids == [1, 0, 2]


def test_limits_of_homographies_are_not_asked_of_similarities():
    limits = RerankSettings(min_inliers=30, min_share=0.5, min_probability=0.9, settle=1)
    found = ranked(100, LEVELS, limits)
    assert found.accepted == [True] * 4 + [False]


def test_a_query_with_nothing_to_describe_leaves_the_order_as_it_is():
    found = ranked(0, LEVELS)
    assert found.ids == list(range(5)) and not any(found.accepted)


def test_a_verification_by_similarity_has_no_inliers():
    one = Verification.by_similarity(0.25)
    assert (one.inliers, one.matches, one.share, one.homography, one.doubt, one.similarity) == (0, 0, 0.0, None, None, 0.25)


def test_what_is_kept_comes_back_and_takes_two_bytes_per_element():
    fine = FineReranker(Long())
    kept = fine.prepare(views([3]))[0]
    content = fine.to_bytes(kept)
    assert kept.dtype == np.float16 and np.array_equal(fine.from_bytes(content), kept)
    assert 8192 <= len(content) <= 8192 + 16
    assert fine.to_bytes(None) == b"" and fine.from_bytes(b"") is None
    assert fine.verify(kept, [kept])[0].similarity == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("damage", [slice(0, 5), slice(0, -1), slice(1, None)])
def test_what_is_cut_off_is_an_error(damage):
    fine = FineReranker(Long())
    with pytest.raises(DataError, match="anew"):
        fine.from_bytes(fine.to_bytes(fine.prepare(views([3]))[0])[damage])


def test_a_changed_byte_is_an_error():
    fine = FineReranker(Long())
    content = bytearray(fine.to_bytes(fine.prepare(views([3]))[0]))
    content[500] ^= 1
    with pytest.raises(DataError, match="damaged"):
        fine.from_bytes(bytes(content))


def test_the_vector_of_another_descriptor_is_an_error():
    content = FineReranker(LeftHalf()).to_bytes(np.array([1.0, 0.0], dtype=np.float16))
    with pytest.raises(DataError, match="another descriptor"):
        FineReranker(Long()).from_bytes(content)
    wrong = FineReranker(LeftHalf()).to_bytes(np.array([3.0, 0.0], dtype=np.float16))
    with pytest.raises(DataError, match="unit length"):
        FineReranker(LeftHalf()).from_bytes(wrong)


def test_the_settings_choose_any_descriptor_of_images(monkeypatch):
    register_toys(monkeypatch)
    assert fine_stage(CoarseToFineSettings()) is None
    chosen = from_dict(CoarseToFineSettings, {"fine": "left_half", "candidates": 7})
    assert isinstance(fine_stage(chosen).descriptor, LeftHalf)
    assert chosen.ranking == RerankSettings(reranker="left_half", candidates=7)
    with pytest.raises(ConfigError, match="unknown descriptor 'nobody'"):
        fine_stage(CoarseToFineSettings(fine="nobody"))


def test_local_features_are_no_fine_stage():
    class OfFeatures(LeftHalf):
        needs = Needs.FEATURES

    with pytest.raises(ConfigError, match="describes local features"):
        FineReranker(OfFeatures())


def test_a_map_keeps_what_the_fine_stage_made_and_finds_the_place_with_it(tmp_path):
    path, settings = places(tmp_path / "site.vloc"), CoarseToFineSettings(fine="thumbnail", candidates=6)
    search = [*(id for id in PLACE if id != PLACE[SAME]), PLACE[SAME]]
    with MapStore.open(path) as store:
        fine = RerankerOfMap(store, fine_stage(settings), settings.ranking)
        judged = fine.of_keyframe(QUERY, search)
        assert judged.ids[0] == PLACE[SAME] and judged.doubts == {} and fine.counts == {"fine_vectors_made": 7}
        (count,) = patch_counts(store)
        assert count.keyframes == 7 and count.size_bytes == 7 * (2 * Thumbnail().card.dimension + 14)
        black = fine.of_view(View(image=np.zeros((CAMERA.height, CAMERA.width), np.uint8)), search)
        assert black.ids == search and set(black.doubts.values()) == {GateReason.RERANK_NOTHING}
    with MapStore.open(path, read_only=True) as store:
        again = RerankerOfMap(store, fine_stage(settings), settings.ranking)
        assert again.of_keyframe(QUERY, search).ids == judged.ids and again.counts == {}
        other = FineReranker(LeftHalf()).card
        assert keyframes_with_patches(store, other) == set() and patches_of(store, other, QUERY) is None


def test_the_fine_stage_is_told_the_condition_of_a_query(tmp_path):
    class Listening(LeftHalf):
        def describe(self, view: View) -> np.ndarray:
            heard.append((view.condition, view.features))
            return super().describe(view)

    heard: list[object] = []
    image = np.full((CAMERA.height, CAMERA.width), 60, np.uint8)
    features = create_extractor("orb", 10).extract(image)
    with MapStore.open(places(tmp_path / "site.vloc")) as store:
        fine = RerankerOfMap(store, FineReranker(Listening()), RerankSettings(candidates=1))
        fine.of_view(View(image=image, features=features, condition="night"), PLACE)
    assert heard[0] == ("night", None)
