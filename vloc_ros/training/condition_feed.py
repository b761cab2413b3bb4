"""Batches of unpaired images of two conditions at a time: what learns from them is told nothing but the condition of each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from vloc_ros.config import param
from vloc_ros.data.condition_folders import ConditionFiles
from vloc_ros.data.frame import to_rgb
from vloc_ros.data.images import read_image
from vloc_ros.errors import VlocError
from vloc_ros.networks.disam_form import DisamForm
from vloc_ros.networks.preprocessing import resized_to
from vloc_ros.training.disam_objective import TranslationBatch
from vloc_ros.training.distributed import Group
from vloc_ros.training.feed import Portion
from vloc_ros.training.sampling import LoadedFeed, Numbers
from vloc_ros.training.settings import TrainingSettings

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ConditionImageSettings:
    """How images of conditions become samples."""

    first: float = param(
        0.0, "of each condition's images in their order, those from this share on are learned from", min=0.0, max=1.0
    )
    last: float = param(1.0, "up to this one; what is beyond it may be kept for judging", min=0.0, max=1.0)
    enlarged: float = param(286.0 / 256.0, "images are read so much larger, and a random part of them is seen", min=1.0, max=2.0)
    flip: bool = param(True, "one image of each pair is mirrored, so that it surely shows another place")
    hard_negatives: int = param(0, "images among which the hardest negative is looked for, 0: none", min=0, max=100)
    hard_from: float = param(0.5, "share of the training after which it is", min=0.0, max=1.0)
    cache_mb: int = param(800, "each process that prepares samples keeps so much of what it has read", unit="MB", min=0)


@dataclass(frozen=True, slots=True)
class _Sample:
    first: Pixels
    second: Pixels
    candidates: Pixels
    conditions: tuple[int, int]
    tag: str


class ConditionFeed(LoadedFeed[_Sample, TranslationBatch]):
    """Each step draws two conditions, and of each as many images as a batch has pairs."""

    what = "pairs of images"

    def __init__(
        self, files: ConditionFiles, form: DisamForm, settings: TrainingSettings, images: ConditionImageSettings, name: str
    ) -> None:
        """Remember where images are.

        Args:
            files: images by condition, those of all conditions of the form.
            form: of the network.
            settings: of the loop.
            images: how they become samples.
            name: of the source, for the settings of a run.
        """
        super().__init__(settings)
        self._files = [files[condition] for condition in form.conditions]
        self._samples = _Samples(self._files, form, settings, images)
        self._described: dict[str, Any] = {f"data.{name}": {c: len(files[c]) for c in form.conditions}}

    def batches(self, first: int, last: int, group: Group) -> Iterator[Portion[TranslationBatch]]:
        """As the contract says."""
        yield from self._load(self._samples, Numbers(range(first, last), self._settings.batch, self._share(group)), group)

    def held_out(self, group: Group) -> Iterator[Portion[TranslationBatch]]:
        """None: the loss of a translation says little, and without a truth nobody else judges it."""
        return iter(())

    def settings(self) -> dict[str, Any]:
        """As the contract says."""
        return self._described

    def collate(self, samples: Sequence[_Sample]) -> TranslationBatch:
        """As the contract says."""
        first, second = ([getattr(one, name) for one in samples] for name in ("first", "second"))
        candidates = [one.candidates for one in samples]
        stacked = [torch.from_numpy(np.stack(images)) for images in (first, second, candidates)]
        return TranslationBatch(stacked[0], stacked[1], stacked[2], samples[0].conditions)

    def on_device(self, batch: TranslationBatch, device: torch.device) -> TranslationBatch:
        """As the contract says."""
        first, second, candidates = (_prepared(images.to(device, non_blocking=True)) for images in batch[:3])
        return TranslationBatch(first, second, candidates, batch.conditions)


def _prepared(images: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 to (..., 3, H, W) from -1 to 1."""
    return (images.movedim(-1, -3).float() / 127.5 - 1.0).contiguous()


class _Samples(Dataset[Any]):
    """Samples by number, which follow from the seed, the step and the number alone."""

    def __init__(
        self, files: Sequence[Sequence[Path]], form: DisamForm, settings: TrainingSettings, images: ConditionImageSettings
    ) -> None:
        self._files, self._form, self._settings, self._images = files, form, settings, images
        self._cache: OrderedDict[Path, Pixels] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, number: int) -> _Sample | VlocError:
        settings = self._settings
        step = number // settings.batch
        # All pairs of a step, in whichever process, are of the same conditions.
        a, b = np.random.default_rng([settings.seed, 0, step]).choice(len(self._files), 2, replace=False).tolist()
        rng = np.random.default_rng([settings.seed, 1, number])
        try:
            return self._sample(a, b, rng, hard=step >= self._images.hard_from * settings.steps)
        except VlocError as error:
            return error

    def _sample(self, a: int, b: int, rng: np.random.Generator, hard: bool) -> _Sample:
        mirrored = bool(rng.integers(2)) if self._images.flip else False
        other = mirrored is not self._images.flip
        (first, file), (second, _) = self._drawn(a, rng, mirrored), self._drawn(b, rng, other)
        count = self._images.hard_negatives if hard else 0
        candidates = [self._drawn(b, rng, other)[0] for _ in range(count)]
        shape = (0, self._form.height, self._form.width, 3)
        stacked = np.stack(candidates) if candidates else np.zeros(shape, dtype=np.uint8)
        return _Sample(first, second, stacked, (a, b), str(file))

    def _drawn(self, condition: int, rng: np.random.Generator, mirrored: bool) -> tuple[Pixels, Path]:
        """A random part of a random image, and its file."""
        files = self._files[condition]
        file = files[int(rng.integers(len(files)))]
        image = self._image(file)
        top, left = (int(rng.integers(image.shape[k] - size + 1)) for k, size in enumerate((self._form.height, self._form.width)))
        part = image[top : top + self._form.height, left : left + self._form.width]
        return np.ascontiguousarray(part[:, ::-1] if mirrored else part), file

    def _image(self, file: Path) -> Pixels:
        """(H, W, 3) RGB at the size of which parts are seen."""
        if file in self._cache:
            self._cache.move_to_end(file)
            return self._cache[file]
        width, height = (round(side * self._images.enlarged) for side in (self._form.width, self._form.height))
        image = np.asarray(resized_to(to_rgb(read_image(file)), width, height), dtype=np.uint8)
        self._cache[file] = image
        self._bytes += image.nbytes
        while self._bytes > self._images.cache_mb * 1_000_000 and len(self._cache) > 1:
            self._bytes -= self._cache.popitem(last=False)[1].nbytes
        return image
