"""``vloc map build-aerial``, what other commands say of its maps, and builds that are killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from raster_samples import UTM_32, ground_image

from vloc_ros.aerial.building import build_aerial
from vloc_ros.aerial.georeference import Georeference
from vloc_ros.aerial.geotiff_write import write_geotiff
from vloc_ros.aerial.map_file import AerialMap
from vloc_ros.aerial.raster import Raster
from vloc_ros.aerial.tiling_settings import TilingSettings
from vloc_ros.cli import main
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import create_descriptor

IMAGE = ground_image(700, 600)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aerial") / "area.vloc"
    raster = Raster(IMAGE, None, Georeference(UTM_32, "EPSG:32632"), "ortho.tif")
    settings = TilingSettings(levels=1, tile=128, headings=1, max_features=300)
    build_aerial(path, raster, create_extractor("sift", 300), create_descriptor("thumbnail"), settings)
    return path


@pytest.fixture
def ortho(tmp_path: Path) -> Path:
    path = tmp_path / "ortho.tif"
    write_geotiff(path, IMAGE, np.ones(IMAGE.shape[:2], bool), UTM_32, "EPSG:32632")
    return path


OPTIONS = ["--descriptor", "thumbnail", "--tile", "128", "--levels", "1", "--headings", "1", "--max-features", "300"]


def test_the_command(ortho, capsys):
    path = ortho.with_name("area.vloc")
    assert main(["map", "build-aerial", str(ortho), "--map", str(path), *OPTIONS, "--accuracy", "2.5"]) == 0
    area = re.search(r"area +(\d+) m2", capsys.readouterr().out)
    assert area is not None and float(area[1]) == pytest.approx(210.0 * 180.0, rel=0.01)
    assert main(["map", "info", str(path)]) == 0
    assert "known to 2.5 m" in capsys.readouterr().out
    assert main(["map", "check", str(path)]) == 0
    assert "is healthy" in capsys.readouterr().out
    assert main(["map", "build-aerial", str(ortho), "--map", str(path), *OPTIONS]) == 1
    assert "exists already" in capsys.readouterr().err


def test_commands_that_need_a_taught_map_say_so(built, capsys):
    for command in (
        ["map", "prune", str(built), "--distance", "1"],
        ["map", "redescribe", str(built)],
        ["loops", "--map", str(built)],
    ):
        assert main([*command, *(["--out", str(built.parent / "loops")] if command[0] == "loops" else [])]) == 1
        assert "is an aerial map, not one of a taught route: vloc locate" in capsys.readouterr().err


def test_corners_in_the_south_and_west(ortho, capsys):
    path = ortho.with_name("area.vloc")
    corners = ["--corners", "-33.9016,-151.2021", "-33.9,-151.2"]
    assert main(["map", "build-aerial", str(ortho), "--map", str(path), *OPTIONS, *corners]) == 0
    with AerialMap.open(path) as area:
        assert area.frame.latlon(area.bounds) == pytest.approx(np.array([[-33.9016, -151.2021], [-33.9, -151.2]]), abs=1e-9)
    assert main(["map", "build-aerial", str(ortho), "--map", str(path) + "2", "--corners", "47;8", "48;9"]) == 1
    assert "not of the form LAT,LON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--descriptor", "vlad"], "needs a vocabulary"),
        (["--tile", "10"], "'tile' = 10 is below its minimum 64"),
        (["--features", "none"], "unknown features 'none'"),
        (["--resolution", "5"], "less than a tile of 1600 m"),
    ],
)
def test_wrong_options(ortho, capsys, options, message):
    assert (
        main(["map", "build-aerial", str(ortho), "--map", str(ortho.with_name("area.vloc")), "--descriptor", "thumbnail", *options])
        == 1
    )
    assert message in capsys.readouterr().err
    assert not ortho.with_name("area.vloc").exists()


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_build_leaves_no_map(ortho, blow):
    path = ortho.with_name("area.vloc")
    command = [
        sys.executable,
        "-m",
        "vloc_ros",
        "map",
        "build-aerial",
        str(ortho),
        "--map",
        str(path),
        "--headings",
        "72",
        "--tile",
        "64",
    ]
    build = subprocess.Popen([*command, "--descriptor", "hog", "--overlap", "0.9"], stderr=subprocess.DEVNULL)
    staging = path.with_name(f".{path.name}.{build.pid}.new")
    deadline = time.monotonic() + 60.0
    while not staging.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    assert build.poll() is None, "it was done before it could be killed"
    os.kill(build.pid, blow)
    assert build.wait(timeout=30) != 0
    assert not path.exists() and (blow is signal.SIGKILL or not staging.exists())
