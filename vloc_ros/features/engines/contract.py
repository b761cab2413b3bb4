"""The contract of what computes a network of local features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.local_model import LocalModel

Array = NDArray[np.float32]


class Maps(NamedTuple):
    """What a network makes of one image of H x W pixels.

    Attributes:
        logits: (H, W) of the detector.
        scores: (H, W) from 0 to 1.
        maps: what descriptors are sampled from, each (C_i, h, w) with w * stride >= W and h * stride >= H.
    """

    logits: Array
    scores: Array
    maps: tuple[Array, ...]


def continued(image: Array, multiple: int) -> Array:
    """A (1, C, H, W) image, continued to the right and downwards until its sides are multiples of what a network needs [px]."""
    height, width = image.shape[2:]
    missing = (-height % multiple, -width % multiple)
    if any(missing):
        image = np.pad(image, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])), mode="edge")
    return np.ascontiguousarray(image, dtype=np.float32)


class Engine(ABC):
    """Computes a network of local features.

    Attributes:
        name: as in the settings.
        model: what one must know of the network beside its maps.
    """

    name: str

    def __init__(self, model: LocalModel) -> None:
        self.model = model

    def run(self, image: Array) -> Maps:
        """Maps of a (1, C, H, W) image with values from 0 to 1, of any size.

        An image whose sides are not multiples of what the network needs is continued to the right and downwards.
        """
        height, width = image.shape[2:]
        logits, scores, *maps = self._compute(continued(image, self.model.multiple))
        inside = (slice(height), slice(width))
        first, second = (np.ascontiguousarray(one[0, 0][inside], dtype=np.float32) for one in (logits, scores))
        return Maps(first, second, tuple(np.asarray(one[0], dtype=np.float32) for one in maps))

    @abstractmethod
    def _compute(self, image: Array) -> list[NDArray[Any]]:
        """Logits, scores and maps of an image of a size that fits, each with a first axis of length 1."""
