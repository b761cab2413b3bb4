"""Coarse to fine: a second global descriptor puts the best of those that a search by the first one found into its own order.

Hu et al. 2021 (DISAM), section III-D: a coarse model finds the places, and a fine one, which would confuse more of them in a large
map, tells the few that are left apart. Any two descriptors can work so.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.retrieval.contract import GlobalDescriptor, Needs, View, create_descriptor
from vloc_ros.retrieval.rerank import Doubt, Reranker, RerankSettings, Verification

NONE = "none"
"""Name of no fine stage."""
_HEADER, _CHECKSUM = struct.Struct("<4sHI"), struct.Struct("<I")
_MAGIC, _VERSION = b"VLFV", 1
_UNIT = 0.01  # a vector of float16 is that near to unit length

Vector = NDArray[np.float16]


@dataclass(frozen=True)
class CoarseToFineSettings:
    """The fine stage of retrieval: a second descriptor, which orders the best that the first one found."""

    fine: str = param(NONE, "none, or a second descriptor: a name as for the first one, or a file of weights (*.safetensors)")
    candidates: int = param(5, "of the best found that the fine descriptor orders anew", min=1, max=1000, live=True)
    # What confuses one of two descriptors seldom confuses the other: their mean finds more than either (docs/disam.md).
    search_share: float = param(
        0.5, "of the similarity of the search in that order; 0: that of the fine descriptor alone, as published", min=0.0, max=1.0
    )

    @property
    def ranking(self) -> RerankSettings:
        """As :func:`~vloc_ros.retrieval.reranking.rerank` and whatever goes through it takes them."""
        return RerankSettings(reranker=self.fine, candidates=self.candidates)


class FineReranker(Reranker):
    """A global descriptor as a re-ranker: it compares whole images by its similarity, and knows no homography.

    What it keeps of an image is the vector in float16, 1 KiB of 512 elements.
    """

    name: ClassVar[str] = "fine"
    keeps: ClassVar[str] = "fine vectors"

    def __init__(self, descriptor: GlobalDescriptor, search_share: float = 0.0) -> None:
        """Around a descriptor of images; ``search_share`` is that of the search in the order.

        Raises:
            ConfigError: it describes local features.
        """
        if descriptor.needs is not Needs.IMAGE:
            raise ConfigError(
                f"coarse_to_fine.fine: '{descriptor.name}' describes local features, and a fine stage needs a descriptor of "
                "images, for example disam_fine"
            )
        self.descriptor, self.search_share = descriptor, search_share

    @property
    def card(self) -> ModelCard:
        """That of the descriptor, and that its vectors are kept in float16."""
        card = self.descriptor.card
        return ModelCard(card.name, card.dimension, card.sha256, f"{card.preprocessing}; whole vectors in float16")

    @property
    def title(self) -> str:
        """That of the descriptor, as there are many."""
        return f"{self.descriptor.card.name} {self.descriptor.card.sha256[:12]}".strip()

    @property
    def conditions(self) -> tuple[str, ...]:
        """Those of the descriptor."""
        return self.descriptor.conditions

    def prepare(self, views: Sequence[View]) -> list[Vector | None]:
        """(D,) float16 vector of each image; None for one with nothing to describe.

        Raises:
            DataError: a view has no image.
        """
        vectors = self.descriptor.describe_many(views).astype(np.float16)
        return [vector if vector.any() else None for vector in vectors]

    def verify(self, query: Vector | None, candidates: Sequence[Vector | None]) -> list[Verification]:
        """Dot products."""
        if query is None:
            return [Verification.without(Doubt.NOTHING_TO_COMPARE) for _ in candidates]
        asked = query.astype(np.float32)
        return [
            Verification.without(Doubt.NOTHING_TO_COMPARE)
            if candidate is None
            else Verification.by_similarity(float(asked @ candidate.astype(np.float32)))
            for candidate in candidates
        ]

    def to_bytes(self, kept: Vector | None) -> bytes:
        """A header, the vector, and a checksum; nothing for nothing."""
        if kept is None:
            return b""
        content = _HEADER.pack(_MAGIC, _VERSION, len(kept)) + kept.astype("<f2").tobytes()
        return content + _CHECKSUM.pack(zlib.crc32(content))

    def from_bytes(self, content: bytes) -> Vector | None:
        """The inverse.

        Raises:
            DataError: the content is damaged, or of another descriptor.
        """
        if not content:
            return None
        what = f"the vector for the fine stage '{self.descriptor.card.name}'"
        if len(content) < _HEADER.size + _CHECKSUM.size or content[:4] != _MAGIC:
            raise DataError(f"this is not {what}: prepare the images anew")
        _, version, length = _HEADER.unpack_from(content)
        body = content[_HEADER.size : -_CHECKSUM.size]
        if (version, length) != (_VERSION, self.descriptor.card.dimension):
            raise DataError(f"{what} is of another descriptor or release: prepare the images anew")
        if len(body) != 2 * length or _CHECKSUM.pack(zlib.crc32(content[: -_CHECKSUM.size])) != content[-_CHECKSUM.size :]:
            raise DataError(f"{what} is damaged: prepare the images anew")
        vector = np.frombuffer(body, dtype="<f2").astype(np.float16)
        if not abs(float(np.linalg.norm(vector.astype(np.float32))) - 1.0) <= _UNIT:
            raise DataError(f"{what} is not of unit length: prepare the images anew")
        return vector


def fine_stage(settings: CoarseToFineSettings) -> FineReranker | None:
    """The fine stage that somebody asked for, None for ``none``.

    Raises:
        ConfigError: the name is unknown, or what it needs is not installed or not shipped, or it describes local features.
        WeightsError: the file of weights, or its card, is missing, damaged or of another network.
    """
    return None if settings.fine == NONE else FineReranker(create_descriptor(settings.fine), settings.search_share)
