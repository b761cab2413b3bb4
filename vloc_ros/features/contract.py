"""The contract of a local feature extractor, and its registry by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.models import shipped_features
from vloc_ros.errors import ConfigError, WeightsError
from vloc_ros.features.learned_settings import LearnedSettings


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

    @property
    def metric(self) -> Metric:
        """How the descriptors are compared, which their type says."""
        return Metric.HAMMING if self.descriptors.dtype == np.uint8 else Metric.COSINE

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
    """Finds and describes key points in one image. Deterministic; keeps no state between images.

    Attributes:
        name: under which maps keep its features; never a path.
        metric: how its descriptors are compared.
    """

    name: str
    metric: Metric

    def nothing(self) -> Features:
        """The empty set of features of this extractor."""
        return Features.none(self.metric, self.descriptor_size)

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


Maker = Callable[[int], FeatureExtractor]
FileMaker = Callable[[Path, int, LearnedSettings], FeatureExtractor]
M = TypeVar("M", bound=Maker)
F = TypeVar("F", bound=FileMaker)

_MAKERS: dict[str, Maker] = {}
_FILE_MAKERS: dict[str, FileMaker] = {}


def register(name: str) -> Callable[[M], M]:
    """Decorator that makes a class or function, called with the number of features wanted, known as the maker of an extractor."""

    def known(maker: M) -> M:
        _MAKERS[name] = maker
        return maker

    return known


def register_file(ending: str) -> Callable[[F], F]:
    """Decorator that makes a function known as the maker of extractors from files whose names end so.

    It is called with the path, the number of features wanted and the settings of learned features. Where several endings fit,
    the longest wins: ``xfeat.onnx`` before ``.onnx``.
    """

    def known(maker: F) -> F:
        _FILE_MAKERS[ending] = maker
        return maker

    return known


def extractors() -> list[str]:
    """Names of the extractors that are there: those that need no weights, and those whose weights are shipped."""
    return sorted({*_MAKERS, *shipped_features()})


def require_known(name: str) -> None:
    """Make sure that an extractor of this name can be asked for; whether its file can be read is seen when it is built.

    Raises:
        ConfigError: it is neither a known name nor a file of weights of a known kind.
        WeightsError: there is no such file.
    """
    if name not in _MAKERS:
        _weights_of(name)


def create_extractor(name: str, max_features: int, learned: LearnedSettings | None = None) -> FeatureExtractor:
    """Build an extractor by name, or from the file of a network's weights, as in ``models/site.safetensors``.

    Args:
        name: one of :func:`extractors`, or the path of a file of weights.
        max_features: it returns so many key points at most.
        learned: how networks run; a hand-made extractor has no use for it. By default the default settings.

    Raises:
        ConfigError: the name is not known, or what it needs is not installed.
        WeightsError: the file of weights, or its card, is missing, damaged or of another network.
    """
    if name in _MAKERS:
        return _MAKERS[name](max_features)
    path, maker = _weights_of(name)
    return maker(path, max_features, learned or LearnedSettings())


def _weights_of(name: str) -> tuple[Path, FileMaker]:
    """The file of weights that a name means, shipped or given by its path, and what makes an extractor of it.

    Raises:
        ConfigError: the name is neither that of shipped weights nor of a file of a known kind.
        WeightsError: there is no such file.
    """
    shipped = shipped_features().get(name)
    path = shipped or Path(name).expanduser()
    maker = _file_maker(path.name)
    if maker is None:
        raise ConfigError(f"unknown features '{name}'; known: {', '.join(extractors())}, or a file of weights ({_endings()})")
    if shipped is None and not path.is_file():
        raise WeightsError(f"features '{name}': there is no such file; `vloc weights list` shows the weights that there are")
    return path, maker


def _file_maker(name: str) -> FileMaker | None:
    fitting = [ending for ending in _FILE_MAKERS if name.endswith(ending)]
    return _FILE_MAKERS[max(fitting, key=len)] if fitting else None


def _endings() -> str:
    return ", ".join(f"*{ending}" for ending in sorted(_FILE_MAKERS))
