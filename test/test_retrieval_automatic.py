"""What "auto" means: the shipped network where it runs, hog else; a map that is described stays with what it has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from map_samples import teach

from vloc_ros.data.model_card import ModelCard
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.model_versions import undescribed
from vloc_ros.retrieval import automatic
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.redescribe import redescribe

KEYFRAMES = 3


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What can run is found out anew before and after each test."""
    automatic.shipped_network.cache_clear()
    yield
    automatic.shipped_network.cache_clear()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MapStore]:
    with MapStore.open(teach(tmp_path / "site.vloc", KEYFRAMES)) as store:
        yield store


@pytest.fixture
def place() -> ModelCard:
    card = automatic.shipped_network()
    if card is None:
        pytest.skip("neither onnxruntime nor torch is installed (requirements/engines.txt)")
    return card


def describe(store: MapStore, name: str, limit: int | None = None) -> None:
    redescribe(store, MapDescriptor.of(store, name), limit)


def chosen(store: MapStore) -> ModelCard:
    """By those who only ask for the name and by those who describe, with and without a version to go back to."""
    card = MapDescriptor.of(store, "auto").descriptor.card
    assert card.name == automatic.automatic_name(store) == automatic.name_without_version(store)
    assert MapDescriptor.of(store, "site-0").descriptor.card == card
    return card


def test_a_new_map_is_described_by_the_shipped_network(store, place):
    assert place.name == "place" and chosen(store) == place
    describe(store, "auto", 1)
    assert chosen(store) == place and undescribed(store, "place") == [keyframe.id for keyframe in store.keyframes()][1:]


def test_an_old_map_answers_with_what_it_has(store, place):
    describe(store, "hog", 1)
    assert chosen(store).name == "hog", "also where it is described in part"
    assert len(MapDescriptor.of(store, "auto").stored(store)[0]) == 1
    describe(store, "place", 1)
    assert chosen(store) == place, "who describes it with the other has chosen"


def test_a_descriptor_that_auto_never_means_decides_nothing(store, place):
    describe(store, "thumbnail")
    assert chosen(store) == place
    store.add_model_card(MapDescriptor.of(store, "hog").descriptor.card)
    assert chosen(store) == place, "a card alone describes no keyframe"


def test_descriptors_of_an_older_hog_are_of_no_use(store, place):
    older = replace(MapDescriptor.of(store, "hog").descriptor.card, preprocessing="another")
    store.add_model_card(older)
    store.set_global_descriptor(
        store.keyframes()[0].id, "hog", MapDescriptor.of(store, "hog").vector(store, store.keyframes()[0].id)
    )
    assert chosen(store) == place


def test_a_map_described_by_other_weights_of_that_name_is_not_mixed(store, place):
    store.add_model_card(replace(place, sha256="0" * 64))
    assert chosen(store).name == "hog"
    describe(store, "auto")
    assert undescribed(store, "hog") == []


@pytest.mark.parametrize("missing", ["engines", "files"])
def test_where_the_network_cannot_run_it_is_hog(store, missing, monkeypatch):
    if missing == "engines":
        for module in ("torch", "onnxruntime"):
            monkeypatch.setitem(sys.modules, module, None)
    else:
        monkeypatch.setattr(automatic, "shipped_places", dict)
    assert automatic.shipped_network() is None and chosen(store).name == "hog"


def test_without_torch_the_onnx_file_is_enough(store, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert chosen(store).name == "place"
    describe(store, "auto")
    assert undescribed(store, "place") == []


def test_a_map_without_images_has_its_features(store, place):
    store.database.execute("DELETE FROM image WHERE keyframe = 2")
    assert automatic.automatic_name(store) == "vlad"
