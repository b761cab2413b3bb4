"""Reading geo-referenced rasters: where their pixels are, which of them are ground, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from raster_samples import UTM_32, ground_image, tiff, utm_tags

from vloc_ros.aerial.georeference import LatLon
from vloc_ros.aerial.geotiff_write import write_geotiff
from vloc_ros.aerial.raster import read_raster
from vloc_ros.aerial.world_file import write_world_file
from vloc_ros.errors import ConfigError, DataError

IMAGE = ground_image(160, 120)
CORNERS = [LatLon(47.0, 8.5), LatLon(47.00032, 8.50063)]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def picture(path: Path, image: np.ndarray = IMAGE) -> Path:
    codes = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    assert cv2.imwrite(str(path), image if image.ndim == 2 else cv2.cvtColor(image, codes[image.shape[2]]))
    return path


@pytest.mark.parametrize(
    ("order", "big", "point"), [("<", False, False), (">", False, False), ("<", True, False), ("<", False, True)]
)
def test_a_geotiff_says_where_it_is(tmp_path, order, big, point):
    raster = read_raster(write(tmp_path / "a.tif", tiff(IMAGE, utm_tags(point=point), order, big)))
    assert raster.georeference.crs == "EPSG:32632" and raster.known is None
    assert raster.georeference.affine == pytest.approx(UTM_32)
    assert np.array_equal(raster.image, IMAGE)
    # (461987, 5205285) by PROJ 9.5
    assert raster.georeference.latlon([0.0, 0.0])[0] == pytest.approx([46.999996250, 8.499996807], abs=1e-8)


def test_a_transformation_instead_of_a_scale(tmp_path):
    matrix = (0.0, 0.3, 0.0, 461987.0, 0.3, 0.0, 0.0, 5205285.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    tags = {34264: ("d", matrix), 34735: utm_tags(point=True)[34735]}
    raster = read_raster(write(tmp_path / "a.tif", tiff(IMAGE, tags)))
    assert raster.georeference.affine == pytest.approx(np.array([[0.0, 0.3, 461987.0], [0.3, 0.0, 5205285.0]]))


def test_what_was_written_is_read(tmp_path):
    known = np.ones(IMAGE.shape[:2], bool)
    known[:30, :50] = False
    write_geotiff(tmp_path / "a.tif", IMAGE, known, UTM_32, "EPSG:32632")
    raster = read_raster(tmp_path / "a.tif")
    assert raster.georeference.affine == pytest.approx(UTM_32) and raster.georeference.crs == "EPSG:32632"
    assert raster.known is not None and np.array_equal(raster.known > 0, known)
    assert np.array_equal(raster.image[known], IMAGE[known])


def test_gdal_reads_what_was_written(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    known = np.ones(IMAGE.shape[:2], bool)
    known[:30, :50] = False
    write_geotiff(tmp_path / "a.tif", IMAGE, known, UTM_32, "EPSG:32632")
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.crs.to_epsg() == 32632 and dataset.xy(0, 0) == pytest.approx((461987.0, 5205285.0))
        assert np.array_equal(np.moveaxis(dataset.read([1, 2, 3]), 0, 2), IMAGE)
        assert np.array_equal(dataset.dataset_mask() > 0, known)


def test_what_opencv_cannot_decode_is_read_by_gdal(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    where = rasterio.transform.from_origin(461986.85, 5205285.15, 0.3, 0.3)
    for ending, options in ((".tif", {"driver": "GTiff", "compress": "zstd"}), (".img", {"driver": "HFA"})):
        path = tmp_path / f"a{ending}"
        with rasterio.open(
            path, "w", width=160, height=120, count=3, dtype="uint8", crs="EPSG:32632", transform=where, **options
        ) as file:
            file.write(np.moveaxis(IMAGE, 2, 0))
        raster = read_raster(path)
        assert np.array_equal(raster.image, IMAGE) and raster.georeference.affine == pytest.approx(UTM_32)


def test_a_value_of_no_data(tmp_path):
    image = IMAGE.copy()
    image[:40] = 7
    image[50, 60] = (7, 7, 8)
    raster = read_raster(write(tmp_path / "a.tif", tiff(image, utm_tags() | {42113: ("s", "7")})))
    assert raster.known is not None and not raster.known[:40].any() and raster.known[40:].all()


def test_what_is_transparent_is_not_known(tmp_path):
    alpha = np.full(IMAGE.shape[:2], 255, np.uint8)
    alpha[10:20], alpha[30:40] = 0, 128
    raster = read_raster(picture(tmp_path / "a.png", np.dstack([IMAGE, alpha])), CORNERS)
    assert raster.known is not None and np.array_equal(raster.known == 255, alpha == 255)
    assert np.array_equal(raster.image, IMAGE)


def test_sixteen_bits_use_what_there_is_of_them(tmp_path):
    grey = (IMAGE[..., 0].astype(np.uint16) + 100) * 4
    raster = read_raster(picture(tmp_path / "a.png", grey), CORNERS)
    assert raster.image.dtype == np.uint8 and raster.image.ndim == 2
    assert raster.image.min() < 3 and raster.image.max() > 252


def test_sixteen_bits_without_data_do_not_darken_the_ground(tmp_path):
    grey = (IMAGE[..., 0].astype(np.uint16) + 100) * 4
    grey[:40] = 65535
    raster = read_raster(write(tmp_path / "a.tif", tiff(grey, utm_tags() | {258: ("H", (16,)), 42113: ("s", "65535")})))
    assert raster.known is not None and not raster.known[:40].any() and raster.known[40:].all()
    assert raster.image[40:].min() < 3 and raster.image[40:].max() > 252


@pytest.mark.parametrize(
    ("ending", "beside"), [("png", "pgw"), ("jpg", "jgw"), ("tif", "tfw"), ("png", "wld"), ("png", "pngw"), ("PNG", "PGW")]
)
def test_world_files(tmp_path, ending, beside):
    path = picture(tmp_path / f"a.{ending}")
    write_world_file(tmp_path / f"a.{beside}", UTM_32)
    raster = read_raster(path, crs="EPSG:32632")
    assert raster.georeference.affine == pytest.approx(UTM_32) and raster.georeference.crs == "EPSG:32632"
    with pytest.raises(DataError, match="are no degrees: say of which reference system they are with --crs"):
        read_raster(path)


def test_a_world_file_of_degrees(tmp_path):
    path = picture(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("0.000004\n0\n0\n-0.000003\n8.5\n47.0\n", encoding="ascii")
    assert read_raster(path).georeference.latlon([10.0, 0.0])[0] == pytest.approx([47.0, 8.50004])


def test_corners_overrule_the_file(tmp_path):
    raster = read_raster(write(tmp_path / "a.tif", tiff(IMAGE, utm_tags())), CORNERS)
    assert raster.georeference.latlon([-0.5, 119.5])[0] == pytest.approx(CORNERS[0])


# --- what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n0\n0\n-1\n5\n", "must be six lines"),
        ("1\n0\n0\n-1\n5\nx\n", "must be six lines"),
        ("0\n0\n0\n0\n8\n47\n", "do not span"),
    ],
)
def test_damaged_world_files(tmp_path, text, message):
    path = picture(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text(text, encoding="ascii")
    with pytest.raises(DataError, match=message):
        read_raster(path)


def test_nothing_says_where_it_is(tmp_path):
    for name in ("a.png", "a.jpg", "a.tif"):
        with pytest.raises(DataError, match=r"does not say where it is: give --corners"):
            read_raster(picture(tmp_path / name))


def test_a_system_without_a_number(tmp_path):
    path = write(tmp_path / "a.tif", tiff(IMAGE, utm_tags(32767)))
    with pytest.raises(DataError, match="names no reference system by an EPSG number"):
        read_raster(path)
    assert read_raster(path, crs="EPSG:32632").georeference.crs == "EPSG:32632"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_truncated_files(tmp_path, name, share):
    whole = tiff(IMAGE, utm_tags()) if name == "a.tif" else picture(tmp_path / name).read_bytes()
    path = write(tmp_path / name, whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"truncated|empty|cannot be decoded"):
        read_raster(path, CORNERS)


def test_a_strip_beyond_the_end(tmp_path):
    """The directory may come first: then nothing but its numbers says that pixels are missing."""
    path = write(tmp_path / "a.tif", tiff(IMAGE, utm_tags() | {279: ("I", (10 * IMAGE.nbytes,))}))
    with pytest.raises(DataError, match=r"is truncated: it has \d+ bytes, and its pixels reach to byte \d+"):
        read_raster(path)


def test_damaged_tags_never_end_in_another_error(tmp_path):
    whole, random = tiff(IMAGE, utm_tags()), np.random.default_rng(5)
    for _ in range(200):
        damaged = bytearray(whole)
        for at in random.integers(len(whole) - 400, len(whole), 3):
            damaged[at] = random.integers(256)
        path = write(tmp_path / "a.tif", bytes(damaged))
        try:
            read_raster(path)
        except (DataError, ConfigError) as error:
            assert str(error)


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        # the second longitude before the latitude
        ([LatLon(8.5, 47.0), LatLon(8.50063, 47.2)], "pixels .* m wide and .* m high: corners go from top left clockwise"),
        # anticlockwise
        ([LatLon(47.00032, 8.5), LatLon(47.0, 8.5), LatLon(47.0, 8.50063)], "mirror the image"),
        # the whole of Switzerland on 160 pixels
        ([LatLon(45.8, 5.9), LatLon(47.8, 10.5)], "a pixel sees"),
    ],
)
def test_corners_that_cannot_be(tmp_path, corners, message):
    with pytest.raises(DataError, match=message):
        read_raster(picture(tmp_path / "a.png"), corners)


@pytest.mark.parametrize(("x", "y", "size"), [(8.5, 47.0, 4e-6), (461987.0, 52052850.0, 0.3), (1e9, 5205285.0, 0.3)])
def test_a_wrong_system(tmp_path, x, y, size):
    """Degrees taken for metres; a northing off the earth; an easting that has gone around it."""
    path = picture(tmp_path / "a.png")
    write_world_file(tmp_path / "a.pgw", np.array([[size, 0.0, x], [0.0, -size, y]]))
    with pytest.raises(DataError, match=r"is EPSG:32632 its reference system \(--crs\)"):
        read_raster(path, crs="EPSG:32632")


def test_too_small(tmp_path):
    with pytest.raises(DataError, match="160x63 pixels: a map needs at least 64"):
        read_raster(picture(tmp_path / "a.png", IMAGE[:63]), CORNERS)


def test_no_ground_at_all(tmp_path):
    path = write(tmp_path / "a.tif", tiff(np.full_like(IMAGE, 9), utm_tags() | {42113: ("s", "9")}))
    with pytest.raises(DataError, match=r"all pixels .* are without data"):
        read_raster(path)


def test_heights_are_no_map(tmp_path):
    path = tmp_path / "a.tif"
    assert cv2.imwrite(str(path), np.random.default_rng(0).random((100, 100)).astype(np.float32))
    with pytest.raises(DataError, match="heights are none"):
        read_raster(path, CORNERS)


def test_no_file_and_two_ways_to_say_where(tmp_path):
    with pytest.raises(DataError, match="there is no map image"):
        read_raster(tmp_path / "none.tif")
    with pytest.raises(ConfigError, match="give one of both"):
        read_raster(picture(tmp_path / "a.png"), CORNERS, "EPSG:32632")
