"""The tables of a map file. Every table ends in ``crc``: the CRC-32 of the row's other columns (:mod:`.database` keeps it).

Arrays are raw little-endian blobs. Transforms and covariances are float64, row by row. Key points are five rows of ``count``
float32 (u, v, score, size, disparity); descriptors are ``count`` rows of ``dimension`` elements of type ``encoding``.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x564C4F43
"""``PRAGMA application_id`` of a map: the letters VLOC."""
AERIAL_APPLICATION_ID = 0x564C4741
"""That of a map of the ground (:mod:`vloc_ros.aerial`): the letters VLGA."""
SCHEMA_VERSION = 4
"""``PRAGMA user_version`` that this release writes, and the newest that it reads."""

_KEY = "session INTEGER NOT NULL, keyframe INTEGER NOT NULL"
_OF_KEYFRAME = "FOREIGN KEY (session, keyframe) REFERENCES keyframe (session, keyframe) ON DELETE CASCADE"
_PAIR = "a_session INTEGER NOT NULL, a_keyframe INTEGER NOT NULL, b_session INTEGER NOT NULL, b_keyframe INTEGER NOT NULL"
_OF_PAIR = (
    "FOREIGN KEY (a_session, a_keyframe) REFERENCES keyframe (session, keyframe) ON DELETE CASCADE, "
    "FOREIGN KEY (b_session, b_keyframe) REFERENCES keyframe (session, keyframe) ON DELETE CASCADE"
)

# The heavy parts have tables of their own, so that listing keyframes never touches them.
_VERSION_1 = (
    "CREATE TABLE map (id INTEGER PRIMARY KEY CHECK (id = 1), created TEXT NOT NULL,"
    " width INTEGER NOT NULL, height INTEGER NOT NULL, fx REAL NOT NULL, fy REAL NOT NULL, cx REAL NOT NULL, cy REAL NOT NULL,"
    " baseline REAL NOT NULL, base_T_camera BLOB NOT NULL, feature_name TEXT NOT NULL, feature_fingerprint TEXT NOT NULL,"
    " crc INTEGER NOT NULL)",
    "CREATE TABLE session (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, source TEXT NOT NULL, started TEXT NOT NULL,"
    " crc INTEGER NOT NULL)",
    f"CREATE TABLE keyframe ({_KEY}, stamp_ns INTEGER NOT NULL, map_T_base BLOB NOT NULL, crc INTEGER NOT NULL,"
    " PRIMARY KEY (session, keyframe), FOREIGN KEY (session) REFERENCES session (id)) WITHOUT ROWID",
    f"CREATE TABLE features ({_KEY}, count INTEGER NOT NULL, dimension INTEGER NOT NULL, encoding TEXT NOT NULL,"
    f" points BLOB NOT NULL, descriptors BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (session, keyframe), {_OF_KEYFRAME})",
    f"CREATE TABLE image ({_KEY}, jpeg BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (session, keyframe), {_OF_KEYFRAME})",
    f"CREATE TABLE edge ({_PAIR}, kind TEXT NOT NULL, a_T_b BLOB NOT NULL, covariance BLOB NOT NULL, crc INTEGER NOT NULL,"
    f" PRIMARY KEY (a_session, a_keyframe, b_session, b_keyframe, kind), {_OF_PAIR})",
    "CREATE INDEX edge_b ON edge (b_session, b_keyframe)",
    # What made the global descriptors: one card per model; sha256 and preprocessing are empty for models without weights.
    "CREATE TABLE model_card (name TEXT NOT NULL PRIMARY KEY, dimension INTEGER NOT NULL, sha256 TEXT NOT NULL,"
    " preprocessing TEXT NOT NULL, crc INTEGER NOT NULL)",
    f"CREATE TABLE global_descriptor ({_KEY}, model TEXT NOT NULL REFERENCES model_card (name), vector BLOB NOT NULL,"
    f" crc INTEGER NOT NULL, PRIMARY KEY (model, session, keyframe), {_OF_KEYFRAME})",
    "CREATE INDEX global_descriptor_keyframe ON global_descriptor (session, keyframe)",
    # Verdicts on loop closures; the pose graph owns and writes this table. Pruning never removes a keyframe named here.
    f"CREATE TABLE closure ({_PAIR}, label TEXT NOT NULL, weight REAL NOT NULL, chi2 REAL NOT NULL,"
    " graph_revision INTEGER NOT NULL, reason TEXT NOT NULL, crc INTEGER NOT NULL,"
    f" PRIMARY KEY (a_session, a_keyframe, b_session, b_keyframe), {_OF_PAIR})",
)


_VERSION_2 = (
    # What a model needs beside its card (a learned vocabulary), of which the card has the hash.
    "CREATE TABLE model_asset (name TEXT NOT NULL PRIMARY KEY REFERENCES model_card (name), content BLOB NOT NULL,"
    " crc INTEGER NOT NULL)",
    # Poses as they were before an optimised graph moved the keyframes: the way back.
    f"CREATE TABLE taught_pose ({_KEY}, map_T_base BLOB NOT NULL, crc INTEGER NOT NULL,"
    f" PRIMARY KEY (session, keyframe), {_OF_KEYFRAME}) WITHOUT ROWID",
)

_VERSION_3 = (
    # How uncertain a global descriptor is, of models that know it; a descriptor that is replaced takes its variance along.
    f"CREATE TABLE descriptor_variance ({_KEY}, model TEXT NOT NULL, variance REAL NOT NULL, crc INTEGER NOT NULL,"
    " PRIMARY KEY (model, session, keyframe), FOREIGN KEY (model, session, keyframe)"
    " REFERENCES global_descriptor (model, session, keyframe) ON DELETE CASCADE)",
    # What a search for an earlier view of a keyframe came to; the partner may have been pruned since.
    f"CREATE TABLE search ({_KEY}, model TEXT NOT NULL, version INTEGER NOT NULL, score REAL, variance REAL, probability REAL,"
    " partner_session INTEGER, partner_keyframe INTEGER, verified INTEGER NOT NULL, reason TEXT NOT NULL,"
    f" searched_ns INTEGER NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (model, session, keyframe), {_OF_KEYFRAME})",
    "CREATE INDEX search_keyframe ON search (session, keyframe)",
    # What place recognition is tuned with, mined from the closures; a is the anchor or query, b the positive or negative.
    f"CREATE TABLE training_tuple ({_PAIR}, weight REAL NOT NULL, graph_revision INTEGER NOT NULL, origin TEXT NOT NULL,"
    f" crc INTEGER NOT NULL, PRIMARY KEY (a_session, a_keyframe, b_session, b_keyframe), {_OF_PAIR})",
    # The negatives of a tuple; pruning a keyframe takes it out of the tuples that only have it as one of these.
    f"CREATE TABLE tuple_negative ({_PAIR}, rank INTEGER NOT NULL, {_KEY}, crc INTEGER NOT NULL,"
    " PRIMARY KEY (a_session, a_keyframe, b_session, b_keyframe, rank),"
    " FOREIGN KEY (a_session, a_keyframe, b_session, b_keyframe)"
    " REFERENCES training_tuple (a_session, a_keyframe, b_session, b_keyframe) ON DELETE CASCADE,"
    f" {_OF_KEYFRAME})",
    "CREATE INDEX tuple_negative_keyframe ON tuple_negative (session, keyframe)",
    f"CREATE TABLE outlier_pair ({_PAIR}, weight REAL NOT NULL, graph_revision INTEGER NOT NULL, origin TEXT NOT NULL,"
    f" crc INTEGER NOT NULL, PRIMARY KEY (a_session, a_keyframe, b_session, b_keyframe), {_OF_PAIR})",
    # Tuples and pairs (kind) that were mined once and no longer hold, with the revisions of the graph that said so.
    f"CREATE TABLE withdrawn_tuple ({_PAIR}, kind TEXT NOT NULL, mined_revision INTEGER NOT NULL,"
    " withdrawn_revision INTEGER NOT NULL, reason TEXT NOT NULL, crc INTEGER NOT NULL,"
    f" PRIMARY KEY (a_session, a_keyframe, b_session, b_keyframe, kind), {_OF_PAIR})",
    # Versions of the place recognition model; card, probability and decision are JSON.
    "CREATE TABLE model_version (number INTEGER PRIMARY KEY CHECK (number > 0), parent INTEGER REFERENCES model_version (number),"
    " created_ns INTEGER NOT NULL, card TEXT NOT NULL, probability TEXT, decision TEXT, crc INTEGER NOT NULL)",
    "CREATE TABLE model_weights (number INTEGER PRIMARY KEY REFERENCES model_version (number), content BLOB NOT NULL,"
    " crc INTEGER NOT NULL)",
    # Who was to be used (NULL: none of the versions) and since when; NULL until all keyframes are described.
    "CREATE TABLE model_switch (number INTEGER PRIMARY KEY CHECK (number > 0), version INTEGER REFERENCES model_version (number),"
    " reason TEXT NOT NULL, figures TEXT NOT NULL, asked_ns INTEGER NOT NULL, finished_ns INTEGER, crc INTEGER NOT NULL)",
)

_VERSION_4 = (
    # What re-rankers keep of keyframes (:mod:`.patches`); its card is no model_card: a descriptor may have its name.
    "CREATE TABLE patch_card (fingerprint TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, dimension INTEGER NOT NULL,"
    " sha256 TEXT NOT NULL, preprocessing TEXT NOT NULL, crc INTEGER NOT NULL)",
    f"CREATE TABLE patches ({_KEY}, fingerprint TEXT NOT NULL REFERENCES patch_card (fingerprint), content BLOB NOT NULL,"
    f" crc INTEGER NOT NULL, PRIMARY KEY (session, keyframe, fingerprint), {_OF_KEYFRAME})",
)

ADDED = {1: _VERSION_1, 2: _VERSION_2, 3: _VERSION_3, 4: _VERSION_4}
"""What each version added; nothing is ever taken away, so an old map is read as it is and upgraded by what it lacks."""


def columns(connection: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """Names of the tables (and views and triggers, which a map has none of) with those of their columns."""
    query = "SELECT name FROM sqlite_master WHERE type != 'index' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    names = [str(name) for (name,) in connection.execute(query)]
    info = "SELECT name FROM pragma_table_info(?)"
    return {name: tuple(str(column) for (column,) in connection.execute(info, (name,))) for name in names}


def statements(after: int = 0) -> tuple[str, ...]:
    """What makes a map of version ``after`` (0: an empty file) one of ``SCHEMA_VERSION``."""
    return tuple(statement for version, added in ADDED.items() if version > after for statement in added)


def _references() -> dict[int, dict[str, tuple[str, ...]]]:
    connection, known = sqlite3.connect(":memory:"), {}
    try:
        for version, added in ADDED.items():
            for statement in added:
                connection.execute(statement)
            known[version] = columns(connection)
        return known
    finally:
        connection.close()


TABLES_OF: dict[int, dict[str, tuple[str, ...]]] = _references()
"""Tables of each schema version with their columns, ``crc`` last."""
TABLES: dict[str, tuple[str, ...]] = TABLES_OF[SCHEMA_VERSION]
"""Tables of the version that this release writes."""
