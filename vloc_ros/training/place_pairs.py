"""Pairs of images of one place, of which nobody knows where one shows what the other does: for objectives without a truth."""

from __future__ import annotations

import numpy as np

from vloc_ros.training.pairs import PairSource, TrainingPair
from vloc_ros.training.places import PlaceSource


class PlacePairs(PairSource):
    """Two views of a place, drawn at random from those of a source of places."""

    def __init__(self, places: PlaceSource) -> None:
        """Of the places that have two views."""
        self._places = places
        self._chosen = [index for index in range(len(places)) if len(places.place(index).views) > 1]

    def __len__(self) -> int:
        """Places with two views."""
        return len(self._chosen)

    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        """Two views of a place; the warp is unknown everywhere.

        Raises:
            DataError: an image is damaged.
        """
        place = self._places.place(self._chosen[index])
        first, second = (place.views[int(number)].read() for number in rng.choice(len(place.views), 2, replace=False))
        return TrainingPair(first, second, np.full((*first.shape[:2], 2), np.nan, dtype=np.float32), tag=place.name)
