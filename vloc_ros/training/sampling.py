"""From weighted sources to batches, by processes of their own, whatever a sample is.

Which sample a number stands for and how it is altered follows from the seed and the number (step times size of the batch plus place
in it) alone: not from the process that makes it, nor from what was made before.
"""

from __future__ import annotations

import math
import signal
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vloc_ros.errors import ConfigError, TrainingError, VlocError
from vloc_ros.training.distributed import Group
from vloc_ros.training.feed import Feed, Portion
from vloc_ros.training.settings import TrainingSettings

_LEARNED, _WATCHED = 0, 1  # streams of random numbers, for samples to learn from and held-out ones
_AHEAD = 3  # batches that each worker prepares before they are asked for


class Sized(Protocol):
    """A source: how much is in it."""

    def __len__(self) -> int:
        """At least 1."""


class Tagged(Protocol):
    """A sample: it says where it is from."""

    @property
    def tag(self) -> str:
        """For messages."""


P = TypeVar("P", bound=Sized)
S = TypeVar("S", bound=Tagged)
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Weighted(Generic[P]):
    """A source, how often it is drawn from relative to the others, and the name by which settings know it."""

    source: P
    weight: float
    name: str


@dataclass(frozen=True, slots=True)
class Numbers:
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


class LoadedFeed(Feed[B], Generic[S, B]):
    """Batches of numbered samples; what a sample and a batch are is said by the methods without a body."""

    what: str
    """What its samples are called, in the plural."""

    def __init__(self, settings: TrainingSettings) -> None:
        """Remember the settings of the loop."""
        self._settings = settings

    @abstractmethod
    def collate(self, samples: Sequence[S]) -> B:
        """Samples side by side, on the CPU."""

    @abstractmethod
    def on_device(self, batch: B, device: torch.device) -> B:
        """The batch as the network is given it."""

    def _share(self, group: Group) -> range:
        """Which samples of a batch are this process's."""
        batch = self._settings.batch
        mine = group.share(batch)
        if len(mine) == 0:
            raise ConfigError(f"a batch of {batch} {self.what} cannot be split among {group.size} processes: raise training.batch")
        return mine

    def _load(self, samples: Dataset[Any], numbers: Numbers, group: Group) -> Iterator[Portion[B]]:
        workers = min(self._settings.workers, len(numbers))
        loader = DataLoader(
            samples,
            batch_sampler=numbers,
            num_workers=workers,
            collate_fn=self._collated,
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
            yield Portion(self.on_device(batch, group.device), len(tags), tags)

    def _collated(self, samples: list[S | VlocError]) -> tuple[B, tuple[str, ...]] | VlocError:
        good: list[S] = []
        for sample in samples:
            if isinstance(sample, VlocError):
                return sample
            good.append(sample)
        return self.collate(good), tuple(sample.tag for sample in good)


def require_weights(learned: Sequence[Weighted[Any]], watched: Sequence[Weighted[Any]], what: str) -> None:
    """Make sure that there are sources of samples, called ``what``.

    Raises:
        ConfigError: there is none to learn from, or a weight is not positive.
    """
    if not learned:
        raise ConfigError(f"there is nothing to learn from: name sources of {what} with --data KIND:PATH")
    for source in (*learned, *watched):
        if not source.weight > 0.0 or not np.isfinite(source.weight):
            raise ConfigError(f"the weight of {source.name} must be positive, not {source.weight:g}")


class SampleFeed(LoadedFeed[S, B], Generic[P, S, B]):
    """Batches of samples from weighted sources, drawn by number; what a sample is, is said by :meth:`sample`."""

    def __init__(self, learned: Sequence[Weighted[P]], watched: Sequence[Weighted[P]], settings: TrainingSettings) -> None:
        """Remember where samples are from.

        Args:
            learned: sources to learn from.
            watched: held-out sources; none when the loss is not to be watched.
            settings: of the loop.

        Raises:
            ConfigError: there is no source, or a weight is not positive.
        """
        super().__init__(settings)
        require_weights(learned, watched, self.what)
        self._sources = learned
        self._learned = _Samples(self, learned, settings.seed, _LEARNED)
        self._watched = _Samples(self, watched, settings.seed, _WATCHED) if watched else None

    @abstractmethod
    def sample(self, source: P, index: int, rng: np.random.Generator, learned: bool) -> S:
        """The sample of an index below ``len(source)``; the generator decides what is random, and held-out ones are not altered.

        Raises:
            VlocError: it cannot be made.
        """

    def batches(self, first: int, last: int, group: Group) -> Iterator[Portion[B]]:
        """As the contract says."""
        numbers = Numbers(range(first, last), self._settings.batch, self._share(group))
        return self._load(self._learned, numbers, group)

    def held_out(self, group: Group) -> Iterator[Portion[B]]:
        """As the contract says."""
        batch, count = self._settings.batch, self._settings.validation_samples
        if self._watched is None:
            return iter(())
        return self._load(self._watched, Numbers(range(math.ceil(count / batch)), batch, range(batch), count), group)

    def settings(self) -> dict[str, Any]:
        """As the contract says."""
        return {f"data.{entry.name}": [entry.weight, len(entry.source)] for entry in self._sources}


class _Samples(Dataset[Any], Generic[P, S, B]):
    """Samples by number; an error of ours is handed over as it is, as workers would wrap it in a traceback."""

    def __init__(self, feed: SampleFeed[P, S, B], sources: Sequence[Weighted[P]], seed: int, stream: int) -> None:
        self._feed, self._sources, self._seed, self._stream = feed, sources, seed, stream
        weights = np.array([source.weight for source in sources], dtype=np.float64)
        self._edges = np.cumsum(weights / weights.sum())

    def __getitem__(self, number: int) -> S | VlocError:
        rng = np.random.default_rng([self._seed, self._stream, number])
        place = min(int(np.searchsorted(self._edges, rng.random(), side="right")), len(self._sources) - 1)
        source = self._sources[place].source
        try:
            return self._feed.sample(source, int(rng.integers(len(source))), rng, self._stream == _LEARNED)
        except VlocError as error:
            return error


def _quiet_worker(_: int) -> None:
    """Ctrl-C is for the loop, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
