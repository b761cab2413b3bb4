"""The contract of training tuples, and their JSON."""

import json

import pytest

from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet, dumps, loads
from vloc_ros.errors import DataError
from vloc_ros.mapping.keyframe import KeyframeId


def k(keyframe, session=1):
    return KeyframeId(session, keyframe)


SET = TupleSet(
    (TrainingTuple(k(9), k(2), (k(5), k(3, 2)), 0.97, 4), TrainingTuple(k(8, 2), k(7), (k(1),), 1.0, 4)),
    (OutlierPair(k(4), k(30), 1.0, 4),),
)


def test_json_gives_back_the_same_set():
    text = dumps(SET)
    assert loads(text) == SET and loads(dumps(TupleSet())) == TupleSet()
    assert json.loads(text)["tuples"][0]["negatives"] == ["s1/k5", "s2/k3"]


def test_keyframes_are_each_named_once_and_in_order():
    assert SET.keyframes == (k(1), k(2), k(4), k(5), k(7), k(9), k(30), k(3, 2), k(8, 2)) and len(SET) == 3


def test_within_takes_negatives_singly_and_tuples_as_a_whole():
    allowed = [k(9), k(2), k(3, 2), k(8, 2), k(7), k(4)]
    kept = SET.within(allowed)
    assert kept == TupleSet((TrainingTuple(k(9), k(2), (k(3, 2),), 0.97, 4),))
    assert SET.within([*SET.keyframes]) == SET
    assert SET.within([id for id in SET.keyframes if id != k(2)]) == TupleSet(SET.tuples[1:], SET.pairs)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TrainingTuple(k(1), k(2), (), 1.0, 1), "the training tuple s1/k1 to s1/k2 needs at least one negative"),
        (lambda: TrainingTuple(k(1), k(1), (k(3),), 1.0, 1), "must all differ"),
        (lambda: TrainingTuple(k(1), k(2), (k(3), k(3)), 1.0, 1), "must all differ"),
        (lambda: TrainingTuple(k(1), k(2), (k(1),), 1.0, 1), "must all differ"),
        (lambda: TrainingTuple(k(1), k(2), (k(3),), 0.0, 1), "the weight must be in"),
        (lambda: TrainingTuple(k(1), k(2), (k(3),), float("nan"), 1), "the weight must be in"),
        (lambda: OutlierPair(k(1), k(2), 1.1, 1), "the outlier pair s1/k1 to s1/k2 has weight 1.1"),
        (lambda: OutlierPair(k(1), k(2), 1.0, -1), "the revision 0 or more"),
        (lambda: OutlierPair(k(1), k(1), 1.0, 1), "is one keyframe"),
    ],
)
def test_what_is_no_tuple_is_refused(make, text):
    with pytest.raises(DataError, match=text):
        make()


def altered(**changes):
    values = json.loads(dumps(SET))
    for name, value in changes.items():
        values["tuples"][0][name] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "JSONDecodeError"),
        ("[1]", "does not say that it holds"),
        ("{}", "does not say that it holds"),
        (dumps(SET).replace('"version": 1', '"version": 2'), "it is of version 2, and this release reads 1"),
        (altered(anchor="42"), "'42' is not a keyframe name"),
        (altered(anchor=42), "TypeError"),
        (altered(negatives=[]), "needs at least one negative"),
        (altered(weight="heavy"), "ValueError"),
        (altered(negatives=None), "TypeError"),
        (dumps(SET).replace('"pairs"', '"twins"'), "KeyError"),
        ("[" * 100000, "RecursionError"),
    ],
)
def test_what_cannot_be_read_says_why(text, reason):
    with pytest.raises(DataError, match=f"tuples.json cannot be read as training tuples.*{reason}"):
        loads(text, "tuples.json")
