"""Connections to a map file: made new, existing, for reading and writing, and on read-only disks."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vloc_ros.errors import MapError

_BUSY_TIMEOUT_S = 5.0
_EXCLUSIVE_TIMEOUT_S = 0.5

# sqlite3 has error codes only from Python 3.11 on; these parts of its messages are stable.
_EXPLANATIONS = (
    ("disk is full", "the disk is full: free some space; what was stored before is kept"),
    ("disk I/O error", "the disk refuses to read or write (full, over quota, or failing); what was stored before is kept"),
    ("readonly database", "it cannot be written: the file, its folder or its disk is read-only"),
    ("is locked", "another process is using it: try again when that has ended"),
    ("unable to open", "it cannot be opened: the file, its folder or its disk may be read-only or closed to this user"),
    ("not a database", "it is not a map made by vloc_ros, or its first bytes are damaged"),
    ("closed database", "it has been closed"),
    ("in a thread", "it belongs to the thread that opened it: open the map once in each thread"),
    ("UNIQUE constraint", "it already holds that entry"),
    ("FOREIGN KEY constraint", "the entry refers to a keyframe or session that it does not hold"),
)
_CANNOT_MAKE_INDEX = ("unable to open", "readonly database", "disk I/O error", "disk is full")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into MapError."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
        text = str(error)
        for part, explanation in _EXPLANATIONS:
            if part in text:
                raise MapError(f"the map {path} failed: {explanation}") from error
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError | OverflowError):
            raise MapError(f"the map {path} was given a value that it cannot hold: {text}") from error
        raise MapError(f"the map {path} is damaged ({text}): restore a copy of it or make it anew") from error


def side_files(path: Path) -> tuple[Path, Path]:
    """The write-ahead log and the shared-memory index that SQLite keeps beside an open file."""
    path = path.resolve()
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def identity(path: Path) -> tuple[int, int] | None:
    """Device and number of the file that has a name now; None while none has it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def refuse_existing(path: Path) -> None:
    """Check that a new map would take nobody's place.

    Raises:
        MapError: the file exists.
    """
    if path.exists() or path.is_symlink():
        raise MapError(f"the map {path} exists already: use --append to add to it, or another name")


def reserve(file: Path, path: Path) -> None:
    """Create an empty file beside the map ``path`` that is being made.

    Raises:
        MapError: the folder does not exist, or cannot be written.
    """
    try:
        file.unlink(missing_ok=True)  # what a killed process with our number left behind
        file.open("xb").close()
    except FileNotFoundError:
        raise MapError(f"the map {path} cannot be made: the folder {path.parent} does not exist") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MapError(f"the map {path} cannot be made: {reason} (choose a folder that can be written)") from error


def publish(staging: Path, path: Path) -> None:
    """Give a complete map its name, never replacing a file that has it.

    Raises:
        MapError: the file exists, or cannot be written.
    """
    try:
        os.link(staging, path)
    except FileExistsError:
        refuse_existing(path)
    except OSError:
        # A file system without hard links (FAT, some network drives): the name is taken in two steps.
        refuse_existing(path)
        try:
            staging.rename(path)
        except OSError as error:
            raise MapError(f"the map {path} cannot be made: {error.strerror or error}") from error


def connect(path: Path, exclusive: bool = False) -> sqlite3.Connection:
    """Connect to an existing file for reading and writing; ``exclusive`` keeps every other process out.

    Raises:
        MapError: it cannot be opened, or is in use (exclusive).
    """
    # The locking mode must be set before anything is read, or the file is shared from then on.
    mode = "EXCLUSIVE" if exclusive else "NORMAL"
    timeout = _EXCLUSIVE_TIMEOUT_S if exclusive else _BUSY_TIMEOUT_S
    with explained(path):
        return _connect(path, "mode=rw", timeout, f"PRAGMA locking_mode = {mode}", "PRAGMA synchronous = NORMAL")


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Connect to an existing file for reading, also on a read-only or full disk.

    There SQLite cannot keep its index of the write-ahead log, and the file is read as it is. Should another user be able to write
    it, and start to do so meanwhile, reads may fail.

    Raises:
        MapError: it cannot be read, or such a disk holds a write-ahead log that has yet to be moved into the file.
    """
    with explained(path):
        try:
            if os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK):
                # SQLite's own mode=ro cannot tidy up: it would leave an empty log and index beside the map.
                return _connect(path, "mode=rw", _BUSY_TIMEOUT_S, "PRAGMA query_only = ON")
            return _connect(path, "mode=ro", _BUSY_TIMEOUT_S)
        except sqlite3.OperationalError as error:
            if not any(part in str(error) for part in _CANNOT_MAKE_INDEX):
                raise
            log = side_files(path)[0]
            if log.exists() and log.stat().st_size > 0:
                raise MapError(
                    f"the map {path} was not closed and lies on a read-only or full disk: "
                    f"copy it together with {log.name} to a folder that can be written, and open it there"
                ) from error
        return _connect(path, "mode=ro&immutable=1", _BUSY_TIMEOUT_S)


def _connect(path: Path, mode: str, timeout: float, *pragmas: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None, timeout=timeout)
    try:
        for pragma in (*pragmas, "PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON", "PRAGMA foreign_keys = ON"):
            connection.execute(pragma)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the first read of the file
    except sqlite3.Error:
        connection.close()
        raise
    return connection
