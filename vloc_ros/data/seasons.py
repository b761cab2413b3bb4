"""Long-term benchmarks: pictures of one reference condition with their poses, and queries of all other conditions.

Two layouts, those in which CMU-Seasons and RobotCar-Seasons are trained with and asked::

    <area>/trainNN/                         to learn from (data/condition_folders.py)
    <area>/s<slice>/test00/                 the database of a slice, by the reference condition
    <area>/s<slice>/testNN/                 queries
    <area>/s<slice>/pose_new_s<slice>.txt   poses of the database; of queries, too, where the benchmark is not secret

    <root>/testNN/, <root>/pose_new_rear.txt    of RobotCar-Seasons, the rear camera alone

``conditions.txt`` in the area or the root, lines as ``03 night``, names the conditions. Poses are lines of the name of an image and
qw, qx, qy, qz, tx, ty, tz, which are the rotation and the translation of **camera_T_world**, not the place of the camera: what
follows the name is what the site of the benchmark takes as an answer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.files import exactly, list_images_below, numbers, read_rows
from vloc_ros.data.images import read_image
from vloc_ros.data.places import Picture
from vloc_ros.data.seasons_layout import folders_in, names_of, numbered, slice_number, slices_of
from vloc_ros.errors import DataError
from vloc_ros.geometry.se3 import from_quaternion, inverse, quaternion

ROBOTCAR_SIDE = "rear"
_ROBOTCAR_POSES = f"pose_new_{ROBOTCAR_SIDE}.txt"
_OTHER_SIDES = ("left", "right")
_CAMERA = re.compile(r"c\d+")
_UNIT_TOLERANCE = 1e-2
_Naming = Callable[[Path], "tuple[str, str] | None"]
"""Name and side of an image, None for one that is left out."""
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SeasonsPicture:
    """One picture of a long-term benchmark.

    Attributes:
        picture: its image, condition, and name as the site of the benchmark wants it.
        side: which camera took it, as "c0" or "rear", empty where there is one only; sides are searched separately.
        world_T_camera: (4, 4) pose of the optical frame, None where the benchmark keeps it secret.
    """

    picture: Picture
    side: str
    world_T_camera: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class SeasonsDataset:
    """Database and queries of a long-term benchmark.

    Attributes:
        name: for people.
        database: pictures of the reference condition, each with a pose.
        queries: pictures of the other conditions, in their order.
        conditions: names, the reference first.
        area: of which it is a slice; several slices are one area.

    Raises:
        DataError: a part is empty, a picture of the database has no pose, or the parts do not fit each other.
    """

    name: str
    database: tuple[SeasonsPicture, ...]
    queries: tuple[SeasonsPicture, ...]
    conditions: tuple[str, ...]
    area: str = ""

    def __post_init__(self) -> None:
        if not self.database or not self.queries:
            raise DataError(f"{self.name} has {len(self.database)} pictures of the reference and {len(self.queries)} queries")
        without = [entry.picture.name for entry in self.database if entry.world_T_camera is None]
        if without:
            raise DataError(
                f"{self.name}: {without[0]} of the reference has no pose ({len(without)} of {len(self.database)} have none)"
            )
        sides = {entry.side for entry in self.database}
        lost = next((entry for entry in self.queries if entry.side not in sides), None)
        if lost is not None:
            raise DataError(f"{self.name}: {lost.picture.name} is of side '{lost.side}', of which the reference has no picture")
        strange = {entry.picture.condition for entry in (*self.database, *self.queries)} - set(self.conditions)
        if strange:
            raise DataError(f"{self.name}: {min(strange)} is none of its conditions {', '.join(self.conditions)}")


def open_seasons(root: Path) -> SeasonsDataset:
    """The benchmark in a folder: an area with one slice, a slice of an area, or the root of RobotCar-Seasons.

    Raises:
        DataError: it is none of these, is damaged, or has several slices.
    """
    found = seasons_parts(root)
    if len(found) != 1:
        raise DataError(f"{root} has {len(found)} slices ({', '.join(map(str, found[:3]))}, ...): name the folder of one")
    return _open_part(found[0])


def open_all_seasons(root: Path) -> tuple[SeasonsDataset, ...]:
    """All benchmarks in a folder, each to be searched on its own: as :func:`open_seasons`, or areas with several slices.

    Raises:
        DataError: there is none, or one is damaged.
    """
    return tuple(_open_part(part) for part in seasons_parts(root))


def seasons_parts(root: Path) -> list[Path]:
    """Folders of the slices of an area or of several areas; or the root of RobotCar-Seasons, or a slice, itself.

    Raises:
        DataError: there is none, or a folder cannot be read.
    """
    if numbered(root, "test"):
        return [root]
    slices = [folder for area in (root, *folders_in(root)) for folder in slices_of(area).values() if numbered(folder, "test")]
    if not slices:
        raise DataError(
            f"{root} is no long-term benchmark: it has neither test00 and {_ROBOTCAR_POSES}, as RobotCar-Seasons, nor s1/test00 "
            "and s1/pose_new_s1.txt, as an area of CMU-Seasons"
        )
    return slices


def _open_part(folder: Path) -> SeasonsDataset:
    number = slice_number(folder)
    if number is None or (folder / _ROBOTCAR_POSES).exists():
        return open_robotcar(folder)
    return open_cmu(folder.absolute().parent, number)


def open_cmu(area: Path, slice: int | None = None) -> SeasonsDataset:
    """A slice of an area in the layout of CMU-Seasons.

    Args:
        area: folder with the slices, and with conditions.txt or the folders to learn from.
        slice: its number; None where there is one slice only.

    Raises:
        DataError: there is no such slice, a file is missing or damaged, the name of an image does not say which camera took it, or
            a picture of the reference has no pose.
    """
    slices = slices_of(area)
    if slice is None and len(slices) == 1:
        slice = next(iter(slices))
    if slice is None or slice not in slices:
        there = ", ".join(map(str, slices)) or "none"
        raise DataError(
            f"{area} has no slice {'by default' if slice is None else slice}; name one of those that are there: {there}"
        )
    folder = slices[slice]
    poses = _Poses(folder / f"pose_new_{folder.name}.txt")
    place = area.resolve().name
    return _dataset(f"{place} {folder.name}", folder, names_of(area), poses, lambda file: (file.name, _camera_of(file)), place)


def open_robotcar(root: Path) -> SeasonsDataset:
    """The layout of RobotCar-Seasons: the rear camera; images in folders named left and right are left out.

    Raises:
        DataError: a file is missing or damaged, or a picture of the reference has no pose.
    """
    poses = _Poses(root / _ROBOTCAR_POSES)

    def rear(file: Path) -> tuple[str, str] | None:
        return None if file.parent.name in _OTHER_SIDES else (f"{ROBOTCAR_SIDE}/{file.name}", ROBOTCAR_SIDE)

    return _dataset(root.resolve().name, root, names_of(root), poses, rear, root.resolve().name)


def _dataset(
    name: str, folder: Path, conditions: dict[int, str], poses: _Poses, name_and_side: _Naming, area: str
) -> SeasonsDataset:
    """The pictures of the folders testNN of a folder."""
    found: dict[int, list[SeasonsPicture]] = {}
    for number, images in numbered(folder, "test").items():
        for file in list_images_below(images):
            named = name_and_side(file)
            if named is not None:
                picture = Picture(named[0], partial(read_image, file), conditions[number])
                found.setdefault(number, []).append(SeasonsPicture(picture, named[1], poses.of(file)))
    if 0 not in found:
        raise DataError(f"{folder} has no images in test00, which is the reference condition with its poses")
    poses.check_all_used()
    database = tuple(found.pop(0))
    queries = tuple(each for some in found.values() for each in some)
    return SeasonsDataset(name, database, queries, tuple(conditions.values()), area)


def _camera_of(file: Path) -> str:
    """c0 of ``img_00119_c0_<stamp>us.jpg``, wherever it stands in the name."""
    cameras = [field for field in file.stem.split("_") if _CAMERA.fullmatch(field)]
    if len(cameras) != 1:
        raise DataError(f"{file}: the name must say which camera took the image, as c0 does in img_00119_c0_1303398475046031us.jpg")
    return cameras[0]


class _Poses:
    """The poses of a file, by the name of the image without folder and ending, which differ between the parts of a benchmark."""

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise DataError(f"{file} is missing: it must have a line 'image qw qx qy qz tx ty tz' for each image of test00")
        self._file = file
        self._poses: dict[str, NDArray[np.float64]] = {}
        for line, fields in read_rows(file):
            values = numbers(exactly(fields, 8, file, line)[1:], file, line)
            length = float(np.linalg.norm(values[:4]))
            if abs(length - 1.0) > _UNIT_TOLERANCE:
                raise DataError(
                    f"{file} line {line}: the four numbers after the name are no unit quaternion (their norm is {length:g})"
                )
            w, x, y, z = values[:4]
            stem = PurePosixPath(fields[0]).stem
            if stem in self._poses:
                raise DataError(f"{file} line {line} has a pose for {fields[0]} a second time")
            self._poses[stem] = inverse(from_quaternion(values[4:], np.array([x, y, z, w])))
        self._unused = set(self._poses)

    def of(self, file: Path) -> NDArray[np.float64] | None:
        """(4, 4) world_T_camera of an image, None when there is none."""
        self._unused.discard(file.stem)
        return self._poses.get(file.stem)

    def check_all_used(self) -> None:
        """Say so when there are poses of images that are not there: then some have got lost, or were left out on purpose."""
        if self._unused:
            text = "%s has poses of %d images that are not there, as %s"
            _LOGGER.warning(text, self._file, len(self._unused), min(self._unused))


def pose_line(name: str, world_T_camera: NDArray[np.float64]) -> str:
    """One line of a file of poses, and of the file that the site of the benchmark takes: name, qw, qx, qy, qz, tx, ty, tz.

    Rotation and translation are those of ``camera_T_world``: the translation is not where the camera is.
    """
    camera_T_world = inverse(world_T_camera)
    x, y, z, w = quaternion(camera_T_world)
    return " ".join([name, *(f"{value:.12f}" for value in (w, x, y, z)), *(f"{value:.9f}" for value in camera_T_world[:3, 3])])


def pose_lines(entries: Iterable[tuple[str, NDArray[np.float64]]]) -> str:
    """The text of a file of poses: a :func:`pose_line` for each name and pose."""
    return "".join(f"{pose_line(name, pose)}\n" for name, pose in entries)
