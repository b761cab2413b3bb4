"""Folders of long-term benchmarks: one for each condition, by number; 00 is the reference."""

from __future__ import annotations

import re
from pathlib import Path

from vloc_ros.data.files import read_rows
from vloc_ros.errors import DataError

CONDITIONS_FILE = "conditions.txt"
"""Lines of a number and a name; folders whose file is missing have the names of the published benchmark they are as many as."""
CMU_CONDITIONS = (
    "sunny_no_foliage_20110404",
    "sunny_foliage_20100901",
    "sunny_foliage_20100915",
    "cloudy_foliage_20101001",
    "sunny_foliage_20101019",
    "overcast_mixed_foliage_20101028",
    "low_sun_mixed_foliage_20101103",
    "low_sun_mixed_foliage_20101112",
    "cloudy_mixed_foliage_20101122",
    "low_sun_no_foliage_snow_20101221",
    "low_sun_foliage_20110304",
    "overcast_foliage_20110728",
)
"""Weather, foliage and day of the drives of CMU-Seasons, in the order of its description."""
ROBOTCAR_CONDITIONS = (
    "overcast-reference",
    "dawn",
    "dusk",
    "night",
    "night-rain",
    "overcast-summer",
    "overcast-winter",
    "rain",
    "snow",
    "sun",
)
"""The conditions of RobotCar-Seasons, by its own names."""
_SLICE = re.compile(r"s(\d{1,4})")


def numbered(folder: Path, kind: str) -> dict[int, Path]:
    """The folders ``<kind>NN`` of a folder by number, in their order.

    Args:
        folder: an area, a slice, or the root of RobotCar-Seasons.
        kind: train or test.

    Raises:
        DataError: the folder cannot be read, or two of them have the same number.
    """
    return _by_number(folder, re.compile(rf"{kind}(\d{{1,4}})"))


def slices_of(area: Path) -> dict[int, Path]:
    """The folders ``s<number>`` of an area by number, in their order.

    Raises:
        DataError: the area cannot be read, or two of them have the same number.
    """
    return _by_number(area, _SLICE)


def slice_number(folder: Path) -> int | None:
    """Which slice a folder is by its name, None when it is none."""
    match = _SLICE.fullmatch(folder.absolute().name)
    return None if match is None else int(match[1])


def names_of(root: Path) -> dict[int, str]:
    """Names of the conditions of an area, or of the root of RobotCar-Seasons, by number, in their order.

    Without a conditions.txt, twelve folders have the names of CMU-Seasons, ten those of RobotCar-Seasons, and others their numbers.

    Raises:
        DataError: the folder cannot be read; or conditions.txt is damaged, or has no name for a folder.
    """
    there = _numbers(root)
    file = root / CONDITIONS_FILE
    if file.is_file():
        names = _read_names(file)
        unnamed = [number for number in there if number not in names]
        if unnamed:
            raise DataError(f"{file} has no name for the condition of the folders of number {unnamed[0]:02d}; add a line for it")
        return {number: names[number] for number in there}
    for known in (CMU_CONDITIONS, ROBOTCAR_CONDITIONS):
        if there == list(range(len(known))):
            return dict(enumerate(known))
    return {number: f"{number:02d}" for number in there}


def _numbers(root: Path) -> list[int]:
    """Numbers that the folders of a root, or of its slices, have."""
    found = {*numbered(root, "train"), *numbered(root, "test")}
    for folder in slices_of(root).values():
        found |= set(numbered(folder, "test"))
    return sorted(found)


def _by_number(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in folders_in(folder):
        match = pattern.fullmatch(path.name)
        if match is not None:
            other = found.setdefault(int(match[1]), path)
            if other != path:
                raise DataError(f"{folder} has both {other.name} and {path.name}, which are of one number; remove one of them")
    return dict(sorted(found.items()))


def folders_in(folder: Path) -> list[Path]:
    """The folders of a folder, sorted.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror or error}") from error


def _read_names(file: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for line, fields in read_rows(file):
        # Names are listed with commas between them, on cards of weights and in commands.
        if len(fields) != 2 or not re.fullmatch(r"[0-9]{1,4}", fields[0]) or "," in fields[1]:
            raise DataError(f"{file} line {line} must be a number and a name without blanks and commas, as in '03 night'")
        number = int(fields[0])
        if number in names or fields[1] in names.values():
            raise DataError(f"{file} line {line} names a condition a second time")
        names[number] = fields[1]
    return names
