"""Pairs of whole images for the homography network: cut at random, squeezed into a square, with the truth of each patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_ros.config import param
from vloc_ros.data.frame import Image, to_grey, to_rgb
from vloc_ros.networks.dhe import patch_centres
from vloc_ros.training.augmentation import AugmentationSettings, augment
from vloc_ros.training.pairs import PairSource, TrainingPair
from vloc_ros.training.place_feed import prepared_on
from vloc_ros.training.sampling import SampleFeed, Weighted
from vloc_ros.training.settings import TrainingSettings

_PATCH = 16  # [px] of the input, in all backbones that it is trained with


@dataclass(frozen=True)
class PatchImageSettings:
    """Which part of an image a network gets to see. On the robot that is the whole of it."""

    min_area: float = param(0.7, "smallest part of the area that a cut shows (published: 0.7)", min=0.05, max=1.0)
    whole: float = param(0.3, "so many of the pairs are not cut", min=0.0, max=1.0)
    aspect: float = param(1.2, "largest change of the ratio of the sides of a cut", min=1.0, max=3.0)
    mirrored: float = param(0.5, "so many of the pairs are mirrored", min=0.0, max=1.0)
    grey: float = param(0.2, "so many of the images lose their colour, as those of grey cameras", min=0.0, max=1.0)


@dataclass(frozen=True, slots=True)
class PatchSample:
    """A pair as the network sees it.

    Attributes:
        image_a: (S, S, 3) uint8 RGB.
        image_b: likewise.
        targets: (T, 2) float32: where b shows the centre of each patch of a, row by row [px; the image spans 0 to S]; NaN where
            it does not, or nobody knows.
        tag: where the pair is from.
    """

    image_a: NDArray[np.uint8]
    image_b: NDArray[np.uint8]
    targets: NDArray[np.float32]
    tag: str


class HomographyBatch(NamedTuple):
    """B pairs on one device.

    Attributes:
        images: (2 B, 3, S, S) prepared, first all a, then all b; in between (2 B, S, S, 3) uint8.
        targets: (B, T, 2), see :class:`PatchSample`.
        scenes: (B,) int64, equal for pairs that may show the same place.
    """

    images: Tensor
    targets: Tensor
    scenes: Tensor


class HomographyFeed(SampleFeed[PairSource, PatchSample, HomographyBatch]):
    """Batches of pairs from weighted sources."""

    what = "pairs"

    def __init__(
        self,
        learned: Sequence[Weighted[PairSource]],
        watched: Sequence[Weighted[PairSource]],
        settings: TrainingSettings,
        images: PatchImageSettings,
        augmentation: AugmentationSettings,
        size: int,
    ) -> None:
        """Remember where pairs are from.

        Args:
            learned: sources to learn from.
            watched: held-out sources; none when the loss is not to be watched.
            settings: of the loop.
            images: how they are cut.
            augmentation: of what is learned from.
            size: S, of the network's images [px].

        Raises:
            ConfigError: there is no source, or a weight is not positive.
        """
        super().__init__(learned, watched, settings)
        self._images, self._augmentation, self._size = images, augmentation, size

    def sample(self, source: PairSource, index: int, rng: np.random.Generator, learned: bool) -> PatchSample:
        """As the contract says."""
        pair = source.pair(index, rng)
        if not learned:
            return squeezed(pair, whole(pair.image_a), whole(pair.image_b), self._size)
        settings = self._images
        made = squeezed(pair, *random_cuts(pair, rng, settings), self._size)
        a, b = (self._altered(image, rng) for image in (made.image_a, made.image_b))
        made = PatchSample(a, b, made.targets, made.tag)
        return mirrored(made, self._size) if rng.random() < settings.mirrored else made

    def _altered(self, image: Image, rng: np.random.Generator) -> Image:
        if rng.random() < self._images.grey:
            image = to_grey(image)
        return to_rgb(augment(image, rng, self._augmentation))

    def collate(self, samples: Sequence[PatchSample]) -> HomographyBatch:
        """As the contract says."""
        images = np.stack([sample.image_a for sample in samples] + [sample.image_b for sample in samples])
        scenes = [crc32(":".join(sample.tag.split(":")[:2]).encode()) for sample in samples]
        targets = np.stack([sample.targets for sample in samples])
        return HomographyBatch(torch.from_numpy(images), torch.from_numpy(targets), torch.tensor(scenes, dtype=torch.int64))

    def on_device(self, batch: HomographyBatch, device: torch.device) -> HomographyBatch:
        """As the contract says."""
        targets, scenes = (part.to(device, non_blocking=True) for part in (batch.targets, batch.scenes))
        return HomographyBatch(prepared_on(batch.images, device), targets, scenes)


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of an image: first column and row, and extent [px]."""

    left: int
    top: int
    width: int
    height: int

    def of(self, image: Image, size: int) -> Image:
        """(size, size) or (size, size, 3): the part, squeezed."""
        part = image[self.top : self.top + self.height, self.left : self.left + self.width]
        return np.asarray(cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def whole(image: Image) -> Cut:
    """All of an image."""
    return Cut(0, 0, image.shape[1], image.shape[0])


def random_cuts(pair: TrainingPair, rng: np.random.Generator, settings: PatchImageSettings) -> tuple[Cut, Cut]:
    """A random cut of a, and one of b around what that shows; now and then both are whole."""
    if rng.random() < settings.whole:
        return whole(pair.image_a), whole(pair.image_b)
    first = _cut(pair.image_a, rng, settings, rng.random(2))
    targets = pair.warp[first.top : first.top + first.height : 8, first.left : first.left + first.width : 8].reshape(-1, 2)
    known = targets[np.isfinite(targets).all(1)]
    at = rng.random(2)
    if len(known):
        height, width = pair.image_b.shape[:2]
        at = np.clip(np.median(known, axis=0) / (width, height) + rng.uniform(-0.25, 0.25, 2), 0.0, 1.0)
    return first, _cut(pair.image_b, rng, settings, at)


def _cut(image: Image, rng: np.random.Generator, settings: PatchImageSettings, at: NDArray[np.float64]) -> Cut:
    """Of random size; ``at`` says where in what is left beside it, from (0, 0) to (1, 1)."""
    height, width = image.shape[:2]
    side, stretch = np.sqrt(rng.uniform(settings.min_area, 1.0)), settings.aspect ** rng.uniform(-0.5, 0.5)
    w, h = (max(_PATCH, min(whole, round(whole * share))) for whole, share in ((width, side * stretch), (height, side / stretch)))
    return Cut(round(max(0, width - w) * float(at[0])), round(max(0, height - h) * float(at[1])), w, h)


def squeezed(pair: TrainingPair, a: Cut, b: Cut, size: int) -> PatchSample:
    """The cuts as images of the network, and where b shows the patches of a."""
    centres = patch_centres(size // _PATCH).numpy()
    scale_a, scale_b = (np.array([cut.width, cut.height]) / size for cut in (a, b))
    at = np.floor(np.array([a.left, a.top]) + centres * scale_a).astype(np.intp)
    targets = pair.warp[np.minimum(at[:, 1], pair.warp.shape[0] - 1), np.minimum(at[:, 0], pair.warp.shape[1] - 1)]
    targets = (targets + 0.5 - np.array([b.left, b.top])) / scale_b
    with np.errstate(invalid="ignore"):
        inside = ((targets >= 0.0) & (targets <= size)).all(1, keepdims=True)
    shown = np.where(inside, targets, np.nan).astype(np.float32)
    return PatchSample(to_rgb(a.of(pair.image_a, size)), to_rgb(b.of(pair.image_b, size)), shown, pair.tag)


def mirrored(sample: PatchSample, size: int) -> PatchSample:
    """Both images with left and right exchanged."""
    side = size // _PATCH
    targets = sample.targets.reshape(side, side, 2)[:, ::-1].copy()
    targets[..., 0] = size - targets[..., 0]
    a, b = (np.ascontiguousarray(image[:, ::-1]) for image in (sample.image_a, sample.image_b))
    return PatchSample(a, b, targets.reshape(-1, 2), sample.tag)
