"""The numbers of many drives as a table on disk that grows by a line with each drive."""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import os
from pathlib import Path
from typing import Any

from vloc_ros.closed_loop.judge import DriveSummary
from vloc_ros.errors import DataError
from vloc_ros.evaluation.output import make_folder, writing

_LOG = logging.getLogger(__name__)
COLUMNS = tuple(field.name for field in dataclasses.fields(DriveSummary))
_TYPES = {field.name: str(field.type) for field in dataclasses.fields(DriveSummary)}


def append_row(path: Path, summary: DriveSummary) -> None:
    """Append a drive; the first one creates the file with its header. A last line that a kill cut is removed first.

    Raises:
        OutputError: the file cannot be written.
        DataError: it is another table.
    """
    path = Path(path)
    make_folder(path.parent)
    with writing(path), path.open("a+b") as file:
        file.seek(0)
        whole = _whole(file.read())
        if whole and _lines(whole)[0] != list(COLUMNS):
            raise DataError(_other(path))
        file.truncate(len(whole))
        text = _line([_write(value) for value in summary.to_dict().values()])
        # One write, after what is whole: a kill leaves a cut line, never a line run into another.
        file.write((text if whole else _line(list(COLUMNS)) + text).encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> list[DriveSummary]:
    """All drives of the table; a last line that a kill cut is left out with a warning.

    Raises:
        DataError: the file cannot be read, is another table, or is damaged.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; is this the table of the drives?") from error
    whole = _whole(content)
    if len(whole) < len(content):
        _LOG.warning("%s ends in the middle of a line; that drive is left out", path)
    try:
        lines = _lines(whole)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is damaged: {error}; remove it and drive again") from error
    if not lines:
        return []
    if lines[0] != list(COLUMNS):
        raise DataError(_other(path))
    return [_summary(path, number, line) for number, line in enumerate(lines[1:], 2)]


def _summary(path: Path, number: int, line: list[str]) -> DriveSummary:
    try:
        return DriveSummary(**{name: _read(name, text) for name, text in zip(COLUMNS, line, strict=True)})
    except ValueError as error:
        raise DataError(f"line {number} of {path} is damaged: {error}; remove the line and drive again") from error


def _whole(content: bytes) -> bytes:
    """What ends with a line feed; names hold none."""
    return content[: content.rfind(b"\n") + 1]


def _lines(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8"))))


def _line(values: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([value.replace("\n", " ").replace("\r", " ") for value in values])
    return buffer.getvalue()


def _write(value: Any) -> str:
    return "" if value is None else str(value)


def _read(name: str, text: str) -> Any:
    kind = _TYPES[name]
    if kind == "str":
        return text
    if text == "" and kind.endswith("None"):
        return None
    return int(text) if kind == "int" else float(text)


def _other(path: Path) -> str:
    return f"{path} has other columns than {', '.join(COLUMNS[:4])} and so on; name another file or remove it"
