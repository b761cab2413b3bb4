"""The stages after a search in a map, one after the other: their order, what they make, keep and refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from condition_toys import CONDITIONS, register_hearing
from rerank_samples import PLACE, QUERY, SAME, places, seen_again

from vloc_ros.config import replace
from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import ConfigError
from vloc_ros.localization.parameters import LocalizationSettings
from vloc_ros.loop_closure import LoopSettings
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.patches import patch_counts, patches_of, put_patches
from vloc_ros.retrieval import GateReason, View
from vloc_ros.retrieval.stages import Stages, StagesOfMap

FINE = replace(LoopSettings(), {"coarse_to_fine.fine": "thumbnail", "coarse_to_fine.candidates": 6})
BOTH = replace(FINE, {"rerank.reranker": "ransac", "rerank.candidates": 4, "rerank.min_inliers": 20})
SEARCH = [*(id for id in PLACE if id != PLACE[SAME]), PLACE[SAME]]
"""What a search found: the right one last."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return places(tmp_path / "site.vloc")


def of_map(store: MapStore, settings: LoopSettings) -> StagesOfMap:
    stages = Stages.chosen(settings).of_map(store, settings)
    assert stages is not None
    return stages


def test_nothing_asked_for_is_no_stage(path: Path) -> None:
    with MapStore.open(path, read_only=True) as store:
        assert Stages.chosen(LoopSettings()).of_map(store, LoopSettings()) is None
    assert Stages.chosen(LocalizationSettings()).by_name == {}


def test_the_fine_stage_alone_orders_the_first_and_refuses_none_of_them(path: Path) -> None:
    with MapStore.open(path) as store:
        stages = of_map(store, FINE)
        assert stages.names == {"fine": "thumbnail"} and stages.depth == 6
        judged = stages.of_keyframe(QUERY, SEARCH)
        assert judged.ids[0] == PLACE[SAME] and sorted(judged.believed) == sorted(SEARCH)
        assert judged.took == {"fine": judged.milliseconds} and judged.milliseconds > 0.0 and judged.compared == 6
        assert stages.of_view(View(image=seen_again()), SEARCH).ids[0] == PLACE[SAME]
        few = of_map(store, replace(FINE, {"coarse_to_fine.candidates": 3}))
        assert few.of_keyframe(QUERY, SEARCH).ids[3:] == SEARCH[3:], "what it does not compare stays"
        few.tune(FINE)
        assert few.of_keyframe(QUERY, SEARCH).ids == judged.ids


def test_geometry_gets_the_order_of_the_fine_stage(path: Path) -> None:
    with MapStore.open(path) as store:
        alone = of_map(store, replace(BOTH, {"coarse_to_fine.fine": "none"})).of_keyframe(QUERY, SEARCH)
        assert alone.compared == 4 and PLACE[SAME] not in alone.ids[:4], "it is beyond the candidates of geometry"
        stages = of_map(store, BOTH)
        assert stages.names == {"fine": "thumbnail", "reranker": "ransac"} and stages.depth == 6
        judged = stages.of_keyframe(QUERY, SEARCH)
        assert judged.ids[0] == PLACE[SAME] and judged.believed[0] == PLACE[SAME]
        assert set(judged.doubts.values()) == {GateReason.RERANK_INLIERS} and len(judged.doubts) == 3
        assert set(judged.took) == {"fine", "rerank"} and sum(judged.took.values()) == pytest.approx(judged.milliseconds)
        assert stages.counts["fine_vectors_made"] == 7 and 0 <= stages.counts["patches_made"] <= 1
        stages.tune(replace(BOTH, {"rerank.min_inliers": 0, "rerank.candidates": 1}))
        assert stages.of_keyframe(QUERY, SEARCH).doubts == {}
    assert check_map(path) == []


def test_what_the_fine_stage_keeps_is_made_once_and_survives_a_restart(path: Path) -> None:
    with MapStore.open(path) as store:
        judged = of_map(store, FINE).of_keyframe(QUERY, SEARCH)
        assert [(count.card.name, count.keyframes) for count in patch_counts(store)] == [("thumbnail", 7)]
    before = path.read_bytes()
    with MapStore.open(path, read_only=True) as store:
        again = of_map(store, FINE)
        assert again.of_keyframe(QUERY, SEARCH).ids == judged.ids and again.counts == {} and again.take_problem() == ""
    assert path.read_bytes() == before and check_map(path) == []


def test_damaged_fine_vectors_are_said_and_made_again(path: Path) -> None:
    card = Stages.chosen(FINE).by_name["fine"].card
    with MapStore.open(path) as store:
        judged = of_map(store, FINE).of_keyframe(QUERY, SEARCH)
        whole = {id: patches_of(store, card, id) for id in PLACE}
        store.database.execute("UPDATE patches SET content = x'0102' WHERE keyframe = ?", (PLACE[SAME].keyframe,))
        stages = of_map(store, FINE)
        assert stages.of_keyframe(QUERY, SEARCH).ids == judged.ids
        assert stages.counts == {"fine_vectors_made": 1, "fine_vectors_made_again": 1}
        assert f"the fine vectors of keyframe {PLACE[SAME]}" in (said := stages.take_problem()) and "made again" in said
        assert stages.take_problem() == "" and {id: patches_of(store, card, id) for id in PLACE} == whole


def test_the_vectors_of_another_model_are_never_compared(path: Path) -> None:
    card = Stages.chosen(FINE).by_name["fine"].card
    other = ModelCard(card.name, card.dimension, "ff" * 32, card.preprocessing)
    with MapStore.open(path) as store:
        judged = of_map(store, FINE).of_keyframe(QUERY, SEARCH)
        wrong = patches_of(store, card, PLACE[0])
        store.database.execute("DELETE FROM patches")
        put_patches(store, other, dict.fromkeys([*PLACE, QUERY], wrong))
        stages = of_map(store, FINE)
        assert stages.of_keyframe(QUERY, SEARCH).ids == judged.ids and stages.counts == {"fine_vectors_made": 7}
        assert patches_of(store, other, PLACE[1]) == wrong, "they stay for whoever has those weights"


def test_a_keyframe_without_an_image_is_counted_once_however_many_stages_want_it(tmp_path: Path) -> None:
    with MapStore.open(places(tmp_path / "site.vloc", without_image=(0,))) as store:
        stages = of_map(store, BOTH)
        judged = stages.of_keyframe(QUERY, SEARCH)
        assert judged.ids[0] == PLACE[SAME] and PLACE[0] in judged.believed
        assert stages.counts["keyframes_without_image"] == 1
        assert not stages.prepare(PLACE[0]) and stages.prepare(PLACE[1])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"coarse_to_fine.fine": "nobody"}, "unknown descriptor 'nobody'"),
        ({"coarse_to_fine.fine": "vlad"}, "vlad"),
        ({"rerank.reranker": "ransack"}, "unknown re-ranker 'ransack'"),
        ({"descriptor": "hearing", "condition": "fog"}, "unknown to 'hearing'; known: noon, dusk, night; leave it out"),
        ({"descriptor": "hog", "condition": "night"}, "the condition 'night' says nothing to 'hog': leave it out, or"),
        (
            {"descriptor": "hog", "condition": "snow", "coarse_to_fine.fine": "hearing_too"},
            "unknown to 'hog' and 'hearing_too'; known: noon, dusk, night, fog;",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence_before_there_is_a_map(
    values: dict[str, str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_hearing(monkeypatch)
    with pytest.raises(ConfigError) as caught:
        Stages.chosen(replace(LoopSettings(), values))
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_a_condition_that_one_of_them_knows_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    register_hearing(monkeypatch)
    said = {"descriptor": "hearing", "condition": "fog", "coarse_to_fine.fine": "hearing_too"}
    assert Stages.chosen(replace(LoopSettings(), said)).conditions == (*CONDITIONS, "fog")
