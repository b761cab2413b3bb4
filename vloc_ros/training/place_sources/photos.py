"""Places from any photos: each photo is one, and only chance makes views of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from vloc_ros.data.images import read_image
from vloc_ros.training.places import UNNAMED, Place, PlaceSource, PlaceView
from vloc_ros.training.sources.homography import HomographyPairs


class PhotoPlaces(PlaceSource):
    """Each image of a folder and the folders below it. Photos of one folder may overlap, so none of them is told from another."""

    def __init__(self, folder: Path) -> None:
        """Find the images.

        Raises:
            DataError: the folder cannot be read or holds no images.
        """
        self._folder, self._files = folder, HomographyPairs(folder).files

    def __len__(self) -> int:
        """Photos."""
        return len(self._files)

    def place(self, index: int) -> Place:
        """As the contract says."""
        file = self._files[index]
        return Place(f"photo:{self._folder.name}:{file.stem}", (PlaceView(f"{UNNAMED}{index}", partial(read_image, file)),))

    def near(self, index: int) -> Collection[int]:
        """All others."""
        return _AllBut(len(self), index)


class _AllBut(Collection[int]):
    """The numbers below a limit but one."""

    def __init__(self, count: int, left_out: int) -> None:
        self._count, self._left_out = count, left_out

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and 0 <= number < self._count and number != self._left_out

    def __iter__(self) -> Iterator[int]:
        return (number for number in range(self._count) if number != self._left_out)

    def __len__(self) -> int:
        return self._count - 1
