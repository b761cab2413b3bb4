"""Batches of mined tuples: a query, a positive and negatives."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.training.augmentation import augment
from vloc_ros.training.mined_feed import MinedFeed
from vloc_ros.training.place_feed import prepared_on
from vloc_ros.training.place_views import ImageCache
from vloc_ros.training.sampling import Weighted, require_weights
from vloc_ros.training.sources.homographies import look, random_view
from vloc_ros.training.vpr_mining import DescribeRows, MinedTuple, Miner, Pictures, dumps, loads, require_negatives
from vloc_ros.training.vpr_settings import VprTraining, require_whole
from vloc_ros.training.vpr_sources import VprSource

_STREAM = 42  # of random numbers, apart from other uses of the seed


class VprBatch(NamedTuple):
    """T tuples with at most N negatives each, of M images; on one device.

    Attributes:
        images: (M, 3, S, S) as networks are given them; in between (M, S, S, 3) uint8.
        queries: (T,) rows of ``images``.
        positives: (T,) likewise.
        negatives: (T, N) likewise, -1 where a tuple has fewer.
    """

    images: Tensor
    queries: Tensor
    positives: Tensor
    negatives: Tensor


class VprSample(NamedTuple):
    """The images of one tuple: (2 + its negatives, S, S, 3) uint8 RGB, query and positive first."""

    images: NDArray[np.uint8]
    tag: str


class VprFeed(MinedFeed[MinedTuple, VprSample, VprBatch]):
    """See the module."""

    what = "queries"

    def __init__(self, learned: Sequence[Weighted[VprSource]], settings: VprTraining, size: int, folder: Path) -> None:
        """Remember where tuples are from; :meth:`mine_with` says what describes.

        Args:
            learned: sources.
            settings: all of them.
            size: height and width of the images that the network sees [px].
            folder: of the run.

        Raises:
            ConfigError: there is no source or nothing that can be a negative, a weight is not positive, or caches and epochs are
                not whole.
        """
        super().__init__(settings.training, settings.mining.cache_refresh_rate, folder)
        require_weights(learned, (), self.what)
        require_whole(settings)
        require_negatives([entry.source for entry in learned], settings.mining.negs_num_per_query)
        self.pictures = Pictures(learned)
        self._all, self._size = settings, size
        self._miner = Miner(self.pictures, settings.mining, settings.training.seed)
        self._cache = ImageCache(settings.images.cache_mb, size)
        self._describe: DescribeRows | None = None

    def mine_with(self, describe: DescribeRows) -> None:
        """Say what describes pictures: the network, as it is whenever it is asked."""
        self._describe = describe

    def settings(self) -> dict[str, Any]:
        """As the contract says: a run goes on only with the same pictures."""
        names = hashlib.sha256("\n".join(shot.name for shot in self.pictures.shots).encode()).hexdigest()
        of_sources = {
            f"data.{entry.name}": [entry.weight, len(entry.source), len(entry.source.shots)] for entry in self.pictures.sources
        }
        return of_sources | {"data.pictures": names}

    def _mine(self, cache: int) -> list[MinedTuple]:
        if self._describe is None:
            raise TypeError("say first what describes, with mine_with()")
        return self._miner.mine(cache, self._describe)

    def _dumps(self, mined: Sequence[MinedTuple], cache: int) -> str:
        return dumps(mined, cache)

    def _loads(self, text: str, cache: int, what: str) -> list[MinedTuple]:
        return loads(text, cache, len(self.pictures.shots), what)

    def sample(self, mined: MinedTuple, number: int) -> VprSample:
        """The images of a tuple; the number decides how they are altered."""
        rng = np.random.default_rng([self._settings.seed, _STREAM, number])
        flat = self.pictures.sources[self.pictures.source_of(mined.query)].source.flat
        rows = (mined.query, mined.positive, *mined.negatives)
        images = [self._altered(row, rng, flat and place < 2) for place, row in enumerate(rows)]
        return VprSample(np.stack(images), self.pictures.shots[mined.query].name)

    def image(self, row: int) -> Image:
        """The picture of a row, at the size that the network sees.

        Raises:
            VlocError: it cannot be read.
        """
        return self._cache.image((row, 0), self.pictures.shots[row].read)

    def _altered(self, row: int, rng: np.random.Generator, strays: bool) -> Image:
        image = self.image(row)
        if strays:
            view = self._all.images.view(self._size)
            image = look(image, random_view((image.shape[1], image.shape[0]), rng, view), view)
        return to_rgb(augment(image, rng, self._all.augmentation))

    def collate(self, samples: Sequence[VprSample]) -> VprBatch:
        """As the contract says."""
        most = max(len(sample.images) - 2 for sample in samples) if samples else 0
        queries, negatives, row = list[int](), np.full((len(samples), most), -1, dtype=np.int64), 0
        for place, sample in enumerate(samples):
            queries.append(row)
            count = len(sample.images) - 2
            negatives[place, :count] = np.arange(row + 2, row + 2 + count)
            row += len(sample.images)
        images = np.concatenate([sample.images for sample in samples])
        firsts = torch.tensor(queries, dtype=torch.int64)
        return VprBatch(torch.from_numpy(images), firsts, firsts + 1, torch.from_numpy(negatives))

    def on_device(self, batch: VprBatch, device: torch.device) -> VprBatch:
        """As the contract says."""
        images = prepared_on(batch.images, device)
        return VprBatch(images, *(part.to(device, non_blocking=True) for part in batch[1:]))
