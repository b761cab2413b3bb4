"""Building a map of the ground, its file, and what is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
from raster_samples import UTM_32, ground_image

from vloc_ros.aerial.building import build_aerial, features_of, share_known
from vloc_ros.aerial.contract import Level
from vloc_ros.aerial.georeference import Georeference, metres_per_degree
from vloc_ros.aerial.ground import Ground, square
from vloc_ros.aerial.map_file import AerialMap, is_aerial
from vloc_ros.aerial.raster import Raster
from vloc_ros.aerial.tiling import Block, blocks_of, levels_of, places_of
from vloc_ros.aerial.tiling_settings import TilingSettings
from vloc_ros.cli import main
from vloc_ros.errors import DataError, MapError
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import View, create_descriptor

SETTINGS = TilingSettings(levels=2, tile=128, headings=4, max_features=400)
IMAGE = ground_image(700, 600)
WHERE = Georeference(UTM_32, "EPSG:32632")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aerial") / "area.vloc"
    known = np.full(IMAGE.shape[:2], 255, np.uint8)
    known[:200, :200] = 0
    build_aerial(
        path, Raster(IMAGE, known, WHERE, "ortho.tif"), create_extractor("sift", 400), create_descriptor("thumbnail"), SETTINGS
    )
    return path


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    path = tmp_path / "area.vloc"
    path.write_bytes(built.read_bytes())
    return path


# --- views


def test_a_view_shows_what_is_there():
    """A square that is turned so that east is up: its top left is the north-west... of a map turned by a quarter."""
    raster = Raster(IMAGE, None, Georeference(np.array([[1e-6, 0.0, 8.5], [0.0, -1e-6, 0.0]])), "")
    ground = Ground.of(raster)
    middle = ground.frame.metres(raster.georeference.latlon([319.5, 299.5]))[0]
    side = 100 * raster.metres_per_pixel
    north_up, known = ground.surface.view(square(middle, side), (100, 100))
    assert known.all()
    assert np.abs(north_up.astype(int) - IMAGE[250:350, 270:370]).mean() < 3.0
    east_up, _ = ground.surface.view(square(middle, side, 90.0), (100, 100))
    assert np.abs(east_up.astype(int) - np.rot90(IMAGE[250:350, 270:370])).mean() < 3.0


def test_a_view_beyond_the_edge_is_not_known():
    ground = Ground.of(Raster(IMAGE, None, WHERE, ""))
    _, known = ground.surface.view(square(np.array([ground.bounds[1, 0], 0.0]), 30.0), (100, 100))
    assert known[:, :45].all() and not known[:, 55:].any()
    image, known = ground.surface.view(square(ground.bounds[1] + 1000.0, 30.0), (100, 100))
    assert not known.any() and not image.any()


def test_a_coarse_surface_lies_where_the_fine_one_does():
    ground = Ground.of(Raster(cv2.GaussianBlur(IMAGE, (0, 0), 6), None, WHERE, ""))
    coarse = ground.surface.shrunk(1.13)
    assert coarse.image.shape[1] == pytest.approx(700 * 0.3 / 1.13, abs=1)
    for centre in (np.array([-40.0, 30.0]), np.array([50.0, -40.0])):
        one, other = (surface.view(square(centre, 60.0), (64, 64))[0].astype(int) for surface in (ground.surface, coarse))
        assert np.abs(one - other).mean() < 3.0


# --- how the ground is cut


def test_tiles_cover_the_ground_and_overlap():
    bounds = np.array([[-100.0, -70.0], [110.0, 40.0]])
    level = Level(0, 0.3, 40.0)
    places = places_of(level, bounds, 0.5)
    centres = np.array([place.centre for place in places])
    assert centres.min(axis=0) == pytest.approx(bounds[0] + 20.0) and centres.max(axis=0) == pytest.approx(bounds[1] - 20.0)
    east, north = np.unique(centres[:, 0].round(6)), np.unique(centres[:, 1].round(6))
    assert len(places) == len(east) * len(north) == len({place.name for place in places})
    assert np.diff(east).max() <= 20.0 and np.diff(north).max() <= 20.0 and np.diff(east).min() > 15.0


def test_blocks_cover_each_pixel_once():
    bounds = np.array([[0.0, 0.0], [400.0, 170.0]])
    seen = np.zeros((567, 1334), int)
    for block in blocks_of(Level(0, 0.3, 96.0), bounds):
        seen[block.low[1] : block.high[1], block.low[0] : block.high[0]] += 1
        low, high = block.box()
        assert low == pytest.approx([block.low[0] * 0.3, 170.0 - block.high[1] * 0.3])
        assert high == pytest.approx([block.high[0] * 0.3, 170.0 - block.low[1] * 0.3])
    assert (seen == 1).all()


def test_levels_that_fill_no_tile_are_left_out():
    bounds = np.array([[0.0, 0.0], [200.0, 200.0]])
    found = levels_of(TilingSettings(levels=5), bounds, 0.3)
    assert [level.ground_per_pixel for level in found] == pytest.approx([0.3, 0.6])  # a tile of the third has 384 m
    with pytest.raises(DataError, match="covers 200 x 200 m, less than a tile of 320 m"):
        levels_of(TilingSettings(resolution_m=1.0), bounds, 0.3)
    assert levels_of(TilingSettings(resolution_m=0.03), bounds, 0.3)
    with pytest.raises(DataError, match=r"0.02 m/px shows no more than the 0.3 m/px of the image"):
        levels_of(TilingSettings(resolution_m=0.02), bounds, 0.3)


def test_the_share_of_ground_of_a_map_that_is_too_wide_to_be_warped_whole():
    known = np.full((80, 40_000), 255, np.uint8)
    known[:, :10_000] = 0
    north_up = Georeference(np.array([[4e-6, 0.0, 8.4], [0.0, -2.7e-6, 47.0]]))
    ground = Ground.of(Raster(np.zeros((80, 40_000), np.uint8), known, north_up, ""))
    assert share_known(ground.surface, ground) == pytest.approx(0.75, abs=0.03)


# --- what is in a map


def test_no_feature_is_lost_or_doubled_at_seams():
    """Blocks give the features of one large picture, but for those near its edge and the largest, which see beyond a margin."""
    image, (north, east) = ground_image(1500, 1100, seed=3), metres_per_degree(47.0)
    # Pixels of the map that are those of the level: resampling would change weak features here and there.
    affine = np.array([[0.3 / east, 0.0, 8.0 - 749.5 * 0.3 / east], [0.0, -0.3 / north, 47.0 + 549.5 * 0.3 / north]])
    surface = Ground.of(Raster(image, None, Georeference(affine), "")).surface
    extractor, level, corner = create_extractor("sift", 100000), Level(0, 0.3, 96.0), np.array([-150.0, 120.0])

    def piece(low: tuple[int, int], high: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        found = features_of(surface, Block(level, np.array(low), np.array(high), corner), extractor)
        assert found is not None
        return found.keypoints + np.array(low), found.sizes

    parts = [piece((x, y), (x + 256, y + 256)) for y in (256, 512) for x in (256, 512, 768)]
    points, sizes = np.vstack([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    whole, whole_sizes = piece((0, 0), (1280, 1024))
    inside = ((whole >= [255.5, 255.5]) & (whole < [1023.5, 767.5])).all(axis=1)
    points, whole = points[sizes < 16.0], whole[inside & (whole_sizes < 16.0)]
    assert len(whole) > 2000
    apart = np.array([np.sort(np.linalg.norm(points - point, axis=1))[0] for point in whole])
    assert (apart < 0.05).mean() > 0.995
    assert len(points) == pytest.approx(len(whole), rel=0.005)


def test_features_are_where_the_ground_is(built):
    """Those of the map against those of a turned photo of the same ground, by the pixels of the raster they came from."""
    with AerialMap.open(built) as area:
        found = area.features_in(0, np.array([-30.0, -30.0]), np.array([30.0, 30.0]))
        assert len(found) > 30 and found.descriptors.dtype == np.float32
        assert np.linalg.norm(found.descriptors, axis=1) == pytest.approx(np.ones(len(found)), abs=1e-5)
        pixels = WHERE.pixels(area.frame.latlon(found.points))
    direct = create_extractor("sift", 4000).extract(IMAGE)
    scores = found.descriptors @ direct.descriptors.T
    sure = scores.max(axis=1) > 0.97
    assert sure.mean() > 0.5
    apart = np.linalg.norm(direct.keypoints[scores.argmax(axis=1)][sure] - pixels[sure], axis=1)
    assert np.median(apart) < 0.15


def test_what_a_map_says(built):
    with AerialMap.open(built) as area:
        assert area.bounds == pytest.approx(np.array([[-105.0, -90.0], [105.0, 90.0]]), abs=1.5)
        assert area.frame.origin == pytest.approx(WHERE.latlon([349.5, 299.5])[0], abs=1e-6)
        assert [level.ground_per_pixel for level in area.levels] == pytest.approx([0.3, 0.6], rel=1e-3)
        assert area.features == "sift" and area.descriptor == "thumbnail" and area.accuracy_m == 1.0
        tiles = area.tiles
        assert len(tiles) == len(area.vectors) == len(set(tiles.names)) and set(tiles.headings) == {0.0, 90.0, 180.0, 270.0}
        assert np.linalg.norm(area.vectors, axis=1) == pytest.approx(np.ones(len(tiles)), abs=1e-5)
        image, where = area.overview
        assert where.pixels(area.frame.latlon(area.bounds)) == pytest.approx(
            np.array([[-0.5, image.shape[0] - 0.5], [image.shape[1] - 0.5, -0.5]]), abs=1e-6
        )


def test_tiles_are_described_at_their_headings(built):
    descriptor = create_descriptor("thumbnail")
    ground = Ground.of(Raster(IMAGE, None, WHERE, ""))
    with AerialMap.open(built) as area:
        inside = np.flatnonzero((area.tiles.levels == 0) & (np.abs(area.tiles.centres - [30.0, 0.0]) < 40.0).all(axis=1))
        for row in inside[:: max(1, len(inside) // 8)]:
            corners = square(area.tiles.centres[row], area.levels[0].tile_m, float(area.tiles.headings[row]))
            vector = descriptor.describe(View(ground.surface.view(corners, (128, 128))[0]))
            assert (area.vectors @ vector).argmax() == row and area.vectors[row] @ vector > 0.995


def test_what_is_not_known_has_no_tiles_and_no_features(built):
    with AerialMap.open(built) as area:
        corner = np.array([area.bounds[0, 0], area.bounds[1, 1]])
        # 200 x 200 pixels of 0.3 m; a tile of 38 m may reach into them by 40 %
        depth = (area.tiles.centres - corner) * [1.0, -1.0]
        assert not ((depth < 60.0 - 19.2 * 0.2).all(axis=1) & (area.tiles.levels == 0)).any()
        found = area.features_in(0, np.array([corner[0], corner[1] - 59.0]), np.array([corner[0] + 59.0, corner[1]]))
        assert len(found) == 0 and found.descriptors.shape == (0, 128)


def test_any_box_of_features(built):
    with AerialMap.open(built) as area:
        every = area.features_in(0, area.bounds[0] - 1.0, area.bounds[1] + 1.0)
        random = np.random.default_rng(0)
        for _ in range(20):
            low = random.uniform(-100.0, 60.0, 2)
            high = low + random.uniform(1.0, 60.0, 2)
            wanted = every.points[((every.points >= low) & (every.points < high)).all(axis=1)]
            found = area.features_in(0, low, high)
            assert np.array_equal(np.sort(found.points[:, 0]), np.sort(wanted[:, 0])) and len(found.descriptors) == len(wanted)
        assert len(area.features_in(7, low, high)) == 0
        assert area.feature_count == len(every) + len(area.features_in(1, area.bounds[0] - 1.0, area.bounds[1] + 1.0))


def test_bits_are_kept_as_they_are(tmp_path):
    path = tmp_path / "area.vloc"
    extractor = create_extractor("orb", 400)
    build_aerial(path, Raster(IMAGE, None, WHERE, ""), extractor, create_descriptor("thumbnail"), SETTINGS)
    with AerialMap.open(path) as area:
        found = area.features_in(0, area.bounds[0], area.bounds[1])
        assert found.descriptors.dtype == np.uint8 and found.descriptors.shape == (len(found), extractor.descriptor_size)


def test_several_read_at_once(built):
    with AerialMap.open(built) as one, AerialMap.open(built) as other:
        assert np.array_equal(one.vectors, other.vectors) and one.problems() == other.problems() == []
    assert sorted(path.name for path in built.parent.iterdir()) == ["area.vloc"]


# --- what is refused


def test_other_models(built):
    with AerialMap.open(built) as area:
        area.require(create_extractor("sift", 77), create_descriptor("thumbnail"))
        with pytest.raises(MapError, match=r"other features \(map: 'sift', sift-rootsift128-v1; given: .*orb.*build it again"):
            area.require(create_extractor("orb", 77), create_descriptor("thumbnail"))
        with pytest.raises(
            MapError, match=r"another global descriptor \(name 'thumbnail' in the map, 'hog' given; dimension '2048'"
        ):
            area.require(create_extractor("sift", 77), create_descriptor("hog"))


def test_nothing_to_open(tmp_path):
    with pytest.raises(MapError, match="there is no map at"):
        AerialMap.open(tmp_path / "none.vloc")
    (tmp_path / "empty.vloc").touch()
    with pytest.raises(MapError, match="the file is empty"):
        AerialMap.open(tmp_path / "empty.vloc")
    (tmp_path / "text.vloc").write_text("not a map at all\n" * 100, encoding="utf-8")
    with pytest.raises(MapError, match="not a map made by vloc_ros"):
        AerialMap.open(tmp_path / "text.vloc")
    sqlite3.connect(tmp_path / "other.vloc").execute("CREATE TABLE a (b)").connection.close()
    with pytest.raises(MapError, match="another program's database"):
        AerialMap.open(tmp_path / "other.vloc")
    assert not is_aerial(tmp_path / "other.vloc") and not is_aerial(tmp_path / "none.vloc")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 2", "newer vloc_ros: schema 2, this one reads up to 1"),
        ("PRAGMA application_id = 1", "another program's database"),
        ("PRAGMA application_id = 1447841603", "a map of a taught route, not an aerial one"),
        ("DROP TABLE overview", "its tables are not those of schema 1"),
        ("UPDATE map SET lat = lat + 0.01", "the map entry 1 fails its checksum"),
        ("DELETE FROM map", "damaged"),
        ("DELETE FROM model_card", "0 cards of models"),
        ("UPDATE block SET west = west - 1 WHERE id = 2", "the block entry 2 fails its checksum"),
    ],
)
def test_damaged_maps_are_not_opened(copied, statement, message):
    connection = sqlite3.connect(copied)
    connection.execute(statement)
    connection.commit()
    connection.close()
    with pytest.raises(MapError, match=message):
        AerialMap.open(copied)


def test_damage_of_the_heavy_parts_is_found(copied, capsys):
    connection = sqlite3.connect(copied)
    connection.execute("UPDATE features SET points = zeroblob(length(points)) WHERE block = 1")
    connection.commit()
    connection.close()
    with AerialMap.open(copied) as area:
        with pytest.raises(MapError, match="the features entry 1 fails its checksum; build it again"):
            area.features_in(0, area.bounds[0], area.bounds[1])
        assert len(area.problems()) == 1
    assert main(["map", "check", str(copied)]) == 1
    assert "fails its checksum" in capsys.readouterr().out


def test_blank_maps(tmp_path):
    extractor, descriptor = create_extractor("sift", 400), create_descriptor("thumbnail")
    blank = Raster(np.full_like(IMAGE, 90), None, WHERE, "sea.tif")
    with pytest.raises(DataError, match=r"no tile of sea\.tif shows anything"):
        build_aerial(tmp_path / "area.vloc", blank, extractor, descriptor, SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_nobodys_place_is_taken(copied):
    before = copied.read_bytes()
    with pytest.raises(MapError, match="exists already"):
        build_aerial(
            copied, Raster(IMAGE, None, WHERE, ""), create_extractor("sift", 400), create_descriptor("thumbnail"), SETTINGS
        )
    assert copied.read_bytes() == before


def test_an_interrupted_build_leaves_nothing(tmp_path):
    def interrupted(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    extractor, descriptor = create_extractor("sift", 400), create_descriptor("thumbnail")
    with pytest.raises(KeyboardInterrupt):
        build_aerial(tmp_path / "area.vloc", Raster(IMAGE, None, WHERE, ""), extractor, descriptor, SETTINGS, interrupted)
    assert list(tmp_path.iterdir()) == []
