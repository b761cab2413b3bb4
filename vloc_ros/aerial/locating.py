"""Many photos, one after the other: a photo that cannot be read is one failure, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from vloc_ros.aerial.fix import AerialFix
from vloc_ros.aerial.locator_settings import LocatorSettings
from vloc_ros.aerial.photo import Photo
from vloc_ros.aerial.photo_list import Optics, Shot
from vloc_ros.aerial.tracker import TrackerSettings
from vloc_ros.config import section
from vloc_ros.errors import DataError

UNREADABLE = "unreadable"


@dataclass(frozen=True)
class LocateSettings:
    """All settings of ``vloc locate``."""

    locator: LocatorSettings = section(LocatorSettings)
    tracker: TrackerSettings = section(TrackerSettings)


@dataclass(frozen=True, slots=True)
class Located:
    """What became of a photo.

    Attributes:
        name: of its file.
        stamp_ns: when it was taken, where that is known.
        fix: None where the photo cannot be read.
        problem: why it cannot, empty where it can.
    """

    name: str
    stamp_ns: int | None
    fix: AerialFix | None
    problem: str = ""

    @property
    def success(self) -> bool:
        """Whether there is a position."""
        return self.fix is not None and self.fix.success

    @property
    def reason(self) -> str:
        """Why there is none, in a word: ``too_few_inliers``; empty on success."""
        if self.fix is None:
            return UNREADABLE
        return "" if self.fix.reason is None else self.fix.reason.name.lower()

    @property
    def sentence(self) -> str:
        """The same in words that say what was seen."""
        if self.fix is None:
            return self.problem
        return "" if self.fix.reason is None else self.fix.reason.value


def locate_all(shots: Iterable[Shot], optics: Optics, locate: Callable[[Photo], AerialFix]) -> Iterator[Located]:
    """Read and locate photos.

    Args:
        shots: the photos.
        optics: their lens.
        locate: of a locator, or ``step`` of a tracker.
    """
    for shot in shots:
        try:
            photo = shot.read(optics)
        except DataError as error:
            yield Located(shot.name, shot.instruments.stamp_ns, None, str(error))
            continue
        yield Located(shot.name, photo.stamp_ns, locate(photo))
