"""Photos of a survey flight and where a satellite receiver says that they were taken."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vloc_ros.aerial.georeference import LatLon
from vloc_ros.errors import DataError

_FILE, _LAT, _LON = ("file", "file_name", "filename", "image"), ("lat", "latitude"), ("lon", "longitude")
_HEIGHT, _YAW = ("rel_alt", "height"), ("gimbal_yaw", "heading", "flight_yaw")
_ENDINGS = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}


@dataclass(frozen=True, slots=True)
class SurveyPhoto:
    """One photo of a survey.

    Attributes:
        path: of its file.
        position: where it was taken.
        height_m: above the place of take-off [m], None where nobody says it.
        heading_deg: of the direction that is up in it [deg], None where nobody says it.
    """

    path: Path
    position: LatLon
    height_m: float | None = None
    heading_deg: float | None = None

    @property
    def name(self) -> str:
        """Of its file."""
        return self.path.name


def read_survey(folder: Path, table: Path) -> list[SurveyPhoto]:
    """Photos of a folder that a table has positions of, in the order of the table.

    Args:
        folder: with the photos.
        table: CSV with columns file, lat, lon, and if there are any rel_alt and gimbal_yaw, heading or flight_yaw.

    Raises:
        DataError: a column is missing, a line is damaged, or none of the photos has a position; the text names the line.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of photos")
    here = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.suffix.lower() in _ENDINGS}
    found = {}
    for line, row in enumerate(_lines(table), 2):
        name = Path(_text(row, _FILE)).name
        path = here.get(name.lower())
        if path is None:
            continue
        lat, lon = _number(table, line, row, _LAT), _number(table, line, row, _LON)
        if lat is None or lon is None or not (abs(lat) <= 90.0 and abs(lon) <= 180.0):
            raise DataError(f"line {line} of {table} has no latitude and longitude in degrees")
        found[path.name] = SurveyPhoto(path, LatLon(lat, lon), _number(table, line, row, _HEIGHT), _number(table, line, row, _YAW))
    if not found:
        raise DataError(f"none of the {len(here)} photos in {folder} is named in {table}: its column 'file' must hold their names")
    return list(found.values())


def _lines(table: Path) -> list[Mapping[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows: list[Mapping[str, str]] = [
                {str(key).strip().lower(): (value or "").strip() for key, value in row.items() if key} for row in reader
            ]
            names = {str(name).strip().lower() for name in reader.fieldnames or ()}
    except (OSError, UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise DataError(f"the table {table} cannot be read: {error}") from error
    for wanted in (_FILE, _LAT, _LON):
        if not names & set(wanted):
            raise DataError(f"the table {table} has no column '{wanted[0]}': its first line must name file, lat and lon")
    return rows


def _text(row: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((row[name] for name in names if row.get(name)), "")


def _number(table: Path, line: int, row: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    text = _text(row, names)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"line {line} of {table}: '{text}' is no number") from None
    return value if math.isfinite(value) else None
