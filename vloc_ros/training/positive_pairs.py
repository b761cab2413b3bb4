"""Pairs of images of one place, of which nobody knows where one shows what the other does: for objectives without a truth."""

from __future__ import annotations

import numpy as np

from vloc_ros.training.pairs import PairSource, TrainingPair
from vloc_ros.training.vpr_sources import VprSource


class PositivePairs(PairSource):
    """Each query with one of its positives, drawn at random."""

    def __init__(self, source: VprSource) -> None:
        """Of a source of queries and a database."""
        self._source = source

    def __len__(self) -> int:
        """Queries."""
        return len(self._source)

    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        """A query and a positive; the warp is unknown everywhere.

        Raises:
            VlocError: an image is damaged.
        """
        shots, positives = self._source.shots, self._source.positives[index]
        query = shots[self._source.queries[index]]
        first, second = query.read(), shots[positives[int(rng.integers(len(positives)))]].read()
        unknown = np.full((*first.shape[:2], 2), np.nan, dtype=np.float32)
        return TrainingPair(first, second, unknown, tag=f"place:{query.name}")
