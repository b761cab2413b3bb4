"""The contract of a re-ranker: what a closer look says of the images that a search found, their new order, and the registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import ConfigError
from vloc_ros.retrieval.contract import Needs, View

Id = TypeVar("Id", bound=Hashable)
Kept = Any
"""What a re-ranker keeps of an image: its own affair, see :meth:`Reranker.prepare` and :meth:`Reranker.to_bytes`."""

MatchProbabilities = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""(N,) inliers and (N,) shares of inliers among the matches to (N,) probabilities that the candidate shows the place."""


@unique
class Doubt(Enum):
    """Why a candidate has no homography."""

    NOTHING_TO_COMPARE = "nothing_to_compare"
    """One of the images has nothing to describe."""
    TOO_FEW_MATCHES = "too_few_matches"
    """Fewer than four."""
    DEGENERATE = "degenerate"
    """Four points nearly on a line, or turned inside out: no camera sees a plane so."""
    NO_MODEL = "no_model"
    """RANSAC found none."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a closer look, mostly by geometry, says of one candidate.

    Attributes:
        inliers: matches that agree with the homography; 0 without one.
        matches: all matches.
        homography: (3, 3) float64 from the query to the candidate, None without one. Positions are shares of the width and the
            height of the image: (0, 0) is its upper left corner, (1, 1) its lower right one.
        query_points: (inliers, 2) float32 positions in the query.
        candidate_points: (inliers, 2) float32 positions in the candidate.
        doubt: why there is no homography, None where there is one.
        similarity: of a re-ranker that compares whole images by it and looks for no homography; None from all others.
    """

    inliers: int
    matches: int
    homography: NDArray[np.float64] | None
    query_points: NDArray[np.float32]
    candidate_points: NDArray[np.float32]
    doubt: Doubt | None = None
    similarity: float | None = None

    @classmethod
    def without(cls, doubt: Doubt, matches: int = 0) -> Verification:
        """One that found no homography."""
        nothing = np.zeros((0, 2), dtype=np.float32)
        return cls(0, matches, None, nothing, nothing, doubt)

    @classmethod
    def by_similarity(cls, similarity: float) -> Verification:
        """One that looked for no homography."""
        nothing = np.zeros((0, 2), dtype=np.float32)
        return cls(0, 0, None, nothing, nothing, None, similarity)

    @property
    def share(self) -> float:
        """Inliers among the matches, 0 without any."""
        return self.inliers / self.matches if self.matches else 0.0


class Reranker(ABC):
    """Compares a query with candidates, pair by pair. Deterministic, and without a state that answers depend on.

    Attributes:
        name: what users call it.
        needs: the part of a :class:`~vloc_ros.retrieval.contract.View` that must be there.
        keeps: what people call that which it keeps of an image, in the plural.
        search_share: of the similarity of the search, from 0 to 1, in the order of those that it gives a similarity.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs] = Needs.IMAGE
    keeps: ClassVar[str] = "patches"
    search_share: float = 0.0

    @property
    @abstractmethod
    def card(self) -> ModelCard:
        """What makes :data:`Kept`; only such of equal cards can be compared. Its dimension is that of a local descriptor."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """Those that it can be told in ``View.condition``; none where the condition makes no difference to it."""
        return ()

    @property
    def title(self) -> str:
        """Its name and the first digits of the hash of its weights, for people."""
        return f"{self.name} {self.card.sha256[:12]}".strip()

    def takes_features(self, fingerprint: str) -> bool:
        """Whether local features of that fingerprint do instead of the image; only where :attr:`needs` says features."""
        return False

    @abstractmethod
    def prepare(self, views: Sequence[View]) -> list[Kept]:
        """What is kept of each image; None for one with nothing to describe.

        Raises:
            DataError: a view lacks what :attr:`needs` says.
        """

    @abstractmethod
    def verify(self, query: Kept, candidates: Sequence[Kept]) -> list[Verification]:
        """What it says of each candidate; candidates go through together where that is faster."""

    @property
    def probability(self) -> MatchProbabilities | None:
        """What was learned about this re-ranker: how probable candidates are. None where nothing was."""
        return None

    def bounds(self, query: Kept, candidates: Sequence[Kept]) -> list[int] | None:
        """How many inliers each candidate can have at most, in a fraction of the time that :meth:`verify` takes; None: unknown."""
        return None

    @abstractmethod
    def to_bytes(self, kept: Kept) -> bytes:
        """For a map or a file; as compact as the settings of the re-ranker say."""

    @abstractmethod
    def from_bytes(self, content: bytes) -> Kept:
        """The inverse.

        Raises:
            DataError: the content is damaged, or of another re-ranker.
        """


@unique
class Storage(Enum):
    """How local descriptors of patches are kept, in a map as in memory."""

    FLOAT16 = "float16"
    """Two bytes per element."""
    INT8 = "int8"
    """One byte per element, and a scale per patch."""
    PQ = "pq"
    """Product quantisation: a byte for several elements; needs a code book beside the weights."""


@dataclass(frozen=True)
class RerankSettings:
    """Re-ranking of what a search by global descriptors found."""

    reranker: str = param("none", "none, homography, ransac, or a file of weights (*.safetensors)")
    candidates: int = param(32, "of the best found that are compared", min=1, max=1000, live=True)
    settle: int = param(
        0,
        "so many accepted candidates end the comparison, where inliers, a share or a probability is asked for; 0 compares all",
        min=0,
        max=1000,
        live=True,
    )
    max_ms: float = param(
        0.0, "no further candidate is compared after so long; 0: however long it takes", unit="ms", min=0.0, max=1e6, live=True
    )
    min_inliers: int = param(0, "a candidate with fewer inliers is not accepted", min=0, max=100000, live=True)
    min_share: float = param(0.0, "nor one with a smaller share of inliers among its matches", min=0.0, max=1.0, live=True)
    min_probability: float = param(
        0.0, "nor one that is less probable, where probabilities were learned", min=0.0, max=1.0, live=True
    )
    certain: int = param(
        0,
        "so many of the best are certain, and what cannot be among them is not compared; 0 compares all",
        min=0,
        max=1000,
        live=True,
    )
    storage: Storage = param(Storage.INT8, "of the patches that homography and patches compare: float16, int8 or pq")
    integers: bool = param(False, "the homography network in 8-bit integers: faster on a CPU, counts may differ a little")
    inlier_patches: float = param(3.0, "largest error of an inlier", unit="patches", min=0.1, max=100.0)

    @property
    def asks(self) -> bool:
        """Whether a candidate must have more than a homography to be accepted."""
        return self.min_inliers > 0 or self.min_share > 0.0 or self.min_probability > 0.0


@dataclass(frozen=True, slots=True)
class Reranked(Generic[Id]):
    """The answer to a query.

    Attributes:
        ids: all that the search found: those that were compared, by falling similarity or inliers, with ties in the order of the
            search; then the others in that order.
        verifications: of the first ``len(verifications)`` of them.
        accepted: of these, whether each is believed to show the place. None of them: the place is unknown.
        probabilities: of these, that it does; None where they were never learned.
        compared_ms: time that the comparison took [ms].
    """

    ids: list[Id]
    verifications: list[Verification]
    accepted: list[bool]
    probabilities: list[float] | None
    compared_ms: float


RerankerMaker = Callable[[RerankSettings], Reranker]
RerankerFileMaker = Callable[[Path, RerankSettings], Reranker]
M = TypeVar("M", bound=RerankerMaker)
F = TypeVar("F", bound=RerankerFileMaker)
_MAKERS: dict[str, RerankerMaker] = {}
_FILE_MAKERS: dict[str, RerankerFileMaker] = {}


def register_reranker(name: str) -> Callable[[M], M]:
    """Decorator that makes a class or function, called with the settings, known as the maker of a re-ranker."""

    def known(maker: M) -> M:
        _MAKERS[name] = maker
        return maker

    return known


def register_reranker_file(suffix: str) -> Callable[[F], F]:
    """Decorator that makes a function known as the maker of re-rankers from files whose names end so."""

    def known(maker: F) -> F:
        _FILE_MAKERS[suffix] = maker
        return maker

    return known


def rerankers() -> list[str]:
    """Names of the registered re-rankers."""
    return sorted(_MAKERS)


def create_reranker(name: str, settings: RerankSettings | None = None) -> Reranker:
    """Build a re-ranker by name, or from a file of weights.

    Args:
        name: one of :func:`rerankers`, or the path of a file of weights.
        settings: how it compares and stores; by default the default settings.

    Raises:
        ConfigError: the name is unknown, or what it needs is not installed or not shipped.
        WeightsError: the file of weights, or its card, is missing, damaged or of another network.
    """
    settings = settings or RerankSettings()
    if name in _MAKERS:
        return _MAKERS[name](settings)
    from_file = _FILE_MAKERS.get(Path(name).suffix)
    if from_file is None:
        raise ConfigError(f"unknown re-ranker '{name}'; known: {', '.join(rerankers())}, or a file of weights (*.safetensors)")
    return from_file(Path(name), settings)
