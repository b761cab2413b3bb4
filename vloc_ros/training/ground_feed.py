"""Batches of places, each seen twice and with places that the network takes for it; mined when the first step of a cache comes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from vloc_ros.data.output import remove_quietly, write_text
from vloc_ros.errors import ConfigError, TrainingError, VlocError
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.distributed import Group
from vloc_ros.training.feed import Portion
from vloc_ros.training.ground_labels import GroundPoints, cell_labels, labelled_pixels
from vloc_ros.training.ground_mining import Describe, GroundMiner, GroundMiningSettings, MinedPlace, Shown, Tiles, dumps, loads
from vloc_ros.training.ground_sites import GroundSource, Pixels
from vloc_ros.training.ground_views import (
    Array,
    GroundChangeSettings,
    GroundView,
    GroundViewSettings,
    altered,
    homography,
    mapped,
    random_pair,
    seen,
)
from vloc_ros.training.sampling import LoadedFeed, Numbers, Weighted, require_weights
from vloc_ros.training.settings import TrainingSettings

_log = logging.getLogger(__name__)
FOLDER = "mined"
_STREAM = 63  # of random numbers, apart from other uses of the seed
_MULTIPLE = 32  # [px] of the side of views: the stride of the global half


class GroundBatch(NamedTuple):
    """B places with N correspondences each, seen in M images, on one device.

    Attributes:
        images: (M, 1, S, S) from 0 to 1: the first views, the second views, then the negatives; in between (M, S, S) uint8.
        labels: (2 B, S / 8, S / 8) uint8, see :func:`vloc_ros.training.ground_labels.cell_labels`, of the first and second views.
        points_a: (B, N, 2) positions in the first views [px].
        points_b: (B, N, 2) of the same in the second views [px]; NaN where a place has fewer.
        negatives: (B, M) bool: images that were mined as negatives of a place.
        elsewhere: (B, M) bool: images that surely show another place.
    """

    images: Tensor
    labels: Tensor
    points_a: Tensor
    points_b: Tensor
    negatives: Tensor
    elsewhere: Tensor


class GroundSample(NamedTuple):
    """One place.

    Attributes:
        images: (2 + its negatives, S, S) uint8.
        labels: (2, S / 8, S / 8) uint8.
        points: (N, 4) float32 (u, v) in the first and in the second view [px]; NaN at the end where there are fewer.
        tiles: of the images, the first two are of one.
        tag: which site.
    """

    images: Pixels
    labels: NDArray[np.uint8]
    points: NDArray[np.float32]
    tiles: tuple[int, ...]
    tag: str


class GroundFeed(LoadedFeed[GroundSample, GroundBatch]):
    """See the module. A run that goes on in the middle of a cache finds the places that it had."""

    what = "places"

    def __init__(
        self,
        sources: Sequence[Weighted[GroundSource]],
        points: Sequence[Sequence[GroundPoints]],
        settings: TrainingSettings,
        parts: GroundFeedSettings,
        folder: Path,
    ) -> None:
        """Remember where places are from; :meth:`mine_with` says what describes.

        Args:
            sources: sites to learn from.
            points: key points of the sites of each source.
            settings: of the loop.
            parts: how places are seen and mined.
            folder: of the run.

        Raises:
            ConfigError: there is no source, a weight is not positive, or sizes do not fit.
        """
        super().__init__(settings)
        require_weights(sources, (), self.what)
        if parts.view.side % _MULTIPLE:
            raise ConfigError(f"view.side = {parts.view.side} must be a multiple of {_MULTIPLE}")
        if parts.mining.refresh % settings.batch:
            raise ConfigError(f"mining.refresh = {parts.mining.refresh} must be a multiple of training.batch = {settings.batch}")
        self.tiles = Tiles(sources, parts.view)
        self._points, self._parts, self._folder = points, parts, folder / FOLDER
        self._miner = GroundMiner(self.tiles, parts.mining, settings.seed)
        self._describe: Describe | None = None

    def mine_with(self, describe: Describe) -> None:
        """Say what describes tiles: the network, as it is whenever it is asked."""
        self._describe = describe

    def batches(self, first: int, last: int, group: Group) -> Iterator[Portion[GroundBatch]]:
        """As the contract says."""
        batch, each = self._settings.batch, self._parts.mining.refresh // self._settings.batch
        mine, step = self._share(group), first
        while step < last:
            cache = step // each
            until = min((cache + 1) * each, last)
            samples = _Places(self, self._mined(cache, step % each == 0, group), cache * each * batch)
            yield from self._load(samples, Numbers(range(step, until), batch, mine), group)
            step = until

    def held_out(self, group: Group) -> Iterator[Portion[GroundBatch]]:
        """None: a validation judges what the network is for."""
        return iter(())

    def settings(self) -> dict[str, Any]:
        """As the contract says: a run goes on only with the same sites."""
        return ground_settings(self.tiles.sources)

    def _mined(self, cache: int, fresh: bool, group: Group) -> list[MinedPlace]:
        """The places of a cache, which the first process has or mines."""
        content = b""
        if group.first:
            try:
                content = b"+" + self._found(cache, fresh).encode()
            except VlocError as error:
                if group.size == 1:
                    raise
                content = b"-" + str(error).encode()
        content = group.broadcast(content)
        if content[:1] == b"-":
            raise TrainingError(content[1:].decode())
        return loads(content[1:].decode(), cache, self.tiles, self._parts.mining.refresh, "what was mined")

    def _found(self, cache: int, fresh: bool) -> str:
        path = self._folder / f"{cache:06d}.json"
        text = self._read(path, cache)
        if text is not None:
            return text
        if not fresh:
            _log.warning("%s is not there any more: its places are mined again by the network as it is now", path)
        if self._describe is None:
            raise TypeError("say first what describes, with mine_with()")
        last = self._folder / f"{cache - 1:06d}.json"
        known = self._read(last, cache - 1)
        before = [] if known is None else loads(known, cache - 1, self.tiles, self._parts.mining.refresh, str(last))
        text = dumps(self._miner.mine(cache, before, self._describe), cache)
        write_text(path, text)
        each = self._parts.mining.refresh // self._settings.batch
        remove_quietly(self._folder / f"{cache - 3 - 2 * -(-self._settings.checkpoint_every // each):06d}.json")
        return text

    def _read(self, path: Path, cache: int) -> str | None:
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise TrainingError(f"cannot read {path} ({error}): remove it, and its places are mined again") from error
        loads(text, cache, self.tiles, self._parts.mining.refresh, str(path))
        return text

    def plain(self, shown: Shown) -> Pixels:
        """(S, S, 3) RGB view of a tile, north up and not altered.

        Raises:
            VlocError: its image cannot be read.
        """
        source, site = self._place(shown.tile)
        centre, view = self.tiles.centre[shown.tile], self._parts.view
        return seen(source, site, shown.condition, homography(centre, self.tiles.zoom, 0.0, np.zeros(2), view), view.side)[0]

    def of_place(self, mined: MinedPlace, number: int) -> GroundSample:
        """The views of a place and of its negatives; the number of the sample decides how they are altered.

        Raises:
            VlocError: an image cannot be read.
        """
        rng = np.random.default_rng([self._settings.seed, _STREAM, number])
        parts, tile = self._parts, mined.place.tile
        source, site = self._place(tile)
        pair = random_pair(self._strayed(tile, rng), rng, parts.view)
        a = self._view(source, site, mined.place.condition, pair[0], rng, drifted=False)
        b = self._view(source, site, mined.other, pair[1], rng, drifted=True)
        points = self._points[int(self.tiles.source[tile])][site]
        labels = np.stack([cell_labels(points, one.view_H_site, one.known, parts.per_view) for one in (a, b)])
        images = [a.image, b.image, *(self._negative(shown, rng) for shown in mined.negatives)]
        tiles = (tile, tile, *(shown.tile for shown in mined.negatives))
        matched = correspondences(a, b, labels[0], parts.correspondences, rng)
        return GroundSample(np.stack(images), labels, matched, tiles, source.sites[site].name)

    def _place(self, tile: int) -> tuple[GroundSource, int]:
        return self.tiles.sources[int(self.tiles.source[tile])].source, int(self.tiles.site[tile])

    def _strayed(self, tile: int, rng: np.random.Generator) -> Array:
        """A position near the centre of a tile, so that not only tiles are learned."""
        extent = 0.25 * self._parts.view.side * self.tiles.zoom
        return np.asarray(self.tiles.centre[tile] + rng.uniform(-extent, extent, 2))

    def _view(
        self, source: GroundSource, site: int, condition: int, there: Array, rng: np.random.Generator, drifted: bool
    ) -> GroundView:
        parts = self._parts
        view, known = seen(source, site, condition, there, parts.view.side)
        return GroundView(*altered(view, known, rng, parts.changes, parts.augmentation, drifted), there)

    def _negative(self, shown: Shown, rng: np.random.Generator) -> Pixels:
        source, site = self._place(shown.tile)
        there = random_pair(self.tiles.centre[shown.tile], rng, self._parts.view)[0]
        return self._view(source, site, shown.condition, there, rng, drifted=False).image

    def collate(self, samples: Sequence[GroundSample]) -> GroundBatch:
        """As the contract says."""
        count = len(samples)
        images = [one.images[view] for view in (0, 1) for one in samples] + [image for one in samples for image in one.images[2:]]
        tiles = [one.tiles[0] for one in samples] * 2 + [tile for one in samples for tile in one.tiles[2:]]
        negatives, row = np.zeros((count, len(images)), dtype=np.bool_), 2 * count
        for place, one in enumerate(samples):
            negatives[place, row : row + len(one.tiles) - 2] = True
            row += len(one.tiles) - 2
        elsewhere = np.stack([self.tiles.elsewhere(one.tiles[0], np.array(tiles)) for one in samples])
        points = torch.from_numpy(np.stack([one.points for one in samples]))
        labels = np.concatenate([[one.labels[view] for one in samples] for view in (0, 1)])
        both = (torch.from_numpy(negatives), torch.from_numpy(elsewhere))
        return GroundBatch(torch.from_numpy(np.stack(images)), torch.from_numpy(labels), points[..., :2], points[..., 2:], *both)

    def on_device(self, batch: GroundBatch, device: torch.device) -> GroundBatch:
        """As the contract says."""
        moved = GroundBatch(*(part.to(device, non_blocking=True) for part in batch))
        return moved._replace(images=as_input(moved.images))


class GroundFeedSettings(NamedTuple):
    """How places are seen and mined.

    Attributes:
        view: geometry of views.
        changes: of the ground.
        augmentation: of light, lens and sensor.
        mining: of negatives.
        correspondences: of each place that descriptors are compared at.
        per_view: the best key points of a view are kept, one in so many of its pixels.
    """

    view: GroundViewSettings
    changes: GroundChangeSettings
    augmentation: AugmentationSettings
    mining: GroundMiningSettings
    correspondences: int
    per_view: float


def ground_settings(sources: Sequence[Weighted[GroundSource]]) -> dict[str, Any]:
    """What decides which sites there are, by dotted keys."""
    described: dict[str, Any] = {}
    for entry in sources:
        known = "\n".join(f"{site.name} {site.box} {' '.join(site.conditions)}" for site in entry.source.sites)
        described[f"data.{entry.name}"] = [entry.weight, hashlib.sha256(known.encode()).hexdigest()]
    return described


def as_input(images: Tensor) -> Tensor:
    """(M, S, S) uint8 to (M, 1, S, S) from 0 to 1: what both halves of the network see."""
    return images[:, None].float() / 255.0


def correspondences(
    a: GroundView, b: GroundView, labels: NDArray[np.uint8], count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(count, 4) positions in two views that show the same [px], half of them at key points of the first view; NaN where too few.

    Args:
        a: the first view.
        b: the second view.
        labels: of the cells of the first.
        count: how many.
        rng: decides.
    """
    side, b_H_a = len(a.known), b.view_H_site @ np.linalg.inv(a.view_H_site)
    keypoints = labelled_pixels(labels)
    keypoints = keypoints[rng.permutation(len(keypoints))[: count // 2]]
    drawn = rng.integers(side, size=(4 * count, 2))
    at = np.concatenate([keypoints, drawn])
    there = mapped(b_H_a, at)
    with np.errstate(invalid="ignore"):
        nearest = np.nan_to_num(np.rint(there), nan=-1.0).astype(np.intp)
    good = ((nearest >= 0) & (nearest < side)).all(1) & a.known[at[:, 1], at[:, 0]]
    inside = np.clip(nearest, 0, side - 1)
    good &= b.known[inside[:, 1], inside[:, 0]]
    found = np.column_stack([at, there])[good][:count].astype(np.float32)
    made = np.full((count, 4), np.nan, dtype=np.float32)
    made[: len(found)] = found
    return made


class _Places(Dataset[Any]):
    """The samples of one cache by number; an error of ours is handed over as it is."""

    def __init__(self, feed: GroundFeed, mined: Sequence[MinedPlace], first: int) -> None:
        self._feed, self._mined, self._first = feed, mined, first

    def __getitem__(self, number: int) -> GroundSample | VlocError:
        try:
            return self._feed.of_place(self._mined[number - self._first], number)
        except VlocError as error:
            return error
