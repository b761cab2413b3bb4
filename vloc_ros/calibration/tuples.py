"""What a place recognition network is tuned with: tuples and pairs of keyframes, by their names and never by their position."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from vloc_ros.errors import DataError, MapError
from vloc_ros.mapping.keyframe import KeyframeId

_FORMAT, _VERSION = "vloc training tuples", 1


@dataclass(frozen=True, slots=True)
class TrainingTuple:
    """Two keyframes of one place, and some of other places that resemble it.

    Attributes:
        anchor: the query.
        positive: a keyframe of the same place.
        negatives: keyframes of other places, the most similar first; at least one, each once.
        weight: how much the pose graph believes that anchor and positive are one place, above 0 and up to 1.
        graph_revision: the solution of the pose graph that says so.

    Raises:
        DataError: it is not so.
    """

    anchor: KeyframeId
    positive: KeyframeId
    negatives: tuple[KeyframeId, ...]
    weight: float
    graph_revision: int

    def __post_init__(self) -> None:
        ids = self.keyframes
        if not self.negatives or len(set(ids)) != len(ids):
            raise DataError(f"{self} needs at least one negative, and its keyframes must all differ; mine it again")
        _check(str(self), self.weight, self.graph_revision)

    def __str__(self) -> str:
        return f"the training tuple {self.anchor} to {self.positive}"

    @property
    def keyframes(self) -> tuple[KeyframeId, ...]:
        """All of it: anchor, positive, negatives."""
        return (self.anchor, self.positive, *self.negatives)


@dataclass(frozen=True, slots=True)
class OutlierPair:
    """Two keyframes that geometry took for one place and the pose graph says are not.

    Attributes:
        query: the keyframe that a loop was searched for.
        negative: the other.
        weight: how much the pose graph believes that they are two places, above 0 and up to 1.
        graph_revision: the solution of the pose graph that says so.

    Raises:
        DataError: it is not so.
    """

    query: KeyframeId
    negative: KeyframeId
    weight: float
    graph_revision: int

    def __post_init__(self) -> None:
        if self.query == self.negative:
            raise DataError(f"{self} is one keyframe; mine it again")
        _check(str(self), self.weight, self.graph_revision)

    def __str__(self) -> str:
        return f"the outlier pair {self.query} to {self.negative}"

    @property
    def keyframes(self) -> tuple[KeyframeId, ...]:
        """Query and negative."""
        return (self.query, self.negative)


@dataclass(frozen=True, slots=True)
class TupleSet:
    """All that a network is tuned with, in a fixed order."""

    tuples: tuple[TrainingTuple, ...] = ()
    pairs: tuple[OutlierPair, ...] = ()

    def __len__(self) -> int:
        return len(self.tuples) + len(self.pairs)

    @property
    def keyframes(self) -> tuple[KeyframeId, ...]:
        """Every keyframe that is named, once and in order: the images that training needs."""
        return tuple(sorted({id for item in self.items for id in item.keyframes}))

    @property
    def items(self) -> tuple[TrainingTuple | OutlierPair, ...]:
        """Tuples, then pairs."""
        return (*self.tuples, *self.pairs)

    def within(self, allowed: Collection[KeyframeId]) -> TupleSet:
        """What is left when only some keyframes may be looked at: negatives drop out singly, a tuple without any as a whole."""
        allowed = frozenset(allowed)
        tuples = []
        for item in self.tuples:
            negatives = tuple(id for id in item.negatives if id in allowed)
            if item.anchor in allowed and item.positive in allowed and negatives:
                tuples.append(TrainingTuple(item.anchor, item.positive, negatives, item.weight, item.graph_revision))
        return TupleSet(tuple(tuples), tuple(pair for pair in self.pairs if allowed.issuperset(pair.keyframes)))


def dumps(of: TupleSet) -> str:
    """As JSON; what :func:`loads` makes of it is equal."""
    values = {
        "format": _FORMAT,
        "version": _VERSION,
        "tuples": [
            {
                "anchor": str(item.anchor),
                "positive": str(item.positive),
                "negatives": [str(id) for id in item.negatives],
                "weight": item.weight,
                "graph_revision": item.graph_revision,
            }
            for item in of.tuples
        ],
        "pairs": [
            {
                "query": str(pair.query),
                "negative": str(pair.negative),
                "weight": pair.weight,
                "graph_revision": pair.graph_revision,
            }
            for pair in of.pairs
        ],
    }
    return json.dumps(values, indent=1) + "\n"


def loads(text: str, what: str = "the text") -> TupleSet:
    """Inverse of :func:`dumps`.

    Args:
        text: JSON.
        what: how messages call its source, for example the file.

    Raises:
        DataError: it is not a set of tuples; the text says what is wrong.
    """
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or values.get("format") != _FORMAT:
            raise DataError("it does not say that it holds training tuples")
        if values.get("version") != _VERSION:
            raise DataError(f"it is of version {values.get('version')!r}, and this release reads {_VERSION}")
        tuples = tuple(_tuple(item) for item in values["tuples"])
        return TupleSet(tuples, tuple(_pair(item) for item in values["pairs"]))
    except (DataError, MapError) as error:
        raise DataError(f"{what} cannot be read as training tuples: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{what} cannot be read as training tuples ({type(error).__name__}: {error}); mine them again") from None


def _tuple(values: dict[str, Any]) -> TrainingTuple:
    anchor, positive, *negatives = _ids([values["anchor"], values["positive"], *values["negatives"]])
    return TrainingTuple(anchor, positive, tuple(negatives), float(values["weight"]), int(values["graph_revision"]))


def _pair(values: dict[str, Any]) -> OutlierPair:
    query, negative = _ids([values["query"], values["negative"]])
    return OutlierPair(query, negative, float(values["weight"]), int(values["graph_revision"]))


def _ids(names: Iterable[str]) -> list[KeyframeId]:
    return [KeyframeId.parse(name) for name in names]


def _check(what: str, weight: float, revision: int) -> None:
    if not (math.isfinite(weight) and 0.0 < weight <= 1.0) or revision < 0:
        raise DataError(f"{what} has weight {weight} of revision {revision}: the weight must be in (0, 1], the revision 0 or more")
