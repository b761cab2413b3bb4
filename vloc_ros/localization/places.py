"""Which keyframes of the map look like an image, without any prior: an inverted file of hashed visual words.

Words come from random hyperplanes (locality-sensitive hashing, Charikar 2002) drawn with a fixed seed, so that no vocabulary has
to be trained and every map can be searched as it is; keyframes are compared by tf-idf (Sivic and Zisserman 2003).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.features import Features, Metric
from vloc_ros.mapping.keyframe import KeyframeId

_TABLES = 8
_BITS = 10
_WORDS = _TABLES << _BITS


class PlaceIndex:
    """Bags of hashed words of all keyframes, compared by cosine similarity."""

    def __init__(self, metric: Metric, descriptor_size: int) -> None:
        dimensions = descriptor_size * 8 if metric is Metric.HAMMING else descriptor_size
        generator = np.random.default_rng(20090707)
        self._metric = metric
        self._planes = generator.standard_normal((dimensions, _TABLES * _BITS)).astype(np.float32)
        self._ids: list[KeyframeId] = []
        self._bags: list[NDArray[np.float32]] = []
        self._weighted: NDArray[np.float32] | None = None
        self._idf = np.zeros(_WORDS, dtype=np.float32)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, id: KeyframeId, features: Features) -> None:
        """Add one keyframe."""
        self._ids.append(id)
        self._bags.append(self._bag(features))
        self._weighted = None

    def search(self, features: Features, count: int) -> list[KeyframeId]:
        """The ``count`` most similar keyframes, best first."""
        if not self._ids or len(features) == 0:
            return []
        weighted = self._index()
        query = _normalised(self._bag(features) * self._idf)
        return [self._ids[i] for i in np.argsort(-(weighted @ query), kind="stable")[:count]]

    def _index(self) -> NDArray[np.float32]:
        if self._weighted is None:
            bags = np.stack(self._bags)
            seen = (bags > 0.0).sum(axis=0)
            # a word that every keyframe has says nothing
            self._idf = np.log((1.0 + len(bags)) / (1.0 + seen)).astype(np.float32)
            self._weighted = _normalised(bags * self._idf)
        return self._weighted

    def _bag(self, features: Features) -> NDArray[np.float32]:
        words = self._words(features.descriptors)
        counts = np.bincount(words.ravel(), minlength=_WORDS).astype(np.float32)
        return np.asarray(np.sqrt(counts / max(len(features), 1)), dtype=np.float32)

    def _words(self, descriptors: NDArray[Any]) -> NDArray[np.int64]:
        """(N, tables) word of each descriptor in each hash table."""
        if self._metric is Metric.HAMMING:
            values = np.unpackbits(descriptors, axis=1).astype(np.float32) - np.float32(0.5)
        else:
            values = descriptors - descriptors.mean(axis=1, keepdims=True)
        bits = (values @ self._planes > 0.0).reshape(len(descriptors), _TABLES, _BITS)
        codes = bits @ (1 << np.arange(_BITS))
        return np.asarray(codes + np.arange(_TABLES) * (1 << _BITS), dtype=np.int64)


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norm = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norm, 1e-12), dtype=np.float32)
