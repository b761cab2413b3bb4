"""What networks of place recognition learn from: places, each seen in several images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass

from vloc_ros.data.frame import Image

UNNAMED = "#"
"""What the name of a condition begins with when nobody knows it: each image of the place is then one of its own, ``#17``."""


@dataclass(frozen=True, slots=True)
class PlaceView:
    """One image of a place.

    Attributes:
        condition: in which it was taken: a light, season or day, named alike at all places of a source; or :data:`UNNAMED`.
        read: returns the (H, W) grey or (H, W, 3) RGB uint8 image; raises DataError when it is damaged.
        pose: number of the camera pose at this place, equal for images that were taken from the very same pose; None when
            nothing else is to be had, as of a fixed camera.
    """

    condition: str
    read: Callable[[], Image]
    pose: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """One place.

    Attributes:
        name: its kind of source first, as in ``sim:mixed_loop_1000:3``.
        views: images of it, one or more.
    """

    name: str
    views: tuple[PlaceView, ...]

    @property
    def kind(self) -> str:
        """Of its source."""
        return self.name.partition(":")[0]


class PlaceSource(ABC):
    """A collection of places. Reads are thread- and process-safe."""

    @abstractmethod
    def __len__(self) -> int:
        """Places; at least 1."""

    @abstractmethod
    def place(self, index: int) -> Place:
        """The place of an index below ``len(self)``."""

    @abstractmethod
    def near(self, index: int) -> Collection[int]:
        """Places that share some of what this one shows: they are neither the same nor others to be told from it."""
