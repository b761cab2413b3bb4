"""From pixels to latitude and longitude, against known values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vloc_ros.aerial.georeference import Georeference, LatLon, LocalFrame, great_circle_m, metres_per_degree
from vloc_ros.aerial.projections import from_utm, projection, to_utm
from vloc_ros.errors import ConfigError, DataError

VILLAGE = [LatLon(47.05919722, 8.39368611), LatLon(47.07056667, 8.42165833)]
"""The published village map of 4800 x 2861 pixels, bottom left and top right."""


def test_a_degree_along_a_great_circle():
    assert great_circle_m([[0.0, 0.0]], [[1.0, 0.0]])[0] == pytest.approx(111_195.0, abs=1.0)
    assert great_circle_m([[0.0, 10.0]], [[0.0, 11.0]])[0] == pytest.approx(111_195.0, abs=1.0)
    assert great_circle_m([[60.0, 0.0]], [[60.0, 0.001]])[0] == pytest.approx(111.195 / 2.0, abs=0.01)


@pytest.mark.parametrize(
    ("lat", "north", "east"), [(0.0, 110_574.3, 111_319.5), (45.0, 111_131.8, 78_846.8), (60.0, 111_412.3, 55_800.3)]
)
def test_degrees_on_the_ellipsoid(lat, north, east):
    """Published lengths of a degree on WGS84, which are means over a degree of latitude."""
    assert metres_per_degree(lat) == pytest.approx([north, east], abs=2.0)


def test_metres_and_back():
    frame = LocalFrame(LatLon(47.06, 8.4))
    metres = np.random.default_rng(1).uniform(-5000.0, 5000.0, (100, 2))
    latlon = frame.latlon(metres)
    assert np.abs(frame.metres(latlon) - metres).max() < 1e-6
    assert np.abs(frame.latlon(frame.metres(latlon)) - latlon).max() < 1e-9
    assert (frame.latlon([[0.0, 10.0]])[0] - frame.origin)[0] > 0.0 == (frame.latlon([[0.0, 10.0]])[0] - frame.origin)[1]


def test_a_map_across_180_degrees():
    frame = LocalFrame(LatLon(-17.0, 179.9995))
    (east,) = frame.latlon([[200.0, 0.0]])
    assert east[1] > 180.0  # it goes on, so that what is drawn in degrees has no seam
    position = LatLon.of(*east.tolist())
    assert position.lon == pytest.approx(east[1] - 360.0) and -180.0 <= position.lon < -179.99
    assert frame.metres([position])[0] == pytest.approx([200.0, 0.0], abs=1e-6)
    assert LocalFrame(position).metres([frame.origin])[0] == pytest.approx([-200.0, 0.0], abs=1e-6)
    where = Georeference(np.array([[1e-5, 0.0, 179.999], [0.0, -1e-5, -16.999]]))
    assert where.pixels([position])[0] == pytest.approx(where.pixels([east])[0], abs=1e-4)
    assert LatLon.of(12.0, -180.0).lon == -180.0 and LatLon.of(12.0, 8.4).lon == 8.4


@pytest.mark.parametrize(
    ("lat", "lon", "crs", "easting", "northing"),
    [
        # made with PROJ 9.5
        (47.0, 8.5, "EPSG:32632", 461987.245007, 5205285.415384),
        (-33.9, 151.2, "EPSG:32756", 333568.941012, 6247473.336844),
        (0.0, 3.0, "EPSG:32631", 500000.0, 0.0),
        (47.0, 8.5, "EPSG:3857", 946215.671844, 5942074.072431),
    ],
)
def test_projections_against_known_values(lat, lon, crs, easting, northing):
    forth, back = projection(crs)
    assert back(np.array([[lat, lon]]))[0] == pytest.approx([easting, northing], abs=1e-3)
    assert forth(np.array([[easting, northing]]))[0] == pytest.approx([lat, lon], abs=1e-8)


def test_utm_goes_there_and_back_beside_its_zone():
    random = np.random.default_rng(2)
    latlon = np.column_stack([random.uniform(-80.0, 84.0, 500), random.uniform(5.0, 13.0, 500)])
    for south in (False, True):
        assert np.abs(from_utm(to_utm(latlon, 32, south), 32, south) - latlon).max() < 1e-9


def test_utm_against_pyproj():
    pyproj = pytest.importorskip("pyproj")
    random = np.random.default_rng(3)
    latlon = np.column_stack([random.uniform(0.0, 84.0, 500), random.uniform(5.0, 13.0, 500)])
    there = np.column_stack(
        pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True).transform(latlon[:, 1], latlon[:, 0])
    )
    assert np.abs(to_utm(latlon, 32) - there).max() < 1e-4


@pytest.mark.parametrize("crs", ["UTM 32", "EPSG:1", "epsg:4326", "EPSG:4326; DROP"])
def test_a_name_that_is_no_system(crs):
    with pytest.raises(ConfigError, match="names no reference system"):
        projection(crs)


def test_pixels_and_back():
    where = Georeference.of_corners(VILLAGE, 4800, 2861)
    latlon = np.column_stack([np.linspace(47.06, 47.07, 20), np.linspace(8.394, 8.421, 20)])
    assert np.abs(where.latlon(where.pixels(latlon)) - latlon).max() < 1e-6
    assert where.latlon([-0.5, 2860.5])[0] == pytest.approx(VILLAGE[0], abs=1e-9)
    assert where.latlon([4799.5, -0.5])[0] == pytest.approx(VILLAGE[1], abs=1e-9)
    assert where.metres_per_pixel(np.array([2400.0, 1430.0])) == pytest.approx(0.441, abs=0.002)  # as published


def test_what_a_pixel_means_on_the_ground():
    where = Georeference(np.array([[0.3, 0.0, 461987.0], [0.0, -0.3, 5205285.0]]), "EPSG:32632")
    # Grid north of UTM is half a degree of longitude west of its meridian, so 0.5 sin(47) = 0.366 degrees beside true north.
    ground = where.ground(np.array([0.0, 0.0])) / 0.3
    assert math.degrees(math.atan2(ground[0, 1], -ground[1, 1])) == pytest.approx(0.366, abs=0.01)
    assert np.linalg.norm(ground, axis=0) == pytest.approx([1.0, 1.0], abs=2e-3)


def test_three_and_four_corners_of_a_turned_map():
    turned = [LatLon(47.01, 8.005), LatLon(47.005, 8.01), LatLon(47.0, 8.005), LatLon(47.005, 8.0)]
    for count in (3, 4):
        where = Georeference.of_corners(turned[:count], 100, 100)
        assert where.latlon([99.5, 99.5])[0] == pytest.approx(turned[2], abs=1e-9)
        assert where.latlon([49.5, 49.5])[0] == pytest.approx([47.005, 8.005], abs=1e-9)


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        ([LatLon(47.07, 8.39), LatLon(47.05, 8.42)], "second must lie north and east"),
        ([LatLon(47.05, 8.39)], "1 corners"),
        ([LatLon(97.0, 8.39), LatLon(98.0, 8.42)], "LAT,LON in degrees"),
        ([LatLon(47.01, 8.0), LatLon(47.01, 8.01), LatLon(47.0, 8.01), LatLon(47.0, 8.005)], "no parallelogram"),
        ([LatLon(47.01, 8.0), LatLon(47.0, 8.01), LatLon(47.01, 8.01), LatLon(47.0, 8.0)], "no parallelogram"),
    ],
)
def test_wrong_corners(corners, message):
    with pytest.raises(ConfigError, match=message):
        Georeference.of_corners(corners, 100, 100)


def test_pixels_that_span_no_area():
    with pytest.raises(DataError, match="do not span an area"):
        Georeference(np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]]))
