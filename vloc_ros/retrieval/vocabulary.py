"""A visual vocabulary: the centres of clusters of local descriptors, learned from the images of a site."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError
from vloc_ros.features import Features, Metric

CENTRES = 64
_PER_IMAGE, _PER_CENTRE = 200, 1000
_ITERATIONS = 20
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Visual words of one kind of local features.

    Attributes:
        metric: how the local descriptors are compared.
        centres: (K, D) float32; HAMMING descriptors have one element of -1 or 1 per bit.
    """

    metric: Metric
    centres: NDArray[np.float32]

    @classmethod
    def learn(cls, images: Sequence[Features], seed: int = 1, count: int = CENTRES) -> Vocabulary:
        """Learn ``count`` words by k-means (faiss) from the features of some images.

        Raises:
            DataError: the images have fewer features than words, or features of several kinds.
        """
        import faiss  # takes a moment, and only learning needs it

        filled = [features.descriptors for features in images if len(features)]
        if len({(rows.dtype, rows.shape[1]) for rows in filled}) > 1:
            raise DataError("a vocabulary is of one kind of local features, and these images have several; use one extractor")
        total = sum(len(rows) for rows in filled)
        if total < count:
            raise DataError(f"{len(images)} images with {total} features cannot make {count} words; give more images")
        metric = Metric.HAMMING if filled[0].dtype == np.uint8 else Metric.COSINE
        generator = np.random.default_rng(seed)
        chosen = [rows[generator.permutation(len(rows))[:_PER_IMAGE]] for rows in filled]
        samples = as_vectors(np.concatenate(chosen if sum(map(len, chosen)) >= count else filled), metric)
        kmeans = faiss.Kmeans(
            samples.shape[1],
            count,
            niter=_ITERATIONS,
            seed=seed,
            min_points_per_centroid=1,
            max_points_per_centroid=_PER_CENTRE,
        )
        kmeans.train(np.ascontiguousarray(samples))
        return cls(metric, np.array(kmeans.centroids, dtype=np.float32))

    @property
    def sha256(self) -> str:
        """Hash of the words: equal for two vocabularies exactly when their descriptors can be compared."""
        content = self.metric.value.encode() + str(self.centres.shape).encode() + self.centres.astype("<f4").tobytes()
        return hashlib.sha256(content).hexdigest()

    def nearest(self, descriptors: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(N, D) local descriptors as vectors and the (N,) word that each belongs to.

        Raises:
            DataError: they are of another kind than the vocabulary.
        """
        kind = Metric.HAMMING if descriptors.dtype == np.uint8 else Metric.COSINE
        vectors = as_vectors(descriptors, kind)
        if kind is not self.metric or vectors.shape[1] != self.centres.shape[1]:
            raise DataError(
                f"the vocabulary is of {self.metric.value} features of {self.centres.shape[1]} elements, and these are "
                f"{kind.value} ones of {vectors.shape[1]}; learn one from the features in use"
            )
        # |x - c|^2 without |x|^2, which is the same for all words
        distance = np.sum(self.centres**2, axis=1) - 2.0 * (vectors @ self.centres.T)
        return vectors, np.argmin(distance, axis=1)

    def to_bytes(self) -> bytes:
        """Contents of a vocabulary file (NumPy's .npz)."""
        buffer = io.BytesIO()
        np.savez(buffer, metric=np.array(self.metric.value), centres=self.centres)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Vocabulary:
        """Inverse of :meth:`to_bytes`.

        Raises:
            DataError: it is no vocabulary, or damaged.
        """
        try:
            _check_size(data)
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                metric, centres = Metric(str(archive["metric"])), archive["centres"]
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"this is no vocabulary of `vloc vocabulary`, or a damaged one: {error}") from error
        if centres.ndim != 2 or centres.dtype != np.float32 or 0 in centres.shape or not np.isfinite(centres).all():
            raise DataError(f"a vocabulary of {centres.dtype} {centres.shape} is not one of finite float32 words; learn it anew")
        return cls(metric, centres)


def as_vectors(descriptors: NDArray[Any], metric: Metric) -> NDArray[np.float32]:
    """(N, D) local descriptors as float32; packed bits become -1 and 1, so that distances go with the differing bits."""
    if metric is Metric.HAMMING:
        return np.asarray(np.unpackbits(descriptors, axis=1) * np.float32(2.0) - np.float32(1.0), dtype=np.float32)
    return np.asarray(descriptors, dtype=np.float32)


def _check_size(data: bytes) -> None:
    """Refuse an archive that would fill the memory when it is unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > _MAX_BYTES:
        raise ValueError(f"it would unpack to {size} bytes")
