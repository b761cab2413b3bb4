"""From sources of pairs to batches: mixed by weight, cropped, augmented, side by side, by processes of their own.

Which pair a sample is and how it is altered follows from the seed and the number of the sample (step times size of the batch plus
place in it) alone: not from the process that makes it, nor from what was made before.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vloc_ros.errors import ConfigError, TrainingError, VlocError
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.distributed import Group
from vloc_ros.training.feed import Feed, Portion
from vloc_ros.training.objective import PairBatch, StereoBatch
from vloc_ros.training.pairs import PairSource, StereoTruth, TrainingPair
from vloc_ros.training.preparation import ImageSettings, prepared
from vloc_ros.training.settings import TrainingSettings

_LEARNED, _WATCHED = 0, 1  # streams of random numbers, for samples to learn from and held-out ones
_AHEAD = 3  # batches that each worker prepares before they are asked for


@dataclass(frozen=True, slots=True)
class Weighted:
    """A source of pairs, how often it is drawn from relative to the others, and the name by which settings know it."""

    source: PairSource
    weight: float
    name: str


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How samples are made of pairs."""

    images: ImageSettings
    augmentation: AugmentationSettings
    colours: int
    stereo: bool
    seed: int


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Numbers of the samples of each step: those of some places in its batch, below a limit."""

    steps: range
    batch: int
    places: range
    limit: int | None = None

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            numbers = (step * self.batch + place for place in self.places)
            yield [number for number in numbers if self.limit is None or number < self.limit]


class _Samples(Dataset[Any]):
    """Samples by number; an error of ours is handed over as it is, as workers would wrap it in a traceback."""

    def __init__(self, sources: Sequence[Weighted], recipe: _Recipe, stream: int) -> None:
        self._sources, self._recipe, self._stream = sources, recipe, stream
        weights = np.array([source.weight for source in sources], dtype=np.float64)
        self._edges = np.cumsum(weights / weights.sum())

    def __getitem__(self, number: int) -> TrainingPair | VlocError:
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, self._stream, number])
        chosen = self._sources[min(int(np.searchsorted(self._edges, rng.random(), side="right")), len(self._sources) - 1)]
        try:
            pair = chosen.source.pair(int(rng.integers(len(chosen.source))), rng)
            altered = recipe.augmentation if self._stream == _LEARNED else None
            return prepared(_wanted(pair, recipe), recipe.images, altered, rng, recipe.colours)
        except VlocError as error:
            return error


def _wanted(pair: TrainingPair, recipe: _Recipe) -> TrainingPair:
    """The pair with its stereo truth if that is needed, which a source without is an error; else without it."""
    if recipe.stereo and pair.stereo is None:
        raise ConfigError(f"the objective learns poses and needs stereo pairs, but '{pair.tag}' is none: leave its source out")
    return pair if recipe.stereo else replace(pair, stereo=None)


class PairFeed(Feed[PairBatch]):
    """Batches of pairs from weighted sources."""

    def __init__(
        self,
        learned: Sequence[Weighted],
        watched: Sequence[Weighted],
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
        if not learned:
            raise ConfigError("there is nothing to learn from: name sources of pairs with --data KIND:PATH")
        for source in (*learned, *watched):
            if not source.weight > 0.0 or not np.isfinite(source.weight):
                raise ConfigError(f"the weight of {source.name} must be positive, not {source.weight:g}")
        recipe = _Recipe(images, augmentation, colours, stereo, settings.seed)
        self._sources = learned
        self._settings = settings
        self._learned = _Samples(learned, recipe, _LEARNED)
        self._watched = _Samples(watched, recipe, _WATCHED) if watched else None

    def batches(self, first: int, last: int, group: Group) -> Iterator[Portion[PairBatch]]:
        """As the contract says."""
        batch = self._settings.batch
        mine = group.share(batch)
        if len(mine) == 0:
            raise ConfigError(f"a batch of {batch} pairs cannot be split among {group.size} processes: raise training.batch")
        return self._load(self._learned, _Numbers(range(first, last), batch, mine), group)

    def held_out(self, group: Group) -> Iterator[Portion[PairBatch]]:
        """As the contract says."""
        batch, count = self._settings.batch, self._settings.validation_samples
        if self._watched is None:
            return iter(())
        return self._load(self._watched, _Numbers(range(math.ceil(count / batch)), batch, range(batch), count), group)

    def settings(self) -> dict[str, Any]:
        """As the contract says."""
        return {f"data.{entry.name}": [entry.weight, len(entry.source)] for entry in self._sources}

    def _load(self, samples: _Samples, numbers: _Numbers, group: Group) -> Iterator[Portion[PairBatch]]:
        workers = min(self._settings.workers, len(numbers))
        loader = DataLoader(
            samples,
            batch_sampler=numbers,
            num_workers=workers,
            collate_fn=_collated,
            worker_init_fn=_quiet_worker,
            prefetch_factor=_AHEAD if workers else None,
            multiprocessing_context="fork" if workers else None,  # sources may hold what cannot be sent to another process
            pin_memory=group.device.type == "cuda",
        )
        # OpenCV's threads do not live on in a forked process, which would wait for them: it is forked while there are none.
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        batches = iter(loader)
        cv2.setNumThreads(threads)
        while True:
            try:
                made = next(batches, None)
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise TrainingError(f"a process that prepares samples has died ({error}): is there too little memory?") from error
            if made is None:
                return
            if isinstance(made, VlocError):
                raise made
            batch, tags = made
            yield Portion(on_device(batch, group.device), len(tags), tags)


def _quiet_worker(_: int) -> None:
    """Ctrl-C is for the loop, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _collated(pairs: list[TrainingPair | VlocError]) -> tuple[PairBatch, tuple[str, ...]] | VlocError:
    good: list[TrainingPair] = []
    for pair in pairs:
        if isinstance(pair, VlocError):
            return pair
        good.append(pair)
    return collate(good), tuple(pair.tag for pair in good)


def collate(pairs: Sequence[TrainingPair]) -> PairBatch:
    """Pairs of one size side by side, on the CPU; the images are still uint8, see :func:`on_device`."""
    stereo = [pair.stereo for pair in pairs]
    known = [truth for truth in stereo if truth is not None]
    return PairBatch(
        _images([pair.image_a for pair in pairs]),
        _images([pair.image_b for pair in pairs]),
        torch.from_numpy(np.stack([pair.warp for pair in pairs])),
        _stereo(known) if len(known) == len(pairs) else None,
    )


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


def on_device(batch: PairBatch, device: torch.device) -> PairBatch:
    """The batch on a device, with images from 0 to 1."""
    stereo = batch.stereo
    if stereo is not None:
        stereo = StereoBatch(*(tensor.to(device, non_blocking=True) for tensor in stereo))
    image_a, image_b = (image.to(device, non_blocking=True).float() / 255.0 for image in (batch.images_a, batch.images_b))
    return PairBatch(image_a, image_b, batch.warp.to(device, non_blocking=True), stereo)
