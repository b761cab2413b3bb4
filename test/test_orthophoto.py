"""Orthophotos of the simulated world: what lies where, aligned in every light; and the sets that are rendered of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pair_samples import SITE

from vloc_ros.cli import main
from vloc_ros.data.frame import Image
from vloc_ros.data.images import read_image
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.simulation import GroundArea, World, named_condition, orthophoto
from vloc_ros.training.sources import AerialPlan, render_aerial

PLAN = AerialPlan(("noon", "overcast"), 0.4)


@pytest.fixture(scope="module")
def world() -> World:
    return SITE.build()


@pytest.fixture(scope="module")
def area(world: World) -> GroundArea:
    return GroundArea.of_world(world, 0.2)


@pytest.fixture(scope="module")
def noon(world: World, area: GroundArea) -> Image:
    return orthophoto(world, named_condition("noon"), area)


def test_pixels_and_metres_are_those_of_a_north_up_picture() -> None:
    area = GroundArea(np.array([10.0, -4.0]), np.array([15.0, 6.0]), 0.5)
    assert (area.width, area.height) == (10, 20)
    corners = np.array([[-0.5, -0.5], [9.5, 19.5], [0.0, 0.0]])
    np.testing.assert_allclose(area.metres(corners), [[10.0, 6.0], [15.0, -4.0], [10.25, 5.75]])
    np.testing.assert_allclose(area.pixels(area.metres(corners)), corners)


def test_the_track_lies_where_the_route_runs(world: World, area: GroundArea, noon: Image) -> None:
    """Gravel is grey, and what grows beside it is not."""
    stations = np.arange(0.0, world.route.length_m, 1.0)
    tangent = world.route.tangent(stations)
    aside = np.column_stack([-tangent[:, 1], tangent[:, 0]])
    saturation = cv2.cvtColor(cv2.GaussianBlur(noon, (0, 0), 2.0), cv2.COLOR_RGB2HSV)[..., 1].astype(float)

    def seen(offset_m: float) -> float:
        u, v = np.rint(area.pixels(world.route.position(stations) + offset_m * aside)).astype(int).T
        return float(np.median(saturation[v, u]))

    profile = [seen(offset) for offset in (-5.0, -0.5, 0.0, 0.5, 5.0)]
    assert max(profile[1:4]) < 0.7 * min(profile[0], profile[4])


def test_every_light_is_aligned_to_the_pixel(world: World, area: GroundArea, noon: Image) -> None:
    grey = [cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F) for image in (noon, _in(world, area, "overcast"))]

    def agreement(du: int, dv: int) -> float:
        moved = np.roll(grey[1], (dv, du), axis=(0, 1))
        return float(np.corrcoef(grey[0][8:-8, 8:-8].ravel(), moved[8:-8, 8:-8].ravel())[0, 1])

    shifts = [(du, dv) for du in range(-3, 4) for dv in range(-3, 4)]
    assert max(shifts, key=lambda shift: agreement(*shift)) == (0, 0)


def _in(world: World, area: GroundArea, name: str) -> Image:
    return orthophoto(world, named_condition(name), area)


def test_views_join_without_a_seam(world: World, area: GroundArea, noon: Image) -> None:
    """A part whose views begin elsewhere is the same part of the whole, but for the noise."""
    corner = area.low + 0.2 * np.array([150, 170])
    part = orthophoto(world, named_condition("noon"), GroundArea(corner, corner + 0.2 * np.array([300.5, 280.5]), 0.2))
    top = area.height - 170 - 280
    whole = noon[top : top + 280, 150:450]
    assert part.shape == whole.shape
    level = part.mean() / whole.mean()  # each has an exposure of its own
    grey = [cv2.GaussianBlur(image, (0, 0), 1.0).astype(float) for image in (part / level, whole)]
    assert np.median(np.abs(grey[0] - grey[1])) < 3.0
    edges = np.abs(np.diff(noon.astype(float).mean(axis=2), axis=1)).mean(axis=0)
    assert edges[383] < 1.3 * np.median(edges), "a seam between the first two views"


def test_the_same_seed_gives_the_same_picture(world: World) -> None:
    area = GroundArea(np.array([-10.0, -10.0]), np.array([10.0, 5.0]), 0.25)
    one, again = (orthophoto(world, named_condition("snow"), area, seed=3) for _ in range(2))
    other = orthophoto(world, named_condition("snow"), area, seed=4)
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_progress_is_told(world: World) -> None:
    said: list[tuple[int, int]] = []
    area = GroundArea(np.array([-60.0, -10.0]), np.array([60.0, 5.0]), 0.25)
    orthophoto(world, named_condition("noon"), area, on_view=lambda done, total: said.append((done, total)))
    assert said == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("low", "high", "resolution", "text"),
    [(0.0, 0.1, 0.2, "no pixel"), (0.0, 10.0, 0.0, "no pixel"), (0.0, 10.0, -1.0, "no pixel"), (0.0, 2000.0, 0.1, "too large")],
)
def test_areas_that_make_no_picture(low: float, high: float, resolution: float, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        GroundArea(np.full(2, low), np.full(2, high), resolution)


@pytest.mark.parametrize(
    ("conditions", "resolution", "text"),
    [((), 0.2, "at least one"), (("moon",), 0.2, "unknown"), (("fog",), 0.2, "no survey"), (("noon",), 5.0, "out of range")],
)
def test_plans_that_make_no_set(conditions: tuple[str, ...], resolution: float, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        AerialPlan(conditions, resolution)


def test_a_set_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    assert render_aerial(tmp_path, [SITE], PLAN) == 2
    files = [tmp_path / SITE.name / f"{name}.jpg" for name in PLAN.conditions]
    first = [file.read_bytes() for file in files]
    written = files[0].stat().st_mtime_ns
    files[1].unlink()
    render_aerial(tmp_path, [SITE], replace(PLAN, conditions=("noon", "overcast", "snow")))
    assert [file.read_bytes() for file in files] == first and files[0].stat().st_mtime_ns == written
    assert read_image(tmp_path / SITE.name / "snow.jpg").shape == read_image(files[0]).shape
    with pytest.raises(DataError, match="another resolution"):
        render_aerial(tmp_path, [SITE], replace(PLAN, resolution_m=0.3))
    with pytest.raises(ConfigError, match="at least one site"):
        render_aerial(tmp_path, [], PLAN)


def test_the_command_renders_and_keeps_off_the_sites_of_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["train", "render-aerial", "--out", str(tmp_path / "set"), "--sites", "1", "--length", "60", "--resolution", "0.5"]
    assert main([*asked, "--conditions", "noon", "--json"]) == 0
    assert '"images": 1' in capsys.readouterr().out
    assert [file.name for file in (tmp_path / "set" / "mixed_loop_7000").iterdir()] == ["noon.jpg"]
    assert main([*asked, "--first-seed", "5"]) != 0
    assert "knows the answers" in capsys.readouterr().err
    assert main(["train", "render-aerial", "--out", str(tmp_path), "--sites", "0"]) != 0
