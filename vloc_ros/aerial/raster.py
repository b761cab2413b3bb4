"""A geo-referenced raster: an orthophoto or a map image, whichever way it says where its pixels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.georeference import Georeference, LatLon
from vloc_ros.aerial.geotiff import geotiff_georeference, nodata_value
from vloc_ros.aerial.raster_pixels import Pixels, decode_pixels, read_by_rasterio
from vloc_ros.aerial.tiff_tags import TiffTags, read_tags
from vloc_ros.aerial.world_file import read_world_file, world_file_of
from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError, DataError

TIFF_ENDINGS = {".tif", ".tiff", ".gtiff"}
PLAIN_ENDINGS = {".png", ".jpg", ".jpeg"}
_MIN_SIDE = 64
"""Of a raster that can hold a tile [px]."""
_FINEST_M, _COARSEST_M = 0.001, 100.0
"""Of the ground that a pixel of a plausible map sees."""
_MOST_STRETCHED = 3.0
"""How much longer one side of a pixel may be than the other; pixels that are square in degrees are so up to 70 degrees north."""
_ASTRAY = 0.5
"""How far a pixel may come back from where it was on its way to the earth and back [px]."""
_MOST_SKEWED = 0.4
"""Cosine between the sides of a pixel on the ground."""


@dataclass(frozen=True, slots=True)
class Raster:
    """Pixels and where they are.

    Attributes:
        image: (H, W) grey or (H, W, 3) RGB uint8.
        known: (H, W) uint8, 255 where the ground was seen and 0 elsewhere; None where all of it was.
        georeference: where the pixels are.
        name: of the file, for reports.
    """

    image: Image
    known: NDArray[np.uint8] | None
    georeference: Georeference
    name: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) [px]."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def metres_per_pixel(self) -> float:
        """Ground that a pixel in the middle sees [m]."""
        return self.georeference.metres_per_pixel(np.array(self.size) / 2.0)


def read_raster(path: Path, corners: Sequence[LatLon] | None = None, crs: str | None = None) -> Raster:
    """Read a PNG, JPEG or TIFF; where it is say, in this order, the corners, its tags (GeoTIFF), a world file beside it.

    Other files, and TIFF files that OpenCV cannot decode, are read by rasterio where that is installed.

    Args:
        path: of the image.
        corners: outer corners of the image, as :meth:`Georeference.of_corners` takes them.
        crs: reference system of the world file or of the tags, as ``EPSG:32632``; overrules what a GeoTIFF says.

    Raises:
        DataError: the file is missing, truncated, no image, has no georeference or one that cannot be true, or holds no ground.
        ConfigError: the corners or the system are wrong, or something that is needed is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no map image {path}: check the name")
    if corners and crs:
        raise ConfigError("--corners are latitudes and longitudes, and --crs is for the numbers of a world file: give one of both")
    ending = path.suffix.lower()
    tags = read_tags(path) if ending in TIFF_ENDINGS else None
    if ending in TIFF_ENDINGS | PLAIN_ENDINGS:
        pixels, found = decode_pixels(path, tags, None if tags is None else nodata_value(tags)), None
    else:
        pixels, found = read_by_rasterio(path)
    height, width = pixels.image.shape[:2]
    _require_ground(path, pixels)
    where = Georeference.of_corners(corners, width, height) if corners else _said(path, tags, crs) or found
    if where is None:
        raise DataError(f"{path} does not say where it is: give --corners, a GeoTIFF, or a world file beside it")
    _require_plausible(path, where, width, height, "the corners" if corners else "the georeference")
    known = pixels.known
    if known is not None and not known.any():
        raise DataError(f"all pixels of {path} are without data: it holds no ground")
    return Raster(pixels.image, None if known is None or known.all() else known, where, path.name)


def _said(path: Path, tags: TiffTags | None, crs: str | None) -> Georeference | None:
    """What tags or a world file say."""
    if tags is not None:
        found = geotiff_georeference(path, tags, crs)
        if found is not None:
            return found
    beside = world_file_of(path)
    return None if beside is None else read_world_file(beside, crs)


def _require_ground(path: Path, pixels: Pixels) -> None:
    height, width = pixels.image.shape[:2]
    if min(height, width) < _MIN_SIDE:
        raise DataError(f"{path} has {width}x{height} pixels: a map needs at least {_MIN_SIDE} along each side")


def _require_plausible(path: Path, where: Georeference, width: int, height: int, what: str) -> None:
    """Refuse what no map can be: mostly a wrong reference system, or corners in a wrong order."""
    centre = np.array([(width - 1) / 2.0, (height - 1) / 2.0])
    outline = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
    with np.errstate(all="ignore"):
        latlon = where.latlon(np.vstack([outline, centre]))
        # Beyond its area a projection goes somewhere, but not back.
        astray = np.abs(where.pixels(latlon)[:4] - outline).max() if np.isfinite(latlon).all() else np.inf
    if not astray < _ASTRAY or np.abs(latlon[:, 0]).max() > 89.0 or np.abs(latlon[:, 1]).max() > 180.5:
        raise DataError(f"{what} of {path} lead off the earth: is {where.crs} its reference system (--crs)?")
    ground = where.ground(centre)
    along, down = np.linalg.norm(ground, axis=0)
    size = float(np.sqrt(along * down))
    if not _FINEST_M <= size <= _COARSEST_M:
        raise DataError(f"{what} of {path} say that a pixel sees {size:.3g} m: is {where.crs} its reference system (--crs)?")
    if np.linalg.det(ground) > 0.0:
        raise DataError(f"{what} of {path} mirror the image: corners go from top left clockwise, in the order LAT,LON")
    skew = abs(float(ground[:, 0] @ ground[:, 1])) / (along * down)
    if max(along, down) > _MOST_STRETCHED * min(along, down) or skew > _MOST_SKEWED:
        raise DataError(
            f"{what} of {path} make its pixels {along:.3g} m wide and {down:.3g} m high: corners go from top left clockwise, "
            "in the order LAT,LON"
        )
