"""Held-out queries with their similarity to every place of a map: what two models are compared by, query by query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError
from vloc_ros.evaluation.retrieval_metrics import NOT_FOUND, Answers

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PlaceQueries:
    """Similarities of one model, and what they are judged by.

    Attributes:
        similarity: (Q, D) of each query to each image of the database, larger is more similar.
        relevant: (Q, D) bool: they show one place.
        allowed: (Q, D) bool: the image may answer the query; neighbours in time may not.
    """

    similarity: Array
    relevant: Mask
    allowed: Mask

    def __post_init__(self) -> None:
        shapes = {self.similarity.shape, self.relevant.shape, self.allowed.shape}
        if len(shapes) != 1 or self.similarity.ndim != 2:
            raise DataError(f"similarity, relevant and allowed must have one (queries, database) shape, not {sorted(shapes)}")

    def __len__(self) -> int:
        return len(self.similarity)

    @property
    def known(self) -> Mask:
        """(Q,) bool: the place is among the images that may answer."""
        return np.asarray((self.relevant & self.allowed).any(axis=1), dtype=bool)

    @property
    def finite(self) -> bool:
        """Whether all similarities that count are numbers."""
        return bool(np.isfinite(self.similarity[self.allowed]).all())

    @property
    def positives(self) -> Array:
        """(P,) similarities of pairs that show one place."""
        return self.similarity[self.allowed & self.relevant]

    @property
    def negatives(self) -> Array:
        """(N,) similarities of pairs that show two."""
        return self.similarity[self.allowed & ~self.relevant]

    def answers(self) -> Answers:
        """The answers for the numbers of retrieval; the best match of equal ones is taken to be a wrong one."""
        ranks = [self._ranked(query) for query in range(len(self))]
        first = [int(np.argmax(hits)) if hits.any() else NOT_FOUND for hits in ranks]
        usable = np.where(self.allowed & ~np.isnan(self.similarity), self.similarity, -np.inf)
        best = np.asarray(usable.max(axis=1, initial=-np.inf), dtype=np.float64)
        failed = np.asarray(~self.allowed.any(axis=1), dtype=bool)
        return Answers(np.array(first, dtype=np.int64), best, self.known, failed)

    def scores(self) -> QueryScores:
        """Average precision, reciprocal rank and Recall@1 of each query."""
        values = np.zeros((3, len(self)))
        for query in np.flatnonzero(self.known).tolist():
            ranks = np.flatnonzero(self._ranked(query)) + 1
            values[:, query] = np.mean(np.arange(1, len(ranks) + 1) / ranks), 1.0 / ranks[0], ranks[0] == 1
        return QueryScores(self.known, *values)

    def _ranked(self, query: int) -> Mask:
        """Whether each image that may answer is relevant, by falling similarity.

        Of equally similar images the wrong ones come first: a model to which all places look alike must not profit from the order
        in which they are stored. What is not a number comes last.
        """
        rows = self.allowed[query]
        similarity, relevant = self.similarity[query, rows], self.relevant[query, rows]
        order = np.lexsort((relevant, -np.nan_to_num(similarity, nan=-np.inf)))
        return np.asarray(relevant[order], dtype=bool)


@dataclass(frozen=True, slots=True)
class QueryScores:
    """What a model scores on each query; 0 on those whose place is not in the database, which do not count.

    Attributes:
        known: (Q,) bool: those that count.
        average_precision: (Q,) mean, over the images of its place, of the precision down to each.
        reciprocal_rank: (Q,) of the best image of its place.
        recall_at_1: (Q,) 1 where the best match shows its place.
    """

    known: Mask
    average_precision: Array
    reciprocal_rank: Array
    recall_at_1: Array
