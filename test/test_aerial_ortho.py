"""A mosaic of photos from above: a survey of known ground, photos that do not belong to it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from data_samples import development_data
from raster_samples import ground_image

from vloc_ros.aerial.blending import blend
from vloc_ros.aerial.georeference import LatLon, LocalFrame
from vloc_ros.aerial.ortho import Mosaic, assemble
from vloc_ros.aerial.ortho_report import draw_report
from vloc_ros.aerial.ortho_settings import OrthoSettings
from vloc_ros.aerial.placement import homographies
from vloc_ros.aerial.raster import read_raster
from vloc_ros.aerial.survey import SurveyPhoto, read_survey
from vloc_ros.cli import main
from vloc_ros.data.frame import Image
from vloc_ros.errors import DataError
from vloc_ros.features import create_extractor

GROUND = ground_image(1500, 1200, seed=5)
PIXEL_M, SIZE, FOCAL = 0.1, (400, 300), 300.0
ORIGIN = LatLon(46.84, -91.99)
"""Of the middle of the ground, whose pixels see 0.1 m."""
SETTINGS = OrthoSettings(max_features=1000)


def taken(east: float, north: float, height: float, heading_deg: float, right: float = 0.0, down: float = 0.0) -> Image:
    """A photo, by rotations about the axes of the camera, from the ground under it."""
    turn = np.deg2rad(heading_deg)
    # Columns: the axes of a camera that looks down with the heading up, in east, north, up.
    level = np.array([[np.cos(turn), -np.sin(turn), 0.0], [-np.sin(turn), -np.cos(turn), 0.0], [0.0, 0.0, -1.0]])
    tilt, _ = cv2.Rodrigues(np.array([right, down, 0.0]))
    world_R_camera = level @ tilt
    K = np.array([[FOCAL, 0.0, SIZE[0] / 2.0 - 0.5], [0.0, FOCAL, SIZE[1] / 2.0 - 0.5], [0.0, 0.0, 1.0]])
    # A point (east, north, 0) seen from (east, north, height)
    to_camera = world_R_camera.T @ np.array([[1.0, 0.0, -east], [0.0, 1.0, -north], [0.0, 0.0, -height]])
    height_px, width_px = GROUND.shape[:2]
    to_metres = np.array(
        [[PIXEL_M, 0.0, (0.5 - width_px / 2.0) * PIXEL_M], [0.0, -PIXEL_M, (height_px / 2.0 - 0.5) * PIXEL_M], [0, 0, 1]]
    )
    return np.asarray(cv2.warpPerspective(GROUND, K @ to_camera @ to_metres, SIZE, flags=cv2.INTER_LINEAR), dtype=np.uint8)


def truth() -> list[tuple[float, float, float, float, float, float]]:
    """Three rows of four photos that fly there and back."""
    random = np.random.default_rng(7)
    rows = []
    for row in range(3):
        for column in range(4):
            place = np.array([-36.0 + 24.0 * column, -18.0 + 18.0 * row]) + random.normal(0.0, 0.7, 2)
            tilt = np.deg2rad(random.normal(0.0, 1.0, 2))
            heading = (30.0 if row % 2 == 0 else 210.0) + random.normal(0.0, 3.0)
            rows.append((float(place[0]), float(place[1]), 30.0 + random.normal(0.0, 0.5), heading, float(tilt[0]), float(tilt[1])))
    return rows


TRUTH = truth()


def survey_of(folder: Path, rows: list[tuple[float, float, float, float, float, float]]) -> list[SurveyPhoto]:
    """Photos and their satellite positions, which are 0.5 m wrong along each axis."""
    random, frame, found = np.random.default_rng(8), LocalFrame(ORIGIN), []
    for number, row in enumerate(rows):
        path = folder / f"p{number:02d}.png"
        assert cv2.imwrite(str(path), cv2.cvtColor(taken(*row), cv2.COLOR_RGB2BGR))
        measured = np.array(row[:2]) + random.normal(0.0, 0.5, 2)
        found.append(SurveyPhoto(path, LatLon(*frame.latlon(measured)[0]), row[2]))
    return found


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> list[SurveyPhoto]:
    return survey_of(tmp_path_factory.mktemp("survey"), TRUTH)


@pytest.fixture(scope="module")
def mosaic(survey: list[SurveyPhoto]) -> Mosaic:
    return assemble(survey, create_extractor("sift", SETTINGS.max_features), SETTINGS)


def test_a_placed_pixel_is_where_the_camera_sees_it():
    """The homography of a placement against a ray that is turned and followed to the ground."""
    heading, right, down, height = 0.7, 0.03, -0.05, 40.0
    H = homographies(np.array([[3.0, -2.0, np.log(height / FOCAL), heading, right, down]]), FOCAL)[0]
    tilt, _ = cv2.Rodrigues(np.array([right, down, 0.0]))
    for u, v in ((0.0, 0.0), (150.0, -80.0), (-200.0, 150.0)):
        ray = tilt @ [u, v, FOCAL]
        x, y = height * ray[:2] / ray[2]
        wanted = [3.0 + x * np.cos(heading) - y * np.sin(heading), -2.0 - x * np.sin(heading) - y * np.cos(heading)]
        found = H @ [u, v, 1.0]
        assert found[:2] / found[2] == pytest.approx(wanted, abs=0.01)


def test_photos_are_placed_where_they_were_taken(mosaic):
    assert len(mosaic.photos) == 12 and mosaic.rejected == {}
    values, known = mosaic.placement.values, np.array(TRUTH)
    places = LocalFrame(ORIGIN).metres(mosaic.frame.latlon(values[:, :2]))
    # Twelve positions that are 0.5 m wrong leave the whole 0.15 m wrong, and a tilt of a degree moves a photo by 0.5 m.
    assert np.abs((places - known[:, :2]).mean(axis=0)).max() < 0.5
    assert np.linalg.norm(places - known[:, :2], axis=1).max() < 1.2
    assert np.exp(values[:, 2]) == pytest.approx(known[:, 2] / FOCAL, rel=0.03)
    assert np.abs((np.rad2deg(values[:, 3]) - known[:, 3] + 180.0) % 360.0 - 180.0).max() < 1.5
    assert 0.2 < mosaic.from_gps_m < 0.9 and mosaic.error_px < 1.0


def test_the_picture_is_the_ground(mosaic):
    picture = blend(mosaic, 0.2)
    frame, random = LocalFrame(ORIGIN), np.random.default_rng(9)
    points = random.uniform(-30.0, 30.0, (40, 2)) * [1.0, 0.5]
    template, apart = 24, []
    soft = cv2.resize(GROUND, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    for east, north in points:
        column, row = int(375 + east / 0.2), int(300 - north / 0.2)
        part = soft[row - template : row + template, column - template : column + template]
        score = cv2.matchTemplate(picture.image, part, cv2.TM_CCOEFF_NORMED)
        _, best, _, at = cv2.minMaxLoc(score)
        if best > 0.8:
            found = frame.metres(picture.georeference.latlon([at[0] + template - 0.5, at[1] + template - 0.5]))[0]
            apart.append(found - [(column - 375) * 0.2, (300 - row) * 0.2])
    assert len(apart) > 30
    assert np.median(np.linalg.norm(apart, axis=1)) < 0.6
    assert not picture.known[0, 0] and picture.known.mean() > 0.5


def test_the_report_shows_outlines_and_positions(mosaic):
    image = draw_report(mosaic, blend(mosaic, 0.2))
    for colour in ((255, 220, 0), (0, 90, 255), (255, 0, 60)):
        assert (np.abs(image.astype(int) - colour).max(axis=2) < 30).sum() > 12, colour


def test_the_exposure_of_a_photo_does_not_matter(survey, tmp_path, mosaic):
    """One photo is a tenth darker: what is drawn of it is brightened to what is around it."""
    dark = cv2.imread(str(survey[5].path))
    path = tmp_path / survey[5].name
    assert cv2.imwrite(str(path), (dark * 0.85).astype(np.uint8))
    photos = tuple(SurveyPhoto(path, p.position, p.height_m) if p.name == path.name else p for p in mosaic.photos)
    darker = Mosaic(photos, mosaic.sizes, mosaic.placement, mosaic.frame, {}, mosaic.pairs)
    one, other = blend(mosaic, 0.4), blend(darker, 0.4)
    assert np.abs(one.image.astype(int) - other.image).mean() < 2.0


def test_an_oblique_photo_is_left_out(survey, tmp_path):
    path = tmp_path / "oblique.png"
    # 35 degrees from straight down, over the middle
    assert cv2.imwrite(str(path), cv2.cvtColor(taken(0.0, -15.0, 30.0, 0.0, np.deg2rad(35.0)), cv2.COLOR_RGB2BGR))
    position = LatLon(*LocalFrame(ORIGIN).latlon([0.0, -15.0])[0])
    found = assemble([*survey, SurveyPhoto(path, position, 30.0)], create_extractor("sift", SETTINGS.max_features), SETTINGS)
    assert list(found.rejected) == ["oblique.png"] and len(found.photos) == 12
    assert "straight down" in found.rejected["oblique.png"] or "few matches" in found.rejected["oblique.png"]


def test_a_photo_with_a_wrong_position_is_left_out(survey):
    photos = list(survey)
    frame = LocalFrame(ORIGIN)
    ((east, north),) = frame.metres(photos[6].position)
    photos[6] = SurveyPhoto(photos[6].path, LatLon(*frame.latlon([east, north + 25.0])[0]), 30.0)
    found = assemble(photos, create_extractor("sift", SETTINGS.max_features), SETTINGS)
    assert list(found.rejected) == ["p06.png"] and "m from where it says that it was taken" in found.rejected["p06.png"]
    assert found.from_gps_m < 0.9


def test_photos_to_the_side_are_no_mosaic(tmp_path):
    rows = [(-20.0 + 8.0 * n, -45.0, 25.0, 8.0 * n - 15.0, np.deg2rad(50.0), 0.0) for n in range(6)]
    with pytest.raises(DataError, match=r"\d of 6 photos fit together on level ground, which is no mosaic .*overlap by half"):
        assemble(survey_of(tmp_path, rows), create_extractor("sift", SETTINGS.max_features), SETTINGS)


def test_too_few_photos(survey):
    with pytest.raises(DataError, match="2 photos are too few"):
        assemble(survey[:2], create_extractor("sift", SETTINGS.max_features), SETTINGS)


# --- the table


def table(folder: Path, text: str) -> Path:
    path = folder / "gps.csv"
    path.write_text(text, encoding="utf-8")
    (folder / "A.JPG").touch()
    return path


def test_columns_by_name(tmp_path):
    path = table(tmp_path, "lon,File,lat,alt,rel_alt,gimbal_yaw\n8.5,a.jpg,47.0,500,+39.80,-132.0\n8.6,b.jpg,47.1,1,2,3\n")
    assert read_survey(tmp_path, path) == [SurveyPhoto(tmp_path / "A.JPG", LatLon(47.0, 8.5), 39.8, -132.0)]
    path = table(tmp_path, "\ufefffile,lat,lon\nsome/folder/A.JPG,47.0,8.5\n")
    assert read_survey(tmp_path, path) == [SurveyPhoto(tmp_path / "A.JPG", LatLon(47.0, 8.5))]


def test_a_height_that_is_not_finite_is_not_known(tmp_path):
    (photo,) = read_survey(tmp_path, table(tmp_path, "file,lat,lon,rel_alt\nA.JPG,47.0,8.5,inf\n"))
    assert photo.height_m is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'file'"),
        ("file,lat\nA.JPG,47\n", "has no column 'lon'"),
        ("file,lat,lon\nA.JPG,47,\n", "line 2 of .* has no latitude and longitude"),
        ("file,lat,lon\nA.JPG,147,8\n", "line 2 of .* has no latitude and longitude"),
        ("file,lat,lon\nA.JPG,47,east\n", "line 2 of .*: 'east' is no number"),
        ("file,lat,lon\nC.JPG,47,8\n", "none of the 1 photos in .* is named"),
        ("file,lat,lon\n../../A.JPG\n", "line 2 of .* has no latitude and longitude"),
    ],
)
def test_wrong_tables(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_survey(tmp_path, table(tmp_path, text))


def test_no_folder_and_no_table(tmp_path):
    with pytest.raises(DataError, match="is no folder of photos"):
        read_survey(tmp_path / "none", tmp_path / "gps.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_survey(tmp_path, tmp_path / "gps.csv")


# --- the command


def test_the_command_writes_what_can_be_built_from(survey, tmp_path, capsys):
    folder = survey[0].path.parent
    lines = [f"{photo.name},{photo.position.lat:.9f},{photo.position.lon:.9f},{photo.height_m}" for photo in survey]
    gps = tmp_path / "gps.csv"
    gps.write_text("\n".join(["file,lat,lon,rel_alt", *lines]), encoding="utf-8")
    base = ["build-ortho", str(folder), "--gps", str(gps), "--max-features", "1000", "--resolution", "0.25"]
    assert main([*base, "--out", str(tmp_path / "ortho.tif")]) == 0
    assert "12 of 12" in capsys.readouterr().out
    assert main([*base, "--out", str(tmp_path / "ortho.png")]) == 0
    one, other = read_raster(tmp_path / "ortho.tif"), read_raster(tmp_path / "ortho.png")
    assert one.known is not None and other.known is not None and np.array_equal(one.known, other.known)
    assert one.georeference.latlon([100.0, 50.0]) == pytest.approx(other.georeference.latlon([100.0, 50.0]), abs=1e-8)
    assert main([*base, "--out", str(tmp_path / "ortho.jpg")]) == 1
    assert "must end in .tif or .png" in capsys.readouterr().err
    before = survey[0].path.read_bytes()
    assert main([*base, "--out", str(survey[0].path)]) == 1
    assert "is one of the photos" in capsys.readouterr().err
    assert survey[0].path.read_bytes() == before


@pytest.mark.slow
@pytest.mark.data
def test_a_real_survey():
    folder = development_data("uav_brighton_beach")
    photos = read_survey(folder, folder / "gps.csv")
    found = assemble(photos, create_extractor("sift", OrthoSettings().max_features))
    assert len(found.photos) == 18 and found.from_gps_m < 1.0 and found.error_px < 2.0
    # All look along the rows, as the pictures show; the table has the middle row the other way round.
    headings = np.rad2deg(found.placement.values[:, 3]) % 360.0
    assert np.abs(headings - 43.0).max() < 10.0
