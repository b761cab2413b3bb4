"""Half of a real flight located on the mosaic of the other half, and photos of elsewhere that must not be."""

from dataclasses import replace

import numpy as np
import pytest
from data_samples import DEVELOPMENT_DATA

from vloc_ros.aerial.blending import blend
from vloc_ros.aerial.building import build_aerial
from vloc_ros.aerial.locating import locate_all
from vloc_ros.aerial.opening import open_locator
from vloc_ros.aerial.ortho import assemble
from vloc_ros.aerial.ortho_settings import OrthoSettings
from vloc_ros.aerial.photo_list import Instruments, Optics, Shot, read_instruments
from vloc_ros.aerial.raster import Raster
from vloc_ros.aerial.survey import read_survey
from vloc_ros.aerial.tiling_settings import TilingSettings
from vloc_ros.aerial.truth import read_truth
from vloc_ros.evaluation.aerial_summary import summarise
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import create_descriptor

FLIGHT, STRANGE = DEVELOPMENT_DATA / "uav_brighton_beach", DEVELOPMENT_DATA / "uav_odm_lewis"
pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def locator(tmp_path_factory):
    """On the mosaic of every second photo."""
    if not (FLIGHT / "gps.csv").is_file() or not STRANGE.is_dir():
        pytest.skip(f"no development data in {DEVELOPMENT_DATA}")
    mosaic = assemble(read_survey(FLIGHT, FLIGHT / "gps.csv")[::2], create_extractor("sift", OrthoSettings().max_features))
    picture = blend(mosaic, 0.06)
    raster = Raster(picture.image, picture.known.astype(np.uint8) * 255, picture.georeference)
    settings = TilingSettings(resolution_m=0.1, levels=1, tile=256)
    path = tmp_path_factory.mktemp("real") / "area.vloc"
    build_aerial(path, raster, create_extractor("sift", settings.max_features), create_descriptor("thumbnail"), settings)
    ground, made = open_locator(path)
    with ground:
        yield made


def test_the_other_half_of_a_flight_is_located(locator):
    said = read_instruments(FLIGHT / "gps.csv")
    shots = []
    for photo in read_survey(FLIGHT, FLIGHT / "gps.csv")[1::2]:
        known = said[photo.name]
        # The photos of the second row lie turned by 180 degrees in their files.
        turned = known.heading_deg + (180.0 if known.heading_deg < -90.0 else 0.0)
        shots.append(Shot(photo.path, replace(known, heading_deg=turned)))
    summary = summarise(list(locate_all(shots, Optics(930.0), locator.locate)), read_truth(FLIGHT / "gps.csv"))
    assert summary.photos == 9 and summary.located >= 8
    assert summary.median_error_m < 4.0 and summary.largest_error_m < 10.0
    assert summary.within_ellipse > 80.0


def test_oblique_photos_of_elsewhere_are_refused(locator):
    shots = [Shot(path, Instruments()) for path in sorted(STRANGE.glob("*.jpg"))[::11]]
    assert len(shots) == 5
    assert [result.success for result in locate_all(shots, Optics(930.0), locator.locate)] == [False] * 5
