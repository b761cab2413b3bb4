"""Nearest neighbours of a global descriptor among those of many keyframes.

Exact search is one matrix product over all rows; above a size an inverted file (:mod:`vloc_ros.retrieval.inverted_file`) says
which rows are worth the product. Either way the scores are those of the rows themselves, so both searches mean the same by them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.errors import DataError
from vloc_ros.retrieval.inverted_file import InvertedFile
from vloc_ros.retrieval.rows import RowStore, checked_rows

Id = TypeVar("Id", bound=Hashable)

_BLOCK_BYTES = 1 << 26
"""Most memory that the scores of one block of queries take [bytes]."""
_SLACK = 4e-6
"""More than what float32 products of unit vectors may differ by when they are summed in another order."""


@dataclass(frozen=True)
class IndexSettings:
    """How keyframes are searched for."""

    approximate_above: int = param(50_000, "search approximately in an index of more keyframes than this", min=1_000)
    # Across seasons an answer may be far from its query in all the lists that are looked into, though nothing else is nearer: of
    # 100 000 images an approximate search found 38 % where all rows give 51 %, in 0.2 ms instead of 2 (benchmarks/search_100k.py).
    exact_mb: int = param(256, "unless their vectors take no more than this, through which a search goes at once", unit="MB", min=0)
    probes: int = param(48, "lists of the inverted file that an approximate search looks into", min=1, max=4096)


@dataclass(frozen=True, slots=True)
class Neighbours(Generic[Id]):
    """What a search found, best first; equal scores in the order in which they were added.

    Attributes:
        ids: of the keyframes found.
        scores: (K,) float32 cosine similarity to the query, -1 to 1.
    """

    ids: list[Id]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[Id, float]]:
        return iter(zip(self.ids, self.scores.tolist(), strict=True))


class DescriptorIndex(Generic[Id]):
    """Descriptors named by hashable ids. Not for use from several threads at once.

    Vectors are brought to unit length when they are added. A vector of zeros ("nothing to describe") is kept under its id, but no
    search finds it; a query of zeros finds nothing.
    """

    def __init__(self, dimension: int, settings: IndexSettings | None = None) -> None:
        self._settings = settings or IndexSettings()
        self._rows = RowStore(dimension)
        self._ids: list[Id] = []
        self._row_of: dict[Id, int] = {}
        self._lists: InvertedFile | None = None

    @classmethod
    def of(
        cls, ids: Sequence[Id], rows: RowStore, settings: IndexSettings | None = None, lists: InvertedFile | None = None
    ) -> DescriptorIndex[Id]:
        """An index over rows that are there already, for example mapped from a file, with their inverted file if there is one.

        Raises:
            DataError: there are not as many ids as rows, one occurs twice, or the inverted file is of other rows.
        """
        made: DescriptorIndex[Id] = cls(rows.dimension, settings)
        made._ids, made._rows, made._lists = list(ids), rows, lists
        made._row_of = {id: row for row, id in enumerate(made._ids)}
        if not len(made._ids) == len(made._row_of) == len(rows):
            raise DataError(
                f"an index of {len(rows)} rows needs as many different ids, not {len(made._row_of)} of {len(made._ids)}"
            )
        if lists is not None and (len(lists), lists.dimension) != (len(rows), rows.dimension):
            raise DataError(
                f"an inverted file of {len(lists)} rows does not belong to an index of {len(rows)}; build the index anew"
            )
        return made

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self._rows.dimension

    @property
    def ids(self) -> list[Id]:
        """Ids of the vectors in it, in the order in which they were added."""
        return list(self._row_of)

    @property
    def is_approximate(self) -> bool:
        """Whether the next search uses the inverted file."""
        settings = self._settings
        return len(self) > settings.approximate_above and self._rows.size_bytes > 1_000_000 * settings.exact_mb

    @property
    def size_bytes(self) -> int:
        """Memory of vectors and inverted file [bytes]; mapped vectors count, though they need not be in RAM."""
        return self._rows.size_bytes + (0 if self._lists is None else self._lists.size_bytes)

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, id: object) -> bool:
        return id in self._row_of

    def add(self, id: Id, vector: NDArray[Any]) -> None:
        """Add one (D,) vector.

        Raises:
            DataError: it has another dimension or is not finite, or the id is there already.
        """
        self.add_many([id], np.asarray(vector)[None])

    def add_many(self, ids: Sequence[Id], vectors: NDArray[Any]) -> None:
        """Add (N, D) vectors, or none of them when one is refused.

        Raises:
            DataError: they have another dimension or are not finite, are not as many as the ids, or an id is there already.
        """
        rows = checked_rows(vectors, self.dimension)
        if len(ids) != len(rows):
            raise DataError(f"{len(ids)} ids cannot name {len(rows)} vectors; give one id for each")
        twice = [id for id in ids if id in self._row_of] or ([] if len(set(ids)) == len(ids) else list(ids))
        if twice:
            raise DataError(f"'{twice[0]}' would be in the index twice; remove the old vector first")
        first = len(self._rows)
        self._rows.append(rows)
        self._ids.extend(ids)
        self._row_of.update((id, first + offset) for offset, id in enumerate(ids))
        if self._lists is not None:
            self._lists.add(self._rows.read(slice(first, None)))

    def remove(self, id: Id) -> None:
        """Take a vector out; its row stays, unseen, until half of all rows are such.

        Raises:
            DataError: there is no such id.
        """
        row = self._row_of.pop(id, None)
        if row is None:
            raise DataError(f"'{id}' is not in the index, so it cannot be removed from it")
        self._rows.bury(row)
        if len(self._rows) > 2 * len(self._row_of):
            self._compact()

    def vector(self, id: Id) -> NDArray[np.float32]:
        """The (D,) unit vector of an id.

        Raises:
            DataError: there is no such id.
        """
        if id not in self._row_of:
            raise DataError(f"'{id}' is not in the index")
        return np.asarray(self._rows.read(np.array([self._row_of[id]]))[0], dtype=np.float32)

    def search(self, vector: NDArray[Any], k: int, where: Callable[[Id], bool] | None = None) -> Neighbours[Id]:
        """The k nearest vectors.

        Args:
            vector: (D,) query.
            k: how many, 1 or more; fewer are returned when there are fewer.
            where: only ids for which this holds, for example a gate; it is asked for the best ones only. An approximate search
                may find fewer than k of them: it looks only where the query would lie.

        Raises:
            DataError: the query has another dimension or is not finite, or k is not positive.
        """
        query = self._queries(np.asarray(vector)[None], k)[0]
        if not query.any():
            return self._nothing()
        rows, scores = self._ranked(query, k)
        if where is None:
            return self._found(rows[:k], scores[:k])
        # Ask for more until enough pass: what a gate refuses is few and near the top.
        wanted = k
        while True:
            passed = [place for place, row in enumerate(rows) if where(self._ids[row])]
            if len(passed) >= k or len(rows) < wanted:
                return self._found(rows[passed[:k]], scores[passed[:k]])
            wanted *= 4
            rows, scores = self._ranked(query, wanted)

    def search_many(self, vectors: NDArray[Any], k: int) -> list[Neighbours[Id]]:
        """The k nearest vectors of each of (M, D) queries, all of them by one matrix product (in blocks that fit memory).

        Raises:
            DataError: the queries have another dimension or are not finite, or k is not positive.
        """
        queries = self._queries(vectors, k)
        if self.is_approximate:
            return [self.search(query, k) for query in queries]
        block = max(1, _BLOCK_BYTES // max(4 * len(self._rows), 1))
        found: list[Neighbours[Id]] = []
        for start in range(0, len(queries), block):
            chosen = queries[start : start + block]
            for query, scores in zip(chosen, self._rows.products(chosen), strict=True):
                found.append(self._found(*self._best(query, scores, k)) if query.any() else self._nothing())
        return found

    def scores(self, vector: NDArray[Any]) -> NDArray[np.float32]:
        """(N,) similarity of a (D,) query to all vectors, in the order of :attr:`ids`; zero for vectors of zeros.

        Raises:
            DataError: the query has another dimension or is not finite.
        """
        query = self._queries(np.asarray(vector)[None], 1)
        rows = np.fromiter(self._row_of.values(), dtype=np.int64, count=len(self))
        found = self._rows.is_findable(rows)
        return np.asarray(np.where(found, self._rows.products(query)[0][rows], np.float32(0.0)), dtype=np.float32)

    def build(self) -> None:
        """Make the inverted file now, if the index is large enough to be searched with it; else the first search does."""
        if self.is_approximate and (self._lists is None or self._lists.is_outgrown):
            self._lists = InvertedFile.of(self._rows.read(slice(None)))

    def snapshot(self) -> tuple[list[Id], NDArray[np.float32]]:
        """Ids and their (N, D) unit vectors, without what was removed."""
        return self.ids, self._rows.read(np.fromiter(self._row_of.values(), dtype=np.int64, count=len(self)))

    def lists_of(self, rows: int) -> InvertedFile | None:
        """The inverted file, if there is one and it is of exactly so many rows: of a snapshot, when nothing was removed."""
        return self._lists if self._lists is not None and len(self._lists) == rows else None

    def _queries(self, vectors: NDArray[Any], k: int) -> NDArray[np.float32]:
        if k < 1:
            raise DataError(f"a search for {k} neighbours finds nothing; ask for 1 or more")
        return checked_rows(vectors, self.dimension)

    def _ranked(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if not self.is_approximate:
            return self._best(query, self._rows.products(query[None])[0], k)
        self.build()
        assert self._lists is not None
        wanted = k
        while True:
            named = self._lists.near(query, self._settings.probes, wanted)
            near = self._rows.findable(named)
            # rows that were removed are still on file, and may have taken the places of others
            if len(near) >= k or len(near) == len(named) or len(named) < wanted:
                break
            wanted *= 4
        return _sorted(near, self._rows.exact(near, query), k)

    def _best(
        self, query: NDArray[np.float32], scores: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of the k best scores, with scores that do not depend on where a row lies in memory."""
        if k < len(scores):
            bound = np.partition(scores, len(scores) - k)[len(scores) - k]
            near = np.flatnonzero(scores >= bound - _SLACK)
        else:
            near = np.arange(len(scores))
        near = self._rows.findable(near)
        return _sorted(near, self._rows.exact(near, query), k)

    def _nothing(self) -> Neighbours[Id]:
        return Neighbours([], np.zeros(0, dtype=np.float32))

    def _found(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> Neighbours[Id]:
        return Neighbours([self._ids[row] for row in rows.tolist()], scores)

    def _compact(self) -> None:
        self._ids, vectors = self.snapshot()
        self._rows = RowStore(self.dimension)
        self._rows.append(vectors)
        self._row_of = {id: row for row, id in enumerate(self._ids)}
        self._lists = None


def _sorted(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    order = np.argsort(-scores, kind="stable")[:k]
    return rows[order], scores[order]
