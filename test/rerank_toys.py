"""A toy search that looks at the left half of an image, a toy re-ranker that looks at the right one, and images for both.

Neither is registered outside of a test, see :func:`register_toys`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from vloc_ros.data.frame import Image
from vloc_ros.data.model_card import ModelCard
from vloc_ros.data.places import Picture, PlaceDataset
from vloc_ros.errors import DataError
from vloc_ros.retrieval import Doubt, GlobalDescriptor, Reranker, RerankSettings, Verification, View, contract
from vloc_ros.retrieval import rerank as contract_of_rerankers

MATCHES = 50


def halves(left: int, right: int) -> Image:
    """(20, 40) grey, its halves of these levels."""
    image = np.full((20, 40), left, dtype=np.uint8)
    image[:, 20:] = right
    return image


class LeftHalf(GlobalDescriptor):
    """The brightness of the left half as an angle; black has nothing to describe."""

    name = "left_half"

    @property
    def card(self) -> ModelCard:
        return ModelCard(self.name, 2)

    def describe(self, view: View) -> np.ndarray:
        level = float(view.image[:, :20].mean())
        angle = level / 100.0
        return np.array([np.cos(angle), np.sin(angle)] if level else [0.0, 0.0], dtype=np.float32)


class RightHalf(Reranker):
    """Of 50 matches so many agree as the right halves differ by less than 50; black has nothing to compare."""

    name = "right_half"

    def __init__(self) -> None:
        self.prepared: list[int] = []
        """Left halves of what was prepared, in order."""

    @property
    def card(self) -> ModelCard:
        return ModelCard(self.name, 1)

    def prepare(self, views: Sequence[View]) -> list[float | None]:
        self.prepared += [int(view.image[0, 0]) for view in views]
        levels = [float(view.image[:, 20:].mean()) for view in views]
        return [level or None for level in levels]

    def verify(self, query: float | None, candidates: Sequence[float | None]) -> list[Verification]:
        return [self._one(query, candidate) for candidate in candidates]

    def to_bytes(self, kept: float) -> bytes:
        return struct.pack("<f", kept)

    def from_bytes(self, content: bytes) -> float:
        return float(struct.unpack("<f", content)[0])

    @staticmethod
    def _one(query: float | None, candidate: float | None) -> Verification:
        if query is None or candidate is None:
            return Verification.without(Doubt.NOTHING_TO_COMPARE)
        inliers = max(0, MATCHES - int(abs(query - candidate)))
        if inliers < 4:
            return Verification.without(Doubt.TOO_FEW_MATCHES, MATCHES)
        points = np.linspace(0.1, 0.9, 2 * inliers, dtype=np.float32).reshape(inliers, 2)
        return Verification(inliers, MATCHES, np.eye(3), points, points)


def register_toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are known by their names until the test ends."""
    monkeypatch.setitem(contract._MAKERS, LeftHalf.name, LeftHalf)
    monkeypatch.setitem(contract_of_rerankers._MAKERS, RightHalf.name, lambda settings: RightHalf())


def settings(**values: object) -> RerankSettings:
    return RerankSettings(reranker=RightHalf.name, **values)


def rows(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def broken() -> Image:
    raise DataError("broken.png is cut off")


def toy_set() -> PlaceDataset:
    """Three places, a broken picture beside them, and a query for each case."""
    database = [("d0", 10, 100), ("d1", 60, 150), ("d2", 110, 200)]
    queries = [
        ("won", 15, 150, [1]),
        ("still", 110, 200, [2]),
        ("lost", 60, 200, [1]),
        ("unknown", 15, 20, []),
        ("blank", 60, 0, [1]),
        ("tie", 60, 125, [1]),
    ]

    def picture(name: str, left: int, right: int) -> Picture:
        return Picture(name, partial(halves, left, right))

    return PlaceDataset(
        "toys",
        (*(picture(*query[:3]) for query in queries), Picture("broken", broken)),
        (*(picture(*one) for one in database), Picture("also broken", broken)),
        (*(rows(*query[3]) for query in queries), rows(0)),
    )
