"""Tuples of images side by side: every image once, and which are whose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple
from vloc_ros.data.frame import Image
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.networks.preprocessing import INPUT_SIZE, preprocess

ImageOf = Callable[[KeyframeId], Image]
"""Reads the (H, W) grey or (H, W, 3) RGB image of a keyframe; raises a VlocError where there is none."""


class TupleBatch(NamedTuple):
    """T tuples with at most N negatives each and P outlier pairs, of M images; on one device.

    Attributes:
        images: (M, 3, H, W) prepared, as the networks take them.
        anchors: (T,) rows of ``images``.
        positives: (T,) likewise.
        negatives: (T, N) likewise, -1 where a tuple has fewer.
        weights: (T,) how much each tuple counts.
        queries: (P,) rows of ``images``.
        others: (P,) likewise, of what the query is not.
        pair_weights: (P,) how much each pair counts.
    """

    images: Tensor
    anchors: Tensor
    positives: Tensor
    negatives: Tensor
    weights: Tensor
    queries: Tensor
    others: Tensor
    pair_weights: Tensor

    @property
    def samples(self) -> int:
        """Tuples and pairs in it."""
        return len(self.anchors) + len(self.queries)

    def on(self, device: torch.device) -> TupleBatch:
        """The same on a device."""
        return TupleBatch(*(tensor.to(device) for tensor in self))


def collate(items: Sequence[TrainingTuple | OutlierPair], image_of: ImageOf, size: int = INPUT_SIZE) -> TupleBatch:
    """Tuples and outlier pairs as a batch, on the CPU; an image that several of them show is read and prepared once.

    ``size`` is what the network sees [px].

    Raises:
        VlocError: an image cannot be read.
    """
    tuples = [item for item in items if isinstance(item, TrainingTuple)]
    pairs = [item for item in items if isinstance(item, OutlierPair)]
    rows = {id: row for row, id in enumerate(dict.fromkeys(id for item in items for id in item.keyframes))}
    negatives = np.full((len(tuples), max((len(item.negatives) for item in tuples), default=0)), -1, dtype=np.int64)
    for row, item in zip(negatives, tuples, strict=True):
        row[: len(item.negatives)] = [rows[id] for id in item.negatives]
    return TupleBatch(
        torch.from_numpy(preprocess([image_of(id) for id in rows], size)),
        _rows([rows[item.anchor] for item in tuples]),
        _rows([rows[item.positive] for item in tuples]),
        torch.from_numpy(negatives),
        torch.tensor([item.weight for item in tuples], dtype=torch.float32),
        _rows([rows[pair.query] for pair in pairs]),
        _rows([rows[pair.negative] for pair in pairs]),
        torch.tensor([pair.weight for pair in pairs], dtype=torch.float32),
    )


def _rows(rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64)
