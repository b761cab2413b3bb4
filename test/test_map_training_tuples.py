"""Training tuples in the map: replaced as a whole, withdrawn with a record, whole after kill -9, and older maps."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from map_samples import COVARIANCE, age, contents, teach
from tuple_writer import KEYFRAMES, REVISION, mined

import vloc_ros
from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet
from vloc_ros.cli import main
from vloc_ros.errors import MapError
from vloc_ros.mapping.closures import Closure, forget_closures, put_spatial_edges, replace_closures
from vloc_ros.mapping.database import checksum
from vloc_ros.mapping.inspection import inspect_map
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.keyframe import Edge, EdgeKind, KeyframeId
from vloc_ros.mapping.pruning import prune_map
from vloc_ros.mapping.schema import TABLES
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.training_tuples import (
    TupleCounts,
    TupleKind,
    TupleOrigin,
    Withdrawal,
    WithdrawalReason,
    replace_tuples,
    tuple_counts,
    tuples_of,
    withdraw_stale,
    withdrawals_of,
)
from vloc_ros.pose_graph import Label, LabelReason, Verdict

HERE = Path(__file__).parent
KILLS = 4


def k(keyframe, session=1):
    return KeyframeId(session, keyframe)


A, B, C, D = k(1), k(6), k(3, 2), k(8, 2)
FAR = (k(3), k(5, 2))


WEIGHTS = {Label.INLIER: 1.0, Label.OUTLIER: 0.0, Label.UNDECIDED: 0.5}


def closure(a, b, label, revision):
    return Closure(a, b, Verdict(label, WEIGHTS[label], 1.0, revision, LabelReason.AGREES))


def first(revision=3):
    """A tuple of A and B, one of A and C, and the false pair of B and D."""
    tuples = (TrainingTuple(B, A, FAR, 0.98, revision), TrainingTuple(C, A, FAR[::-1], 1.0, revision))
    return TupleSet(tuples, (OutlierPair(D, B, 1.0, revision),))


def judged(store, revision, ab=Label.INLIER, ac=Label.INLIER, bd=Label.OUTLIER):
    replace_closures(store, [closure(A, B, ab, revision), closure(A, C, ac, revision), closure(B, D, bd, revision)])


@pytest.fixture
def path(tmp_path):
    path = teach(tmp_path / "site.vloc", sessions=2)
    with MapStore.open(path) as store:
        judged(store, 3)
        assert replace_tuples(store, first(), 3, TupleOrigin.LABELS)
    return path


def test_tuples_come_back_as_they_were_and_the_same_again_changes_nothing(path):
    with MapStore.open(path) as store:
        assert tuples_of(store) == first() and withdrawals_of(store) == []
        before = {table: store.database.rows(table) for table in TABLES}
        assert replace_tuples(store, first(), 3, TupleOrigin.LABELS)
        assert {table: store.database.rows(table) for table in TABLES} == before
        assert tuple_counts(store) == TupleCounts(2, 1, 0, 3)
    assert check_map(path) == []


def test_a_newer_mining_leaves_its_own_tuples_and_no_others(path):
    with MapStore.open(path) as store:
        judged(store, 4, ab=Label.OUTLIER, ac=Label.UNDECIDED, bd=Label.INLIER)
        newer = TupleSet((TrainingTuple(D, B, (A,), 1.0, 4),), (OutlierPair(B, A, 1.0, 4),))
        for _ in range(2):
            assert replace_tuples(store, newer, 4, TupleOrigin.LABELS)
            assert tuples_of(store) == newer
            assert withdrawals_of(store) == [
                Withdrawal(TupleKind.TUPLE, B, A, 3, 4, WithdrawalReason.FLIPPED),
                Withdrawal(TupleKind.TUPLE, C, A, 3, 4, WithdrawalReason.UNDECIDED),
                Withdrawal(TupleKind.PAIR, D, B, 3, 4, WithdrawalReason.FLIPPED),
            ]
        # the labels turn back: what holds again is withdrawn no longer
        judged(store, 5)
        assert replace_tuples(store, first(5), 5, TupleOrigin.LABELS)
        assert tuples_of(store) == first(5)
        assert [(w.kind, w.a, w.b, w.mined_revision, w.withdrawn_revision) for w in withdrawals_of(store)] == [
            (TupleKind.PAIR, B, A, 4, 5),
            (TupleKind.TUPLE, D, B, 4, 5),
        ]
        assert tuple_counts(store) == TupleCounts(2, 1, 2, 5)
    assert check_map(path) == []


def test_stale_tuples_go_at_once_when_a_label_flips(path):
    with MapStore.open(path) as store:
        assert withdraw_stale(store) == 0 and tuples_of(store) == first()
        judged(store, 4, ab=Label.UNDECIDED)
        assert withdraw_stale(store) == 1 and withdraw_stale(store) == 0
        assert tuples_of(store) == TupleSet(first().tuples[1:], first().pairs)
        assert withdrawals_of(store) == [Withdrawal(TupleKind.TUPLE, B, A, 3, 4, WithdrawalReason.UNDECIDED)]
        forget_closures(store)
        assert withdraw_stale(store) == 2 and tuples_of(store) == TupleSet()
        assert {w.reason for w in withdrawals_of(store)} == {WithdrawalReason.UNDECIDED, WithdrawalReason.CLOSURE_GONE}
        assert store.database.rows("tuple_negative") == []
    assert check_map(path) == []


def test_what_was_mined_as_published_goes_only_when_it_is_contradicted(path):
    with MapStore.open(path) as store:
        replace_tuples(store, first(), 3, TupleOrigin.PUBLISHED)
        judged(store, 4, ab=Label.OUTLIER, ac=Label.UNDECIDED, bd=Label.UNDECIDED)
        assert withdraw_stale(store) == 1
        assert tuples_of(store) == TupleSet(first().tuples[1:], first().pairs)


def test_a_mining_that_the_graph_has_overtaken_changes_nothing(path):
    with MapStore.open(path) as store:
        judged(store, 4)
        before = {table: store.database.rows(table) for table in TABLES}
        assert not replace_tuples(store, TupleSet(), 3, TupleOrigin.LABELS)
        assert {table: store.database.rows(table) for table in TABLES} == before


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (TupleSet((first().tuples[0],) * 2), "already holds that entry"),
        (TupleSet((TrainingTuple(B, A, (k(99),), 1.0, 3),)), "refers to a keyframe"),
        (TupleSet((), (OutlierPair(k(1, 9), A, 1.0, 3),)), "refers to a keyframe"),
        (first(2), "the training tuple s1/k6 to s1/k1 is of graph revision 2, not 3"),
    ],
)
def test_wrong_tuples_leave_the_old_ones(path, wrong, text):
    with MapStore.open(path) as store:
        with pytest.raises(MapError, match=text):
            replace_tuples(store, wrong, 3, TupleOrigin.LABELS)
        assert tuples_of(store) == first() and withdrawals_of(store) == []


def test_pruning_takes_negatives_out_but_never_anchors_and_positives(path):
    with MapStore.open(path) as store:
        edges = [Edge(a, b, EdgeKind.SPATIAL, store.keyframe(a).map_T_base, COVARIANCE) for a, b in ((A, B), (A, C), (B, D))]
        put_spatial_edges(store, edges)
    assert prune_map(path, 100.0).removed > 0
    with MapStore.open(path) as store:
        left = {keyframe.id for keyframe in store.keyframes()}
        assert not left.intersection(FAR) and {A, B, C, D} <= left
        assert tuples_of(store) == TupleSet((), first().pairs) and tuple_counts(store).tuples == 0
    assert check_map(path) == []


def alter(path, table, **values):
    """Change columns of the first row; the checksum follows."""
    columns = TABLES[table]
    connection = sqlite3.connect(path)
    row = dict(zip(columns, connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2").fetchone(), strict=True))
    key = tuple(row[name] for name in columns[:4])
    row |= values
    row["crc"] = checksum([row[name] for name in columns[:-1]])
    settings = ", ".join(f"{name} = ?" for name in (*values, "crc"))
    where = " AND ".join(f"{name} = ?" for name in columns[:4])
    connection.execute(f"UPDATE {table} SET {settings} WHERE {where}", (*values.values(), row["crc"], *key))
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("table", "values", "text"),
    [
        ("training_tuple", {"weight": 7.0}, "the training tuple s1/k6 to s1/k1 has weight 7.0"),
        ("training_tuple", {"origin": "heaven"}, "the training tuple s1/k6 to s1/k1 is damaged: 'heaven' is not how"),
        ("outlier_pair", {"weight": 0.0}, "the outlier pair s2/k8 to s1/k6 has weight 0.0"),
        ("withdrawn_tuple", {"reason": "WHIM"}, "the withdrawn tuple s1/k2 to s1/k1 is damaged: 'WHIM'"),
        ("withdrawn_tuple", {"a_keyframe": 6}, "the training tuple s1/k6 to s1/k1 both holds and is withdrawn"),
    ],
)
def test_check_names_a_tuple_that_makes_no_sense(path, table, values, text):
    with MapStore.open(path) as store:
        values_of = (*k(2), *A, "training_tuple", 1, 2, "FLIPPED")
        store.database.insert("withdrawn_tuple", values_of)
    assert check_map(path) == []
    alter(path, table, **values)
    assert [text in problem.text for problem in check_map(path)] == [True], check_map(path)


def test_check_names_a_flipped_bit(path):
    edit(path, "UPDATE tuple_negative SET keyframe = 4 WHERE rank = 0")
    found = check_map(path)
    assert found and all("the tuple negative s" in problem.text and "fails its checksum" in problem.text for problem in found)
    with MapStore.open(path) as store, pytest.raises(MapError, match="fails its checksum"):
        tuples_of(store)


def edit(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_map_of_the_second_schema_is_read_as_it_is_and_upgraded_for_writing(path):
    age(path, 2)
    before = path.read_bytes()
    with MapStore.open(path, read_only=True) as store:
        assert tuples_of(store) == TupleSet() and tuple_counts(store) == TupleCounts() and withdrawals_of(store) == []
        everything = contents(store)
    assert check_map(path) == [] and inspect_map(path).schema == 2 and str(inspect_map(path).training) == "none mined yet"
    assert path.read_bytes() == before
    with MapStore.open(path) as store:
        assert contents(store) == everything
        assert replace_tuples(store, first(), 3, TupleOrigin.LABELS) and tuples_of(store) == first()
    assert check_map(path) == [] and inspect_map(path).schema == 4


def test_map_info_shows_the_counts(path, capsys):
    assert inspect_map(path).training == TupleCounts(2, 1, 0, 3)
    assert main(["map", "info", str(path)]) == 0
    assert "2, and 1 outlier pairs, of graph revision 3; 0 withdrawn" in capsys.readouterr().out
    assert main(["map", "info", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["training"]
    assert shown == {"tuples": 2, "pairs": 1, "withdrawn": 0, "revision": 3}


def test_kill_at_any_moment_leaves_one_of_the_two_sets(tmp_path):
    path = teach(tmp_path / "site.vloc", keyframes=KEYFRAMES, count=5, with_image=False)
    with MapStore.open(path) as store:
        replace_closures(store, [closure(k(1), k(30), Label.INLIER, REVISION)])
    folders = [str(Path(vloc_ros.__file__).parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    sets = mined(0), mined(1)
    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    dice = random.Random(seed)
    for _ in range(KILLS):
        command = [sys.executable, str(HERE / "tuple_writer.py"), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
            turns = [writer.stdout.readline() for _ in range(dice.randrange(1, 6))]
            assert all(turns), "the writer is at work"
            time.sleep(dice.uniform(0.0, 0.03))
            writer.send_signal(signal.SIGKILL)
            reported = (turns + writer.stdout.readlines())[-1]
            assert writer.wait(10) == -signal.SIGKILL
        assert check_map(path) == []
        with MapStore.open(path, read_only=True) as store:
            found, withdrawn = tuples_of(store), withdrawals_of(store)
        assert found in sets
        turn = sets.index(found)
        assert turn in (int(reported), 1 - int(reported)), "at most the one in flight is there as well"
        gone = {(record.a, record.b) for record in withdrawn}
        assert gone in (set(), {item.keyframes[:2] for item in sets[1 - turn].items})
