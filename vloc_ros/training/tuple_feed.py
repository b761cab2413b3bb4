"""Tuples of a map as batches for the loop: each epoch all tuples, then all outlier pairs, each in an order of its own."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet, dumps
from vloc_ros.errors import ConfigError
from vloc_ros.networks.preprocessing import INPUT_SIZE
from vloc_ros.training.distributed import Group
from vloc_ros.training.feed import Feed, Portion
from vloc_ros.training.settings import TrainingSettings
from vloc_ros.training.tuple_batch import ImageOf, TupleBatch, collate

Item = TrainingTuple | OutlierPair


def settings_for(settings: TrainingSettings, learned: TupleSet) -> TrainingSettings:
    """The settings of the loop with as many samples in an epoch as there are tuples and pairs."""
    return dataclasses.replace(settings, samples=max(1, len(learned)))


class TupleFeed(Feed[TupleBatch]):
    """See the module. The batches of an epoch are equally large but for one sample, and hold all of it once."""

    def __init__(
        self, learned: TupleSet, watched: TupleSet, image_of: ImageOf, settings: TrainingSettings, size: int = INPUT_SIZE
    ) -> None:
        """Remember what there is.

        Args:
            learned: to learn from; leave its pairs out to learn from tuples alone.
            watched: held-out, of other keyframes; none when the loss is not to be watched.
            image_of: reads the image of a keyframe.
            settings: of the loop, as :func:`settings_for` gives them.
            size: of the images that the network sees [px].

        Raises:
            ConfigError: there is nothing to learn from, or the settings are for another number of samples.
        """
        if len(learned) == 0:
            raise ConfigError("there are no tuples to learn from: map more loops, or mine with other settings")
        if settings.samples != len(learned):
            raise ConfigError(f"training.samples must be {len(learned)}, the number of tuples and pairs, not {settings.samples}")
        self._learned, self._watched, self._image_of, self._settings = learned, watched, image_of, settings
        self._size = size

    def batches(self, first: int, last: int, group: Group) -> Iterator[Portion[TupleBatch]]:
        """As the contract says."""
        each, ordered, of_epoch = self._settings.steps_per_epoch, list[Item](), -1
        for step in range(first, last):
            epoch, number = divmod(step, each)
            if epoch != of_epoch:
                ordered, of_epoch = self._ordered(epoch), epoch
            batch = ordered[len(ordered) * number // each : len(ordered) * (number + 1) // each]
            yield self._portion([batch[place] for place in group.share(len(batch))], group)

    def held_out(self, group: Group) -> Iterator[Portion[TupleBatch]]:
        """As the contract says."""
        items: list[Item] = [*self._watched.tuples, *self._watched.pairs]
        size = self._settings.batch
        for start in range(0, len(items), size):
            yield self._portion(items[start : start + size], group)

    def settings(self) -> dict[str, Any]:
        """As the contract says: a run goes on only with the same tuples."""
        return {"data.tuples": hashlib.sha256(dumps(self._learned).encode()).hexdigest()}

    def _ordered(self, epoch: int) -> list[Item]:
        rng = np.random.default_rng([self._settings.seed, epoch])
        tuples, pairs = self._learned.tuples, self._learned.pairs
        return [*(tuples[i] for i in rng.permutation(len(tuples))), *(pairs[i] for i in rng.permutation(len(pairs)))]

    def _portion(self, items: Sequence[Item], group: Group) -> Portion[TupleBatch]:
        batch = collate(items, self._image_of, self._size).on(group.device)
        return Portion(batch, len(items), tuple(str(item) for item in items))
