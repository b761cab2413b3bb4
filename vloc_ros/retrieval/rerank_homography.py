"""Re-ranking by the homography that a network estimates in one shot (DHE-VPR), and by RANSAC on the same patches beside it.

Lu et al., "Deep Homography Estimation for Visual Place Recognition", AAAI 2024, section 3.3: patches that are each other's nearest
and agree with the homography, within three patches, are counted.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.model_card import ModelCard
from vloc_ros.data.models import shipped_places
from vloc_ros.data.weights import SUFFIX
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.geometry.four_points import homographies_of, inliers_of
from vloc_ros.retrieval.contract import Needs, View
from vloc_ros.retrieval.integer_pairs import integer_engine
from vloc_ros.retrieval.match_model import MatchModel, load_match_model
from vloc_ros.retrieval.pair_engine import PairEngine, pair_engine
from vloc_ros.retrieval.patch_codebook import PatchCodebook, load_codebook
from vloc_ros.retrieval.patch_codes import PatchCodec, PatchMap
from vloc_ros.retrieval.patch_matching import mutual_matches, padded, patch_centres
from vloc_ros.retrieval.ransac import verify_by_ransac
from vloc_ros.retrieval.rerank import (
    Doubt,
    MatchProbabilities,
    Reranker,
    RerankSettings,
    Verification,
    register_reranker,
    register_reranker_file,
)

SHIPPED = "cct"
"""Name of the shipped weights."""
LEAST = 4
"""Matches that a homography takes."""
_BATCH = 8
"""Candidates that a network sees at once: their correlations alone take 10 MB."""


class PatchReranker(Reranker):
    """What the two have in common: they compare the patches of a network that finds candidates as well."""

    needs: ClassVar[Needs] = Needs.IMAGE

    def __init__(
        self,
        engine: PairEngine,
        settings: RerankSettings | None = None,
        book: PatchCodebook | None = None,
        learned: MatchModel | None = None,
    ) -> None:
        """Build it.

        Args:
            engine: computes the network.
            settings: how patches are stored, and how far an inlier may be off.
            book: for product quantisation.
            learned: how probable its candidates are, None where that was never learned.

        Raises:
            ConfigError: product quantisation is asked for, and there is no code book.
        """
        settings = settings or RerankSettings()
        self._engine, self._learned = engine, learned
        self._codec = PatchCodec(settings.storage, engine.side**2, engine.channels, engine.card.sha256, book)
        self._centres = patch_centres(engine.side)
        self._tolerance = settings.inlier_patches / engine.side

    @property
    def card(self) -> ModelCard:
        """That of the weights, with the length of a local descriptor."""
        card = self._engine.card
        return ModelCard(card.name, self._engine.channels, card.sha256, card.preprocessing)

    @property
    def probability(self) -> MatchProbabilities | None:
        """As the contract says."""
        return self._learned

    def prepare(self, views: Sequence[View]) -> list[PatchMap | None]:
        """The encoded patches of each image; None for one of one colour.

        Raises:
            DataError: a view has no image.
        """
        images = [view.image for view in views]
        if any(image is None for image in images):
            raise DataError(f"the re-ranker '{self.name}' needs the image of a view, and it holds none")
        seen = [index for index, image in enumerate(images) if image is not None and image.size and image.min() != image.max()]
        kept: list[PatchMap | None] = [None] * len(images)
        for start in range(0, len(seen), _BATCH):
            batch = seen[start : start + _BATCH]
            _, rows = self._engine.look([image for image in (images[index] for index in batch) if image is not None])
            for index, one in zip(batch, rows, strict=True):
                kept[index] = self._codec.encode(one)
        return kept

    def bounds(self, query: PatchMap | None, candidates: Sequence[PatchMap | None]) -> list[int]:
        """Mutual matches: more than these cannot agree with a homography."""
        if query is None:
            return [0] * len(candidates)
        asked = query.rows()
        return [0 if one is None else _counted(mutual_matches(asked, one.rows()[None])[0]) for one in candidates]

    def verify(self, query: PatchMap | None, candidates: Sequence[PatchMap | None]) -> list[Verification]:
        """Candidates that have something to compare and four matches go through together."""
        result = [Verification.without(Doubt.NOTHING_TO_COMPARE) for _ in candidates]
        if query is None:
            return result
        asked = query.rows()
        for start in range(0, len(candidates), _BATCH):
            batch = [(index, one) for index, one in enumerate(candidates[start : start + _BATCH], start) if one is not None]
            rows = np.array([one.rows() for _, one in batch], dtype=np.float32).reshape(len(batch), *asked.shape)
            matches = mutual_matches(asked, rows)
            for (index, _), of_it in zip(batch, matches, strict=True):
                result[index] = Verification.without(Doubt.TOO_FEW_MATCHES, len(of_it))
            enough = [at for at, of_it in enumerate(matches) if len(of_it) >= LEAST]
            if enough:
                compared = self._compared(asked, rows[enough], [matches[at] for at in enough])
                for at, one in zip(enough, compared, strict=True):
                    result[batch[at][0]] = one
        return result

    def to_bytes(self, kept: PatchMap | None) -> bytes:
        """See :class:`~vloc_ros.retrieval.patch_codes.PatchCodec`."""
        return self._codec.to_bytes(kept)

    def from_bytes(self, content: bytes) -> PatchMap | None:
        """The inverse.

        Raises:
            DataError: it is damaged, or of other weights or another code book.
        """
        return self._codec.from_bytes(content)

    @abstractmethod
    def _compared(
        self, query: NDArray[np.float32], candidates: NDArray[np.float32], matches: Sequence[NDArray[np.int64]]
    ) -> list[Verification]:
        """What geometry says of (B, N, C) candidates with at least four matches each."""


class HomographyReranker(PatchReranker):
    """The homography comes from the network."""

    name: ClassVar[str] = "homography"

    def _compared(
        self, query: NDArray[np.float32], candidates: NDArray[np.float32], matches: Sequence[NDArray[np.int64]]
    ) -> list[Verification]:
        points = self._engine.points(query, candidates) / self._engine.size
        homographies, good = homographies_of(points[:, :4], points[:, 4:])
        source = padded([self._centres[of_it[:, 0]] for of_it in matches])
        target = padded([self._centres[of_it[:, 1]] for of_it in matches])
        inliers = inliers_of(homographies, source, target, self._tolerance)
        found = []
        for row, of_it in enumerate(matches):
            if not good[row]:
                found.append(Verification.without(Doubt.DEGENERATE, len(of_it)))
                continue
            agreeing = of_it[inliers[row, : len(of_it)]]
            here, there = self._centres[agreeing[:, 0]], self._centres[agreeing[:, 1]]
            found.append(Verification(len(agreeing), len(of_it), homographies[row], here, there))
        return found


class PatchRansacReranker(PatchReranker):
    """The homography comes from RANSAC on the same matches: what the network's is worth."""

    name: ClassVar[str] = "patches"

    def _compared(
        self, query: NDArray[np.float32], candidates: NDArray[np.float32], matches: Sequence[NDArray[np.int64]]
    ) -> list[Verification]:
        return [verify_by_ransac(self._centres[one[:, 0]], self._centres[one[:, 1]], self._tolerance) for one in matches]


@register_reranker_file(SUFFIX)
def load_homography(path: Path, settings: RerankSettings) -> HomographyReranker:
    """The re-ranker by homography whose weights are in a file.

    Raises:
        ConfigError: what computes it is not installed, or storage is ``pq`` without a code book beside the weights.
        DataError: the code book or the match model beside it is damaged or of other weights.
        WeightsError: the file or its card is missing or damaged, or of another network.
    """
    engine, _, book, learned = _opened(path, settings, HomographyReranker.name)
    return HomographyReranker(integer_engine(path, engine) if settings.integers else engine, settings, book, learned)


def load_patches(path: Path, settings: RerankSettings) -> PatchRansacReranker:
    """The re-ranker by RANSAC on the patches of a file of weights; raises as :func:`load_homography`."""
    return PatchRansacReranker(*_opened(path, settings, PatchRansacReranker.name))


@register_reranker(HomographyReranker.name)
def _homography(settings: RerankSettings) -> HomographyReranker:
    return load_homography(_shipped(HomographyReranker.name), settings)


@register_reranker(PatchRansacReranker.name)
def _patches(settings: RerankSettings) -> PatchRansacReranker:
    return load_patches(_shipped(PatchRansacReranker.name), settings)


def _opened(
    path: Path, settings: RerankSettings, name: str
) -> tuple[PairEngine, RerankSettings, PatchCodebook | None, MatchModel | None]:
    engine = pair_engine(path)
    weights = engine.card.sha256
    return engine, settings, load_codebook(path, weights), load_match_model(path, weights, name)


def _shipped(name: str) -> Path:
    path = shipped_places().get(SHIPPED)
    if path is None:
        raise ConfigError(
            f"the re-ranker '{name}' needs the weights {SHIPPED}{SUFFIX}, and this installation has none: name a file of weights "
            "in its place, or use 'ransac'"
        )
    return path


def _counted(matches: NDArray[np.int64]) -> int:
    return len(matches) if len(matches) >= LEAST else 0
