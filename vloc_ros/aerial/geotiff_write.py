"""Writing a GeoTIFF of RGB and opaqueness: strips, deflated after horizontal differencing (TIFF 6.0, section 14)."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.geotiff import GEO_KEYS, GEOGRAPHIC, MODEL_TYPE, PIXEL_SCALE, PROJECTED, RASTER_TYPE, TIEPOINT
from vloc_ros.data.frame import Image
from vloc_ros.data.output import remove_quietly
from vloc_ros.errors import DataError

_ROWS = 64
"""Of a strip."""
_SHORT, _LONG, _DOUBLE = 3, 4, 12
_LETTERS = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}
_IS_PROJECTED, _IS_GEOGRAPHIC, _IS_AREA = 1, 2, 1
_MOST_BYTES = 1 << 32


def write_geotiff(path: Path, image: Image, known: NDArray[np.bool_], affine: NDArray[np.float64], crs: str) -> None:
    """Write a north-up map.

    Args:
        path: of the file; one that is there is replaced.
        image: (H, W, 3) RGB uint8.
        known: (H, W) where there is ground; elsewhere the file is transparent.
        affine: (2, 3) from pixels, (0, 0) the centre of the first one, to coordinates; without rotation.
        crs: of those, as ``EPSG:32632``.

    Raises:
        DataError: the file cannot be written, or would be larger than 4 GB.
    """
    if affine[0, 1] or affine[1, 0]:
        raise ValueError("a turned map needs a transformation, which is not written here")
    strips = [_strip(image[row : row + _ROWS], known[row : row + _ROWS]) for row in range(0, len(image), _ROWS)]
    entries = _entries(image, affine, crs) | {279: (_LONG, [float(len(strip)) for strip in strips])}
    start = 8
    begins: list[float] = []
    for strip in strips:
        begins.append(start)
        start += len(strip)
    entries[273] = (_LONG, begins)
    if start >= _MOST_BYTES - (1 << 20):
        raise DataError(f"{path} would be larger than 4 GB: choose a coarser resolution")
    start += start % 2
    staging = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with staging.open("wb") as file:
            file.write(struct.pack("<2sHI", b"II", 42, start))
            file.writelines(strips)
            file.seek(start)
            file.write(_directory(entries, start))
        staging.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        remove_quietly(staging)


def _strip(image: Image, known: NDArray[np.bool_]) -> bytes:
    pixels = np.dstack([image, np.where(known, 255, 0).astype(np.uint8)])
    pixels[:, 1:] -= pixels[:, :-1].copy()
    return zlib.compress(pixels.tobytes(), 6)


def _entries(image: Image, affine: NDArray[np.float64], crs: str) -> dict[int, tuple[int, list[float]]]:
    height, width = image.shape[:2]
    code = int(crs.removeprefix("EPSG:"))
    geographic = crs == "EPSG:4326"
    corner = affine[:, 2] - affine[:, :2] @ (0.5, 0.5)
    keys = {
        MODEL_TYPE: _IS_GEOGRAPHIC if geographic else _IS_PROJECTED,
        RASTER_TYPE: _IS_AREA,
        GEOGRAPHIC if geographic else PROJECTED: code,
    }
    flat: list[float] = [1, 1, 0, len(keys)]
    for key, value in keys.items():
        flat += [key, 0, 1, value]
    return {
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [8, 8, 8, 8]),  # bits
        259: (_SHORT, [8]),  # deflate
        262: (_SHORT, [2]),  # RGB
        277: (_SHORT, [4]),
        278: (_LONG, [_ROWS]),
        284: (_SHORT, [1]),  # the samples of a pixel stand together
        317: (_SHORT, [2]),  # differences
        338: (_SHORT, [2]),  # the fourth sample is opaqueness, and colours are not multiplied by it
        PIXEL_SCALE: (_DOUBLE, [float(affine[0, 0]), float(-affine[1, 1]), 0.0]),
        TIEPOINT: (_DOUBLE, [0.0, 0.0, 0.0, float(corner[0]), float(corner[1]), 0.0]),
        GEO_KEYS: (_SHORT, flat),
    }


def _directory(entries: dict[int, tuple[int, list[float]]], start: int) -> bytes:
    """The directory at an offset of the file, and behind it what does not fit into its entries."""
    rows, behind = b"", b""
    after = start + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in sorted(entries.items()):
        raw = struct.pack(f"<{len(values)}{_LETTERS[kind]}", *(values if kind == _DOUBLE else map(int, values)))
        if len(raw) > 4:
            offset = after + len(behind)
            behind += raw + b"\0" * (len(raw) % 2)
            raw = struct.pack("<I", offset)
        rows += struct.pack("<HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    return struct.pack("<H", len(entries)) + rows + struct.pack("<I", 0) + behind
