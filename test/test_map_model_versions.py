"""Model versions in the map: what is stored, who may be asked for, what takes effect, what is pruned, and damage."""

import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from map_samples import add_keyframe, age, contents, create, teach
from model_samples import add, describe, made_up, use

from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import MapError, WeightsError
from vloc_ros.mapping.database import checksum
from vloc_ros.mapping.inspection import inspect_map
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.model_state import ModelState, model_state
from vloc_ros.mapping.model_versions import (
    NO_VERSION,
    SwitchReason,
    add_version,
    ask_switch,
    finish_switch,
    number_before,
    number_in_use,
    pending_switch,
    set_probability,
    switches,
    undescribed,
    version,
    version_in_use,
    versions,
    weights_of,
)
from vloc_ros.mapping.schema import TABLES
from vloc_ros.mapping.session import SessionKind
from vloc_ros.mapping.store import MapStore

PROMOTED, ROLLED_BACK, ASKED = SwitchReason


@pytest.fixture
def store(tmp_path):
    with MapStore.open(teach(tmp_path / "site.vloc", 4, 2)) as store:
        yield store


def models_described(store):
    return {name for (name,) in store.database.execute("SELECT DISTINCT model FROM global_descriptor")}


# --- versions


def test_a_version_comes_back_as_it_was_stored(store):
    weights, card = made_up(1)
    first = add_version(store, weights, card, probability={"slope": [1.5, None]}, decision={"promote": True})
    second = add(store, 2, parent=1)
    assert (first.number, first.name, first.parent) == (1, "site-1", None) and first.card == replace(card, name="site-1")
    assert first.probability == {"slope": [1.5, None]} and first.decision == {"promote": True} and first.created_ns > 0
    assert (second.number, second.name, second.parent) == (2, "site-2", 1) and second.probability is second.decision is None
    assert versions(store) == [first, second] and version(store, 2) == second
    assert weights_of(store, 1) == weights and weights_of(store, 2) == made_up(2)[0]
    with MapStore.open(store.path, read_only=True) as other:
        assert versions(other) == [first, second] and weights_of(other, 1) == weights
    assert check_map(store.path) == []


def test_the_same_weights_again_are_the_version_that_is_there(store):
    first = add(store, 1, decision={"promote": True})
    add(store, 2)
    again = add(store, 1, parent=2, decision={"promote": False})
    assert again == first and len(versions(store)) == 2


def test_a_new_version_is_not_in_use(store):
    add(store, 1)
    assert version_in_use(store) is None and number_in_use(store) == NO_VERSION and number_before(store) is None
    assert pending_switch(store) is None and switches(store) == []


def test_descriptors_of_a_file_that_was_called_like_a_version_do_not_mix_with_its_own(store):
    store.add_model_card(ModelCard("site-1", 8, "another"))
    assert add(store, 1).name == "site-2"
    with pytest.raises(MapError, match="another model 'site-2'"):
        store.add_model_card(ModelCard("site-2", 8, "of a file of that name"))


def test_weights_that_are_not_those_of_the_card_are_refused(store):
    before = contents(store)
    weights, card = made_up(1)
    with pytest.raises(WeightsError, match="not those of the card"):
        add_version(store, made_up(2)[0], card)
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        add_version(store, weights[:-3], card)
    with pytest.raises(MapError, match=r"has no model version 7 \(it has: none\)"):
        add_version(store, weights, card, parent=7)
    with pytest.raises(MapError, match="the decision of a model version cannot be stored as JSON"):
        add_version(store, weights, card, decision={"gain": float("nan")})
    with pytest.raises(MapError, match="the probability of a model version cannot be stored"):
        add_version(store, weights, card, probability={"slope": np.zeros(2)})
    assert versions(store) == [] and contents(store) == before


def test_probability_and_decision_can_be_replaced(store):
    add(store, 1, probability={"a": 1}, decision={"promote": False})
    add(store, 2)
    set_probability(store, 1, {"a": 2}, None)
    assert version(store, 1).probability == {"a": 2} and version(store, 1).decision is None
    assert weights_of(store, 1) == made_up(1)[0] and version(store, 2).probability is None
    with pytest.raises(MapError, match=r"no model version 3 \(it has: 1, 2\)"):
        set_probability(store, 3, {}, None)
    assert check_map(store.path) == []


def test_versions_that_are_not_there_are_named(store):
    for ask in (version, weights_of):
        with pytest.raises(MapError, match=r"site\.vloc has no model version 1 \(it has: none\)"):
            ask(store, 1)


# --- switches


def test_a_switch_takes_effect_when_all_keyframes_are_described(store):
    add(store, 1)
    switch = ask_switch(store, 1, PROMOTED, {"gain": 0.1})
    assert switch.figures == {"gain": 0.1} and pending_switch(store) == switch and version_in_use(store) is None
    ids = undescribed(store, "site-1")
    assert ids == [keyframe.id for keyframe in store.keyframes()] and len(ids) == 8
    assert not finish_switch(store, switch.number)
    describe(store, 1, ids[:-1])
    assert undescribed(store, "site-1") == ids[-1:] and not finish_switch(store, switch.number)
    assert version_in_use(store) is None and pending_switch(store) == switch
    describe(store, 1, ids[-1:])
    assert finish_switch(store, switch.number) and version_in_use(store) == version(store, 1)
    assert pending_switch(store) is None and switches(store)[0].finished_ns >= switch.asked_ns
    assert finish_switch(store, switch.number), "finishing twice does no harm"
    assert check_map(store.path) == []


def test_a_keyframe_that_was_just_taught_delays_the_switch(store):
    add(store, 1)
    switch = ask_switch(store, 1, ASKED)
    describe(store, 1)
    new = add_keyframe(store, store.begin_session(SessionKind.REPEAT, "today")).id
    assert not finish_switch(store, switch.number) and undescribed(store, "site-1") == [new]
    describe(store, 1, [new])
    assert finish_switch(store, switch.number)


def test_what_cannot_be_asked_for(store):
    add(store, 1)
    with pytest.raises(MapError, match="has no model version 2"):
        ask_switch(store, 2, ASKED)
    with pytest.raises(MapError, match="already uses no version of its own"):
        ask_switch(store, NO_VERSION, ASKED)
    use(store, 1, PROMOTED)
    with pytest.raises(MapError, match="already uses the model version 1"):
        ask_switch(store, 1, ASKED)
    with pytest.raises(MapError, match="the figures of a switch of a model version cannot be stored"):
        ask_switch(store, NO_VERSION, ROLLED_BACK, {"rate": float("inf")})
    with pytest.raises(MapError, match=r"nobody asked the map .* for the switch 5"):
        finish_switch(store, 5)
    assert len(switches(store)) == 1


def test_a_map_with_keyframes_without_images_can_have_no_version_in_use(tmp_path):
    with create(tmp_path / "blind.vloc") as store:
        session = store.begin_session(SessionKind.TEACH, "a drive")
        add_keyframe(store, session)
        add_keyframe(store, session, with_image=False)
        add(store, 1)
        with pytest.raises(MapError, match="1 keyframes without an image, which no network can describe"):
            ask_switch(store, 1, ASKED)


def test_a_newer_request_supersedes_an_unfinished_one(store):
    add(store, 1), add(store, 2)
    first = ask_switch(store, 1, PROMOTED)
    assert ask_switch(store, 1, ASKED) == first, "asking again for the same is the same request"
    second = ask_switch(store, 2, ASKED)
    describe(store, 1), describe(store, 2)
    assert not finish_switch(store, first.number) and version_in_use(store) is None
    assert finish_switch(store, second.number) and number_in_use(store) == 2
    assert not finish_switch(store, first.number) and number_in_use(store) == 2
    assert [switch.finished_ns is None for switch in switches(store)] == [True, False]


def test_a_switch_on_its_way_can_be_called_off(store):
    add(store, 1), add(store, 2)
    use(store, 1, PROMOTED)
    ask_switch(store, 2, PROMOTED)
    off = ask_switch(store, 1, ASKED)
    assert finish_switch(store, off.number) and number_in_use(store) == 1 and pending_switch(store) is None
    assert number_before(store) == 0, "calling off is no change of what came before"


def test_going_back_leads_to_what_was_there_before_the_one_in_use(store):
    add(store, 1), add(store, 2), add(store, 3)
    steps = [
        (1, PROMOTED, 0),
        (2, PROMOTED, 1),
        (3, PROMOTED, 2),
        (2, ROLLED_BACK, 1),
        (3, ASKED, 2),
        (1, ASKED, 3),
        (3, ROLLED_BACK, 2),
    ]
    steps += [(2, ROLLED_BACK, 1), (1, ROLLED_BACK, 0), (0, ROLLED_BACK, None)]
    for number, reason, before in steps:
        use(store, number, reason)
        assert (number_in_use(store), number_before(store)) == (number, before)
    assert version_in_use(store) is None and check_map(store.path) == []


def test_only_descriptors_of_the_version_in_use_and_the_one_before_are_kept(store):
    for id in [keyframe.id for keyframe in store.keyframes()]:
        store.set_global_descriptor(id, "hog", np.ones(4, dtype=np.float32))
    for seed in (1, 2, 3):
        add(store, seed)
    use(store, 1, PROMOTED)
    assert models_described(store) == {"hog", "site-1"}
    use(store, 2, PROMOTED)
    assert models_described(store) == {"hog", "site-1", "site-2"}
    use(store, 3, PROMOTED)
    assert models_described(store) == {"hog", "site-2", "site-3"}
    back = ask_switch(store, 2, ROLLED_BACK)
    assert undescribed(store, "site-2") == [] and finish_switch(store, back.number), "going back is quick"
    assert models_described(store) == {"hog", "site-2"}
    assert [found.number for found in versions(store)] == [1, 2, 3] and weights_of(store, 1) == made_up(1)[0]
    assert check_map(store.path) == []


# --- what a map says of it


def test_the_state_of_a_map_in_words(store):
    assert str(model_state(store)) == "none of its own"
    add(store, 1), add(store, 2)
    use(store, 1, PROMOTED)
    assert str(model_state(store)) == "2, site-1 in use"
    ask_switch(store, 2, PROMOTED)
    describe(store, 2, [KeyframeId(1, 1)])
    assert model_state(store) == ModelState(2, 1, 2, 7)
    wanted = "the switch to site-2 is not finished (7 keyframes to describe): vloc models promote 2 ends it"
    assert str(model_state(store)) == f"2, site-1 in use; {wanted}"
    assert check_map(store.path) == [], "an unfinished switch is no damage"
    info = inspect_map(store.path)
    assert info.versions == model_state(store) and {card.name for card in info.models} == {"site-1", "site-2"}
    assert info.bytes_per_keyframe["model_weights"] * 8 == len(made_up(1)[0]) + len(made_up(2)[0])


def test_models_that_have_described_nothing_are_not_said_to(store):
    add(store, 1)
    assert inspect_map(store.path).models == ()


@pytest.mark.parametrize("schema", [1, 2])
def test_older_maps_have_no_versions_and_get_the_tables(tmp_path, schema):
    path = teach(tmp_path / "old.vloc", 3)
    age(path, schema)
    with MapStore.open(path, read_only=True) as store:
        assert versions(store) == [] and switches(store) == [] and version_in_use(store) is None
        assert model_state(store) == ModelState()
    assert check_map(path) == [] and inspect_map(path).versions == ModelState()
    with MapStore.open(path) as store:
        add(store, 1)
        use(store, 1, ASKED)
    assert check_map(path) == [] and inspect_map(path).versions == ModelState(1, 1)


# --- damage


def spoil(path, table, column, value, where="number = 1", checked=True):
    """Change a column, and the checksum with it, so that only what the value means can be seen to be wrong."""
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value,))
        for row in connection.execute(f"SELECT {', '.join(TABLES[table])} FROM {table} WHERE {where}").fetchall():
            if checked:
                connection.execute(f"UPDATE {table} SET crc = ? WHERE {where}", (checksum(row[:-1]),))
    connection.close()


def card_text(**changes):
    from dataclasses import asdict

    return json.dumps(asdict(replace(made_up(1)[1], name="site-1")) | changes)


@pytest.mark.parametrize(
    ("table", "column", "value", "text"),
    [
        ("model_version", "card", "{", "the model version 1 holds no JSON"),
        ("model_version", "card", "[]", "the model version 1 holds a JSON value that is no object"),
        ("model_version", "card", "{}", "the model version 1 is not one of this release"),
        ("model_version", "card", card_text(dimension="8"), "the model version 1 is damaged: 'dimension' must be of type int"),
        ("model_version", "card", card_text(name="other"), "the card of the model version 1 is not that of the descriptors"),
        ("model_version", "card", card_text(sha256="0" * 64), "the card of the model version 1 is not that of the descriptors"),
        ("model_version", "decision", "nonsense", "the model version 1 holds no JSON"),
        ("model_weights", "content", made_up(9)[0], "the weights of the model version 1 are not those of its card"),
        ("model_weights", "content", b"nonsense", "the model version 1 is not a whole safetensors file"),
        ("model_switch", "reason", "WHY_NOT", "the switch 1 of model versions was made because of 'WHY_NOT'"),
        ("model_switch", "figures", "3", "the switch 1 of model versions holds a JSON value that is no object"),
        ("model_switch", "version", 7, "a row of the table model_switch refers to a missing model_version"),
    ],
)
def test_check_names_what_makes_no_sense(store, table, column, value, text):
    add(store, 1)
    use(store, 1, PROMOTED)
    store.close()
    assert check_map(store.path) == []
    spoil(store.path, table, column, value)
    found = [str(problem) for problem in check_map(store.path)]
    assert any(text in problem for problem in found), found


@pytest.mark.parametrize("table", ["model_version", "model_weights", "model_switch"])
def test_a_flipped_bit_is_noticed_by_check_and_by_whoever_reads(store, table):
    add(store, 1)
    use(store, 1, PROMOTED)
    store.close()
    column = {"model_version": "created_ns", "model_weights": "number", "model_switch": "asked_ns"}[table]
    spoil(store.path, table, "crc" if column == "number" else column, 5, checked=False)
    assert any("fails its checksum" in str(problem) for problem in check_map(store.path))
    with MapStore.open(store.path, read_only=True) as other, pytest.raises(MapError, match="fails its checksum; restore a copy"):
        weights_of(other, version_in_use(other).number)


def test_missing_weights_are_noticed(store):
    add(store, 1)
    store.database.execute("DELETE FROM model_weights")
    with pytest.raises(MapError, match="the weights of model version 1 are missing; restore a copy"):
        weights_of(store, 1)
    assert any("weights of model version 1 are missing" in str(problem) for problem in check_map(store.path))
