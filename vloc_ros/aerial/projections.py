"""From coordinates of a reference system to latitude and longitude: UTM and web Mercator here, what else there is by pyproj."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import ConfigError

Array = NDArray[np.float64]
Projection = Callable[[Array], Array]
WGS84 = "EPSG:4326"
MAJOR_M, FLATTENING = 6_378_137.0, 1.0 / 298.257_223_563
"""Of the ellipsoid of WGS84: its larger half axis, and by how much the other one is shorter."""

_CRS = re.compile(r"EPSG:\d{4,6}")
_UTM = re.compile(r"EPSG:32([67])(0[1-9]|[1-5]\d|60)")
_WEB_MERCATOR = "EPSG:3857"
_SCALE, _EASTING_M, _NORTHING_M = 0.9996, 500_000.0, 10_000_000.0
# The series of Krueger (1912) in the third flattening, to its fourth power: nanometres within a zone.
_N = FLATTENING / (2.0 - FLATTENING)
_RADIUS_M = MAJOR_M / (1.0 + _N) * (1.0 + _N**2 / 4.0 + _N**4 / 64.0)
_ORDERS = 2.0 * np.arange(1, 5)
_ALPHA = np.array(
    [
        _N / 2 - 2 * _N**2 / 3 + 5 * _N**3 / 16 + 41 * _N**4 / 180,
        13 * _N**2 / 48 - 3 * _N**3 / 5 + 557 * _N**4 / 1440,
        61 * _N**3 / 240 - 103 * _N**4 / 140,
        49561 * _N**4 / 161280,
    ]
)
_BETA = np.array(
    [
        _N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96 - _N**4 / 360,
        _N**2 / 48 + _N**3 / 15 - 437 * _N**4 / 1440,
        17 * _N**3 / 480 - 37 * _N**4 / 840,
        4397 * _N**4 / 161280,
    ]
)
_DELTA = np.array(
    [
        2 * _N - 2 * _N**2 / 3 - 2 * _N**3 + 116 * _N**4 / 45,
        7 * _N**2 / 3 - 8 * _N**3 / 5 - 227 * _N**4 / 45,
        56 * _N**3 / 15 - 136 * _N**4 / 35,
        4279 * _N**4 / 630,
    ]
)


def projection(crs: str) -> tuple[Projection, Projection]:
    """From (N, 2) coordinates (x, y) of a reference system to (N, 2) latitudes and longitudes [deg], and back.

    Raises:
        ConfigError: the name is of no system, or of one that needs pyproj, which is not installed or does not know it.
    """
    if crs == WGS84:
        return (lambda points: points[:, ::-1]), (lambda latlon: latlon[:, ::-1])
    if crs == _WEB_MERCATOR:
        return _from_mercator, _to_mercator
    utm = _UTM.fullmatch(crs)
    if utm:
        zone, south = int(utm[2]), utm[1] == "7"
        return (lambda points: from_utm(points, zone, south)), (lambda latlon: to_utm(latlon, zone, south))
    if not _CRS.fullmatch(crs):
        raise ConfigError(f"'{crs}' names no reference system: give one as EPSG:4326 (WGS84) or EPSG:32632 (UTM 32 north)")
    return _by_pyproj(crs)


def to_utm(latlon: Array, zone: int, south: bool = False) -> Array:
    """(N, 2) eastings and northings [m] of (N, 2) latitudes and longitudes [deg]; points may lie some degrees beside the zone."""
    lat, lon = np.deg2rad(latlon[:, 0]), np.deg2rad(latlon[:, 1] - _meridian(zone))
    root = 2.0 * np.sqrt(_N) / (1.0 + _N)
    conformal = np.sinh(np.arctanh(np.sin(lat)) - root * np.arctanh(root * np.sin(lat)))
    xi, eta = np.arctan2(conformal, np.cos(lon)), np.arctanh(np.sin(lon) / np.hypot(1.0, conformal))
    along, across = np.outer(xi, _ORDERS), np.outer(eta, _ORDERS)
    northing = xi + (np.sin(along) * np.cosh(across)) @ _ALPHA
    easting = eta + (np.cos(along) * np.sinh(across)) @ _ALPHA
    scale = _SCALE * _RADIUS_M
    return np.column_stack([scale * easting + _EASTING_M, scale * northing + (_NORTHING_M if south else 0.0)])


def from_utm(points: Array, zone: int, south: bool = False) -> Array:
    """(N, 2) latitudes and longitudes [deg] of (N, 2) eastings and northings [m]."""
    scale = _SCALE * _RADIUS_M
    eta, xi = (points[:, 0] - _EASTING_M) / scale, (points[:, 1] - (_NORTHING_M if south else 0.0)) / scale
    along, across = np.outer(xi, _ORDERS), np.outer(eta, _ORDERS)
    xi, eta = xi - (np.sin(along) * np.cosh(across)) @ _BETA, eta - (np.cos(along) * np.sinh(across)) @ _BETA
    conformal = np.arcsin(np.clip(np.sin(xi) / np.cosh(eta), -1.0, 1.0))
    lat = conformal + np.sin(np.outer(conformal, _ORDERS)) @ _DELTA
    lon = np.arctan2(np.sinh(eta), np.cos(xi))
    return np.column_stack([np.rad2deg(lat), np.rad2deg(lon) + _meridian(zone)])


def _meridian(zone: int) -> float:
    return 6.0 * zone - 183.0


def _to_mercator(latlon: Array) -> Array:
    made: Array = MAJOR_M * np.column_stack([np.deg2rad(latlon[:, 1]), np.arcsinh(np.tan(np.deg2rad(latlon[:, 0])))])
    return made


def _from_mercator(points: Array) -> Array:
    made: Array = np.rad2deg(np.column_stack([np.arctan(np.sinh(points[:, 1] / MAJOR_M)), points[:, 0] / MAJOR_M]))
    return made


def _by_pyproj(crs: str) -> tuple[Projection, Projection]:
    try:
        from pyproj import Transformer
        from pyproj.exceptions import CRSError
    except ImportError as error:
        raise ConfigError(f"{crs} needs pyproj (requirements/aerial.txt); WGS84, UTM and web Mercator need nothing") from error
    try:
        forth, back = Transformer.from_crs(crs, WGS84, always_xy=True), Transformer.from_crs(WGS84, crs, always_xy=True)
    except CRSError as error:
        raise ConfigError(f"pyproj does not know {crs}") from error
    return (
        lambda points: np.column_stack(forth.transform(points[:, 0], points[:, 1])[::-1]),
        lambda latlon: np.column_stack(back.transform(latlon[:, 1], latlon[:, 0])),
    )
