"""What an aerial map says of itself, and how its arrays are written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.georeference import Georeference, LatLon, LocalFrame
from vloc_ros.errors import DataError
from vloc_ros.features import Metric

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MapHeader:
    """Everything of a map but its levels, tiles and features.

    Attributes:
        created: ISO 8601 time (UTC).
        source: name of the file of its raster.
        raster: where the pixels of that were.
        size: (width, height) of that [px].
        frame: metres of its middle.
        bounds: (2, 2) west-south and east-north corner [m].
        accuracy_m: how well its pixels are placed on the earth [m].
        headings: (K,) that tiles are described at [deg].
        settings: with which it was built, for people.
        features: name of the local features.
        fingerprint: of what extracted them.
        metric: how they are compared.
        dimension: elements of a descriptor.
    """

    created: str
    source: str
    raster: Georeference
    size: tuple[int, int]
    frame: LocalFrame
    bounds: Array
    accuracy_m: float
    headings: NDArray[np.float32]
    settings: dict[str, Any]
    features: str
    fingerprint: str
    metric: Metric
    dimension: int

    def row(self) -> tuple[Any, ...]:
        """The row of the table ``map``, without ``crc``."""
        return (
            *(1, self.created, self.source, self.raster.crs, self.raster.affine.astype("<f8").tobytes(), *self.size),
            *(self.frame.origin.lat, self.frame.origin.lon, *self.bounds.ravel().tolist(), float(self.accuracy_m)),
            *(self.headings.astype("<f4").tobytes(), json.dumps(self.settings), self.features, self.fingerprint),
            *(self.metric.value, self.dimension),
        )

    @classmethod
    def of_row(cls, row: tuple[Any, ...]) -> MapHeader:
        """Of such a row.

        Raises:
            DataError: it is of no map.
            ConfigError: its reference system needs pyproj.
        """
        _, created, source, crs, affine, width, height, lat, lon, west, south, east, north, accuracy, *rest = row
        headings, settings, name, fingerprint, metric, dimension = rest
        try:
            return cls(
                created=created,
                source=source,
                raster=Georeference(np.frombuffer(affine, "<f8").reshape(2, 3), crs),
                size=(width, height),
                frame=LocalFrame(LatLon(lat, lon)),
                bounds=np.array([[west, south], [east, north]]),
                accuracy_m=accuracy,
                headings=np.frombuffer(headings, "<f4").astype(np.float32),
                settings=dict(json.loads(settings)),
                features=name,
                fingerprint=fingerprint,
                metric=Metric(metric),
                dimension=dimension,
            )
        except (TypeError, ValueError) as error:
            raise DataError(f"its description cannot be read ({error})") from error


def encode_descriptors(descriptors: NDArray[Any], metric: Metric) -> bytes:
    """(N, D) descriptors as bytes: bits as they are, numbers in a quarter of the size with an error of about half a hundredth."""
    if metric is Metric.HAMMING:
        return np.ascontiguousarray(descriptors, np.uint8).tobytes()
    largest = np.abs(descriptors).max(axis=1, keepdims=True, initial=1e-12)
    made: NDArray[np.int8] = np.rint(descriptors * (127.0 / largest)).astype(np.int8)
    return made.tobytes()


def decode_descriptors(raw: bytes, dimension: int, metric: Metric) -> NDArray[Any]:
    """(N, D) descriptors as :class:`vloc_ros.features.Features` has them."""
    if metric is Metric.HAMMING:
        return np.frombuffer(raw, np.uint8).reshape(-1, dimension)
    rows = np.frombuffer(raw, np.int8).reshape(-1, dimension).astype(np.float32)
    made: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    return made


def encode_vectors(vectors: NDArray[np.float32]) -> bytes:
    """(K, D) vectors of one tile as bytes."""
    return vectors.astype("<f2").tobytes()


def decode_vectors(raw: list[bytes], dimension: int) -> NDArray[np.float32]:
    """(N, D) vectors of unit length, of all tiles."""
    rows = np.frombuffer(b"".join(raw), "<f2").reshape(-1, dimension).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    return rows
