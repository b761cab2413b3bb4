"""Folders of images by condition: what learns to translate between conditions is given nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vloc_ros.data.files import list_images, list_images_below
from vloc_ros.data.seasons_layout import folders_in, names_of, numbered
from vloc_ros.errors import DataError

ConditionFiles = Mapping[str, tuple[Path, ...]]
"""Images by the name of their condition, in natural order."""


def condition_folders(root: Path) -> ConditionFiles:
    """Images by condition, of one of three layouts.

    A folder with a folder for each condition, of which the first in natural order is not special; or an area of a long-term
    benchmark, with folders train00, train01 and so on, the reference first; or a folder with several such areas, one after the
    other, whose conditions of one name are one.

    Raises:
        DataError: it cannot be read, or has fewer than two folders with images; or an area is damaged.
    """
    folders = folders_in(root)
    areas = [root] if numbered(root, "train") else [folder for folder in folders if numbered(folder, "train")]
    if areas:
        return _joined(areas, root)
    found = {folder.name: tuple(list_images(folder)) for folder in folders}
    return _two_or_more(found, root)


def training_conditions(area: Path) -> ConditionFiles:
    """What is learned from in one area of a long-term benchmark, the reference first.

    Raises:
        DataError: it cannot be read or is damaged, or fewer than two conditions have images.
    """
    return _joined([area], area)


def _joined(areas: Sequence[Path], root: Path) -> ConditionFiles:
    """Conditions of several areas; those of the first in its order, then others."""
    joined: dict[str, tuple[Path, ...]] = {}
    for area in areas:
        names = names_of(area)
        for number, folder in numbered(area, "train").items():
            joined[names[number]] = (*joined.get(names[number], ()), *list_images_below(folder))
    return _two_or_more(joined, root)


def _two_or_more(found: ConditionFiles, root: Path) -> ConditionFiles:
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
