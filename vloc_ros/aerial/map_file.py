"""A file of a map of the ground (``area.vloc``): opened for reading only, by as many processes as want to."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.contract import GroundFeatures, GroundMap, Level, Tiles
from vloc_ros.aerial.georeference import Georeference, LocalFrame
from vloc_ros.aerial.map_header import MapHeader, decode_descriptors, decode_vectors
from vloc_ros.aerial.map_schema import SCHEMA_VERSION, TABLES
from vloc_ros.data.frame import Image
from vloc_ros.data.model_card import ModelCard
from vloc_ros.errors import DataError, MapError
from vloc_ros.features import FeatureExtractor
from vloc_ros.mapping.database import checksum
from vloc_ros.mapping.opening import connect_read_only, explained
from vloc_ros.mapping.schema import AERIAL_APPLICATION_ID, APPLICATION_ID, columns
from vloc_ros.retrieval import GlobalDescriptor

Array = NDArray[np.float64]
_KEPT_BYTES = 256 << 20
"""Of decoded features that are kept in memory."""
_ANEW = "build it again with vloc map build-aerial"


class AerialMap(GroundMap):
    """An open file. One thread: others, and other processes, open it themselves."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Use :meth:`open`."""
        self.path = path
        self._connection = connection
        described = [self._described(row) for row in self._rows("map")]
        if len(described) != 1:
            raise MapError(f"the map {path} is damaged: nothing says where it is; {_ANEW}")
        self.header = described[0]
        cards = [ModelCard(*row) for row in self._rows("model_card")]
        if len(cards) != 1:
            raise MapError(f"the map {path} is damaged: it has {len(cards)} cards of models instead of one; {_ANEW}")
        self.card = cards[0]
        self._levels = tuple(Level(*row) for row in self._rows("level", "ORDER BY id"))
        blocks = list(self._rows("block", "ORDER BY id"))
        self._blocks = np.array([row[:2] for row in blocks], dtype=np.int64).reshape(-1, 2)
        self._boxes = np.array([row[2:6] for row in blocks], dtype=np.float64).reshape(-1, 4)
        self.feature_count = sum(int(row[6]) for row in blocks)
        self._kept: OrderedDict[int, GroundFeatures] = OrderedDict()
        self._kept_bytes = 0

    @classmethod
    def open(cls, path: Path) -> AerialMap:
        """Open a map.

        Raises:
            MapError: it is absent, no aerial map, damaged, or of a newer release.
            ConfigError: its reference system needs pyproj.
        """
        path = Path(path)
        _require_file(path)
        connection = connect_read_only(path)
        try:
            _require_aerial(path, connection)
            return cls(path, connection)
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> AerialMap:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read stays."""
        self._connection.close()

    @property
    def frame(self) -> LocalFrame:
        return self.header.frame

    @property
    def bounds(self) -> Array:
        return self.header.bounds

    @property
    def accuracy_m(self) -> float:
        return self.header.accuracy_m

    @property
    def levels(self) -> tuple[Level, ...]:
        return self._levels

    @property
    def features(self) -> str:
        return self.header.features

    @property
    def descriptor(self) -> str:
        return self.card.name

    @cached_property
    def tiles(self) -> Tiles:
        rows = list(self._rows("tile", "ORDER BY id"))
        headings, count = self.header.headings, len(self.header.headings)
        return Tiles(
            names=tuple(f"{row[2]} {heading:g}" for row in rows for heading in headings),
            levels=np.repeat(np.array([row[1] for row in rows], dtype=np.int32), count),
            headings=np.tile(headings, len(rows)),
            centres=np.repeat(np.array([row[3:5] for row in rows], dtype=np.float64).reshape(-1, 2), count, axis=0),
        )

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        found = decode_vectors([row[1] for row in self._rows("vectors", "ORDER BY tile")], self.card.dimension)
        if len(found) != len(self.tiles):
            raise MapError(f"the map {self.path} is damaged: {len(self.tiles)} tiles have {len(found)} vectors; {_ANEW}")
        return found

    @cached_property
    def overview(self) -> tuple[Image, Georeference]:
        """A small picture of all of the map, north up: (H, W) grey or (H, W, 3) RGB, and where its pixels are."""
        jpegs = [row[3] for row in self._rows("overview")]
        image = cv2.imdecode(np.frombuffer(jpegs[0], np.uint8), cv2.IMREAD_UNCHANGED) if jpegs and jpegs[0] else None
        if image is None:
            raise MapError(f"the map {self.path} is damaged: its overview cannot be decoded; {_ANEW}")
        image = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        (south, west), (north, east) = self.frame.latlon(self.bounds)
        height, width = image.shape[:2]
        across, down = (east - west) / width, (south - north) / height
        affine = np.array([[across, 0.0, west + across / 2.0], [0.0, down, north + down / 2.0]])
        return np.asarray(image, dtype=np.uint8), Georeference(affine)

    def require(self, extractor: FeatureExtractor, descriptor: GlobalDescriptor) -> None:
        """Make sure that these models made the map.

        Raises:
            MapError: one of them did not; the text says what differs.
        """
        if extractor.fingerprint != self.header.fingerprint:
            raise MapError(
                f"the map {self.path} was built with other features (map: '{self.features}', {self.header.fingerprint}; "
                f"given: {extractor.fingerprint}): use those, or {_ANEW}"
            )
        if descriptor.card != self.card:
            differing = [
                f"{name} '{getattr(self.card, name)}' in the map, '{getattr(descriptor.card, name)}' given"
                for name in ModelCard.__slots__
                if getattr(self.card, name) != getattr(descriptor.card, name)
            ]
            raise MapError(
                f"the map {self.path} was built with another global descriptor ({'; '.join(differing)}): use that, or {_ANEW}"
            )

    def features_in(self, level: int, low: Array, high: Array) -> GroundFeatures:
        boxes = self._boxes
        meets = (self._blocks[:, 1] == level) & (boxes[:, :2] < high).all(axis=1) & (boxes[:, 2:] > low).all(axis=1)
        parts = []
        for row in np.flatnonzero(meets):
            found = self._block(int(row))
            if not ((boxes[row, :2] >= low).all() and (boxes[row, 2:] <= high).all()):
                inside = ((found.points >= low) & (found.points < high)).all(axis=1)
                found = GroundFeatures(found.points[inside], found.descriptors[inside])
            parts.append(found)
        if not parts:
            return self._decoded(0, b"", b"")
        if len(parts) == 1:
            return parts[0]
        return GroundFeatures(np.vstack([part.points for part in parts]), np.vstack([part.descriptors for part in parts]))

    def _block(self, row: int) -> GroundFeatures:
        """Features of a block; those that were asked for last are kept."""
        if row in self._kept:
            self._kept.move_to_end(row)
            return self._kept[row]
        id = int(self._blocks[row, 0])
        for _, points, descriptors in self._rows("features", "WHERE block = ?", (id,)):
            found = self._decoded(row, points, descriptors)
            break
        else:
            raise MapError(f"the map {self.path} is damaged: block {id} has no features; {_ANEW}")
        self._kept[row] = found
        self._kept_bytes += _bytes(found)
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= _bytes(self._kept.popitem(last=False)[1])
        return found

    def _decoded(self, row: int, points: bytes, descriptors: bytes) -> GroundFeatures:
        try:
            pixels = np.frombuffer(points, "<f4").reshape(-1, 2).astype(np.float64)
            rows = decode_descriptors(descriptors, self.header.dimension, self.header.metric)
            if len(rows) != len(pixels):
                raise ValueError("their numbers differ")
        except ValueError as error:
            raise MapError(f"the map {self.path} is damaged: features of block {row} cannot be read ({error}); {_ANEW}") from error
        if not len(pixels):
            return GroundFeatures(pixels, rows)
        step = self._levels[int(self._blocks[row, 1])].ground_per_pixel
        west, north = self._boxes[row, 0], self._boxes[row, 3]
        return GroundFeatures(np.column_stack([west + (pixels[:, 0] + 0.5) * step, north - (pixels[:, 1] + 0.5) * step]), rows)

    def _rows(self, table: str, suffix: str = "", parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows without ``crc``, each compared with it."""
        with explained(self.path):
            for row in self._connection.execute(f"SELECT {', '.join(TABLES[table])} FROM {table} {suffix}", parameters):
                if checksum(row[:-1]) != row[-1]:
                    raise MapError(f"the map {self.path} is damaged: the {table} entry {row[0]} fails its checksum; {_ANEW}")
                yield row[:-1]

    def _described(self, row: tuple[Any, ...]) -> MapHeader:
        try:
            return MapHeader.of_row(row)
        except DataError as error:
            raise MapError(f"the map {self.path} is damaged: {error}; {_ANEW}") from error

    def problems(self) -> list[str]:
        """What is wrong with the file: every row and array is read. Nothing is, when empty."""
        with explained(self.path):
            found = [" ".join(str(text).split()) for (text,) in self._connection.execute("PRAGMA integrity_check(20)")]
        found = [text for text in found if text != "ok"]
        try:
            for table in TABLES:
                for _ in self._rows(table):
                    continue
            assert len(self.vectors) == len(self.tiles) and self.overview
            for row in range(len(self._blocks)):
                self._block(row)
        except MapError as error:
            found.append(str(error))
        return found


def is_aerial(path: Path) -> bool:
    """Whether a file is an aerial map; False for what is no file, and for what another program made."""
    try:
        with path.open("rb") as file:
            header = file.read(72)
    except OSError:
        return False
    return header.startswith(b"SQLite format 3\0") and header[68:72] == AERIAL_APPLICATION_ID.to_bytes(4, "big")


def _bytes(features: GroundFeatures) -> int:
    return int(features.points.nbytes + features.descriptors.nbytes)


def _require_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise MapError(f"there is no map at {path}: check the name, or {_ANEW.replace('it again', 'one')}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MapError(f"the map {path} cannot be opened: {reason}") from error
    if empty:
        raise MapError(f"{path} is not an aerial map: the file is empty; delete it, and {_ANEW}")


def _require_aerial(path: Path, connection: sqlite3.Connection) -> None:
    with explained(path):
        application, schema = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
        )
        tables = columns(connection)
    if application == APPLICATION_ID:
        raise MapError(f"{path} is a map of a taught route, not an aerial one: make one with vloc map build-aerial")
    if application != AERIAL_APPLICATION_ID:
        raise MapError(f"{path} is not an aerial map: it is another program's database")
    if schema > SCHEMA_VERSION:
        raise MapError(
            f"the map {path} was made by a newer vloc_ros: schema {schema}, this one reads up to {SCHEMA_VERSION}; update vloc_ros"
        )
    if tables != TABLES:
        raise MapError(f"the map {path} is damaged: its tables are not those of schema {schema}; {_ANEW}")
