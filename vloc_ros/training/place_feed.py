"""Batches of places: P places with K images each, mixed by weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vloc_ros.networks.preprocessing import DEVIATION, INPUT_SIZE, MEAN
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.place_numbers import PlaceNumbers
from vloc_ros.training.place_views import ImageCache, PlaceImageSettings, PlaceSample, altered_view, chosen_views, plain_view
from vloc_ros.training.places import Place, PlaceSource
from vloc_ros.training.sampling import SampleFeed, Weighted
from vloc_ros.training.settings import TrainingSettings


class PlaceBatch(NamedTuple):
    """N images of P places, on one device.

    Attributes:
        images: (N, 3, S, S) as networks are given them; in between (N, S, S, 3) uint8.
        places: (N,) int64, what :class:`vloc_ros.training.place_numbers.PlaceNumbers` calls their places.
    """

    images: Tensor
    places: Tensor


class _Numbered:
    """A source that knows which one it is."""

    def __init__(self, number: int, source: PlaceSource) -> None:
        self.number, self._source = number, source

    def __len__(self) -> int:
        return len(self._source)

    def place(self, index: int) -> Place:
        return self._source.place(index)


class PlaceFeed(SampleFeed[_Numbered, PlaceSample, PlaceBatch]):
    """Batches of places from weighted sources.

    Attributes:
        numbers: of the places of all sources.
    """

    what = "places"

    def __init__(
        self,
        learned: Sequence[Weighted[PlaceSource]],
        watched: Sequence[Weighted[PlaceSource]],
        settings: TrainingSettings,
        images: PlaceImageSettings,
        augmentation: AugmentationSettings,
        read_at: int = INPUT_SIZE,
    ) -> None:
        """Remember where places are from.

        Args:
            learned: sources to learn from.
            watched: held-out sources; none when the loss is not to be watched.
            settings: of the loop; a batch counts places.
            images: size and views; the size is that of the network.
            augmentation: of what is learned from.
            read_at: size that images have before views of them are made, which is what the network sees on the robot [px].

        Raises:
            ConfigError: there is no source, or a weight is not positive.
        """
        everything = [*learned, *watched]
        self.numbers = PlaceNumbers([entry.source for entry in everything])
        numbered = [Weighted(_Numbered(k, entry.source), entry.weight, entry.name) for k, entry in enumerate(everything)]
        super().__init__(numbered[: len(learned)], numbered[len(learned) :], settings)
        self._images, self._augmentation = images, augmentation
        self._cache = ImageCache(images.cache_mb, read_at)

    def sample(self, source: _Numbered, index: int, rng: np.random.Generator, learned: bool) -> PlaceSample:
        """As the contract says."""
        place, plain = source.place(index), self.numbers.number(source.number, index)
        views = chosen_views(place, self._images.per_place, rng)
        images = [self._cache.image((plain, view), place.views[view].read) for view in views]
        if not learned:
            return PlaceSample(plain, np.stack([plain_view(image, self._images.size) for image in images]), place.name)
        mirrored = bool(rng.random() < self._images.mirrored)
        made = [altered_view(image, rng, self._images, self._augmentation, mirrored) for image in images]
        return PlaceSample(plain + int(mirrored), np.stack(made), place.name)

    def collate(self, samples: Sequence[PlaceSample]) -> PlaceBatch:
        """As the contract says."""
        count = self._images.per_place
        numbers = np.repeat(np.array([sample.place for sample in samples], dtype=np.int64), count)
        return PlaceBatch(torch.from_numpy(np.concatenate([sample.images for sample in samples])), torch.from_numpy(numbers))

    def on_device(self, batch: PlaceBatch, device: torch.device) -> PlaceBatch:
        """As the contract says."""
        return PlaceBatch(prepared_on(batch.images, device), batch.places.to(device, non_blocking=True))


def prepared_on(images: Tensor, device: torch.device) -> Tensor:
    """(N, 3, S, S) images as networks are given them, on a device, of (N, S, S, 3) uint8."""
    # Channels stay last in memory, which networks take over: a step takes two thirds of the time on a CPU.
    images = images.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255.0
    mean, deviation = (torch.from_numpy(values).to(device).reshape(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return (images - mean) / deviation
