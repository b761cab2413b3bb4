"""The tables of an aerial map. Every table ends in ``crc``: the CRC-32 of the row's other columns, as in taught maps.

Arrays are raw little-endian blobs. Vectors are float16, one row for each heading. Points are float32 (column, row) [px] from the
north-west corner of their block, pixel (0, 0) being the centre of its first one. Descriptors are uint8 bits, or int8, each row
scaled so that its largest number is 127: its length is known to be one.
"""

from __future__ import annotations

import sqlite3

from vloc_ros.mapping.schema import columns

SCHEMA_VERSION = 1
"""``PRAGMA user_version`` that this release writes, and the newest that it reads."""

STATEMENTS = (
    # Where it is: the origin of the frame [deg], its bounds in it [m], and what its pixels in the file were.
    "CREATE TABLE map (id INTEGER PRIMARY KEY CHECK (id = 1), created TEXT NOT NULL, source TEXT NOT NULL, crs TEXT NOT NULL,"
    " affine BLOB NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, lat REAL NOT NULL, lon REAL NOT NULL,"
    " west REAL NOT NULL, south REAL NOT NULL, east REAL NOT NULL, north REAL NOT NULL, accuracy_m REAL NOT NULL,"
    " headings BLOB NOT NULL, settings TEXT NOT NULL, feature_name TEXT NOT NULL, feature_fingerprint TEXT NOT NULL,"
    " encoding TEXT NOT NULL, dimension INTEGER NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE model_card (name TEXT NOT NULL PRIMARY KEY, dimension INTEGER NOT NULL, sha256 TEXT NOT NULL,"
    " preprocessing TEXT NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE level (id INTEGER PRIMARY KEY, ground_per_pixel REAL NOT NULL, tile_m REAL NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE tile (id INTEGER PRIMARY KEY, level INTEGER NOT NULL REFERENCES level (id), name TEXT NOT NULL,"
    " east REAL NOT NULL, north REAL NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE vectors (tile INTEGER PRIMARY KEY REFERENCES tile (id), content BLOB NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE block (id INTEGER PRIMARY KEY, level INTEGER NOT NULL REFERENCES level (id), west REAL NOT NULL,"
    " south REAL NOT NULL, east REAL NOT NULL, north REAL NOT NULL, count INTEGER NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE features (block INTEGER PRIMARY KEY REFERENCES block (id), points BLOB NOT NULL, descriptors BLOB NOT NULL,"
    " crc INTEGER NOT NULL)",
    "CREATE TABLE overview (id INTEGER PRIMARY KEY CHECK (id = 1), width INTEGER NOT NULL, height INTEGER NOT NULL,"
    " jpeg BLOB NOT NULL, crc INTEGER NOT NULL)",
)


def _tables() -> dict[str, tuple[str, ...]]:
    connection = sqlite3.connect(":memory:")
    try:
        for statement in STATEMENTS:
            connection.execute(statement)
        return columns(connection)
    finally:
        connection.close()


TABLES = _tables()
"""Tables with their columns, ``crc`` last."""
