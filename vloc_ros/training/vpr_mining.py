"""Mining of tuples: the best positive and the hardest negatives of each query, by descriptors of the present network.

As published for DHE-VPR (source_systems 4.3), after Arandjelović et al., "NetVLAD", CVPR 2016, section 4: all queries of a cache
are mined at once, and looked at again by a newer network in the next one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import ConfigError, TrainingError
from vloc_ros.training.sampling import Weighted
from vloc_ros.training.vpr_settings import Mining, MiningSettings
from vloc_ros.training.vpr_sources import Rows, Shot, VprSource

_STREAM = 41  # of random numbers, apart from other uses of the seed
_FORMAT, _VERSION = "vloc mined tuples", 1
DescribeRows = Callable[[Rows], NDArray[np.float32]]
"""(N, D) descriptors of pictures, by rows of :attr:`Pictures.shots`."""


class MinedTuple(NamedTuple):
    """A query and what was mined for it, by rows of :attr:`Pictures.shots`; negatives are the hardest first."""

    query: int
    positive: int
    negatives: tuple[int, ...]


class Pictures:
    """All pictures of several sources in one row.

    Attributes:
        sources: with their weights.
        shots: those of the first source, then those of the next.
    """

    def __init__(self, sources: Sequence[Weighted[VprSource]]) -> None:
        """Put them in a row."""
        self.sources = tuple(sources)
        self.shots: tuple[Shot, ...] = tuple(shot for entry in sources for shot in entry.source.shots)
        ends = np.cumsum([len(entry.source.shots) for entry in sources])
        self._first = np.concatenate([[0], ends]).astype(np.int64)

    def rows(self, source: int, own: Rows) -> Rows:
        """Rows here of rows of a source."""
        return np.asarray(own + self._first[source], dtype=np.int64)

    def own(self, source: int, rows: Rows) -> Rows:
        """Of rows here those of a source, by its own rows."""
        inside = rows[(rows >= self._first[source]) & (rows < self._first[source + 1])]
        return np.asarray(inside - self._first[source], dtype=np.int64)

    def source_of(self, row: int) -> int:
        """The number of the source of a row."""
        return int(np.searchsorted(self._first, row, side="right")) - 1

    def negatives(self, source: int, query: int, rows: Rows) -> Rows:
        """Those of some rows that are negatives of a query of a source, sorted.

        Other sources show other places; but where a source says which alone are negatives, they are none.
        """
        of_source = self.sources[source].source
        mine = self.rows(source, of_source.may_be_negative(query, self.own(source, rows)))
        if of_source.negatives is not None:
            return np.sort(mine)
        others = rows[(rows < self._first[source]) | (rows >= self._first[source + 1])]
        return np.sort(np.concatenate([mine, others]))

    def databases(self) -> Rows:
        """What can be drawn as a negative of any query: the databases without what only queries of their own source may have."""
        parts = [self.rows(k, entry.source.database) for k, entry in enumerate(self.sources) if entry.source.negatives is None]
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


class _Question(NamedTuple):
    source: int
    query: int
    row: int
    positives: Rows


class Miner:
    """Mines the tuples of each cache; what is random follows from the seed and the number of the cache."""

    def __init__(self, pictures: Pictures, settings: MiningSettings, seed: int) -> None:
        """Remember what there is."""
        self._pictures, self._settings, self._seed = pictures, settings, seed
        self._drawn = [_chances(entry.source, settings.mining) for entry in pictures.sources]

    def mine(self, cache: int, describe: DescribeRows) -> list[MinedTuple]:
        """The tuples of a cache, in the order in which they are learned from.

        A tuple has fewer negatives, or none, where there are not as many.

        Raises:
            VlocError: a picture cannot be read.
        """
        rng = np.random.default_rng([self._seed, _STREAM, cache])
        questions = self._questions(rng)
        pool = self._pool(rng)
        described = self._looked_at(questions, pool)
        vectors = describe(described)

        def of(rows: Rows) -> NDArray[np.float32]:
            return vectors[np.searchsorted(described, rows)]

        return [self._tuple(question, pool, of, rng) for question in questions]

    def _questions(self, rng: np.random.Generator) -> list[_Question]:
        """The queries of a cache: sources by weight, of each source every query once before any comes again, unless weighted."""
        weights = np.array([entry.weight for entry in self._pictures.sources], dtype=np.float64)
        sources = rng.choice(len(weights), self._settings.cache_refresh_rate, p=weights / weights.sum())
        asked = np.zeros(len(sources), dtype=np.int64)
        for number, entry in enumerate(self._pictures.sources):
            places = np.flatnonzero(sources == number)
            asked[places] = _drawn(len(entry.source), self._drawn[number], len(places), rng)
        return [self._question(int(source), int(query), rng) for source, query in zip(sources, asked, strict=True)]

    def _question(self, number: int, query: int, rng: np.random.Generator) -> _Question:
        source, most = self._pictures.sources[number].source, self._settings.most_positives
        positives = source.positives[query]
        if most and len(positives) > most:
            positives = np.sort(rng.choice(positives, most, replace=False))
        row = int(self._pictures.rows(number, source.queries[query : query + 1])[0])
        return _Question(number, query, row, self._pictures.rows(number, positives))

    def _pool(self, rng: np.random.Generator) -> Rows:
        """In which negatives are looked for."""
        everything, count = self._pictures.databases(), self._settings.neg_samples_num
        if self._settings.mining in (Mining.FULL, Mining.RANDOM) or len(everything) <= count:
            return everything
        return np.sort(rng.choice(everything, count, replace=False))

    def _looked_at(self, questions: Sequence[_Question], pool: Rows) -> Rows:
        """All rows whose descriptors are asked for, sorted."""
        parts = [np.array([question.row], dtype=np.int64) for question in questions]
        parts += [question.positives for question in questions if len(question.positives) > 1]
        if self._settings.mining is not Mining.RANDOM:
            parts += [pool, *(self._only(question) for question in questions)]
        return np.unique(np.concatenate(parts))

    def _only(self, question: _Question) -> Rows:
        """The negatives that alone a query may have, where its source says so."""
        negatives = self._pictures.sources[question.source].source.negatives
        if negatives is None:
            return np.zeros(0, dtype=np.int64)
        return self._pictures.rows(question.source, negatives[question.query])

    def _tuple(
        self, question: _Question, pool: Rows, of: Callable[[Rows], NDArray[np.float32]], rng: np.random.Generator
    ) -> MinedTuple:
        count, positive = self._settings.negs_num_per_query, int(question.positives[0])
        vector = of(np.array([question.row], dtype=np.int64))[0]
        if len(question.positives) > 1:
            positive = int(nearest(vector, of(question.positives), question.positives, 1)[0])
        only = self._only(question)
        allowed = only if len(only) else self._pictures.negatives(question.source, question.query, pool)
        if count == 0 or len(allowed) == 0:
            return MinedTuple(question.row, positive, ())
        if self._settings.mining is Mining.RANDOM:
            chosen = rng.choice(allowed, min(count, len(allowed)), replace=False)
        else:
            chosen = nearest(vector, of(allowed), allowed, count)
        return MinedTuple(question.row, positive, tuple(int(row) for row in chosen))


def nearest(vector: NDArray[np.float32], others: NDArray[np.float32], rows: Rows, count: int) -> Rows:
    """The ``count`` of (N,) rows whose (N, D) descriptors are nearest to a (D,) one, nearest first; of equal ones the first."""
    distances = np.square(others.astype(np.float64) - vector).sum(1)
    return rows[np.argsort(distances, kind="stable")[:count]]


def _chances(source: VprSource, mining: Mining) -> NDArray[np.float64] | None:
    """How often each query is drawn; None where all are as often."""
    if mining is not Mining.WEIGHTED:
        return None
    conditions = [source.shots[row].condition for row in source.queries.tolist()]
    counts = {condition: conditions.count(condition) for condition in set(conditions)}
    inverse = np.array([1.0 / counts[condition] for condition in conditions], dtype=np.float64)
    return np.asarray(inverse / inverse.sum())


def _drawn(count: int, chances: NDArray[np.float64] | None, wanted: int, rng: np.random.Generator) -> Rows:
    """Numbers of queries: whole permutations one after the other, or by chances."""
    if chances is not None:
        return np.asarray(rng.choice(count, wanted, p=chances), dtype=np.int64)
    rounds = -(-wanted // count)
    return np.concatenate([np.zeros(0, dtype=np.int64), *(rng.permutation(count) for _ in range(rounds))])[:wanted]


def require_negatives(sources: Sequence[VprSource], count: int) -> None:
    """Make sure that there is something to tell places from.

    Raises:
        ConfigError: negatives are wanted, and no query can have one.
    """
    if count == 0 or len(sources) > 1:
        return
    only = sources[0]
    if not any(len(only.may_be_negative(query, only.database)) for query in range(len(only))):
        raise ConfigError(
            f"nothing in {only.name} is another place: name a second source, or learn homographies alone with "
            "mining.negs_num_per_query=0"
        )


def dumps(tuples: Sequence[MinedTuple], cache: int) -> str:
    """As JSON."""
    rows = [[item.query, item.positive, *item.negatives] for item in tuples]
    return json.dumps({"format": _FORMAT, "version": _VERSION, "cache": cache, "tuples": rows})


def loads(text: str, cache: int, size: int, what: str) -> list[MinedTuple]:
    """The inverse.

    Args:
        text: what :func:`dumps` has made.
        cache: the number that it must have.
        size: number of pictures.
        what: it is called in messages.

    Raises:
        TrainingError: it is damaged, or of something else.
    """
    try:
        values = json.loads(text)
        right = (values["format"], values["version"], values["cache"]) == (_FORMAT, _VERSION, cache)
        rows = [[int(row) for row in item] for item in values["tuples"]]
    except (ValueError, KeyError, TypeError):
        right, rows = False, []
    if not right or any(len(item) < 2 or not 0 <= min(item) <= max(item) < size for item in rows):
        raise TrainingError(f"{what} is damaged: remove it, and its tuples are mined again by the network as it is now")
    return [MinedTuple(item[0], item[1], tuple(item[2:])) for item in rows]
