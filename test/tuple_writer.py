"""A process that replaces the training tuples of a map by one of two sets in turn until it is killed: ``tuple_writer.py MAP``."""

import sys
from itertools import count
from pathlib import Path

from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.training_tuples import TupleOrigin, replace_tuples

KEYFRAMES, REVISION = 40, 3


def mined(turn):
    """Set 0 or 1: they share no tuple."""

    def k(number):
        return KeyframeId(1, number % KEYFRAMES + 1)

    tuples = [
        TrainingTuple(k(n), k(n + 10 + turn), tuple(k(n + s) for s in range(20, 30)), 1.0, REVISION) for n in range(KEYFRAMES)
    ]
    pairs = [OutlierPair(k(n), k(n + 15 + turn), 1.0, REVISION) for n in range(KEYFRAMES)]
    order = sorted(tuples, key=lambda item: item.keyframes[:2])
    return TupleSet(tuple(order), tuple(sorted(pairs, key=lambda pair: pair.keyframes)))


def main(path):
    with MapStore.open(path) as store:
        sets = mined(0), mined(1)
        for turn in count():
            assert replace_tuples(store, sets[turn % 2], REVISION, TupleOrigin.LABELS)
            sys.stdout.write(f"{turn % 2}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
