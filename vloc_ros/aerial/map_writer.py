"""Writing an aerial map: whole under another name first, so that whoever is stopped leaves no half of one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.contract import Level
from vloc_ros.aerial.map_header import MapHeader, encode_descriptors, encode_vectors
from vloc_ros.aerial.map_schema import SCHEMA_VERSION, STATEMENTS, TABLES
from vloc_ros.data.frame import Image
from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import MapError
from vloc_ros.mapping.database import checksum, plain
from vloc_ros.mapping.opening import connect, explained, publish, reserve, side_files
from vloc_ros.mapping.schema import AERIAL_APPLICATION_ID

Array = NDArray[np.float64]
_JPEG_QUALITY = 85


class MapWriter:
    """A map in the making; leaving the ``with`` block without an exception gives it its name."""

    def __init__(self, path: Path, header: MapHeader, card: ModelCard, levels: Sequence[Level]) -> None:
        """Begin a map.

        Raises:
            MapError: the file exists, or its folder cannot be written.
        """
        require_new(path)
        self._path, self._header = path, header
        self._staging = path.with_name(f".{path.name}.{os.getpid()}.new")
        self._tiles = self._blocks = 0
        reserve(self._staging, path)
        self._connection: sqlite3.Connection | None = None
        try:
            self._connection = connect(self._staging)
            with explained(path):
                for statement in STATEMENTS:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id = {AERIAL_APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                self._connection.execute("BEGIN")
            self._insert("map", header.row())
            self._insert("model_card", (card.name, card.dimension, card.sha256, card.preprocessing))
            for level in levels:
                self._insert("level", (level.index, float(level.ground_per_pixel), float(level.tile_m)))
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> MapWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None and self._connection is not None:
                with explained(self._path):
                    self._connection.execute("COMMIT")
                    self._connection.close()
                publish(self._staging, self._path)
        finally:
            self._discard()

    def add_tile(self, level: int, name: str, centre: Array, vectors: NDArray[np.float32]) -> None:
        """Add a tile with the (K, D) vectors of its headings; its centre is (2,) east and north [m]."""
        self._tiles += 1
        self._insert("tile", (self._tiles, level, name, float(centre[0]), float(centre[1])))
        self._insert("vectors", (self._tiles, encode_vectors(vectors)))

    def add_block(self, level: int, low: Array, high: Array, pixels: NDArray[np.float32], descriptors: NDArray[Any]) -> None:
        """Add features of a level between two corners, west-south and east-north [m].

        Args:
            level: index of it.
            low: (2,) corner [m].
            high: (2,) corner [m].
            pixels: (N, 2) (column, row) from the north-west corner.
            descriptors: (N, D) as the extractor gives them.
        """
        self._blocks += 1
        box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        self._insert("block", (self._blocks, level, *box, len(pixels)))
        self._insert(
            "features", (self._blocks, pixels.astype("<f4").tobytes(), encode_descriptors(descriptors, self._header.metric))
        )

    def add_overview(self, image: Image) -> None:
        """Add the small picture of all of the map, (H, W) grey or (H, W, 3) RGB."""
        plane = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        _, jpeg = cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        self._insert("overview", (1, image.shape[1], image.shape[0], jpeg.tobytes()))

    def _insert(self, table: str, values: Sequence[Any]) -> None:
        assert self._connection is not None
        marks = ", ".join("?" * len(TABLES[table]))
        with explained(self._path):
            self._connection.execute(f"INSERT INTO {table} VALUES ({marks})", (*plain(values), checksum(values)))

    def _discard(self) -> None:
        if self._connection is not None:
            self._connection.close()
        journal = self._staging.with_name(self._staging.name + "-journal")
        for leftover in (self._staging, journal, *side_files(self._staging)):
            leftover.unlink(missing_ok=True)


def require_new(path: Path) -> None:
    """Check that a new map would take nobody's place.

    Raises:
        MapError: the file exists.
    """
    if path.exists() or path.is_symlink():
        raise MapError(f"the map {path} exists already: choose another name, or delete it")
