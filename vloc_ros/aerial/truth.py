"""Where photos were truly taken, for judging alone: nothing that locates may import this."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from vloc_ros.aerial.georeference import LatLon
from vloc_ros.data.files import numbers, read_text
from vloc_ros.errors import DataError


def read_truth(path: Path) -> dict[str, LatLon]:
    """Positions by file name, from the columns ``file``, ``lat`` and ``lon`` [deg] of a table; of the others nothing is looked at.

    A photo whose cells are empty has none. Folders in the names do not count.

    Raises:
        DataError: it cannot be read, lacks one of these columns, names a file twice, or a cell is no plausible number.
    """
    rows = csv.reader(read_text(path).splitlines())
    head = [name.strip() for name in next(rows, [])]
    missing = [name for name in ("file", "lat", "lon") if name not in head]
    if missing:
        raise DataError(f"{path} has no column '{missing[0]}' in its first line; truth has the columns file, lat, lon")
    file, lat, lon = (head.index(name) for name in ("file", "lat", "lon"))
    found: dict[str, LatLon] = {}
    for line, cells in enumerate(rows, start=2):
        if not cells:
            continue
        if len(cells) != len(head):
            raise DataError(f"{path} line {line} has {len(cells)} columns instead of {len(head)}; is the file cut off?")
        if not (cells[lat].strip() and cells[lon].strip()):
            continue
        position = LatLon(*(float(value) for value in numbers([cells[lat], cells[lon]], path, line)))
        if abs(position.lat) > 90.0 or abs(position.lon) > 180.0:
            raise DataError(f"{path} line {line}: {position.lat:g}, {position.lon:g} is no latitude and longitude")
        name = PurePosixPath(cells[file].strip()).name
        if name in found:
            raise DataError(f"{path} line {line} names '{name}' a second time; each image has one line")
        found[name] = position
    return found
