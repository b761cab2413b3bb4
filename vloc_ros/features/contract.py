"""The contract of a local feature extractor, and its registry by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError


@unique
class Metric(Enum):
    """How two descriptors are compared."""

    COSINE = "cosine"
    """Unit-length float32 rows; similarity is their dot product."""
    HAMMING = "hamming"
    """uint8 rows of packed bits; distance is the number of differing bits."""


@dataclass(frozen=True, slots=True)
class Features:
    """Key points of one image with their descriptors.

    Attributes:
        keypoints: (N, 2) float32 (u, v) [px]; (0, 0) is the centre of the top-left pixel.
        scores: (N,) float32, larger is better; only comparable within one extractor.
        sizes: (N,) float32 diameter of the described region [px].
        descriptors: (N, D) float32 of unit length (COSINE) or uint8 packed bits (HAMMING).
        disparity: (N,) float32 [px], NaN where no stereo match was found.
    """

    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    sizes: NDArray[np.float32]
    descriptors: NDArray[Any]
    disparity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.keypoints)

    @classmethod
    def none(cls, metric: Metric, descriptor_size: int) -> Features:
        """No features at all."""
        empty = np.zeros(0, dtype=np.float32)
        kind = np.uint8 if metric is Metric.HAMMING else np.float32
        descriptors = np.zeros((0, descriptor_size), dtype=kind)
        return cls(np.zeros((0, 2), dtype=np.float32), empty, empty, descriptors, empty)

    def select(self, index: NDArray[Any]) -> Features:
        """The features at an index array or boolean mask."""
        return Features(
            self.keypoints[index],
            self.scores[index],
            self.sizes[index],
            self.descriptors[index],
            self.disparity[index],
        )


@dataclass(frozen=True, slots=True)
class Matches:
    """Correspondences between two feature sets.

    Attributes:
        indices: (N, 2) int64 rows (index in a, index in b).
        similarity: (N,) float32 in [0, 1], larger is better.
    """

    indices: NDArray[np.int64]
    similarity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indices)


class FeatureExtractor(ABC):
    """Finds and describes key points in one image. Deterministic; keeps no state between images."""

    name: ClassVar[str]
    metric: ClassVar[Metric]

    def nothing(self) -> Features:
        """The empty set of features of this extractor."""
        return Features.none(self.metric, self.descriptor_size)

    @abstractmethod
    def __init__(self, max_features: int) -> None:
        """Build an extractor that returns the best ``max_features`` key points."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Text that is equal for two extractors exactly when their descriptors can be compared; stored in maps."""

    @property
    @abstractmethod
    def descriptor_size(self) -> int:
        """Number of columns of a descriptor array."""

    @abstractmethod
    def extract(self, image: Image) -> Features:
        """Features of an (H, W) grey or (H, W, 3) RGB uint8 image, disparity all NaN, best score first."""


_EXTRACTORS: dict[str, type[FeatureExtractor]] = {}
Opener = Callable[[Path, int], FeatureExtractor]
_OPENERS: dict[str, Opener] = {}


def register(extractor: type[FeatureExtractor]) -> type[FeatureExtractor]:
    """Class decorator that makes an extractor known by its ``name``."""
    _EXTRACTORS[extractor.name] = extractor
    return extractor


def extractors() -> list[str]:
    """Names of the registered extractors."""
    return sorted(_EXTRACTORS)


def register_file(suffix: str) -> Callable[[Opener], Opener]:
    """Decorator of what builds an extractor from a file of weights with this suffix (``.onnx``) and the largest count."""

    def remember(opener: Opener) -> Opener:
        _OPENERS[suffix] = opener
        return opener

    return remember


def create_extractor(name: str, max_features: int) -> FeatureExtractor:
    """Build an extractor by name, or from a file of weights.

    Raises:
        ConfigError: the name is not registered.
        WeightsError: a file of weights is missing or not of a network that is known.
    """
    if Path(name).suffix in _OPENERS:
        return _OPENERS[Path(name).suffix](Path(name), max_features)
    if name not in _EXTRACTORS:
        raise ConfigError(f"unknown features '{name}'; known: {', '.join(extractors())}")
    return _EXTRACTORS[name](max_features)
