"""Places from cameras that do not move: what one of them sees, at any hour and in any season."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from vloc_ros.data.images import read_image
from vloc_ros.training.places import UNNAMED, Place, PlaceSource, PlaceView
from vloc_ros.training.sources.static import StaticPairs


class StaticPlaces(PlaceSource):
    """Fixed cameras; each is a place of its own."""

    def __init__(self, root: Path, *, include: Sequence[str] = ("*",), exclude: Sequence[str] = ()) -> None:
        """Read all images once and leave out what shows nothing, see :class:`vloc_ros.training.sources.static.StaticPairs`.

        Raises:
            DataError: the folder cannot be read, or no camera has two images that can be used.
        """
        self._cameras = list(StaticPairs(root, include=include, exclude=exclude).cameras.items())

    def __len__(self) -> int:
        """Cameras."""
        return len(self._cameras)

    def place(self, index: int) -> Place:
        """As the contract says."""
        name, files = self._cameras[index]
        views = (PlaceView(f"{UNNAMED}{number}", partial(read_image, file)) for number, file in enumerate(files))
        return Place(f"static:{name}", tuple(views))

    def near(self, index: int) -> Collection[int]:
        """None."""
        return ()
