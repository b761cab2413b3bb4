"""Training tuples in a map: those of the newest mining, and a record of those that were withdrawn.

A tuple or pair that holds is in ``training_tuple`` or ``outlier_pair``; one that was mined once and holds no longer is in
``withdrawn_tuple``, with the revision that mined it, the revision that took it back, and why. Nothing is ever in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet
from vloc_ros.errors import DataError, MapError
from vloc_ros.mapping.closures import closures_of, graph_revision
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.store import MapStore
from vloc_ros.pose_graph.labels import Label

_ORDER = "ORDER BY a_session, a_keyframe, b_session, b_keyframe"
_OF = "WHERE a_session = ? AND a_keyframe = ? AND b_session = ? AND b_keyframe = ?"
Pair = tuple[KeyframeId, KeyframeId]


@unique
class TupleOrigin(Enum):
    """How tuples were mined."""

    LABELS = "labels"
    """From the labels of the pose graph: they hold as long as the labels do."""
    PUBLISHED = "published"
    """From retrieval and geometry, as published: labels only take away."""


@unique
class TupleKind(Enum):
    """What was withdrawn. The values name the tables of what holds."""

    TUPLE = "training_tuple"
    PAIR = "outlier_pair"


@unique
class WithdrawalReason(Enum):
    """Why a tuple or pair holds no longer."""

    FLIPPED = "the pose graph now says the opposite"
    UNDECIDED = "the pose graph has become undecided"
    CLOSURE_GONE = "the map has the loop closure no longer"
    NOT_MINED = "the label stands, but the newest mining did not yield it"


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A tuple (anchor, positive) or pair (query, negative) that was mined once and holds no longer.

    Attributes:
        kind: which of the two.
        a, b: its keyframes.
        mined_revision: of the pose graph, when it was last mined.
        withdrawn_revision: of the pose graph that took it back.
        reason: why.
    """

    kind: TupleKind
    a: KeyframeId
    b: KeyframeId
    mined_revision: int
    withdrawn_revision: int
    reason: WithdrawalReason


@dataclass(frozen=True, slots=True)
class TupleCounts:
    """How many tuples and outlier pairs hold, how many were withdrawn, and the newest revision that the former are of."""

    tuples: int = 0
    pairs: int = 0
    withdrawn: int = 0
    revision: int = 0

    def __str__(self) -> str:
        if not self.tuples + self.pairs + self.withdrawn:
            return "none mined yet"
        return f"{self.tuples}, and {self.pairs} outlier pairs, of graph revision {self.revision}; {self.withdrawn} withdrawn"


def tuples_of(store: MapStore) -> TupleSet:
    """The tuples and pairs of a map that hold, ordered by anchor and positive (query and negative).

    A tuple whose negatives have all been pruned is left out until it is mined again.

    Raises:
        MapError: one is damaged.
    """
    negatives: dict[Pair, list[KeyframeId]] = {}
    with store.database.snapshot():
        of_tuples = store.database.rows("training_tuple", _ORDER)
        of_pairs = store.database.rows("outlier_pair", _ORDER)
        for row in store.database.rows("tuple_negative", f"{_ORDER}, rank"):
            negatives.setdefault(_pair(row), []).append(KeyframeId(row[5], row[6]))
    try:
        tuples = [
            TrainingTuple(*_pair(row), tuple(negatives[_pair(row)]), row[4], row[5]) for row in of_tuples if _pair(row) in negatives
        ]
        return TupleSet(tuple(tuples), tuple(OutlierPair(*_pair(row), row[4], row[5]) for row in of_pairs))
    except DataError as error:
        raise MapError(f"the map {store.path} is damaged: {error}") from None


def replace_tuples(store: MapStore, mined: TupleSet, revision: int, origin: TupleOrigin) -> bool:
    """Put newly mined tuples in the place of all that a map holds, in one transaction; those that go are recorded as withdrawn.

    Storing the same again changes nothing.

    Args:
        store: the map, open for writing.
        mined: all tuples and pairs of one mining.
        revision: of the pose graph that it was mined from.
        origin: how.

    Returns:
        False, and the map is as it was, when the pose graph has another revision by now: mine again.

    Raises:
        MapError: a keyframe is unknown, a pair occurs twice or is of another revision, or the map cannot be written; the old
            tuples stay then.
    """
    other = next((item for item in mined.items if item.graph_revision != revision), None)
    if other is not None:
        raise MapError(
            f"{other} is of graph revision {other.graph_revision}, not {revision}: store the tuples of one mining at once"
        )
    with store.database.transaction():
        if graph_revision(store) != revision:
            return False
        labels = _labels(store)
        for kind, items in ((TupleKind.TUPLE, mined.tuples), (TupleKind.PAIR, mined.pairs)):
            kept = {_ends(item) for item in items}
            for pair, mined_revision in _held(store, kind).items():
                if pair not in kept:
                    _withdraw(store, Withdrawal(kind, *pair, mined_revision, revision, _reason(kind, labels.get(frozenset(pair)))))
            store.database.execute(f"DELETE FROM {kind.value}")
            for item in items:
                store.database.execute(f"DELETE FROM withdrawn_tuple {_OF} AND kind = ?", (*_key(_ends(item)), kind.value))
                _insert(store, kind, item, origin)
    return True


def withdraw_stale(store: MapStore) -> int:
    """Withdraw what was mined from labels that the pose graph has changed since, in one transaction; returns how many went.

    Quick, as nothing is mined: for each new revision of the graph. What was mined as published goes only when it is contradicted.
    """
    count = 0
    with store.database.transaction():
        labels, revision = _labels(store), graph_revision(store)
        for kind in TupleKind:
            for row in store.database.rows(kind.value, _ORDER):
                pair, origin = _pair(row), _origin(row)
                reason = _reason(kind, labels.get(frozenset(pair)))
                stands = origin is TupleOrigin.PUBLISHED and reason is not WithdrawalReason.FLIPPED
                if reason is WithdrawalReason.NOT_MINED or stands:
                    continue
                _withdraw(store, Withdrawal(kind, *pair, int(row[5]), revision, reason))
                store.database.execute(f"DELETE FROM {kind.value} {_OF}", _key(pair))
                count += 1
    return count


def withdrawals_of(store: MapStore) -> list[Withdrawal]:
    """What was mined once and holds no longer, by keyframes.

    Raises:
        MapError: a record is damaged.
    """
    return [_withdrawal(row) for row in store.database.rows("withdrawn_tuple", f"{_ORDER}, kind")]


def tuple_counts(store: MapStore) -> TupleCounts:
    """How many there are; all zero in a map of an older schema that is only read."""
    database = store.database
    if not {"training_tuple", "tuple_negative", "outlier_pair", "withdrawn_tuple"} <= database.tables.keys():
        return TupleCounts()
    with database.snapshot():
        held = " UNION ALL ".join(f"SELECT graph_revision FROM {kind.value}" for kind in TupleKind)
        usable = "SELECT count(*) FROM (SELECT DISTINCT a_session, a_keyframe, b_session, b_keyframe FROM tuple_negative)"
        return TupleCounts(
            int(database.scalar(usable)),
            int(database.scalar("SELECT count(*) FROM outlier_pair")),
            int(database.scalar("SELECT count(*) FROM withdrawn_tuple")),
            int(database.scalar(f"SELECT coalesce(max(graph_revision), 0) FROM ({held})")),
        )


def damaged_tuples(store: MapStore) -> Iterator[str]:
    """One sentence for each thing about the tuples that makes no sense."""
    try:
        tuples_of(store)
        for kind in TupleKind:
            for row in store.database.rows(kind.value):
                _origin(row)
        withdrawn = withdrawals_of(store)
    except MapError as error:
        yield str(error)
        return
    held = {(kind, pair) for kind in TupleKind for pair in _held(store, kind)}
    for record in withdrawn:
        if (record.kind, (record.a, record.b)) in held:
            yield f"the {record.kind.value.replace('_', ' ')} {record.a} to {record.b} both holds and is withdrawn: mine again"


def _insert(store: MapStore, kind: TupleKind, item: TrainingTuple | OutlierPair, origin: TupleOrigin) -> None:
    key = _key(_ends(item))
    store.database.insert(kind.value, (*key, float(item.weight), int(item.graph_revision), origin.value))
    for rank, id in enumerate(item.negatives if isinstance(item, TrainingTuple) else ()):
        store.database.insert("tuple_negative", (*key, rank, *id))


def _withdraw(store: MapStore, record: Withdrawal) -> None:
    values = (record.kind.value, int(record.mined_revision), int(record.withdrawn_revision), record.reason.name)
    store.database.insert("withdrawn_tuple", (*record.a, *record.b, *values), replace=True)


def _held(store: MapStore, kind: TupleKind) -> dict[Pair, int]:
    """What holds, with the revision that it was mined at."""
    return {_pair(row): int(row[5]) for row in store.database.rows(kind.value, _ORDER)}


def _labels(store: MapStore) -> dict[frozenset[KeyframeId], Label]:
    return {frozenset((closure.a, closure.b)): closure.verdict.label for closure in closures_of(store)}


def _reason(kind: TupleKind, label: Label | None) -> WithdrawalReason:
    """Why something of this kind goes, when its closure has this label now."""
    if label is None:
        return WithdrawalReason.CLOSURE_GONE
    if label is Label.UNDECIDED:
        return WithdrawalReason.UNDECIDED
    agrees = label is (Label.INLIER if kind is TupleKind.TUPLE else Label.OUTLIER)
    return WithdrawalReason.NOT_MINED if agrees else WithdrawalReason.FLIPPED


def _ends(item: TrainingTuple | OutlierPair) -> Pair:
    return item.keyframes[0], item.keyframes[1]


def _key(pair: Pair) -> tuple[int, int, int, int]:
    return (*pair[0], *pair[1])


def _pair(row: Sequence[Any]) -> Pair:
    return KeyframeId(row[0], row[1]), KeyframeId(row[2], row[3])


def _origin(row: Sequence[Any]) -> TupleOrigin:
    try:
        return TupleOrigin(row[6])
    except ValueError:
        a, b = _pair(row)
        raise MapError(f"the training tuple {a} to {b} is damaged: '{row[6]}' is not how tuples are mined") from None


def _withdrawal(row: Sequence[Any]) -> Withdrawal:
    a, b = _pair(row)
    try:
        return Withdrawal(TupleKind(row[4]), a, b, int(row[5]), int(row[6]), WithdrawalReason[row[7]])
    except (ValueError, KeyError):
        raise MapError(f"the withdrawn tuple {a} to {b} is damaged: '{row[7]}' of '{row[4]}' is no reason") from None
