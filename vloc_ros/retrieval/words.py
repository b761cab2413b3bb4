"""Bags of hashed visual words over local features, weighted by tf-idf.

Words come from random hyperplanes (locality-sensitive hashing, Charikar 2002) drawn with a fixed seed, so that no clusters have to
be learned; only how common each word is at a site is (tf-idf, Sivic and Zisserman 2003).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.features import Features, Metric
from vloc_ros.retrieval.contract import GlobalDescriptor, Needs, View, register_with_assets
from vloc_ros.retrieval.pixels import unit

_TABLES, _BITS = 8, 10
_WORDS = _TABLES << _BITS
_SEED = 20090707
_MAX_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class WordWeights:
    """How much each hashed word of one kind of local features says.

    Attributes:
        metric: how the local descriptors are compared.
        elements: columns of their array.
        weights: (words,) float32 inverse document frequency.
    """

    metric: Metric
    elements: int
    weights: NDArray[np.float32]

    @classmethod
    def learn(cls, images: Sequence[Features]) -> WordWeights:
        """From the features of the images of a site: a word that every image has says nothing.

        Raises:
            DataError: there are no features, or features of several kinds.
        """
        filled = [features.descriptors for features in images if len(features)]
        kinds = {(rows.dtype, rows.shape[1]) for rows in filled}
        if len(kinds) != 1:
            raise DataError(f"words are weighed by the features of one kind of some images, and these have {len(kinds)} kinds")
        metric = Metric.HAMMING if filled[0].dtype == np.uint8 else Metric.COSINE
        elements = int(filled[0].shape[1])
        seen = np.zeros(_WORDS, dtype=np.int64)
        for rows in filled:
            seen[np.unique(_words(rows, metric))] += 1
        weights = np.log((1.0 + len(filled)) / (1.0 + seen)).astype(np.float32)
        # all images alike, or only one: every word counts the same
        return cls(metric, elements, weights if weights.any() else np.ones(_WORDS, dtype=np.float32))

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        content = f"{self.metric.value} {self.elements} ".encode() + self.weights.astype("<f4").tobytes()
        return hashlib.sha256(content).hexdigest()

    def to_bytes(self) -> bytes:
        """Contents of a file (NumPy's .npz)."""
        buffer = io.BytesIO()
        np.savez(buffer, metric=np.array(self.metric.value), elements=np.array(self.elements), weights=self.weights)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> WordWeights:
        """Inverse of :meth:`to_bytes`.

        Raises:
            DataError: it holds no weights of words, or is damaged.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
                    raise ValueError("it would unpack to more than weights take")
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                metric, elements = Metric(str(archive["metric"])), int(archive["elements"])
                weights = archive["weights"]
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"these are no weights of words, or damaged ones: {error}") from error
        if weights.shape != (_WORDS,) or weights.dtype != np.float32 or not np.isfinite(weights).all() or elements < 1:
            raise DataError(f"weights of {weights.dtype} {weights.shape} are not those of {_WORDS} words; learn them anew")
        return cls(metric, elements, weights)


class Words(GlobalDescriptor):
    """How often each hashed word occurs in an image, and how rare it is at the site."""

    name: ClassVar[str] = "words"
    needs: ClassVar[Needs] = Needs.FEATURES

    def __init__(self, weights: WordWeights) -> None:
        """With the weights of the features that views will have."""
        self._weights = weights
        prepared = f"{weights.metric.value} features of {weights.elements}, {_TABLES} tables of {_BITS} bits, root tf-idf, v1"
        self._card = ModelCard(self.name, _WORDS, weights.sha256, prepared)

    @property
    def card(self) -> ModelCard:
        """With the hash of the weights."""
        return self._card

    def describe(self, view: View) -> NDArray[np.float32]:
        """(8192,) weighted square roots of the shares of the words."""
        if view.features is None:
            raise DataError(f"the descriptor '{self.name}' needs local features, and this view has none; extract them first")
        rows = view.features.descriptors
        if len(rows) == 0:
            return np.zeros(_WORDS, dtype=np.float32)
        metric = Metric.HAMMING if rows.dtype == np.uint8 else Metric.COSINE
        if metric is not self._weights.metric or rows.shape[1] != self._weights.elements:
            raise DataError(
                f"the words are of {self._weights.metric.value} features of {self._weights.elements} elements, and these are "
                f"{metric.value} ones of {rows.shape[1]}; learn weights from the features in use"
            )
        counts = np.bincount(_words(rows, metric).ravel(), minlength=_WORDS).astype(np.float32)
        return unit(np.sqrt(counts) * self._weights.weights)


@register_with_assets("words")
def _make(assets: bytes | None) -> Words:
    if assets is None:
        raise ConfigError("the descriptor 'words' needs weights learned from images of the site; a map gives its own")
    return Words(WordWeights.from_bytes(assets))


def _words(descriptors: NDArray[Any], metric: Metric) -> NDArray[np.int64]:
    """(N, tables) word of each local descriptor in each hash table."""
    if metric is Metric.HAMMING:
        values = np.unpackbits(descriptors, axis=1).astype(np.float32) - np.float32(0.5)
    else:
        values = descriptors - descriptors.mean(axis=1, keepdims=True)
    bits = (values @ _planes(values.shape[1]) > 0.0).reshape(len(descriptors), _TABLES, _BITS)
    return np.asarray(bits @ (1 << np.arange(_BITS)) + np.arange(_TABLES) * (1 << _BITS), dtype=np.int64)


@cache
def _planes(dimensions: int) -> NDArray[np.float32]:
    planes = np.random.default_rng(_SEED).standard_normal((dimensions, _TABLES * _BITS)).astype(np.float32)
    planes.setflags(write=False)
    return planes
