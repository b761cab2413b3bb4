"""Batches of pairs: mixed by weight, cropped, augmented, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_ros.errors import ConfigError
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.objective import PairBatch, StereoBatch
from vloc_ros.training.pairs import PairSource, StereoTruth, TrainingPair
from vloc_ros.training.preparation import ImageSettings, prepared
from vloc_ros.training.sampling import SampleFeed, Weighted
from vloc_ros.training.settings import TrainingSettings


class PairFeed(SampleFeed[PairSource, TrainingPair, PairBatch]):
    """Batches of pairs from weighted sources."""

    what = "pairs"

    def __init__(
        self,
        learned: Sequence[Weighted[PairSource]],
        watched: Sequence[Weighted[PairSource]],
        settings: TrainingSettings,
        images: ImageSettings,
        augmentation: AugmentationSettings,
        colours: int,
        stereo: bool = False,
    ) -> None:
        """Remember where pairs are from.

        Args:
            learned: sources to learn from.
            watched: held-out sources; none when the loss is not to be watched.
            settings: of the loop.
            images: their size.
            augmentation: of what is learned from.
            colours: channels of an image of the network.
            stereo: whether the objective needs the stereo truth of pairs. Both images are then cropped alike, as they share a
                camera; without it each gets a crop of its own.

        Raises:
            ConfigError: there is no source, or a weight is not positive.
        """
        super().__init__(learned, watched, settings)
        self._images, self._augmentation, self._colours, self._stereo = images, augmentation, colours, stereo

    def sample(self, source: PairSource, index: int, rng: np.random.Generator, learned: bool) -> TrainingPair:
        """As the contract says."""
        pair = self._wanted(source.pair(index, rng))
        return prepared(pair, self._images, self._augmentation if learned else None, rng, self._colours)

    def _wanted(self, pair: TrainingPair) -> TrainingPair:
        """The pair with its stereo truth if that is needed, which a source without is an error; else without it."""
        if self._stereo and pair.stereo is None:
            raise ConfigError(f"the objective learns poses and needs stereo pairs, but '{pair.tag}' is none: leave its source out")
        return pair if self._stereo else replace(pair, stereo=None)

    def collate(self, samples: Sequence[TrainingPair]) -> PairBatch:
        """Pairs of one size side by side; the images are still uint8."""
        stereo = [pair.stereo for pair in samples]
        known = [truth for truth in stereo if truth is not None]
        return PairBatch(
            _images([pair.image_a for pair in samples]),
            _images([pair.image_b for pair in samples]),
            torch.from_numpy(np.stack([pair.warp for pair in samples])),
            _stereo(known) if len(known) == len(samples) else None,
        )

    def on_device(self, batch: PairBatch, device: torch.device) -> PairBatch:
        """The batch on a device, with images from 0 to 1."""
        stereo = batch.stereo
        if stereo is not None:
            stereo = StereoBatch(*(tensor.to(device, non_blocking=True) for tensor in stereo))
        image_a, image_b = (image.to(device, non_blocking=True).float() / 255.0 for image in (batch.images_a, batch.images_b))
        return PairBatch(image_a, image_b, batch.warp.to(device, non_blocking=True), stereo)


def _images(images: list[NDArray[np.uint8]]) -> Tensor:
    stacked = np.stack([image[..., None] if image.ndim == 2 else image for image in images])
    return torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2)))


def _stereo(truths: list[StereoTruth]) -> StereoBatch:
    cameras = [truth.camera for truth in truths]
    values = [[camera.fx, camera.fy, camera.cx, camera.cy, camera.baseline] for camera in cameras]
    return StereoBatch(
        torch.tensor(values, dtype=torch.float32),
        torch.from_numpy(np.stack([truth.disparity_a for truth in truths])).unsqueeze(1),
        torch.from_numpy(np.stack([truth.disparity_b for truth in truths])).unsqueeze(1),
        torch.from_numpy(np.stack([truth.b_T_a for truth in truths])).float(),
        torch.from_numpy(np.stack([truth.base_T_camera for truth in truths])).float(),
    )
