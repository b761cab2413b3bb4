"""Descriptors that are a map's own model: by name, from bytes, re-described, promoted and rolled back by command."""

import json

import numpy as np
import pytest
from map_samples import UNTUNED, add_keyframe, create, image, teach
from model_samples import made_up
from network_samples import write_places

from vloc_ros.cli import main
from vloc_ros.data.model_card import ModelCard
from vloc_ros.data.weights import load_card, load_weights
from vloc_ros.errors import ConfigError, MapError, WeightsError
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.model_versions import (
    NO_VERSION,
    SwitchReason,
    add_version,
    ask_switch,
    finish_switch,
    number_in_use,
    pending_switch,
    switches,
    undescribed,
    version,
    versions,
)
from vloc_ros.mapping.session import SessionKind
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.variances import variances_of
from vloc_ros.networks import Backbone, NetworkKind
from vloc_ros.retrieval import View
from vloc_ros.retrieval.of_map import MapDescriptor, is_of_site
from vloc_ros.retrieval.redescribe import redescribe
from vloc_ros.retrieval.switching import end_switch
from vloc_ros.retrieval.weights_file import descriptor_of, load_descriptor

KEYFRAMES = 5
ASKED = SwitchReason.ASKED


# --- without torch


def test_names_of_a_maps_own_model():
    assert all(map(is_of_site, ("site", "site-1", "site-12")))
    assert not any(map(is_of_site, ("site-0", "site-01", "site-", "site-x", "sites", "site.safetensors", "site-1.safetensors")))


def described_by(store):
    return MapDescriptor.of(store, "auto").descriptor.card.name


def test_a_map_without_versions_is_described_as_before(tmp_path):
    with MapStore.open(teach(tmp_path / "site.vloc", 2)) as store:
        assert described_by(store) == UNTUNED and MapDescriptor.of(store, "auto").version is None
        with pytest.raises(ConfigError, match="has no model of its own in use: make one with vloc calibrate"):
            MapDescriptor.of(store, "site")
        with pytest.raises(MapError, match=r"has no model version 3 \(it has: none\)"):
            MapDescriptor.of(store, "site-3")
        # what these weights are of is found out by whoever runs them
        add_version(store, *made_up(1))
        assert described_by(store) == UNTUNED, "a version is not used before it is switched to"


def test_any_model_can_describe_a_map_bit_by_bit(tmp_path):
    with MapStore.open(teach(tmp_path / "site.vloc", 7)) as store:
        hog, shown = MapDescriptor.of(store, "hog"), []

        def progress(ids):
            shown.append(len(ids))
            return ids

        assert [redescribe(store, hog, 3, progress) for _ in range(4)] == [4, 1, 0, 0] and shown == [3, 3, 1, 0]
        ids, vectors = hog.stored(store)
        assert ids == [keyframe.id for keyframe in store.keyframes()]
        np.testing.assert_array_equal(vectors, [hog.vector(store, id) for id in ids])
        new = add_keyframe(store, 1).id
        assert undescribed(store, "hog") == [new] and redescribe(store, hog) == 0


def test_a_map_that_knows_another_model_of_that_name_refuses(tmp_path):
    with MapStore.open(teach(tmp_path / "site.vloc", 2)) as store:
        store.add_model_card(ModelCard("hog", 7, "another"))
        with pytest.raises(MapError, match="has descriptors of another model 'hog'"):
            redescribe(store, MapDescriptor.of(store, "hog"))


# --- with torch


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of two random networks, one of which knows its uncertainty."""
    pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")
    from vloc_ros.networks.files import save_network
    from vloc_ros.networks.network import random_network

    folder = tmp_path_factory.mktemp("weights")
    paths = [folder / "plain.safetensors", folder / "uncertain.safetensors"]
    for seed, (path, kind) in enumerate(zip(paths, (NetworkKind.GEM, NetworkKind.UNCERTAINTY), strict=True)):
        save_network(path, random_network(kind, Backbone.MOBILENETV3, seed), f"nothing, seed {seed}")
    return paths


@pytest.fixture
def path(weights, tmp_path):
    """A map with both as versions 1 and 2, none in use."""
    path = teach(tmp_path / "site.vloc", KEYFRAMES)
    with MapStore.open(path) as store:
        for file in weights:
            add_version(store, file.read_bytes(), load_card(file))
    return path


def run(capsys, *arguments, code=0):
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def numbers(capsys, *arguments):
    return json.loads(run(capsys, *arguments, "--json"))


def test_weights_need_no_file(weights):
    for file in weights:
        from_bytes, from_file = descriptor_of(file.read_bytes(), load_card(file)), load_descriptor(file)
        assert type(from_bytes) is type(from_file) and from_bytes.card == from_file.card
        views = [View(image=image(seed)) for seed in (1, 2)]
        for a, b in zip(from_bytes.describe_with_variance(views), from_file.describe_with_variance(views), strict=True):
            np.testing.assert_array_equal(a, b)


def test_weights_that_make_no_descriptor_are_refused(weights):
    content, card = weights[0].read_bytes(), load_card(weights[0])
    other = weights[1].read_bytes()
    with pytest.raises(WeightsError, match="the model 'plain' has other weights than its card says"):
        descriptor_of(other, card)
    with pytest.raises(WeightsError, match="the model 'plain' is not a whole safetensors file"):
        descriptor_of(content[: len(content) // 2], card)
    small, of_small = made_up(1)
    with pytest.raises(WeightsError, match=r"the model 'some' lacks .* weights of gem on mobilenetv3"):
        descriptor_of(small, of_small)


def test_the_old_version_answers_until_all_is_described(path):
    with MapStore.open(path) as store:
        assert end_switch(store, ask_switch(store, 1, ASKED))
        first = MapDescriptor.of(store, "site")
        assert first.version == version(store, 1) and first.descriptor.card == first.version.card.model_card
        switch, second = ask_switch(store, 2, ASKED), MapDescriptor.of(store, "site-2")
        while redescribe(store, second, 2):
            assert not finish_switch(store, switch.number)
            for name in ("auto", "site"):
                assert MapDescriptor.of(store, name).version == version(store, 1)
        assert finish_switch(store, switch.number)
        assert MapDescriptor.of(store, "auto").version == version(store, 2)
        ids, vectors = MapDescriptor.of(store, "site").stored(store)
        assert len(ids) == KEYFRAMES and len(variances_of(store, "site-2")) == KEYFRAMES, "variances come along"
        np.testing.assert_allclose(vectors, [second.vector(store, id) for id in ids], atol=1e-6)
        # descriptors of the two lie side by side and belong to different networks
        assert not np.allclose(first.stored(store)[1], vectors, atol=1e-2)
        index = second.index(store, ids)
        assert index.search(second.vector(store, ids[2]), 1).ids == [ids[2]]
    assert check_map(path) == []


def test_a_switch_ends_though_keyframes_come_in_meanwhile(path):
    with MapStore.open(path) as store, MapStore.open(path) as teacher:
        added = []

        def progress(ids):
            for id in ids:
                yield id
                if len(added) < 2:
                    session = teacher.begin_session(SessionKind.REPEAT, "meanwhile")
                    added.append(add_keyframe(teacher, session).id)

        assert end_switch(store, ask_switch(store, 1, ASKED), progress)
        assert undescribed(store, "site-1") == [] and len(store.keyframes()) == KEYFRAMES + 2


def test_a_switch_that_somebody_supersedes_is_given_up(path):
    with MapStore.open(path) as store, MapStore.open(path) as other:
        switch = ask_switch(store, 1, ASKED)

        def progress(ids):
            for id in ids:
                yield id
                if id == KeyframeId(1, 2):
                    ask_switch(other, 2, ASKED)

        assert not end_switch(store, switch, progress)
        assert number_in_use(store) == NO_VERSION and pending_switch(store).version == 2
        assert end_switch(store, pending_switch(store)) and not end_switch(store, switch)
        assert number_in_use(store) == 2


def test_two_who_describe_at_once_do_no_harm(path):
    with MapStore.open(path) as store, MapStore.open(path) as other:
        switch = ask_switch(store, 1, ASKED)

        def progress(ids):
            for turn, id in enumerate(ids):
                yield id
                if turn == 1:
                    assert end_switch(other, switch)

        assert end_switch(store, switch, progress), "the other one finished it"
        assert number_in_use(store) == 1
    assert check_map(path) == []


def test_vlad_stands_in_when_keyframes_without_images_come_later(path, caplog):
    with MapStore.open(path) as store:
        end_switch(store, ask_switch(store, 1, ASKED))
        add_keyframe(store, store.begin_session(SessionKind.REPEAT, "without images"), with_image=False)
        assert MapDescriptor.of(store, "auto").descriptor.name == "vlad"
        assert "1 keyframes have no image, which site-1 needs: vlad stands in" in caplog.text
        assert MapDescriptor.of(store, "site").version == version(store, 1)
        with pytest.raises(MapError, match="has no image of keyframe s2/k1"):
            redescribe(store, MapDescriptor.of(store, "site"))


def test_other_weights_for_a_version_make_no_sense(path):
    with MapStore.open(path) as store, pytest.raises(ConfigError, match="the weights of 'site-1' are in the map"):
        MapDescriptor.of(store, "site-1", b"other ones")


def test_a_version_of_a_network_that_nobody_knows_is_named(path):
    from dataclasses import replace

    with MapStore.open(path) as store:
        content, card = made_up(5)
        add_version(store, content, replace(card, network="crystal_ball"))
        with pytest.raises(WeightsError, match="the model 'site-3' holds weights of crystal_ball on mobilenetv3"):
            MapDescriptor.of(store, "site-3")


# --- commands


def test_models_are_promoted_and_rolled_back_by_command(path, capsys):
    of = ("--map", path)
    assert run(capsys, "models", "rollback", *of, code=1).endswith("has no version to go back to: it uses none of its own models\n")
    left = numbers(capsys, "models", "promote", 1, *of, "--leave")
    assert (left["done"], left["in_use"], left["pending"], left["left"]) == (False, 0, 1, KEYFRAMES)
    assert "is healthy; the switch to site-1 is not finished" in run(capsys, "map", "check", path)
    done = numbers(capsys, "models", "promote", 1, *of)
    assert (done["done"], done["in_use"], done["pending"]) == (True, 1, None)
    assert numbers(capsys, "models", "promote", 1, *of) == done, "again does no harm"
    assert numbers(capsys, "models", "promote", 2, *of)["in_use"] == 2
    assert numbers(capsys, "models", "rollback", *of)["in_use"] == 1
    assert numbers(capsys, "models", "rollback", *of)["in_use"] == 0
    assert "no model version 9" in run(capsys, "models", "promote", 9, *of, code=1)
    with MapStore.open(path, read_only=True) as store:
        reasons = [switch.reason.name for switch in switches(store)]
    assert reasons == ["ASKED", "ASKED", "ROLLED_BACK", "ROLLED_BACK"] and check_map(path) == []


def test_a_roll_back_calls_off_what_is_on_its_way_and_can_be_interrupted(path, capsys):
    of = ("--map", path)
    run(capsys, "models", "promote", 1, *of)
    run(capsys, "models", "promote", 2, *of, "--leave")
    assert numbers(capsys, "models", "rollback", *of)["in_use"] == 1
    run(capsys, "models", "promote", 2, *of)
    run(capsys, "models", "rollback", *of, "--leave")
    state = numbers(capsys, "models", "rollback", *of)
    assert (state["in_use"], state["pending"]) == (1, None), "the roll-back that was left is ended, not called off"


def test_list_and_show_say_what_there_is(path, capsys):
    with MapStore.open(path) as store:
        end_switch(store, ask_switch(store, 2, SwitchReason.PROMOTED, {"gain": 0.25}))
    text = run(capsys, "models", "list", "--map", path)
    assert "site-2 (in use)" in text and "gem on mobilenetv3, 255 elements" in text and "promotion test: none" in text
    listed = numbers(capsys, "models", "list", "--map", path)
    assert [found["name"] for found in listed["versions"]] == ["site-1", "site-2"] and listed["in_use"] == 2
    shown = numbers(capsys, "models", "show", 2, "--map", path)
    assert shown["card"]["trained_on"] == "nothing, seed 1" and shown["weights_bytes"] > 1_000_000
    assert [switch["figures"] for switch in shown["switches"]] == [{"gain": 0.25}]
    text = run(capsys, "models", "show", 2, "--map", path)
    assert "as it won the promotion test, gain 0.25; in use from" in text
    assert "2, site-2 in use" in run(capsys, "map", "info", path)


def test_an_exported_version_is_the_same_in_another_map(path, weights, tmp_path, capsys):
    out = tmp_path / "out" / "carried.safetensors"
    run(capsys, "models", "export", 2, "--map", path, "--out", out)
    card = load_weights(out)[1]
    assert card.name == "carried" and card.sha256 == load_card(weights[1]).sha256
    other = teach(tmp_path / "other.vloc", 2)
    added = numbers(capsys, "models", "import", out, "--map", other)
    assert added["new"] and added["name"] == "site-1" and "imported from carried.safetensors" in added["card"]["notes"]
    assert added["card"]["sha256"] == card.sha256 and not numbers(capsys, "models", "import", out, "--map", other)["new"]
    with MapStore.open(path, read_only=True) as one, MapStore.open(other, read_only=True) as two:
        a, b = MapDescriptor.of(one, "site-2"), MapDescriptor.of(two, "site-1")
        np.testing.assert_array_equal(a.vector(one, KeyframeId(1, 1)), b.vector(two, KeyframeId(1, 1)))
        assert len(versions(two)) == 1


def test_what_is_no_descriptor_of_places_is_not_imported(path, tmp_path, capsys):
    from vloc_ros.data.weights import save_weights

    file = tmp_path / "small.safetensors"
    content, card = made_up(3)
    file.write_bytes(content)
    file.with_suffix(".json").write_text("{}", encoding="utf-8")
    assert "small.json is not one of this release" in run(capsys, "models", "import", file, "--map", path, code=1)
    save_weights(file, {"a": np.full((2, 3), 3, dtype=np.float32)}, card)
    assert "lacks" in run(capsys, "models", "import", file, "--map", path, code=1)
    with MapStore.open(path, read_only=True) as store:
        assert len(versions(store)) == 2


def test_images_are_retrieved_with_the_model_of_a_map(path, tmp_path, capsys):
    folder = write_places(tmp_path / "places", 4)
    asked = ("retrieve", folder, "--database", folder, "--top", 1, "--out", tmp_path / "found")
    assert "is a map's own: say which with --map" in run(capsys, *asked, "--descriptor", "site-1", code=1)
    assert "has no model of its own in use" in run(capsys, *asked, "--descriptor", "site", "--map", path, code=1)
    run(capsys, *asked, "--descriptor", "site-1", "--map", path)
    rows = [line.split(",") for line in (tmp_path / "found" / "retrieved.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert len(rows) == 4 and all(query == found for query, _, found, _ in rows)


def test_a_map_is_described_by_command(path, capsys):
    done = numbers(capsys, "map", "redescribe", path, "--descriptor", "site-1")
    assert (done["model"], done["keyframes"], done["left"]) == ("site-1", KEYFRAMES, 0)
    assert numbers(capsys, "map", "redescribe", path)["model"] == UNTUNED


def test_a_map_without_images_is_not_asked_for_what_it_cannot_do(weights, tmp_path, capsys):
    with create(tmp_path / "blind.vloc") as store:
        add_keyframe(store, store.begin_session(SessionKind.TEACH, "a drive"), with_image=False)
        add_version(store, weights[0].read_bytes(), load_card(weights[0]))
    text = run(capsys, "models", "promote", 1, "--map", tmp_path / "blind.vloc", code=1)
    assert "without an image, which no network can describe" in text
