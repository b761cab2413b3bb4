"""Describing many pictures with a network in training: for mining, and to judge it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.training.place_feed import prepared_on
from vloc_ros.training.vpr_objective import VprNetwork, look_in_parts
from vloc_ros.training.vpr_sources import Rows

_log = logging.getLogger(__name__)
ImageOfRow = Callable[[int], Image]
"""Reads the picture of a row at the size that the network sees; thread-safe."""


class Describer:
    """Pictures by row to descriptors, by a network as it is when it is asked."""

    def __init__(self, network: VprNetwork, image_of: ImageOfRow, device: torch.device, at_once: int, readers: int) -> None:
        """``at_once`` pictures go through together; so many threads read them."""
        self._network, self._image_of, self._device = network, image_of, device
        self._at_once, self._readers = at_once, max(1, readers)

    def __call__(self, rows: Rows) -> NDArray[np.float32]:
        """(N, D) global descriptors, as :data:`vloc_ros.training.vpr_mining.DescribeRows`.

        Raises:
            VlocError: a picture cannot be read.
        """
        _log.info("%d pictures are described", len(rows))
        return np.concatenate([mean.cpu().numpy() for mean, _ in self.seen(rows)])

    def seen(self, rows: Rows) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Global descriptors, and (N, C, S, S) local ones where the network has two stages, some pictures at a time."""
        with ThreadPoolExecutor(self._readers) as readers, evaluating(self._network):
            for first in range(0, len(rows), self._at_once):
                images = list(readers.map(self._image_of, rows[first : first + self._at_once].tolist()))
                stacked = torch.from_numpy(np.stack([to_rgb(image) for image in images]))
                yield look_in_parts(self._network, prepared_on(stacked, self._device), self._at_once)


@contextmanager
def evaluating(network: VprNetwork) -> Iterator[None]:
    """The network without dropout and gradients; afterwards it is as it was."""
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(training)
