"""The baseline of re-ranking: local features, mutual nearest neighbours, and RANSAC for the homography of each candidate."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import DataError
from vloc_ros.features import FeatureExtractor, Features, MatchSettings, Metric, create_extractor, match
from vloc_ros.retrieval.contract import Needs, View
from vloc_ros.retrieval.ransac import verify_by_ransac
from vloc_ros.retrieval.rerank import Doubt, Reranker, RerankSettings, Verification, register_reranker

FEATURES = 1000
"""Of an image, at most; more cost time in proportion to their square."""
_MATCHING = MatchSettings(ratio=0.9, min_similarity=0.0)
_HEADER, _CHECKSUM = struct.Struct("<4sHHIIII"), struct.Struct("<I")
_MAGIC = b"VLRF"
_VERSION = 1
_MOST = 1 << 20
_KINDS = {Metric.COSINE: np.int8, Metric.HAMMING: np.uint8}


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Local features of an image, compact, and how large it is.

    Attributes:
        positions: (N, 2) float32, shares of the width and the height.
        codes: (N, D) int8 directions of unit vectors, or uint8 packed bits.
        size: width and height of the image [px].
    """

    positions: NDArray[np.float32]
    codes: NDArray[Any]
    size: tuple[int, int]

    @property
    def metric(self) -> Metric:
        """How the descriptors are compared, which their type says."""
        return Metric.HAMMING if self.codes.dtype == np.uint8 else Metric.COSINE

    def features(self) -> Features:
        """What can be matched; all but the descriptors is of no account."""
        zeros = np.zeros(len(self.codes), dtype=np.float32)
        return Features(self.positions, zeros, zeros, _decoded(self.codes), zeros)


class RansacReranker(Reranker):
    """SIFT, or the local features that the views have, compared by a homography that RANSAC finds."""

    name: ClassVar[str] = "ransac"
    needs: ClassVar[Needs] = Needs.FEATURES

    def __init__(self, extractor: FeatureExtractor | None = None, tolerance: float = 0.0125) -> None:
        """Build it.

        Args:
            extractor: of the features; SIFT by default. Features that views bring must be its own.
            tolerance: largest error of an inlier, a share of the longer side of the image: 8 px of 640.
        """
        self._extractor = extractor or create_extractor("sift", FEATURES)
        self._tolerance = tolerance

    @property
    def card(self) -> ModelCard:
        """With the fingerprint of the features."""
        return ModelCard(self.name, self._extractor.descriptor_size, "", self._extractor.fingerprint)

    def takes_features(self, fingerprint: str) -> bool:
        """Those of its own extractor."""
        return fingerprint == self._extractor.fingerprint

    def prepare(self, views: Sequence[View]) -> list[FeatureSet | None]:
        """The features of each view; they are extracted where it has an image only.

        Raises:
            DataError: a view has neither, has features of another kind, or nobody knows the size of its image.
        """
        return [self._prepared(view) for view in views]

    def verify(self, query: FeatureSet | None, candidates: Sequence[FeatureSet | None]) -> list[Verification]:
        """Candidate by candidate."""
        asked = None if query is None else query.features()
        return [self._compared(query, asked, candidate) for candidate in candidates]

    def to_bytes(self, kept: FeatureSet | None) -> bytes:
        """A header, positions as float32, descriptors of a byte per element, and a checksum; nothing for nothing."""
        if kept is None:
            return b""
        body = kept.positions.astype("<f4").tobytes() + kept.codes.tobytes()
        kind = list(_KINDS).index(kept.metric)
        content = _HEADER.pack(_MAGIC, _VERSION, kind, *kept.codes.shape, *kept.size) + body
        return content + _CHECKSUM.pack(zlib.crc32(content))

    def from_bytes(self, content: bytes) -> FeatureSet | None:
        """The inverse.

        Raises:
            DataError: the content is damaged, or of other features.
        """
        if not content:
            return None
        rows, columns, size, hamming, body = _parsed(content)
        metric = Metric.HAMMING if hamming else Metric.COSINE
        if metric is not self._extractor.metric or columns != _columns(self._extractor):
            raise DataError(
                f"these local features are {metric.value} ones of {columns} elements, and the re-ranker '{self.name}' compares "
                f"{self._extractor.fingerprint}: prepare the images anew"
            )
        positions = np.frombuffer(body, dtype="<f4", count=2 * rows).reshape(rows, 2)
        if not np.isfinite(positions).all():
            raise DataError(f"positions of the local features for '{self.name}' are not finite numbers: prepare the images anew")
        codes = np.frombuffer(body, dtype=_KINDS[metric], offset=8 * rows).reshape(rows, columns)
        return FeatureSet(np.asarray(positions, dtype=np.float32), codes, size)

    def _prepared(self, view: View) -> FeatureSet | None:
        features, extent = view.features, view.extent
        if features is None and view.image is not None:
            features = self._extractor.extract(view.image)
        if features is None or extent is None:
            lacks = "local features, and" if features is None else "the size of the image of its features, and"
            raise DataError(f"the re-ranker '{self.name}' needs {lacks} this view has none; give it the image")
        if features.metric is not self._extractor.metric or features.descriptors.shape[1] != _columns(self._extractor):
            raise DataError(f"the re-ranker '{self.name}' compares {self._extractor.fingerprint}, and this view has other features")
        if not len(features):
            return None
        positions = (features.keypoints + np.float32(0.5)) / np.array(extent, dtype=np.float32)
        return FeatureSet(positions.astype(np.float32), _encoded(features.descriptors), extent)

    def _compared(self, query: FeatureSet | None, asked: Features | None, candidate: FeatureSet | None) -> Verification:
        if query is None or asked is None or candidate is None:
            return Verification.without(Doubt.NOTHING_TO_COMPARE)
        rows = match(asked, candidate.features(), query.metric, _MATCHING).indices
        source, target = query.positions[rows[:, 0]], candidate.positions[rows[:, 1]]
        return verify_by_ransac(source, target, self._tolerance, (np.array(query.size), np.array(candidate.size)))


@register_reranker("ransac")
def _make(settings: RerankSettings) -> RansacReranker:
    return RansacReranker()


def _columns(extractor: FeatureExtractor) -> int:
    return int(extractor.nothing().descriptors.shape[1])


def _encoded(descriptors: NDArray[Any]) -> NDArray[Any]:
    """(N, D) int8 with the direction of unit vectors; their length is known. Packed bits stay as they are."""
    if descriptors.dtype == np.uint8:
        return descriptors
    largest = np.maximum(np.abs(descriptors).max(axis=1, keepdims=True), 1e-12)
    return np.asarray(np.rint(descriptors * (127.0 / largest)), dtype=np.int8)


def _decoded(codes: NDArray[Any]) -> NDArray[Any]:
    if codes.dtype == np.uint8:
        return codes
    rows = codes.astype(np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _parsed(content: bytes) -> tuple[int, int, tuple[int, int], bool, bytes]:
    """Rows, columns, size of the image, whether they are bits, and what is between header and checksum.

    Raises:
        DataError: it is not whole, or something else.
    """
    if len(content) < _HEADER.size + _CHECKSUM.size or content[:4] != _MAGIC:
        raise DataError("this is not what the re-ranker 'ransac' keeps of an image: prepare the images anew")
    _, version, kind, rows, columns, width, height = _HEADER.unpack_from(content)
    body = content[_HEADER.size : -_CHECKSUM.size]
    if version != _VERSION:
        raise DataError(f"these local features are of version {version} of their format, not {_VERSION}: prepare the images anew")
    whole = kind < len(_KINDS) and 0 < rows <= _MOST and 0 < columns <= _MOST and len(body) == rows * (8 + columns)
    if not whole or 0 in (width, height) or _CHECKSUM.pack(zlib.crc32(content[: -_CHECKSUM.size])) != content[-_CHECKSUM.size :]:
        raise DataError("the local features for the re-ranker 'ransac' are damaged: prepare the images anew")
    return rows, columns, (width, height), kind == 1, body
