"""Verdicts, spatial edges, model assets and taught poses in the map; maps of the first schema."""

import sqlite3

import numpy as np
import pytest
from map_samples import COVARIANCE, age, contents, features, pose, teach

from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import MapError
from vloc_ros.geometry import se3
from vloc_ros.mapping.assets import forget_model, model_asset, put_model_asset
from vloc_ros.mapping.closures import (
    Closure,
    closures_of,
    forget_closures,
    graph_revision,
    put_spatial_edges,
    replace_closures,
)
from vloc_ros.mapping.database import checksum
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.keyframe import Edge, EdgeKind, KeyframeId
from vloc_ros.mapping.schema import SCHEMA_VERSION
from vloc_ros.mapping.store import MapStore
from vloc_ros.pose_graph import Label, LabelReason, Verdict
from vloc_ros.retrieval import Vlad, Vocabulary

A, B, C = KeyframeId(1, 1), KeyframeId(1, 6), KeyframeId(2, 3)
GOOD = Closure(A, B, Verdict(Label.INLIER, 1.0, 2.5, 3, LabelReason.AGREES))
BAD = Closure(A, C, Verdict(Label.OUTLIER, 0.0, 900.0, 3, LabelReason.REJECTED))
VOCABULARY = Vocabulary.learn([features(seed) for seed in range(4)], count=4)
WORDS, CARD = VOCABULARY.to_bytes(), Vlad(VOCABULARY).card
OTHER = Vocabulary.learn([features(seed) for seed in range(4, 8)], count=4)


@pytest.fixture
def path(tmp_path):
    return teach(tmp_path / "site.vloc", sessions=2)


def version(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()


def spatial(a, b, a_T_b=None):
    return Edge(a, b, EdgeKind.SPATIAL, np.eye(4) if a_T_b is None else a_T_b, COVARIANCE)


def test_verdicts_are_replaced_as_a_whole(path):
    with MapStore.open(path) as store:
        assert closures_of(store) == [] and graph_revision(store) == 0
        replace_closures(store, [GOOD, BAD])
        assert closures_of(store) == [GOOD, BAD] and graph_revision(store) == 3
        later = Closure(A, C, Verdict(Label.INLIER, 1.0, 1.0, 4, LabelReason.UNCHECKED))
        replace_closures(store, [later])
    with MapStore.open(path, read_only=True) as store:
        assert closures_of(store) == [later] and graph_revision(store) == 4
    assert check_map(path) == []


@pytest.mark.parametrize("wrong", [[GOOD, GOOD], [GOOD, Closure(A, KeyframeId(7, 1), BAD.verdict)]])
def test_wrong_verdicts_leave_the_old_ones(path, wrong):
    with MapStore.open(path) as store:
        replace_closures(store, [BAD])
        with pytest.raises(MapError, match=r"already holds that entry|does not hold"):
            replace_closures(store, wrong)
        assert closures_of(store) == [BAD]


@pytest.mark.parametrize(("column", "value"), [("label", "maybe"), ("reason", "WHY_NOT"), ("weight", 1.5), ("chi2", -1.0)])
def test_check_names_a_verdict_that_is_none(path, column, value):
    with MapStore.open(path) as store:
        replace_closures(store, [GOOD])
        row = list(store.database.rows("closure")[0])
        row[store.database.tables["closure"].index(column)] = value
        store.database.execute(f"UPDATE closure SET {column} = ?, crc = ?", (value, checksum(row)))
        if column in ("label", "reason"):
            with pytest.raises(MapError, match="is not a verdict"):
                closures_of(store)
    assert ["the closure s1/k1 to s1/k6" in problem.text for problem in check_map(path)] == [True]


def test_spatial_edges_are_replaced_in_either_direction_and_odometry_stays(path):
    with MapStore.open(path) as store:
        before = store.edges()
        put_spatial_edges(store, [spatial(A, B), spatial(A, C)])
        moved = se3.exp(np.full(6, 0.1))
        put_spatial_edges(store, [spatial(B, A, moved)])
        found = [edge for edge in store.edges() if edge.kind is EdgeKind.SPATIAL]
        assert [(edge.a, edge.b) for edge in found] == [(B, A), (A, C)]
        np.testing.assert_allclose(found[0].a_T_b, moved)
        with pytest.raises(MapError, match="is not a loop closure but odometry"):
            put_spatial_edges(store, [spatial(A, C), Edge(A, B, EdgeKind.ODOMETRY, np.eye(4), COVARIANCE)])
        with pytest.raises(MapError, match="refers to a keyframe"):
            put_spatial_edges(store, [spatial(A, KeyframeId(9, 9))])
        replace_closures(store, [GOOD])
        assert forget_closures(store) == 2 and closures_of(store) == []
        assert [(e.a, e.b, e.kind) for e in store.edges()] == [(e.a, e.b, e.kind) for e in before]


def test_an_asset_comes_back_and_must_be_that_of_its_card(path):
    vector = np.ones(CARD.dimension, np.float32)
    with MapStore.open(path) as store:
        put_model_asset(store, CARD, WORDS)
        put_model_asset(store, CARD, WORDS)
        store.set_global_descriptor(A, "vlad", vector)
        with pytest.raises(MapError, match="no hash in its card"):
            put_model_asset(store, ModelCard("gem", 64), WORDS)
        with pytest.raises(MapError, match="another model 'vlad'"):
            put_model_asset(store, Vlad(OTHER).card, OTHER.to_bytes())
    with MapStore.open(path) as store:
        assert model_asset(store, "vlad") == WORDS and model_asset(store, "gem") is None
    assert check_map(path) == []


@pytest.mark.parametrize(("content", "text"), [(b"x", "is damaged: "), (OTHER.to_bytes(), "is not the one of its card")])
def test_check_names_an_asset_that_does_not_make_its_model(path, content, text):
    with MapStore.open(path) as store:
        put_model_asset(store, CARD, WORDS)
        store.database.execute("UPDATE model_asset SET content = ?, crc = ?", (content, checksum(("vlad", content))))
    assert [text in problem.text and "asset of model 'vlad'" in problem.text for problem in check_map(path)] == [True]


def test_a_forgotten_model_leaves_nothing(path):
    with MapStore.open(path) as store:
        put_model_asset(store, CARD, WORDS)
        store.set_global_descriptor(A, "vlad", np.ones(CARD.dimension, np.float32))
        assert forget_model(store, "vlad") == 1
        assert store.model_cards() == [] and model_asset(store, "vlad") is None and store.global_descriptors("vlad")[0] == []


def test_moved_keyframes_can_go_back_exactly(path):
    with MapStore.open(path) as store:
        taught = contents(store)
        for push in (0.01, 0.02):
            store.update_poses({id: pose(*id) @ se3.exp(np.full(6, push)) for id in (A, C)}, keep_taught=True)
        assert contents(store) != taught and check_map(path) == []
        assert store.restore_taught_poses() == 2 and contents(store) == taught
        assert store.restore_taught_poses() == 0
        with pytest.raises(MapError, match="does not hold"):
            store.update_poses({A: np.eye(4), KeyframeId(9, 9): np.eye(4)}, keep_taught=True)
        assert contents(store) == taught and store.database.rows("taught_pose") == []


def test_an_old_map_is_read_as_it_is(path):
    age(path, 1)
    before = path.read_bytes()
    with MapStore.open(path, read_only=True) as store:
        assert len(store.keyframes()) == 16 and model_asset(store, "vlad") is None
    assert check_map(path) == []
    assert path.read_bytes() == before and version(path) == 1


def test_an_old_map_is_upgraded_when_it_is_opened_for_writing(path):
    with MapStore.open(path) as store:
        before = contents(store)
    age(path, 1)
    with MapStore.open(path) as store:
        put_model_asset(store, CARD, WORDS)
        forget_model(store, "vlad")
        assert contents(store) == before
    assert version(path) == SCHEMA_VERSION and check_map(path) == []


def test_an_upgrade_happens_wholly_or_not_at_all(path, monkeypatch):
    age(path, 1)
    monkeypatch.setattr("vloc_ros.mapping.database.statements", lambda after: ("CREATE TABLE model_asset (x)", "CREATE TABLE ("))
    with pytest.raises(MapError):
        MapStore.open(path)
    monkeypatch.undo()
    assert version(path) == 1 and check_map(path) == []


def test_an_exclusive_writer_keeps_others_out(path):
    with MapStore.open(path), pytest.raises(MapError, match="another process is using it"):
        MapStore.open(path, exclusive=True)
    with MapStore.open(path, exclusive=True) as store:
        assert len(store.keyframes()) == 16
