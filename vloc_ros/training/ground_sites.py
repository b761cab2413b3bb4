"""Ground to learn from: sites seen from above, each in one or more conditions whose images show the same, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.files import IMAGE_SUFFIXES, natural_key
from vloc_ros.data.frame import to_rgb
from vloc_ros.data.images import read_image
from vloc_ros.errors import DataError
from vloc_ros.training.registry import DataSpec
from vloc_ros.training.sampling import Weighted

Pixels = NDArray[np.uint8]
_SMALLEST = 64  # [px] shorter side of a site
_BLOCK = 1024  # [px] a map is parted into sites of about this size, so that labels and memory come in pieces


@dataclass(frozen=True, slots=True)
class GroundSite:
    """A part of the ground.

    Attributes:
        name: of the site.
        files: an image of each condition.
        conditions: their names.
        box: left, top, width and height of the site in these images [px].
    """

    name: str
    files: tuple[Path, ...]
    conditions: tuple[str, ...]
    box: tuple[int, int, int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) [px]."""
        return self.box[2:]


class GroundSource:
    """Sites, and their images in memory as far as that is allowed; at half the resolution as well, for views from far above."""

    def __init__(self, name: str, sites: Sequence[GroundSite], images: GroundImages) -> None:
        """Put them together."""
        self.name, self.sites, self._images = name, tuple(sites), images

    def __len__(self) -> int:
        """Sites."""
        return len(self.sites)

    def image(self, site: int, condition: int, halved: bool = False) -> Pixels:
        """(h, w, 3) RGB of a site, not to be written to; halved, a pixel is the mean of four.

        Raises:
            DataError: its file cannot be read any more.
        """
        one = self.sites[site]
        whole = self._images.of(one.files[condition], halved)
        left, top, width, height = (value // 2 for value in one.box) if halved else one.box
        return whole[top : top + height, left : left + width]


class GroundImages:
    """Images of files, kept up to a limit; what is beyond is read again whenever it is asked for."""

    def __init__(self, limit_mb: float) -> None:
        """Nothing is read yet."""
        self._left = limit_mb * 1e6
        self._kept: dict[tuple[Path, bool], Pixels] = {}

    def of(self, file: Path, halved: bool = False) -> Pixels:
        """(H, W, 3) RGB.

        Raises:
            DataError: it cannot be read.
        """
        known = self._kept.get((file, halved))
        if known is not None:
            return known
        image = _halved(self.of(file)) if halved else np.ascontiguousarray(to_rgb(read_image(file)))
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[file, halved] = image
        return image


def _halved(image: Pixels) -> Pixels:
    even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    return np.asarray(cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def open_ground(specs: Sequence[DataSpec], memory_mb: float, zoom: float) -> list[Weighted[GroundSource]]:
    """The sites of sources, all images of which are read once.

    Args:
        specs: ``aerial`` and ``map`` sources.
        memory_mb: images are kept in memory up to so much, of all sources together [MB].
        zoom: greatest of views; where it is large, images at half the resolution are kept as well.

    Raises:
        DataError: a source cannot be read, or is none; the text names it.
    """
    images = GroundImages(memory_mb)
    sources = [Weighted(_KINDS[spec.kind](spec.path, images), spec.weight, str(spec)) for spec in specs]
    if zoom > 1.3:
        # Before processes that prepare samples are forked, so that they share them.
        for file in dict.fromkeys(file for entry in sources for site in entry.source.sites for file in site.files):
            images.of(file, halved=True)
    return sources


def aerial_set(path: Path, images: GroundImages) -> GroundSource:
    """The sites of a folder: a folder for each, with an image of each condition; an image beside them is a site of its own.

    Raises:
        DataError: there are none, an image cannot be read, or those of one site are of different sizes.
    """
    if not path.is_dir():
        raise DataError(f"{path} is no folder of sites: name one that holds SITE/CONDITION.jpg, or images")
    sites = [_site(folder.name, _images_in(folder), images) for folder in _folders_in(path) if _images_in(folder)]
    sites += [_site(file.stem, [file], images) for file in _images_in(path)]
    if not sites:
        raise DataError(f"{path} holds no images: name a folder that holds SITE/CONDITION.jpg, or images")
    return GroundSource(path.name, sites, images)


def map_picture(path: Path, images: GroundImages) -> GroundSource:
    """A picture of the ground in one condition, parted into sites.

    Raises:
        DataError: it cannot be read, or is too small.
    """
    height, width = images.of(path).shape[:2]
    if min(width, height) < _SMALLEST:
        raise DataError(f"{path} is {width}x{height} px: a map to learn from must be {_SMALLEST} px or more on both sides")
    columns, rows = _parts(width), _parts(height)
    sites = [
        GroundSite(f"{path.stem} {row} {column}", (path,), ("map",), (left, top, right - left, bottom - top))
        for row, (top, bottom) in enumerate(rows)
        for column, (left, right) in enumerate(columns)
    ]
    return GroundSource(path.name, sites, images)


_KINDS: Mapping[str, Callable[[Path, GroundImages], GroundSource]] = {"aerial": aerial_set, "map": map_picture}
KINDS = tuple(_KINDS)
"""Kinds of sources."""


def _site(name: str, files: Sequence[Path], images: GroundImages) -> GroundSite:
    sizes = {file: images.of(file).shape[1::-1] for file in files}
    first, (width, height) = files[0], sizes[files[0]]
    for file, size in sizes.items():
        if size != (width, height):
            raise DataError(
                f"{file} is {size[0]}x{size[1]} px and {first.name} beside it {width}x{height} px: "
                "images of one site must show the same, pixel by pixel"
            )
    if min(width, height) < _SMALLEST:
        raise DataError(f"{first} is {width}x{height} px: an image of the ground must be {_SMALLEST} px or more on both sides")
    return GroundSite(name, tuple(files), tuple(file.stem for file in files), (0, 0, width, height))


def _images_in(folder: Path) -> list[Path]:
    found = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")]
    return sorted(found, key=lambda file: natural_key(file.name))


def _folders_in(path: Path) -> list[Path]:
    found = [folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    return sorted(found, key=lambda folder: natural_key(folder.name))


def _parts(length: int) -> list[tuple[int, int]]:
    """Beginnings and ends, even ones, of parts of about one size."""
    count = max(1, round(length / _BLOCK))
    edges = [2 * round(0.5 * length * k / count) for k in range(count)] + [length]
    return [(edges[k], edges[k + 1]) for k in range(count)]
