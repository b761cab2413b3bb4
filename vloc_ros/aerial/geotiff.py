"""Where the pixels of a GeoTIFF are: the plain cases of OGC 19-008r4, which are nearly all files that there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.georeference import Georeference
from vloc_ros.aerial.tiff_tags import TiffTags
from vloc_ros.errors import DataError

PIXEL_SCALE, TIEPOINT, TRANSFORMATION, GEO_KEYS, NODATA = 33550, 33922, 34264, 34735, 42113
"""Numbers of tags; the last one is GDAL's."""
MODEL_TYPE, RASTER_TYPE, GEOGRAPHIC, PROJECTED = 1024, 1025, 2048, 3072
"""Numbers of keys in the directory of GEO_KEYS."""
_IS_PROJECTED, _IS_POINT, _USER_DEFINED = 1, 2, 32767


def geotiff_georeference(path: Path, tags: TiffTags, crs: str | None = None) -> Georeference | None:
    """What the tags say; None where they say nothing.

    Args:
        path: of the file, for messages.
        tags: of it.
        crs: reference system to believe instead of the one that the file names.

    Raises:
        DataError: the system has no EPSG number, or the pixels span no area.
        ConfigError: the system needs pyproj.
    """
    affine = _affine(tags)
    if affine is None:
        return None
    keys = _keys(tags)
    named = crs or _crs(keys)
    if named is None:
        raise DataError(f"{path} names no reference system by an EPSG number: say which one it is with --crs EPSG:xxxxx")
    if keys.get(RASTER_TYPE) != _IS_POINT:
        affine[:, 2] += affine[:, :2] @ (0.5, 0.5)  # there (0, 0) is the outer corner of the first pixel
    return Georeference(affine, named)


def nodata_value(tags: TiffTags) -> float | None:
    """The value of pixels that were not seen, None where the file names none."""
    try:
        return float(tags.texts[NODATA])
    except (KeyError, ValueError):
        return None


def _affine(tags: TiffTags) -> NDArray[np.float64] | None:
    """(2, 3) from pixels to coordinates, as the file counts pixels."""
    matrix = tags.numbers.get(TRANSFORMATION, ())
    if len(matrix) == 16:
        return np.array([[matrix[0], matrix[1], matrix[3]], [matrix[4], matrix[5], matrix[7]]])
    scale, tie = tags.numbers.get(PIXEL_SCALE, ()), tags.numbers.get(TIEPOINT, ())
    if len(scale) < 2 or len(tie) < 6:
        return None
    return np.array([[scale[0], 0.0, tie[3] - tie[0] * scale[0]], [0.0, -scale[1], tie[4] + tie[1] * scale[1]]])


def _keys(tags: TiffTags) -> dict[int, int]:
    """Values of the keys that are short integers; others are kept elsewhere (second number of an entry) and are not needed."""
    flat = [int(value) for value in tags.numbers.get(GEO_KEYS, ())]
    entries = [flat[i : i + 4] for i in range(4, len(flat) - 3, 4)]
    return {key: value for key, place, _, value in entries if place == 0}


def _crs(keys: dict[int, int]) -> str | None:
    code = keys.get(
        PROJECTED if keys.get(MODEL_TYPE, _IS_PROJECTED if PROJECTED in keys else 0) == _IS_PROJECTED else GEOGRAPHIC, 0
    )
    return f"EPSG:{code}" if 1024 <= code < _USER_DEFINED else None
