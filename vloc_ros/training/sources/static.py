"""Pairs from cameras that do not move: one view at two hours or in two seasons."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from vloc_ros.data.files import list_images
from vloc_ros.data.frame import Image, to_grey
from vloc_ros.data.images import read_image
from vloc_ros.errors import DataError
from vloc_ros.training.pairs import PairSource, TrainingPair
from vloc_ros.training.sources.homographies import HomographySettings, views_of

_log = logging.getLogger(__name__)
MIN_MEAN, MIN_DEVIATION = 6.0, 6.0
"""Grey levels: a darker image, or one of less contrast, shows nothing."""


class StaticPairs(PairSource):
    """Pairs of images of one fixed camera, each seen through a random homography of its own.

    What moves between the two images, and the clouds, have no true correspondence; nobody knows where they are.
    """

    def __init__(
        self,
        root: Path,
        settings: HomographySettings | None = None,
        *,
        include: Sequence[str] = ("*",),
        exclude: Sequence[str] = (),
    ) -> None:
        """Read all images once, and leave out those that are blank, damaged, or of another size than most of their camera's.

        Args:
            root: a folder of folders of images, one per camera, or one such folder.
            settings: of the homographies.
            include: patterns of the names of cameras that are used.
            exclude: patterns of the names of cameras that are not, such as those held back for tests.

        Raises:
            DataError: the folder cannot be read, or no camera has two images that can be used.
        """
        self._settings = settings or HomographySettings()
        self.cameras: dict[str, list[Path]] = {}
        for folder in _cameras(root, include, exclude):
            files = _usable(folder)
            if len(files) >= 2:
                self.cameras[folder.name] = files
            else:
                _log.warning("%s has %d usable images; a camera needs two", folder, len(files))
        self._images = [(camera, file) for camera, files in self.cameras.items() for file in files]
        if not self._images:
            raise DataError(f"no camera of {root} has two images that can be used; see the log for what was left out")

    def __len__(self) -> int:
        """Images that can be the first of a pair."""
        return len(self._images)

    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        """The image of the index and another one of its camera.

        Raises:
            DataError: an image is damaged; the text names it.
        """
        camera, file = self._images[index]
        others = [other for other in self.cameras[camera] if other != file]
        images = _alike(read_image(file), read_image(others[int(rng.integers(len(others)))]))
        return views_of(images, rng, self._settings, f"static:{camera}")


def _alike(a: Image, b: Image) -> tuple[Image, Image]:
    """Both in colour, or both grey: some cameras are grey at night."""
    return (a, b) if a.ndim == b.ndim else (to_grey(a), to_grey(b))


def _cameras(root: Path, include: Sequence[str], exclude: Sequence[str]) -> list[Path]:
    if list_images(root):
        return [root]
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir())
    chosen = [
        folder
        for folder in folders
        if any(fnmatch(folder.name, pattern) for pattern in include) and not any(fnmatch(folder.name, p) for p in exclude)
    ]
    if not chosen:
        raise DataError(f"{root} has neither images nor folders of cameras with a name like {', '.join(include)}")
    return chosen


def _usable(folder: Path) -> list[Path]:
    """The images of a camera that show something, all of one size."""
    sizes: dict[Path, tuple[int, ...]] = {}
    blank, damaged = 0, 0
    files = list_images(folder)
    for file in files:
        try:
            image = read_image(file)
        except DataError as error:
            _log.warning("left out: %s", error)
            damaged += 1
            continue
        grey = to_grey(image)
        if grey.mean() < MIN_MEAN or grey.std() < MIN_DEVIATION:
            blank += 1
        else:
            sizes[file] = image.shape[:2]
    common = Counter(sizes.values()).most_common(1)
    kept = [file for file, size in sizes.items() if size == common[0][0]]
    if len(kept) < len(files):
        other = len(files) - len(kept) - blank - damaged
        _log.info("%s: %d images, left out %d blank, %d damaged, %d of another size", folder, len(files), blank, damaged, other)
    return kept
