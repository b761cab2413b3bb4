"""One SQLite file of checksummed rows: opening, transactions, and errors a user can act on.

Durability: write-ahead log with ``synchronous=NORMAL``. A committed transaction survives the death of the process (kill -9) at
any moment. After a power cut the file is still consistent, but the transactions since the last checkpoint (about the last 4 MiB
written) may be gone; closing the file makes everything durable. ``FULL`` would add a disk flush to every keyframe, which can
take tenths of a second on the SD cards of small robots.

SQLite notices damage of its own structure but not of the content of a page, therefore every row carries a checksum.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vloc_ros.errors import MapError
from vloc_ros.mapping.opening import (
    connect,
    connect_read_only,
    explained,
    identity,
    publish,
    refuse_existing,
    reserve,
    side_files,
)
from vloc_ros.mapping.schema import (
    AERIAL_APPLICATION_ID,
    APPLICATION_ID,
    SCHEMA_VERSION,
    TABLES,
    TABLES_OF,
    columns,
    statements,
)

_log = logging.getLogger(__name__)


def plain(values: Iterable[Any]) -> tuple[Any, ...]:
    """Values as SQLite takes them: numpy scalars become Python's."""
    return tuple(value.item() if isinstance(value, np.generic) else value for value in values)


def checksum(values: Iterable[Any]) -> int:
    """CRC-32 over the types and values of a row of int, float, str, bytes and None."""
    crc = 0
    for value in plain(values):
        if isinstance(value, bytes):
            crc = zlib.crc32(value, zlib.crc32(b"b%d:" % len(value), crc))
        elif isinstance(value, str):
            text = value.encode("utf-8", "surrogatepass")
            crc = zlib.crc32(b"s%d:" % len(text) + text, crc)
        elif isinstance(value, float):
            crc = zlib.crc32(b"f" + struct.pack("<d", value + 0.0), crc)  # SQLite stores -0.0 as 0.0
        elif value is None:
            crc = zlib.crc32(b"n", crc)
        else:
            crc = zlib.crc32(b"i%d;" % value, crc)
    return crc


def row_name(table: str, row: Sequence[Any]) -> str:
    """How messages call a row, for example ``the image of keyframe s1/k3``."""
    names = TABLES[table]
    if names[:2] == ("session", "keyframe"):
        part = "" if table == "keyframe" else f"the {table.replace('_', ' ')} of "
        return f"{part}keyframe s{row[0]}/k{row[1]}"
    if names[0] == "a_session":
        return f"the {table.replace('_', ' ')} s{row[0]}/k{row[1]} to s{row[2]}/k{row[3]}"
    return f"the {table.replace('_', ' ')} entry {row[0]}"


class Database:
    """An open map file. One thread; SQLite connections must not be carried across a fork."""

    def __init__(self, path: Path, connection: sqlite3.Connection, read_only: bool) -> None:
        self.path = path
        self.connection = connection
        self.read_only = read_only
        self._identity = identity(path)
        self.tables = TABLES
        """The tables that the file has; an older file that is only read may lack some."""

    @classmethod
    def create(cls, path: Path, first_rows: Sequence[tuple[str, Sequence[Any]]]) -> Database:
        """Make a new file that holds ``first_rows`` (table, values without ``crc``).

        Raises:
            MapError: the file exists, or cannot be written; nothing is left behind then.
        """
        refuse_existing(path)
        # Made complete under another name first: whoever is killed here leaves no half-made map under the wanted one.
        staging = path.with_name(f".{path.name}.{os.getpid()}.new")
        reserve(staging, path)
        try:
            with closing(cls(staging, connect(staging), read_only=False)) as database:
                database._lay_out(first_rows)
            publish(staging, path)
        finally:
            for leftover in (staging, *side_files(staging)):
                leftover.unlink(missing_ok=True)
        return cls(path, connect(path), read_only=False)

    def _lay_out(self, first_rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        with explained(self.path):
            mode = self.connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            _log.warning("%s: this disk has no write-ahead log; others cannot read the map while it is written", self.path)
        with self.transaction():
            for statement in statements():
                self.connection.execute(statement)
            for table, values in first_rows:
                self.insert(table, values)
            self.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    @classmethod
    def open(cls, path: Path, read_only: bool = False, exclusive: bool = False) -> Database:
        """Open an existing file; ``exclusive`` also keeps every other process out.

        A file of an older schema gets the tables that it lacks, unless it is opened ``read_only``: then it stays as it is, and
        reads as if those tables were empty.

        Raises:
            MapError: it is absent, no map, damaged, newer than this release, in use (exclusive), or cannot be read or written.
        """
        _require_file(path, read_only)
        connection = connect_read_only(path) if read_only else connect(path, exclusive)
        database = cls(path, connection, read_only)
        try:
            database._require_map()
            if not read_only:
                database._upgrade()
        except MapError:
            database.close()
            raise
        return database

    def _require_map(self) -> None:
        application, schema = self.pragma("application_id"), self.pragma("user_version")
        with explained(self.path):
            tables = columns(self.connection)
        if application == AERIAL_APPLICATION_ID:
            raise MapError(f"{self.path} is an aerial map, not one of a taught route: vloc locate and vloc map info take it")
        if application != APPLICATION_ID:
            state = "is another program's database" if tables else "is empty (its creation was interrupted): delete it"
            raise MapError(f"{self.path} is not a map made by vloc_ros: it {state}")
        if schema > SCHEMA_VERSION:
            raise MapError(
                f"the map {self.path} was made by a newer vloc_ros: schema {schema}, this one reads up to {SCHEMA_VERSION}; "
                "update vloc_ros"
            )
        if tables != TABLES_OF.get(schema):
            raise MapError(f"the map {self.path} is damaged: its tables are not those of schema {schema}; restore a copy")
        self.tables = tables

    def _upgrade(self) -> None:
        """Add the tables of newer schemas, all or none."""
        if self.tables == TABLES:
            return
        with self.transaction():
            schema = self.pragma("user_version")  # another process may have been faster
            for statement in statements(schema):
                self.connection.execute(statement)
            self.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self.tables = TABLES
        _log.info("%s: upgraded from schema %d to %d", self.path, schema, SCHEMA_VERSION)

    def pragma(self, name: str) -> int:
        """Value of an integer pragma."""
        with explained(self.path):
            return int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])

    @property
    def in_place(self) -> bool:
        """Whether the file still has its name; any thread may ask. One that was removed stays open, and ends with this object."""
        return self._identity is not None and identity(self.path) == self._identity

    def put_back(self) -> None:
        """Write the file anew, whole, after it was removed while it was open.

        Raises:
            MapError: another file has its name, or it cannot be written; what was stored is still open then.
        """
        staging = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        if identity(self.path) is not None:
            raise MapError(f"the map {self.path} was removed while it was open, and another file has its name: move that away")
        reserve(staging, self.path)
        try:
            with explained(self.path), closing(sqlite3.connect(staging)) as copy:
                self.connection.backup(copy)
        except BaseException:
            staging.unlink(missing_ok=True)
            raise
        # Closed before the new file has the name: SQLite deletes the log beside it by name.
        self.close()
        for leftover in side_files(self.path):
            leftover.unlink(missing_ok=True)
        try:
            publish(staging, self.path)
        except MapError as error:
            raise MapError(f"{error}; what the removed map held is in {staging}") from error
        staging.unlink(missing_ok=True)
        self.connection, self._identity = connect(self.path), identity(self.path)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: commits at the end, rolls back when an exception (of any kind) passes."""
        if not self.in_place:
            raise MapError(
                f"the map {self.path} was removed or replaced while it is open, so that nothing can be kept in it: put it back"
            )
        with explained(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Every read inside sees the same state, whatever another process writes; may be nested."""
        with explained(self.path):
            if self.connection.in_transaction:
                yield
                return
            self.connection.execute("BEGIN")
            try:
                yield
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def insert(self, table: str, values: Sequence[Any], replace: bool = False) -> None:
        """Add a row, its checksum with it."""
        verb = "INSERT OR REPLACE" if replace else "INSERT"
        marks = ", ".join("?" * len(TABLES[table]))
        with explained(self.path):
            self.connection.execute(f"{verb} INTO {table} VALUES ({marks})", (*plain(values), checksum(values)))

    def rows(self, table: str, suffix: str = "", parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a table without ``crc``; ``suffix`` is SQL such as ``WHERE session = ?``.

        Raises:
            MapError: a row is damaged; the text names it.
        """
        result = []
        for row in self.raw_rows(table, suffix, parameters):
            if checksum(row[:-1]) != row[-1]:
                raise MapError(f"the map {self.path} is damaged: {row_name(table, row)} fails its checksum; restore a copy")
            result.append(row[:-1])
        return result

    def raw_rows(self, table: str, suffix: str = "", parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows one by one with their ``crc``, not compared; none of a table that an older file lacks."""
        if table not in self.tables:
            return
        with explained(self.path):
            yield from self.connection.execute(f"SELECT {', '.join(TABLES[table])} FROM {table} {suffix}", plain(parameters))

    def scalar(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """First column of the first row of a query, None without a row."""
        with explained(self.path):
            row = self.connection.execute(query, plain(parameters)).fetchone()
        return None if row is None else row[0]

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run any statement."""
        with explained(self.path):
            return self.connection.execute(statement, plain(parameters)).fetchall()

    def close(self) -> None:
        """Close; the last one to close a file also moves its write-ahead log into it. Closing twice does no harm."""
        with explained(self.path):
            self.connection.close()


def _require_file(path: Path, read_only: bool) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise MapError(f"there is no map at {path}: teach one first, or check the name") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MapError(f"the map {path} cannot be opened: {reason}") from error
    if empty:
        raise MapError(f"{path} is not a map made by vloc_ros: the file is empty; delete it and teach again")
    # SQLite would fall back to reading, and say so only at the first keyframe.
    if not read_only and not (os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK)):
        raise MapError(f"the map {path} cannot be written: the file, its folder or its disk is read-only")
