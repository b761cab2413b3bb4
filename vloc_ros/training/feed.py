"""The contract of what feeds a training: batches, step after step, that depend on the number of the step alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vloc_ros.training.distributed import Group

B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Portion(Generic[B]):
    """What one process learns from in one step.

    Attributes:
        content: the batch, on the device of the process.
        count: samples in it.
        tags: where each is from, for messages.
    """

    content: B
    count: int
    tags: tuple[str, ...]


class Feed(ABC, Generic[B]):
    """Batches to learn from, and held-out ones to watch the loss on."""

    @abstractmethod
    def batches(self, first: int, last: int, group: Group) -> Iterator[Portion[B]]:
        """Portions that this process has of the steps from ``first`` up to ``last``, which is not among them.

        Raises:
            VlocError: a sample cannot be made.
        """

    @abstractmethod
    def held_out(self, group: Group) -> Iterator[Portion[B]]:
        """The batches on which the loss is watched, always the same; none where there are none.

        Raises:
            VlocError: a sample cannot be made.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides which samples there are, by dotted keys: a run goes on only with the same."""
