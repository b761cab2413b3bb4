"""The long-term benchmark of the simulated world: its layout, its poses, and that it goes on where it was broken off."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pair_samples import SITE

from vloc_ros.cli import main
from vloc_ros.data.condition_folders import condition_folders
from vloc_ros.data.frame import to_grey
from vloc_ros.data.images import read_image
from vloc_ros.data.output import write_jpeg
from vloc_ros.data.seasons import SeasonsDataset, SeasonsPicture, open_seasons
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.simulation import SimulatedRun, StereoRig, World
from vloc_ros.training.sources import SeasonsPlan, render_seasons
from vloc_ros.training.sources.seasons_rendering import Shot, plan_shots

PLAN = SeasonsPlan(conditions=("noon", "overcast", "dusk"), train_images=3, queries=2, spacing_m=4.0, scale=0.25)
BORDER_M = 42.0
"""Seven tenths of the 60 m of the site."""


@pytest.fixture(scope="module")
def world() -> World:
    return SITE.build()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seasons")
    assert render_seasons(folder, [SITE], PLAN) == 3 * 3 + 5 + 2 * 2
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def truth(world: World) -> SimulatedRun:
    """The drive of the database."""
    return SimulatedRun(
        world, condition="noon", start_m=BORDER_M, stop_m=60.0, step_m=PLAN.spacing_m, rig=StereoRig().scaled(0.25), detail="fast"
    )


def along_and_across(world: World, shots: list[Shot]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Station [m], distance from the middle of the route [m] and angle to it [deg] of each, by a search along the route."""
    stations = np.arange(0.0, 60.0, 0.005)
    route, tangent = world.route.position(stations), world.route.tangent(stations)
    found = []
    for shot in shots:
        distance = np.linalg.norm(route - shot.world_T_base[:2, 3], axis=1)
        k = int(distance.argmin())
        heading = np.arctan2(shot.world_T_base[1, 0], shot.world_T_base[0, 0]) - np.arctan2(tangent[k, 1], tangent[k, 0])
        found.append((stations[k], distance[k], np.rad2deg((heading + np.pi) % (2 * np.pi) - np.pi)))
    return tuple(np.array(found).T)


class TestLayout:
    def test_readers_of_the_published_layout_read_it(self, rendered: Path) -> None:
        found = open_seasons(rendered / SITE.name)
        assert isinstance(found, SeasonsDataset)
        assert found.conditions == PLAN.conditions
        assert (len(found.database), len(found.queries)) == (5, 4)
        assert {entry.picture.condition for entry in found.database} == {"noon"}
        assert [entry.picture.condition for entry in found.queries] == ["overcast"] * 2 + ["dusk"] * 2
        assert all(isinstance(entry, SeasonsPicture) and entry.side == "c0" for entry in (*found.database, *found.queries))
        assert all(entry.world_T_camera is not None for entry in found.queries)
        assert found.queries[0].picture.read().shape == (96, 128, 3)

    def test_it_is_learned_from_by_condition(self, rendered: Path) -> None:
        found = condition_folders(rendered)
        assert {name: len(images) for name, images in found.items()} == {"noon": 3, "overcast": 3, "dusk": 3}

    def test_names_are_all_different_and_say_when(self, rendered: Path) -> None:
        names = [Path(name).name for name in files(rendered) if name.endswith(".jpg")]
        assert len(names) == len(set(names)) == 18
        assert all(name.startswith("img_0000") and "_c0_175" in name and name.endswith("us.jpg") for name in names)


class TestPoses:
    def test_the_database_is_the_drive_along_the_route(self, rendered: Path, world: World) -> None:
        run = truth(world)
        for entry, pose in zip(open_seasons(rendered / SITE.name).database, run.ground_truth.poses, strict=True):
            assert entry.world_T_camera is not None
            assert np.allclose(entry.world_T_camera, pose, atol=1e-6)

    def test_images_show_what_is_seen_from_their_poses(self, rendered: Path, world: World) -> None:
        run = truth(world)
        shown = [to_grey(entry.picture.read()) for entry in open_seasons(rendered / SITE.name).database]
        seen = [to_grey(run.frame(index).left) for index in range(5)]
        table = np.array([[np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in seen] for a in shown])
        assert (table.argmax(axis=1) == np.arange(5)).all()
        assert table.diagonal().min() > 0.95


class TestPlan:
    def test_nothing_is_learned_of_what_is_asked(self, world: World) -> None:
        plan = replace(PLAN, train_images=200, queries=200)
        for number in range(3):
            learned, asked = (along_and_across(world, shots)[0] for shots in plan_shots(SITE, world, plan, number))
            assert 0.0 <= learned.min() < 1.0 and BORDER_M - plan.gap_m - 1.0 < learned.max() <= BORDER_M - plan.gap_m + 0.01
            assert asked.min() >= BORDER_M - 2.01 and asked.max() <= 60.0

    def test_conditions_are_not_paired(self, world: World) -> None:
        plan = replace(PLAN, train_images=50)
        noon, overcast = (along_and_across(world, plan_shots(SITE, world, plan, k)[0]) for k in (0, 1))
        assert np.abs(noon[0] - overcast[0]).mean() > 0.1
        assert np.abs(noon[2] - overcast[2]).mean() > 1.0
        assert 0.3 < noon[1].max() <= plan.train_across_m + 0.01
        assert 4.0 < np.abs(noon[2]).max() < plan.train_turn_deg + 1.0

    def test_a_repeat_is_not_on_the_teach_to_the_centimetre(self, world: World) -> None:
        plan = replace(PLAN, queries=400, spacing_m=1.0)
        _, across, turned = along_and_across(world, plan_shots(SITE, world, plan, 2)[1])
        assert 0.12 < np.sqrt(np.mean(across**2)) < 0.18
        assert 1.7 < turned.std() < 2.4

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"conditions": ("noon",)}, "two or more"),
            ({"conditions": ("noon", "dusk", "noon")}, "each named once"),
            ({"conditions": ("noon", "eclipse")}, "unknown condition 'eclipse'"),
            ({"train_images": 0}, "give 1 or more"),
            ({"queries": 0}, "give 1 or more"),
            ({"spacing_m": 0.0}, "spacing_m must be positive"),
            ({"train_share": 1.0}, "train_share between 0 and 1"),
            ({"train_across_m": 2.0}, "within 0.8 m"),
            ({"quality": 0}, "quality = 0"),
        ],
    )
    def test_what_makes_no_set(self, changes: dict[str, object], told: str) -> None:
        with pytest.raises(ConfigError, match=told):
            replace(PLAN, **changes)

    def test_a_route_that_is_too_short(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="leaves nothing to learn from or nothing to ask for"):
            render_seasons(tmp_path, [SITE], replace(PLAN, spacing_m=30.0))
        assert not list(tmp_path.iterdir())
        with pytest.raises(ConfigError, match="at least one site"):
            render_seasons(tmp_path, [], PLAN)


class TestGoingOn:
    def test_where_it_was_broken_off(self, rendered: Path, tmp_path: Path) -> None:
        whole = files(rendered)
        for name, data in whole.items():
            if "train02" not in name and "test01" not in name and "pose_new" not in name:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_bytes(data)
        kept = next(tmp_path.rglob("train00/*.jpg"))
        before = kept.stat().st_mtime_ns
        render_seasons(tmp_path, [SITE], PLAN)
        assert files(tmp_path) == whole
        assert kept.stat().st_mtime_ns == before

    def test_not_with_another_plan(self, rendered: Path) -> None:
        with pytest.raises(DataError, match="holds views of another plan"):
            render_seasons(rendered, [SITE], replace(PLAN, queries=3))


SMALL = ["--conditions", "noon,overcast", "--train-images", "1", "--queries", "1", "--spacing", "20", "--scale", "0.125"]


@pytest.mark.slow
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "seasons"
    assert main(["train", "render-seasons", "--out", str(out), "--sites", "1", "--length", "80", *SMALL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sites"], told["images"]) == (1, 5)
    assert told["bytes"] == sum(len(data) for data in files(out).values())
    assert open_seasons(out / "mixed_loop_4000").conditions == ("noon", "overcast")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--first-seed", "7"], "seeds below 1000"),
        (["--sites", "0"], "--sites must be 1 or more"),
        (["--conditions", "noon,eclipse"], "unknown condition 'eclipse'"),
        (["--length", "10"], "leaves nothing to learn from"),
    ],
)
def test_command_says_what_it_will_not_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert main(["train", "render-seasons", "--out", str(tmp_path / "seasons"), *SMALL, *options]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "seasons").exists()


class TestJpeg:
    def test_colours_are_kept_in_order(self, tmp_path: Path) -> None:
        image = np.zeros((16, 24, 3), np.uint8)
        image[...] = (200, 100, 20)
        write_jpeg(tmp_path / "a.jpg", image)
        assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - (200, 100, 20)).max() <= 3

    def test_an_image_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"cannot encode .*a\.jpg"):
            write_jpeg(tmp_path / "a.jpg", np.zeros((0, 4), np.uint8))
