"""Batches of what a network mines for itself: a cache when its first step comes, written into the run's folder, and told to all."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch.utils.data import Dataset

from vloc_ros.data.output import remove_quietly, write_text
from vloc_ros.errors import TrainingError, VlocError
from vloc_ros.training.distributed import Group
from vloc_ros.training.feed import Portion
from vloc_ros.training.sampling import LoadedFeed, Numbers, Tagged
from vloc_ros.training.settings import TrainingSettings

B = TypeVar("B")
M = TypeVar("M")
S = TypeVar("S", bound=Tagged)
_log = logging.getLogger(__name__)
FOLDER = "mined"


class MinedFeed(LoadedFeed[S, B], Generic[M, S, B]):
    """See the module. A run that goes on in the middle of a cache finds what it had; each step takes the next of it."""

    def __init__(self, settings: TrainingSettings, refresh: int, folder: Path) -> None:
        """Remember where caches are kept.

        Args:
            settings: of the loop.
            refresh: samples of a cache, a multiple of those of a batch.
            folder: of the run.
        """
        super().__init__(settings)
        self._refresh, self._folder = refresh, folder / FOLDER

    @abstractmethod
    def sample(self, mined: M, number: int) -> S:
        """The sample of a number, which decides all that is random in it.

        Raises:
            VlocError: an image cannot be read.
        """

    @abstractmethod
    def _mine(self, cache: int) -> list[M]:
        """By the network as it is now."""

    @abstractmethod
    def _dumps(self, mined: Sequence[M], cache: int) -> str:
        """As JSON."""

    @abstractmethod
    def _loads(self, text: str, cache: int, what: str) -> list[M]:
        """The inverse; raises TrainingError where it is damaged or of something else."""

    def batches(self, first: int, last: int, group: Group) -> Iterator[Portion[B]]:
        """As the contract says."""
        batch, each = self._settings.batch, self._refresh // self._settings.batch
        mine, step = self._share(group), first
        while step < last:
            cache = step // each
            until = min((cache + 1) * each, last)
            samples = _Samples(self, self._told(cache, step % each == 0, group), cache * each * batch)
            yield from self._load(samples, Numbers(range(step, until), batch, mine), group)
            step = until

    def held_out(self, group: Group) -> Iterator[Portion[B]]:
        """None: a validation judges what the network is for."""
        return iter(())

    def _told(self, cache: int, fresh: bool, group: Group) -> list[M]:
        """A cache, which the first process has or mines, and tells the others."""
        content = b""
        if group.first:
            try:
                content = b"+" + self._had_or_mined(cache, fresh).encode()
            except VlocError as error:
                if group.size == 1:
                    raise
                content = b"-" + str(error).encode()
        content = group.broadcast(content)
        if content[:1] == b"-":
            raise TrainingError(content[1:].decode())
        return self._loads(content[1:].decode(), cache, "what was mined")

    def _had_or_mined(self, cache: int, fresh: bool) -> str:
        had = self._had(cache)
        if had is not None:
            return self._dumps(had, cache)
        if not fresh:
            _log.warning(
                "%s is not there any more: its %s are mined again by the network as it is now", self._path(cache), self.what
            )
        text = self._dumps(self._mine(cache), cache)
        write_text(self._path(cache), text)
        # What no check point can go back to goes: there are two of them, and a cache may be mined from the one before.
        each = self._refresh // self._settings.batch
        remove_quietly(self._path(cache - 3 - 2 * -(-self._settings.checkpoint_every // each)))
        return text

    def _had(self, cache: int) -> list[M] | None:
        """A cache that the folder holds.

        Raises:
            TrainingError: it is damaged; the text says what to do.
        """
        path = self._path(cache)
        try:
            return self._loads(path.read_text("utf-8"), cache, str(path))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise TrainingError(f"cannot read {path} ({error}): remove it, and its {self.what} are mined again") from error

    def _path(self, cache: int) -> Path:
        return self._folder / f"{cache:06d}.json"


class _Samples(Dataset[Any]):
    """The samples of one cache by number; an error of ours is handed over as it is."""

    def __init__(self, feed: MinedFeed[M, S, Any], mined: Sequence[M], first: int) -> None:
        self._feed, self._mined, self._first = feed, mined, first

    def __getitem__(self, number: int) -> Any:
        try:
            return self._feed.sample(self._mined[number - self._first], number)
        except VlocError as error:
            return error
