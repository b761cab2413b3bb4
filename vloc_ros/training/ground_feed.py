"""Batches of places, each seen twice and with places that the network takes for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vloc_ros.errors import ConfigError
from vloc_ros.training.ground_labels import GroundPoints
from vloc_ros.training.ground_mining import Describe, GroundMiner, MinedPlace, Tiles, dumps, loads
from vloc_ros.training.ground_samples import GroundFeedSettings, GroundSample, GroundSampler
from vloc_ros.training.ground_sites import GroundSource
from vloc_ros.training.mined_feed import MinedFeed
from vloc_ros.training.sampling import Weighted, require_weights
from vloc_ros.training.settings import TrainingSettings

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


class GroundFeed(MinedFeed[MinedPlace, GroundSample, GroundBatch]):
    """See the module."""

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
        super().__init__(settings, parts.mining.refresh, folder)
        require_weights(sources, (), self.what)
        if parts.view.side % _MULTIPLE:
            raise ConfigError(f"view.side = {parts.view.side} must be a multiple of {_MULTIPLE}")
        if parts.mining.refresh % settings.batch:
            raise ConfigError(f"mining.refresh = {parts.mining.refresh} must be a multiple of training.batch = {settings.batch}")
        self.tiles = Tiles(sources, parts.view)
        self.sampler = GroundSampler(self.tiles, points, parts)
        self._parts = parts
        self._miner = GroundMiner(self.tiles, parts.mining, settings.seed)
        self._describe: Describe | None = None

    def mine_with(self, describe: Describe) -> None:
        """Say what describes tiles: the network, as it is whenever it is asked."""
        self._describe = describe

    def settings(self) -> dict[str, Any]:
        """As the contract says: a run goes on only with the same sites."""
        return ground_settings(self.tiles.sources)

    def _mine(self, cache: int) -> list[MinedPlace]:
        if self._describe is None:
            raise TypeError("say first what describes, with mine_with()")
        return self._miner.mine(cache, self._had(cache - 1) or [], self._describe)

    def _dumps(self, mined: Sequence[MinedPlace], cache: int) -> str:
        return dumps(mined, cache)

    def _loads(self, text: str, cache: int, what: str) -> list[MinedPlace]:
        return loads(text, cache, self.tiles, self._parts.mining.refresh, what)

    def sample(self, mined: MinedPlace, number: int) -> GroundSample:
        """As the contract says."""
        rng = np.random.default_rng([self._settings.seed, _STREAM, number])
        growing = self._parts.changes.ease * self._settings.steps
        share = min(1.0, number / self._settings.batch / growing) if growing > 0.0 else 1.0
        return self.sampler.sample(mined, rng, share)

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
