"""Where the pixels of a map lie on the earth: WGS84 latitude and longitude, and metres east and north near a point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.projections import FLATTENING, MAJOR_M, WGS84, projection
from vloc_ros.errors import ConfigError, DataError

Array = NDArray[np.float64]
EARTH_RADIUS_M = 6_371_000.0
"""Of the sphere that great-circle distances are measured on."""
_ECCENTRICITY2 = FLATTENING * (2.0 - FLATTENING)


class LatLon(NamedTuple):
    """A position on the WGS84 ellipsoid [deg], north and east positive."""

    lat: float
    lon: float

    @classmethod
    def of(cls, lat: float, lon: float) -> LatLon:
        """A position whose longitude may lie beyond 180 degrees."""
        return cls(lat, lon if -180.0 <= lon <= 180.0 else float(_around_zero(np.array(lon))))


def _around_zero(degrees: Array) -> Array:
    """The same angles from -180 to 180 [deg]; those that are so already are as they were, to the last bit."""
    made: Array = np.where(np.abs(degrees) <= 180.0, degrees, (degrees + 180.0) % 360.0 - 180.0)
    return made


def great_circle_m(one: Array, other: Array) -> Array:
    """(N,) haversine distances [m] between (N, 2) latitudes and longitudes [deg]."""
    a, b = np.deg2rad(np.atleast_2d(one)), np.deg2rad(np.atleast_2d(other))
    half = (b - a) / 2.0
    root = np.sin(half[:, 0]) ** 2 + np.cos(a[:, 0]) * np.cos(b[:, 0]) * np.sin(half[:, 1]) ** 2
    made: Array = 2.0 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(root, 0.0, 1.0)))
    return made


def metres_per_degree(lat: float) -> Array:
    """(2,) metres north of a degree of latitude, and metres east of a degree of longitude, on the ellipsoid at a latitude [deg]."""
    s2 = np.sin(np.deg2rad(lat)) ** 2
    root = np.sqrt(1.0 - _ECCENTRICITY2 * s2)
    north = MAJOR_M * (1.0 - _ECCENTRICITY2) / root**3
    east = MAJOR_M / root * np.cos(np.deg2rad(lat))
    made: Array = np.deg2rad(np.array([north, east]))
    return made


@dataclass(frozen=True)
class LocalFrame:
    """Metres east and north of an origin, along its parallel and its meridian; exact to 1e-3 of the distance for 10 km."""

    origin: LatLon

    def metres(self, latlon: Array) -> Array:
        """(N, 2) metres (east, north) of (N, 2) latitudes and longitudes [deg]."""
        difference = np.atleast_2d(latlon) - np.array(self.origin)
        difference[:, 1] = _around_zero(difference[:, 1])  # a place may be written on the other side of 180 degrees
        scaled: Array = (difference * metres_per_degree(self.origin.lat))[:, ::-1]
        return scaled

    def latlon(self, metres: Array) -> Array:
        """(N, 2) latitudes and longitudes [deg] of (N, 2) metres (east, north); across 180 degrees they go on beyond."""
        made: Array = np.atleast_2d(metres)[:, ::-1] / metres_per_degree(self.origin.lat) + np.array(self.origin)
        return made


@dataclass(frozen=True)
class Georeference:
    """An affine map from pixels to coordinates of a reference system, and from those to latitude and longitude.

    Attributes:
        affine: (2, 3); times (u, v, 1) it is (x, y): longitude and latitude [deg] of WGS84, else easting and northing [m]. Pixel
            (0, 0) is the centre of the top-left pixel.
        crs: ``EPSG:4326``, or a projected system such as ``EPSG:32632`` (UTM 32 north); see
            :func:`~vloc_ros.aerial.projections.projection` for what needs pyproj.
    """

    affine: Array
    crs: str = WGS84
    _to_latlon: Callable[[Array], Array] = field(init=False, repr=False, compare=False)
    _from_latlon: Callable[[Array], Array] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.affine.shape != (2, 3) or not np.isfinite(self.affine).all() or abs(np.linalg.det(self.affine[:, :2])) < 1e-18:
            raise DataError("the map has no usable georeference: its pixels do not span an area on the ground")
        forth, back = projection(self.crs)
        object.__setattr__(self, "_to_latlon", forth)
        object.__setattr__(self, "_from_latlon", back)

    @classmethod
    def of_corners(cls, corners: Sequence[LatLon], width: int, height: int) -> Georeference:
        """North-up or turned, from the outer corners of the image.

        Args:
            corners: two, bottom left and top right of a north-up map; or three or four, from top left clockwise.
            width: of the image [px].
            height: of it.

        Raises:
            ConfigError: their number or their values are wrong, or four of them are no parallelogram.
        """
        points = _checked(corners)
        if len(points) == 2:
            (south, west), (north, east) = points
            if not (south < north and west < east):
                raise ConfigError("two corners are bottom left and top right: the second must lie north and east of the first")
            points = np.array([[north, west], [north, east], [south, east], [south, west]])
        pixels = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])[: len(points)]
        known = np.column_stack([pixels, np.ones(len(pixels))])
        found, _, rank, _ = np.linalg.lstsq(known, points[:, ::-1], rcond=None)
        affine: Array = np.asarray(found, dtype=np.float64)
        errors = (known @ affine - points[:, ::-1])[:, ::-1] * metres_per_degree(float(points[:, 0].mean()))
        if rank < 3 or np.abs(errors).max() > 0.01 * np.ptp(points[:, 0]) * 111_000.0 + 1.0:
            raise ConfigError("the corners are no parallelogram: give them from top left, clockwise")
        return cls(affine.T)

    def latlon(self, pixels: Array) -> Array:
        """(N, 2) latitudes and longitudes [deg] of (N, 2) pixels (u, v)."""
        points = np.atleast_2d(pixels)
        return self._to_latlon(points @ self.affine[:, :2].T + self.affine[:, 2])

    def pixels(self, latlon: Array) -> Array:
        """(N, 2) pixels (u, v) of (N, 2) latitudes and longitudes [deg]."""
        points = self._from_latlon(np.atleast_2d(latlon))
        if self.crs == WGS84:  # longitudes of the side of 180 degrees on which the map is counted
            points = points - [360.0, 0.0] * np.rint((points[:, :1] - self.affine[0, 2]) / 360.0)
        made: Array = np.asarray(np.linalg.solve(self.affine[:, :2], (points - self.affine[:, 2]).T).T, dtype=np.float64)
        return made

    def ground(self, pixel: Array) -> Array:
        """(2, 2) derivative of metres (east, north) by (u, v) at a pixel; its columns are what one pixel means on the ground."""
        step = 0.5 * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        here = LatLon(*self.latlon(pixel)[0])
        around = LocalFrame(here).metres(self.latlon(np.asarray(pixel) + step))
        return np.column_stack([around[0] - around[1], around[2] - around[3]])

    def metres_per_pixel(self, pixel: Array) -> float:
        """Side of the square on the ground that is as large as a pixel [m]."""
        return float(np.sqrt(abs(np.linalg.det(self.ground(pixel)))))


def _checked(corners: Sequence[LatLon]) -> Array:
    if len(corners) not in (2, 3, 4):
        raise ConfigError(f"{len(corners)} corners: give two (bottom left, top right), three or four (from top left, clockwise)")
    points = np.array(corners, dtype=np.float64)
    if not np.isfinite(points).all() or np.abs(points[:, 0]).max() > 90.0 or np.abs(points[:, 1]).max() > 180.0:
        raise ConfigError("corners are LAT,LON in degrees, latitudes from -90 to 90 and longitudes from -180 to 180")
    return points
