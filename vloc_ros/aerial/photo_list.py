"""Photos to be located: files, a folder, or a table of them, and what the drone's instruments said of each.

Positions are no part of it: of a table, only the columns that are named here are looked at. Where photos were truly taken is read
by :mod:`vloc_ros.aerial.truth` alone, for judging.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vloc_ros.aerial.photo import Lens, Photo, Tilt
from vloc_ros.data.files import inside, list_images, numbers, parse_seconds, read_text
from vloc_ros.data.images import read_image
from vloc_ros.errors import DataError

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "height": ("height", "rel_alt", "relative_altitude", "altitude"),
    "heading": ("heading", "gimbal_yaw", "yaw", "flight_yaw"),
    "roll": ("roll",),
    "pitch": ("pitch",),
    "time": ("time",),
}
"""Names of columns in a table beside ``file``, the first that is there counts: metres above the ground, degrees, seconds.

Where a table has several heights, ``altitude`` is the one that may be above the sea: it comes last.
"""


@dataclass(frozen=True, slots=True)
class Instruments:
    """What is known of how a photo was taken, as :class:`vloc_ros.aerial.photo.Photo` has it; None where nobody knows."""

    height_m: float | None = None
    heading_deg: float | None = None
    tilt: Tilt | None = None
    stamp_ns: int | None = None

    def filled_by(self, other: Instruments) -> Instruments:
        """With what the other says of what is not known here."""
        return Instruments(
            other.height_m if self.height_m is None else self.height_m,
            other.heading_deg if self.heading_deg is None else self.heading_deg,
            self.tilt or other.tilt,
            other.stamp_ns if self.stamp_ns is None else self.stamp_ns,
        )


@dataclass(frozen=True, slots=True)
class Shot:
    """A photo that was not read yet.

    Attributes:
        path: of its file.
        instruments: what they said.
    """

    path: Path
    instruments: Instruments

    @property
    def name(self) -> str:
        """Of the file."""
        return self.path.name

    def read(self, optics: Optics) -> Photo:
        """The photo.

        Raises:
            DataError: the file is missing, truncated or no image, or the lens is one of larger images.
        """
        image = read_image(self.path)
        said, (height, width) = self.instruments, image.shape[:2]
        lens = optics.lens(width)
        if lens is not None and lens.centre is not None and not (0.0 <= lens.centre[0] < width and 0.0 <= lens.centre[1] < height):
            raise DataError(
                f"{self.path} has {width}x{height} pixels, beside which the principal point {lens.centre[0]:g}, {lens.centre[1]:g} "
                "lies: the intrinsics are of images of another size"
            )
        return Photo(image, self.name, lens, said.height_m, said.heading_deg, said.tilt, said.stamp_ns)


@dataclass(frozen=True, slots=True)
class Optics:
    """What is known of the lens of all photos.

    Attributes:
        focal: focal length [px], None where it is not known.
        fov_deg: angle of view along the width, in place of it.
        centre: principal point [px], the middle of the image where None.
    """

    focal: float | None = None
    fov_deg: float | None = None
    centre: tuple[float, float] | None = None

    def lens(self, width: int) -> Lens | None:
        """For photos of so many columns; None where nothing is known."""
        focal = self.focal
        if self.fov_deg is not None:
            focal = 0.5 * width / float(np.tan(np.deg2rad(0.5 * self.fov_deg)))
        return None if focal is None else Lens(focal, self.centre)


def shots_of(sources: Sequence[Path], table: Path | None = None, otherwise: Instruments | None = None) -> list[Shot]:
    """The photos that a command line names.

    Args:
        sources: image files, folders of them, and tables (``*.csv``) whose first column names image files beside the table.
        table: of what instruments said, for the photos of files and folders.
        otherwise: what counts where no table says it.

    Raises:
        DataError: nothing is found, a table cannot be read, or the one of instruments names none of the photos.
    """
    said = {} if table is None else read_instruments(table)
    found: list[Shot] = []
    for source in sources:
        if source.suffix.lower() == ".csv":
            found += [Shot(inside(source.parent, name), of_it) for name, of_it in read_instruments(source).items()]
        else:
            files = list_images(source) if source.is_dir() else [source]
            found += [Shot(file, said.get(file.name, Instruments())) for file in files]
    if not found:
        raise DataError(f"there are no images in {', '.join(map(str, sources))}")
    if table is not None:
        require_named(table, said, found)
    return [replace(shot, instruments=shot.instruments.filled_by(otherwise or Instruments())) for shot in found]


def require_named(table: Path, named: Collection[str], shots: Sequence[Shot]) -> None:
    """Make sure that a table is of these photos, which are found in it by the names of their files.

    Args:
        table: for the message.
        named: names in it.
        shots: the photos.

    Raises:
        DataError: it names none of them, or two of them have one name.
    """
    names = Counter(shot.name for shot in shots)
    if not names.keys() & set(named):
        raise DataError(f"{table} names none of the {len(shots)} photos: its column 'file' must hold names such as {shots[0].name}")
    twice = [name for name, count in names.items() if count > 1 and name in named]
    if twice:
        raise DataError(
            f"{table} cannot tell apart the photos that are named {twice[0]}: rename them, or locate one folder at a time"
        )


def read_instruments(path: Path) -> dict[str, Instruments]:
    """What a table says of each file that it names, in its order.

    Raises:
        DataError: it cannot be read, has no column ``file``, names a file twice, or has a cell that is no number.
    """
    rows = csv.reader(read_text(path).splitlines())
    head = [name.strip() for name in next(rows, [])]
    if "file" not in head:
        raise DataError(f"{path} has no column 'file' in its first line ({', '.join(head)[:120]}); it names the images")
    places = {key: next((head.index(name) for name in names if name in head), None) for key, names in COLUMNS.items()}
    found: dict[str, Instruments] = {}
    for line, cells in enumerate(rows, start=2):
        if not cells:
            continue
        if len(cells) != len(head):
            raise DataError(f"{path} line {line} has {len(cells)} columns instead of {len(head)}; is the file cut off?")
        name = cells[head.index("file")].strip()
        if name in found:
            raise DataError(f"{path} line {line} names '{name}' a second time; each image has one line")
        said = {key: cells[place].strip() for key, place in places.items() if place is not None}
        found[name] = _instruments(said, path, line)
    return found


def _instruments(said: Mapping[str, str], path: Path, line: int) -> Instruments:
    values = {key: float(numbers([text], path, line)[0]) for key, text in said.items() if text and key != "time"}
    height = values.get("height")
    if height is not None and height <= 0.0:
        raise DataError(f"{path} line {line}: a height of {height:g} m is not above the ground; leave it empty if it is not known")
    tilt = None
    if "roll" in values and "pitch" in values:
        tilt = Tilt(float(np.deg2rad(values["roll"])), float(np.deg2rad(values["pitch"])))
    stamp = parse_seconds(said["time"], path, line) if said.get("time") else None
    return Instruments(height, values.get("heading"), tilt, stamp)
