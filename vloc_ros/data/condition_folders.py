"""Folders of images by condition: what learns to translate between conditions is given nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vloc_ros.data.files import list_images
from vloc_ros.errors import DataError

ConditionFiles = Mapping[str, tuple[Path, ...]]
"""Images by the name of their condition, in natural order."""


def condition_folders(root: Path) -> ConditionFiles:
    """A folder with a folder for each condition, of which the first in natural order is not special.

    Raises:
        DataError: it cannot be read, or has fewer than two folders with images.
    """
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError as error:
        raise DataError(f"cannot read the folder {root}: {error.strerror or error}") from error
    found = {folder.name: tuple(list_images(folder)) for folder in folders}
    found = {name: files for name, files in found.items() if files}
    if len(found) < 2:
        raise DataError(f"{root} must have a folder of images for each of two or more conditions (it has {len(found)})")
    return found


def part_of(files: ConditionFiles, first: float, last: float) -> ConditionFiles:
    """Of each condition, the images from one share of their order up to another, as in 0 to 0.75.

    Raises:
        DataError: nothing is left of a condition.
    """
    parts = {name: images[round(first * len(images)) : round(last * len(images))] for name, images in files.items()}
    for name, images in parts.items():
        if not images:
            raise DataError(f"from {first:g} to {last:g} of the order of the {len(files[name])} images of {name} there is none")
    return parts


def chosen(files: ConditionFiles, names: Sequence[str]) -> ConditionFiles:
    """Some conditions, in the order in which they are named; all without names.

    Raises:
        DataError: there is no such condition.
    """
    missing = [name for name in names if name not in files]
    if missing:
        raise DataError(f"there is no condition {missing[0]}; there are {', '.join(files)}")
    return {name: files[name] for name in names} if names else dict(files)
