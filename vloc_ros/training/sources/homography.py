"""Pairs from any images: two random views of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vloc_ros.data.files import IMAGE_SUFFIXES, natural_key
from vloc_ros.data.images import read_image
from vloc_ros.errors import DataError
from vloc_ros.training.pairs import PairSource, TrainingPair
from vloc_ros.training.sources.homographies import HomographySettings, views_of


class HomographyPairs(PairSource):
    """Two random views of each image of a folder and the folders below it; grey or colour, as the image is."""

    def __init__(self, folder: Path, settings: HomographySettings | None = None) -> None:
        """Find the images.

        Raises:
            DataError: the folder cannot be read or holds no images.
        """
        self._folder, self._settings = folder, settings or HomographySettings()
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder of images")
        found = (file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."))
        self.files = sorted(found, key=lambda file: natural_key(str(file.relative_to(folder))))
        if not self.files:
            raise DataError(f"there are no images in {folder} or below it")

    def __len__(self) -> int:
        """Images."""
        return len(self.files)

    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        """Two random views of an image.

        Raises:
            DataError: the image is damaged; the text names it.
        """
        image = read_image(self.files[index])
        return views_of((image, image), rng, self._settings, f"homography:{self._folder.name}")
