"""``vloc locate`` from a map file and photos to files that other programs read."""

import csv
import json
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest
from aerial_samples import FOCAL, MemoryMap, landscape, seen_from
from html_page import Page

from vloc_ros.aerial.building import build_aerial
from vloc_ros.aerial.georeference import LatLon, LocalFrame, metres_per_degree
from vloc_ros.aerial.map_file import AerialMap
from vloc_ros.aerial.raster import read_raster
from vloc_ros.aerial.tiling_settings import TilingSettings
from vloc_ros.cli import main
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import create_descriptor

GROUND, SIDE = 0.5, 800
SOUTH_WEST = LatLon(47.0, 8.4)


class Plane(MemoryMap):
    """A raster of which nothing is described."""

    def __init__(self, raster):
        self.raster, self._g0 = raster, GROUND


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A map file, a folder of seven photos of it (one truncated, one of elsewhere) and their table."""
    folder = tmp_path_factory.mktemp("site")
    raster = landscape(SIDE, 21)
    cv2.imwrite(str(folder / "area.png"), raster[..., ::-1])
    north, east = metres_per_degree(SOUTH_WEST.lat)
    corner = LatLon(SOUTH_WEST.lat + SIDE * GROUND / north, SOUTH_WEST.lon + SIDE * GROUND / east)
    settings = TilingSettings(levels=1, tile=160, accuracy_m=0.5)
    build_aerial(
        folder / "area.vloc",
        read_raster(folder / "area.png", [SOUTH_WEST, corner]),
        create_extractor("sift", settings.max_features),
        create_descriptor("thumbnail"),
        settings,
    )
    (folder / "photos").mkdir()
    middle = LatLon(0.5 * (SOUTH_WEST.lat + corner.lat), 0.5 * (SOUTH_WEST.lon + corner.lon))
    lines = ["file,lat,lon,rel_alt,gimbal_yaw,time"]
    for k in range(7):
        place = np.array([-75.0 + 20.0 * k, 55.0 - 12.0 * k])
        ground = Plane(landscape(SIDE, 300) if k == 4 else raster)
        photo = seen_from(ground, place, 130.0, 36.0 + k)
        cv2.imwrite(str(folder / "photos" / f"p{k}.jpg"), photo.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        lat, lon = LocalFrame(middle).latlon(place[None])[0]
        lines.append(f"p{k}.jpg,{lat:.9f},{lon:.9f},{130 + k % 3},{36 + k},{2.0 * k}")
    whole = (folder / "photos" / "p2.jpg").read_bytes()
    (folder / "photos" / "p2.jpg").write_bytes(whole[: len(whole) // 3])
    (folder / "photos" / "gps.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def locate(site, out, *options):
    arguments = ["locate", str(site / "photos"), "--map", str(site / "area.vloc"), "--out", str(out), "--focal", str(FOCAL)]
    return main([*arguments, *map(str, options)])


def fixes(out):
    with (out / "fixes.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def judged(site):
    out = site / "judged"
    assert locate(site, out, "--gps", site / "photos" / "gps.csv", "--truth", site / "photos" / "gps.csv") == 0
    return out


def test_all_photos_have_a_line_and_failures_are_failures(judged):
    rows = fixes(judged)
    assert [row["file"] for row in rows] == [f"p{k}.jpg" for k in range(7)]
    reasons = [row["reason"] for row in rows]
    assert reasons[2] == "unreadable" and "truncated JPEG" in rows[2]["why"]
    assert reasons[4] in {"too_few_inliers", "too_few_matches"}
    assert [reasons[k] for k in (0, 1, 3, 5, 6)] == [""] * 5
    assert all(float(rows[k]["error_m"]) < 1.5 for k in (0, 1, 3, 5, 6))
    for k in (2, 4):
        assert [rows[k][key] for key in ("lat", "lon", "east_m", "sigma_east_m", "height_m", "heading_deg", "error_m")] == [""] * 7
    summary = json.loads((judged / "summary.json").read_text(encoding="utf-8"))
    assert (summary["photos"], summary["located"], summary["judged"]) == (7, 5, 7)
    assert summary["within"]["5 m"] == pytest.approx(100 * 5 / 7)
    assert summary["failure_percent"] == pytest.approx(100 * 2 / 7)
    assert summary["median_error_m"] < 1.0


def test_geojson_has_points_footprints_and_refusals(judged):
    features = json.loads((judged / "fixes.geojson").read_text(encoding="utf-8"))["features"]
    of = {what: [item for item in features if item["properties"]["what"] == what] for what in ("position", "footprint", "refusal")}
    assert [len(of[what]) for what in of] == [5, 5, 2]
    assert all(item["geometry"] is None and item["properties"]["reason"] for item in of["refusal"])
    for point, polygon in zip(of["position"], of["footprint"], strict=True):
        (ring,) = polygon["geometry"]["coordinates"]
        assert ring[0] == ring[-1] and len(ring) == 5
        corners = np.array(ring[:-1])
        area = np.sum(corners[:, 0] * np.roll(corners[:, 1], -1) - np.roll(corners[:, 0], -1) * corners[:, 1])
        assert area > 0  # counter-clockwise
        lon, lat = point["geometry"]["coordinates"]
        assert 8.4 < lon < 8.41 and 47.0 < lat < 47.004
        assert np.abs(corners.mean(axis=0) - [lon, lat]).max() < 3e-5


def test_kml_is_well_formed_and_has_the_located_photos(judged):
    root = ElementTree.parse(judged / "fixes.kml").getroot()
    space = {"k": "http://www.opengis.net/kml/2.2"}
    names = [mark.findtext("k:name", namespaces=space) for mark in root.iterfind(".//k:Placemark", space)]
    assert names == ["p0.jpg", "p1.jpg", "p3.jpg", "p5.jpg", "p6.jpg"]


def test_the_page_is_whole_shows_the_map_and_loads_nothing(judged):
    page = Page((judged / "report.html").read_text(encoding="utf-8"))
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert page.tags.count("polygon") == 5 and page.tags.count("path") == 7 and "script" not in page.tags
    assert "p2.jpg" in page.text and "truncated JPEG" in page.text and "too_few" in page.text
    assert "5 of 7 photos have a position" in page.text


def test_one_line_for_each_photo_and_json_alone_with_json(site, tmp_path, capsys):
    table = site / "photos" / "gps.csv"
    assert locate(site, tmp_path / "a", "--gps", table) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:7]] == [f"p{k}.jpg" for k in range(7)]
    assert "47.00" in lines[0] and "unreadable" in lines[2]
    assert locate(site, tmp_path / "b", "--gps", table, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["located"] == 5 and values["median_error_m"] is None and values["within"]["5 m"] is None


def test_poisoned_positions_change_nothing(site, judged, tmp_path):
    """The search has no access to the truth: with lat and lon replaced by nonsense, every fix is the same."""
    lines = (site / "photos" / "gps.csv").read_text(encoding="utf-8").splitlines()
    cells = [line.split(",") for line in lines[1:]]
    poisoned = tmp_path / "poisoned.csv"
    poisoned.write_text("\n".join([lines[0], *(",".join([c[0], "nowhere", "-999", *c[3:]]) for c in cells)]) + "\n")
    for options in ([], ["--sequence"]):
        outs = []
        for name, table in (("honest", site / "photos" / "gps.csv"), ("poisoned", poisoned)):
            outs.append(tmp_path / "-".join([name, *options]))
            assert locate(site, outs[-1], "--gps", table, *options) == 0
        honest, other = (
            [{key: value for key, value in row.items() if key not in ("seconds", "error_m")} for row in fixes(out)] for out in outs
        )
        assert honest == other
        assert sum(row["lat"] != "" for row in honest) >= 4
    whole = [{k: v for k, v in row.items() if k not in ("seconds", "error_m")} for row in fixes(judged)]
    assert whole == [{k: v for k, v in row.items() if k not in ("seconds", "error_m")} for row in fixes(tmp_path / "honest")]


def test_a_sequence_follows_its_own_positions(site, tmp_path):
    assert locate(site, tmp_path / "a", "--gps", site / "photos" / "gps.csv", "--sequence") == 0
    reasons = [row["reason"] for row in fixes(tmp_path / "a")]
    assert reasons[0] == "unconfirmed" and reasons[2] == "unreadable"
    assert [reasons[k] for k in (1, 3, 5, 6)] == [""] * 4


def test_the_names_of_the_options_of_the_issue_are_known(site, tmp_path):
    arguments = ["locate", str(site / "photos" / "p3.jpg"), "--map", str(site / "area.vloc"), "--out", str(tmp_path / "a")]
    lens = f"{FOCAL},159.5,119.5"
    assert main([*arguments, "--altitude", "130", "--heading", "39", "--intrinsics", lens, "--json"]) == 0
    assert fixes(tmp_path / "a")[0]["reason"] == ""
    arguments[-1] = str(tmp_path / "b")
    assert main([*arguments, "--heading", "-140", "--fov", "43.6", "--height", "130"]) == 0
    assert fixes(tmp_path / "b")[0]["reason"] == "wrong_heading"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--focal", "-3"], "--focal -3 is no focal length"),
        (["--fov", "180"], "--fov 180 is no angle of view"),
        (["--intrinsics", "900"], "--intrinsics 900 is not F,CX,CY"),
        (["--intrinsics", "900,700,1,1"], "with FX and FY equal to 1 %"),
        (["--height", "0"], "--height 0 is not above the ground"),
        (["--height", "inf"], "--height inf is not above the ground"),
        (["--heading", "nan"], "--heading nan is no direction"),
        (["--focal", "inf"], "--focal inf is no focal length"),
        (["--intrinsics", "900,nan,300"], "--intrinsics 900,nan,300 is not F,CX,CY"),
        (["--sequence", "--period", "inf"], "--period goes with --sequence"),
        (["--sequence", "--period", "12"], "the photos are 12 s apart, and after 10 s a flight is lost"),
        (["--sequence"], "p0.jpg has no time, which --sequence needs"),
        (["--period", "1"], "--period goes with --sequence"),
        (["--set", "locator.nothing=1"], "unknown key"),
        (["--features", "orb"], "built with other features"),
        (["--descriptor", "hog"], "another global descriptor"),
        (["--truth", "absent.csv"], "cannot read absent.csv"),
    ],
)
def test_a_wrong_option_is_a_sentence(site, tmp_path, capsys, options, words):
    arguments = ["locate", str(site / "photos"), "--map", str(site / "area.vloc"), "--out", str(tmp_path / "out")]
    assert main([*arguments, *options]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tables_of_other_photos_are_a_sentence(site, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_text("file,lat,lon,height\nelsewhere.jpg,47,8.4,130\n", encoding="utf-8")
    for option in ("--gps", "--truth"):
        assert locate(site, tmp_path / "out", option, other) == 1
        assert "other.csv names none of the 7 photos" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_map_may_not_name_files(site, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(AerialMap, "features", property(lambda self: str(site / "evil.safetensors")))
    assert locate(site, tmp_path / "out") == 1
    assert "which are not known here" in capsys.readouterr().err
