"""Data sets of place recognition: folders of images, and which of them show the same place.

The truth is made here, from file names, order or poses; nothing that searches is given it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.files import list_images, list_images_below, read_rows
from vloc_ros.data.frame import Image
from vloc_ros.data.images import read_image
from vloc_ros.data.place_poses import seen_from
from vloc_ros.data.places import Picture, PlaceDataset, PlacePoses, nearby
from vloc_ros.data.reader import open_recording
from vloc_ros.errors import DataError

_UTM = re.compile(r"^@(-?\d+(?:\.\d+)?)@(-?\d+(?:\.\d+)?)(?:@|\.|$)")


@dataclass(frozen=True)
class PlaceTruth:
    """What counts as the same place."""

    radius_m: float = param(25.0, "images taken this far apart or less show the same place", unit="m", min=0.0)
    angle_deg: float = param(180.0, "and look this far apart or less, in recordings", unit="deg", min=0.0, max=180.0)
    tolerance: int = param(0, "frames this far apart or less in the order of the route show the same place", min=0)
    min_brightness: float = param(0.0, "images whose mean grey level is below this (tunnels) are left out", min=0.0, max=255.0)


def open_tree(root: Path, split: str = "test", truth: PlaceTruth | None = None) -> PlaceDataset:
    """The tree of VPR-datasets: ``images/<split>/queries`` and ``database`` (or ``gallery``), names ``@UTM_east@UTM_north@...``.

    Both may have folders in them.

    Args:
        root: folder that holds ``images``, or ``images`` itself.
        split: train, val or test.
        truth: its radius is used.

    Raises:
        DataError: a folder is missing or empty, or a name has no UTM coordinates.
    """
    folder = next((base / split for base in (root / "images", root) if (base / split).is_dir()), None)
    if folder is None:
        raise DataError(f"{root} has no images/{split}; a VPR-datasets tree has images/train, images/val and images/test")
    bases = [folder / name for name in ("database", "gallery") if (folder / name).is_dir()]
    if len(bases) != 1 or not (folder / "queries").is_dir():
        raise DataError(f"{folder} must hold queries and one of database and gallery")
    queries, database = _images_below(folder / "queries"), _images_below(bases[0])
    radius = (truth or PlaceTruth()).radius_m
    positives = nearby(_coordinates(queries), _coordinates(database), radius)
    return PlaceDataset(f"{root.name} {split}", _pictures(queries), _pictures(database), positives, area=root.name)


def open_aligned(queries: Path, database: Path, truth: PlaceTruth | None = None) -> PlaceDataset:
    """Two traverses of one route whose images correspond: by file name, or by order where no name is in both folders.

    The names of the folders are taken for those of the conditions.

    Raises:
        DataError: a folder is missing or empty, some names correspond and others do not, or the orders have different lengths.
    """
    truth = truth or PlaceTruth()
    pairs = _aligned(_images(queries), _images(database))
    places = [place for place, pair in enumerate(pairs) if all(_is_bright(file, truth.min_brightness) for file in pair)]
    if not places:
        raise DataError(f"no pair of images of {queries} and {database} is as bright as {truth.min_brightness:g}")
    numbers = np.array(places, dtype=np.float64)[:, None]
    chosen = [pairs[place] for place in places]
    return PlaceDataset(
        f"{queries.name} in {database.name}",
        _pictures([query for query, _ in chosen], queries.name),
        _pictures([base for _, base in chosen], database.name),
        nearby(numbers, numbers, truth.tolerance),
    )


def open_route(folder: Path, every: int, share: float, truth: PlaceTruth | None = None) -> PlaceDataset:
    """One traverse of a route: every n-th image of its first part is the database, all other images are queries.

    The queries beyond the first part show places that the database does not have, unless the tolerance reaches there: they tell
    how well a method knows that it does not know.

    Args:
        folder: images in the order of the route.
        every: spacing of the database [frames], 2 or more.
        share: part of the route that the database is of, 0 to 1; 0.5 is its first half.
        truth: its tolerance is used.

    Raises:
        DataError: the folder is missing or has too few images.
    """
    truth = truth or PlaceTruth()
    files = [(k, file) for k, file in enumerate(_images(folder)) if _is_bright(file, truth.min_brightness)]
    if every < 2 or not 0.0 < share <= 1.0:
        raise DataError(f"a database of every {every}th image of {share:g} of a route leaves no queries; take every 2nd or fewer")
    limit = share * (files[-1][0] + 1) if files else 0.0
    database = [(k, file) for k, file in files if k % every == 0 and k < limit]
    queries = [(k, file) for k, file in files if k % every != 0]
    if not database or not queries:
        raise DataError(f"{folder} has {len(files)} usable images, too few for a database of every {every}th of them")
    positives = nearby(_numbers(queries), _numbers(database), truth.tolerance)
    name = f"{folder.name}, every {every}th of {share:.0%}"
    return PlaceDataset(name, _pictures([file for _, file in queries]), _pictures([file for _, file in database]), positives)


def open_pairs(queries: Path, database: Path, pairs: Path) -> PlaceDataset:
    """Two folders and a text file that names pairs of the same place: lines ``query,database`` of file names.

    A line ``query,`` says that the database does not have the place of a query. When both folders are one, its images named as
    queries are queries and all others are the database.

    Raises:
        DataError: a file is missing, or the list names an image that is not there; the text names the line.
    """
    asked, based = _images(queries), _images(database)
    rows = [(line, fields) for line, fields in read_rows(pairs, ",")]
    for line, fields in rows:
        if len(fields) != 2:
            raise DataError(f"{pairs} line {line} has {len(fields)} columns instead of query,database")
    if queries.resolve() == database.resolve():
        named = {fields[0] for _, fields in rows}
        asked = [file for file in asked if file.name in named]
        based = [file for file in based if file.name not in named]
    query_rows, base_rows = ({file.name: row for row, file in enumerate(files)} for files in (asked, based))
    positives: list[list[int]] = [[] for _ in asked]
    for line, (query, base) in rows:
        if query not in query_rows or (base and base not in base_rows):
            raise DataError(f"{pairs} line {line} names {query} and {base}, one of which is not an image of its folder")
        if base:
            positives[query_rows[query]].append(base_rows[base])
    truth = tuple(np.array(sorted(set(found)), dtype=np.int64) for found in positives)
    return PlaceDataset(pairs.stem, _pictures(asked), _pictures(based), truth)


def open_poses(queries: Path, database: Path | None, format: str | None = None, truth: PlaceTruth | None = None) -> PlaceDataset:
    """Recordings with poses: a query recording and a database one in the same frame, or the second half of one and its first.

    Raises:
        DataError: a recording cannot be opened or has no poses.
        CalibrationError: its calibration is missing or inconsistent.
    """
    truth = truth or PlaceTruth()
    asked = _posed(queries, format)
    based = asked if database is None else _posed(database, format)
    if database is None:
        half = len(asked) // 2
        asked, based = asked[half:], asked[:half]
    if not asked or not based:
        raise DataError(f"{queries} has too few frames with a pose to be parted into queries and database")
    poses = PlacePoses(tuple(pose for _, pose in asked), tuple(pose for _, pose in based))
    positives = seen_from(poses, truth.radius_m, truth.angle_deg)
    name = f"{queries.name} in {(database or queries).name}"
    return PlaceDataset(name, tuple(picture for picture, _ in asked), tuple(picture for picture, _ in based), positives, poses)


def pictures_of(folder: Path) -> tuple[Picture, ...]:
    """The images of a folder in natural order.

    Raises:
        DataError: the folder cannot be read or has no images.
    """
    return _pictures(_images(folder))


def _posed(path: Path, format: str | None) -> list[tuple[Picture, NDArray[np.float64]]]:
    """Frames of a recording whose stamps have a pose."""
    reader = open_recording(path, format)
    if reader.ground_truth is None:
        raise DataError(f"{path} has no poses, so nobody can say which of its frames show the same place")
    poses = dict(zip(reader.ground_truth.stamps_ns.tolist(), reader.ground_truth.poses, strict=True))

    def frame(index: int) -> Callable[[], Image]:
        return lambda: reader.frame(index).left

    stamps = reader.stamps_ns.tolist()
    return [(Picture(f"{path.name} {k}", frame(k)), poses[stamp]) for k, stamp in enumerate(stamps) if stamp in poses]


def _images(folder: Path) -> list[Path]:
    return _some(list_images(folder), folder)


def _images_below(folder: Path) -> list[Path]:
    return _some(list_images_below(folder), folder)


def _some(files: list[Path], folder: Path) -> list[Path]:
    if not files:
        raise DataError(f"there are no images in {folder}")
    return files


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads one file; pictures of one file are equal, however often they are named."""

    file: Path

    def __call__(self) -> Image:
        return read_image(self.file)


def _pictures(files: Sequence[Path], condition: str = "") -> tuple[Picture, ...]:
    return tuple(Picture(file.name, _Reading(file), condition) for file in files)


def _coordinates(files: Sequence[Path]) -> NDArray[np.float64]:
    """(N, 2) east and north [m] from names ``@east@north@...``; the path before the name may hold anything."""
    found = []
    for file in files:
        match = _UTM.match(file.name)
        if match is None:
            raise DataError(f"{file}: the name should begin with @UTM_east@UTM_north@, for example @0548121.38@4179312.2@.jpg")
        found.append((float(match[1]), float(match[2])))
    return np.array(found, dtype=np.float64)


def _aligned(queries: list[Path], database: list[Path]) -> list[tuple[Path, Path]]:
    by_name = {file.stem: file for file in database}
    pairs = [(file, by_name[file.stem]) for file in queries if file.stem in by_name]
    if len(pairs) == len(queries):
        return pairs
    if pairs:
        missing = next(file for file in queries if file.stem not in by_name)
        raise DataError(f"{missing} has no partner in {database[0].parent}, others have: aligned folders have the same names")
    if len(queries) != len(database):
        raise DataError(
            f"{queries[0].parent} has {len(queries)} images and {database[0].parent} {len(database)}, and no name is in both; "
            "aligned folders have the same names, or the same number of images in the same order"
        )
    return list(zip(queries, database, strict=True))


def _is_bright(file: Path, level: float) -> bool:
    return level <= 0.0 or float(read_image(file).mean()) >= level


def _numbers(files: Sequence[tuple[int, Path]]) -> NDArray[np.float64]:
    return np.array([k for k, _ in files], dtype=np.float64)[:, None]
