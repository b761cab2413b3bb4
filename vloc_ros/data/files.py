"""Reading the small text files of data sets, with errors that name the file and the line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError, VlocError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff")
NS_PER_S = 1_000_000_000
DEFAULT_PERIOD_NS = NS_PER_S // 10
"""Spacing of the stamps of recordings that carry none: 10 Hz."""


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Prefix the path (or another name) to the text of this package's errors that are raised inside."""
    try:
        yield
    except VlocError as error:
        raise type(error)(f"{path}: {error}") from error


def read_text(path: Path) -> str:
    """Contents of a UTF-8 text file, with or without a byte order mark.

    Raises:
        DataError: it is missing, not readable or not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file (byte {error.start} is not UTF-8); is it damaged?") from error


def read_rows(path: Path, separator: str | None = None) -> list[tuple[int, list[str]]]:
    """Line numbers (from 1) and fields of the lines that are neither empty nor comments (``#``).

    Args:
        path: the text file.
        separator: what parts the fields; white space when None; ``","`` also accepts white space alone.

    Raises:
        DataError: the file is missing, not readable or not text.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        line = line.strip()
        if line and not line.startswith("#"):
            parts = line.split(separator) if separator is None or separator in line else line.split()
            rows.append((number, [part.strip() for part in parts]))
    return rows


def numbers(fields: Sequence[str], path: Path, line: int) -> NDArray[np.float64]:
    """(N,) finite numbers.

    Raises:
        DataError: a field is not a finite number; the text names file and line.
    """
    try:
        values = np.array([float(field) for field in fields], dtype=np.float64)
    except ValueError:
        raise DataError(f"{path} line {line} holds something that is not a number: '{' '.join(fields)[:80]}'") from None
    if not np.all(np.isfinite(values)):
        raise DataError(f"{path} line {line} holds a value that is not finite; is the file damaged?")
    return values


def read_number_table(path: Path, columns: int, separator: str | None = None) -> NDArray[np.float64]:
    """(N, columns) numbers, one row for each line.

    Raises:
        DataError: the file is missing, or a line has another number of columns or holds no numbers.
    """
    rows = [numbers(exactly(fields, columns, path, line), path, line) for line, fields in read_rows(path, separator)]
    return np.array(rows, dtype=np.float64).reshape(len(rows), columns)


def exactly(fields: list[str], columns: int, path: Path, line: int) -> list[str]:
    """The fields, when there are as many as there should be.

    Raises:
        DataError: there are not.
    """
    if len(fields) != columns:
        raise DataError(f"{path} line {line} has {len(fields)} columns instead of {columns}; is the file cut off?")
    return fields


def parse_integer(text: str, path: Path, line: int) -> int:
    """A whole number, also when written with a point (``12.000``), without the rounding of floats.

    Raises:
        DataError: the text is something else; the error names file and line.
    """
    return int(_decimal(text, path, line))


def parse_seconds(text: str, path: Path, line: int) -> int:
    """Seconds as decimal text to nanoseconds, exact where floats would lose the last digits.

    Raises:
        DataError: the text is not a number of seconds; the error names file and line.
    """
    return int((_decimal(text, path, line) * NS_PER_S).to_integral_value())


def _decimal(text: str, path: Path, line: int) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise DataError(f"{path} line {line}: '{text[:40]}' is not a number") from None
    # Beyond int64 nanoseconds a stamp means nothing, and 1e999999 would take all memory.
    if not value.is_finite() or value.adjusted() > 20:
        raise DataError(f"{path} line {line}: '{text[:40]}' is not a usable number")
    return value


def format_seconds(stamp_ns: int) -> str:
    """Nanoseconds to seconds with nine decimals; :func:`parse_seconds` gives back the same integer."""
    sign, magnitude = ("-", -stamp_ns) if stamp_ns < 0 else ("", stamp_ns)
    return f"{sign}{magnitude // NS_PER_S}.{magnitude % NS_PER_S:09d}"


def inside(folder: Path, name: str) -> Path:
    """The path of a file that a list names, which must lie below the folder of the list.

    Raises:
        DataError: the name is absolute or climbs out of the folder.
    """
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts or PureWindowsPath(name).drive or "\0" in name:
        raise DataError(f"a list in {folder} names '{name}', which lies outside that folder; refusing to read it")
    return folder / relative


def list_images(folder: Path) -> list[Path]:
    """Image files of a folder in natural order (9 before 10).

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    return sorted(files, key=lambda file: natural_key(file.name))


def list_images_below(folder: Path) -> list[Path]:
    """Image files of a folder, then those of the folders in it, as large data sets are divided; each in natural order.

    Raises:
        DataError: a folder cannot be read.
    """
    folders = sorted(path for path in folder.rglob("*") if path.is_dir())
    return [file for each in (folder, *folders) for file in list_images(each)]


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that compares runs of digits as numbers."""
    return [(0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def paired_images(left: Path, right: Path) -> list[tuple[Path, Path]]:
    """The images of two folders, paired by file name without extension.

    Raises:
        DataError: a folder is missing or empty, or an image has no partner.
    """
    lefts, rights = list_images(left), {file.stem: file for file in list_images(right)}
    if not lefts:
        raise DataError(f"there are no images in {left}")
    missing = [file for file in lefts if file.stem not in rights]
    if missing:
        raise DataError(f"{missing[0]} has no partner in {right} ({len(missing)} of {len(lefts)} images have none)")
    extra = sorted(set(rights) - {file.stem for file in lefts}, key=natural_key)
    if extra:
        raise DataError(f"{rights[extra[0]]} has no partner in {left} ({len(extra)} of {len(rights)} images have none)")
    return [(file, rights[file.stem]) for file in lefts]


def regular_stamps(count: int) -> NDArray[np.int64]:
    """(N,) stamps at 10 Hz from zero [ns], for recordings that carry none."""
    return np.arange(count, dtype=np.int64) * DEFAULT_PERIOD_NS


def indices_by_name(files: Iterable[Path], rows: int, path: Path) -> list[int]:
    """Which row of a per-frame table belongs to each image.

    A table as long as the recording belongs to it in order; of a longer one (an excerpt) the numbers of the images pick rows.

    Raises:
        DataError: neither fits.
    """
    stems = [file.stem for file in files]
    if rows == len(stems):
        return list(range(rows))
    picked = [int(stem) if stem.isascii() and stem.isdigit() else -1 for stem in stems]
    if rows > len(stems) and all(0 <= number < rows for number in picked):
        return picked
    raise DataError(f"{path} has {rows} lines but there are {len(stems)} images; both must belong to the same recording")
