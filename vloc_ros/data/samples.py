"""A few images of whatever holds images: evenly chosen, for what has to see how images look and needs no others."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from vloc_ros.data.files import list_images
from vloc_ros.data.frame import Image
from vloc_ros.data.images import read_image
from vloc_ros.data.places import Picture
from vloc_ros.data.reader import DatasetReader, open_recording
from vloc_ros.errors import DataError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many of them, at equal distances."""
    if len(items) <= most:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, most).round().astype(int)]


def evenly_of_each(groups: Mapping[K, Sequence[T]], most: int) -> dict[K, list[T]]:
    """At most so many of all together, about as many of each group and at equal distances; no group that none is left for."""
    shares = [len(part) for part in np.array_split(np.arange(most), max(1, len(groups)))]
    return {key: evenly(items, share) for (key, items), share in zip(groups.items(), shares, strict=False) if share}


def sample_images(sources: Sequence[Path], most: int) -> list[Picture]:
    """Images of folders and recordings, about as many of each, and of each at equal distances.

    Args:
        sources: folders of image files, or recordings of any format that is known, whose left images are taken.
        most: how many images at most.

    Returns:
        Pictures, which are read when they are asked for.

    Raises:
        DataError: a source does not exist, holds no images, or is of no known format.
        CalibrationError: the calibration of a recording is missing or inconsistent.
    """
    if most < 1:
        raise DataError(f"{most} images are none: ask for one or more")
    shares = [len(part) for part in np.array_split(np.arange(most), len(sources))]
    return [picture for source, share in zip(sources, shares, strict=True) for picture in evenly(_pictures(source), max(1, share))]


def _pictures(source: Path) -> Sequence[Picture]:
    files = list_images(source) if source.is_dir() else []
    if files:
        return [Picture(file.name, partial(read_image, file)) for file in files]
    recording = open_recording(source)
    if len(recording) == 0:
        raise DataError(f"{source} holds no images")
    return [Picture(f"frame {index} of {source.name}", partial(_left, recording, index)) for index in range(len(recording))]


def _left(recording: DatasetReader, index: int) -> Image:
    return recording.frame(index).left
