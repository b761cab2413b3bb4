"""What makes rendering fast changes nothing that it must not: hidden surfaces, threads, levels of detail."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from vloc_ros.errors import ConfigError
from vloc_ros.simulation import CONDITIONS, DETAILS, Detail, Renderer, SimulatedRun, StereoRig, World, named_detail
from vloc_ros.simulation.mesh import Mesh
from vloc_ros.simulation.occlusion import NEAR_M, box_hidden, cluster_hidden, make_tiles, mark
from vloc_ros.simulation.palette import Material
from vloc_ros.simulation.raster import DIAGONAL, SPREAD, front_to_back, pack_view, rasterise

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import render as benchmark

RIG = StereoRig().scaled(0.25)


@pytest.fixture(scope="module")
def world() -> World:
    return World.generate(4, 60.0)


def run_of(world: World, detail: str | Detail, threads: int = 1) -> SimulatedRun:
    return SimulatedRun(world, rig=RIG, detail=detail, threads=threads)


def draw(mesh: Mesh, view: np.ndarray, order: np.ndarray, samples: tuple = SPREAD) -> tuple[np.ndarray, np.ndarray, int]:
    size = (RIG.camera.height, RIG.camera.width, len(samples) // 2)
    inverse, triangle = np.empty(size, dtype=np.float32), np.empty(size, dtype=np.int32)
    tiles = make_tiles(*size[:2])
    drawn = rasterise(mesh.attributes, mesh.cluster_start, mesh.cluster_sphere, order, view, samples, tiles, inverse, triangle)
    return inverse, triangle, drawn


def views(world: World) -> list[np.ndarray]:
    run = run_of(world, "full")
    return [pack_view(RIG.camera, run.ground_truth.poses[index]) for index in (0, 70, 150, 220)]


def test_rejecting_what_is_hidden_changes_no_sample(world: World) -> None:
    rejected = 0
    for view in views(world):
        order = front_to_back(world.mesh.cluster_sphere, view)
        inverse, _, drawn = draw(world.mesh, view, order)
        # From back to front hardly anything is hidden at the time when it is drawn.
        all_inverse, _, all_drawn = draw(world.mesh, view, order[::-1])
        np.testing.assert_array_equal(inverse, all_inverse)
        rejected += all_drawn - drawn
    assert rejected > 1000


def test_a_cluster_is_hidden_only_by_something_nearer() -> None:
    view = pack_view(RIG.camera, np.eye(4))
    tiles, inverse = make_tiles(96, 128), np.full((96, 128, 2), 0.1, dtype=np.float32)  # a wall at 10 m
    tiles[..., 1] = 1.0
    spheres = np.array([[0.0, 0.0, 11.5, 1.0], [0.0, 0.0, 10.5, 1.0], [0.0, 0.0, 5.0, 1.0], [0.0, 0.0, 0.5, 1.0]])
    assert [cluster_hidden(spheres, k, view, tiles, inverse) for k in range(4)] == [True, False, False, False]
    box = np.array([40.0, 60.0, 40.0, 60.0])
    assert box_hidden(tiles, box, 1.0 / 10.1)
    assert not box_hidden(tiles, box, 1.0 / 9.9)
    assert not box_hidden(tiles, box, 1.0 / NEAR_M)
    inverse[48, 58, 1] = 0.0  # a hole, as small as one sample
    mark(tiles, box)
    assert not cluster_hidden(spheres, 0, view, tiles, inverse)
    assert not box_hidden(tiles, box, 1.0 / 50.0)


def test_clusters_are_left_out_only_beyond_their_reach(world: World) -> None:
    mesh, detail = world.mesh, Detail(grass_m=6.0)
    reach = detail.reach(mesh)
    assert np.all(DETAILS["full"].reach(mesh) == np.inf)
    limited = np.flatnonzero(np.isfinite(reach))
    assert len(limited) > 20
    for k in limited:
        assert np.all(mesh.materials[mesh.cluster_start[k] : mesh.cluster_start[k + 1]] == Material.GRASS)
    dropped = 0
    for view in views(world):
        every = front_to_back(mesh.cluster_sphere, view)
        kept = front_to_back(mesh.cluster_sphere, view, reach)
        missing = np.setdiff1d(every, kept)
        assert np.all(np.isin(missing, limited))
        for k in missing:
            corners = mesh.vertices[mesh.cluster_start[k] : mesh.cluster_start[k + 1]].reshape(-1, 3)
            assert np.linalg.norm(corners - view[9:12], axis=1).min() > 6.0
        dropped += len(missing)
    assert dropped > 10


def test_two_samples_see_what_four_see(world: World) -> None:
    for view in views(world)[:2]:
        order = front_to_back(world.mesh.cluster_sphere, view)
        four, two = draw(world.mesh, view, order)[0].mean(axis=2), draw(world.mesh, view, order, DIAGONAL)[0].mean(axis=2)
        assert np.median(np.abs(four - two)) < 1e-4
        assert np.corrcoef(four.ravel(), two.ravel())[0, 1] > 0.98


def test_exact_depth_does_not_depend_on_the_detail(world: World) -> None:
    full, fast = run_of(world, "full"), run_of(world, "fast")
    for index in (0, 90):
        np.testing.assert_array_equal(full.depth(index), fast.depth(index))


def test_fast_and_full_pictures_show_the_same_world(world: World) -> None:
    full, fast = run_of(world, "full"), run_of(world, "fast")
    for index in (0, 90, 180):
        a, b = full.frame(index), fast.frame(index)
        assert np.any(a.left != b.left)
        for one, other in ((a.left, b.left), (a.right, b.right)):
            assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.97
            assert abs(float(one.mean()) - float(other.mean())) < 2.0


@pytest.mark.parametrize("detail", list(DETAILS))
def test_threads_change_no_pixel(world: World, detail: str) -> None:
    one, two = run_of(world, detail), run_of(world, detail, threads=2)
    for index in (3, 120, 3):
        a, b, again = one.frame(index), two.frame(index), two.frame(index)
        for other in (b, again):
            np.testing.assert_array_equal(a.left, other.left)
            np.testing.assert_array_equal(a.right, other.right)


def test_the_detail_of_a_renderer_is_full_by_default(world: World) -> None:
    assert Renderer(world, CONDITIONS["noon"], RIG).detail == DETAILS["full"] == Detail()
    assert SimulatedRun(world, detail="fast").detail is named_detail("fast")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"samples": 3}, "samples = 3 is not supported"),
        ({"texture_taps": 0}, "texture_taps = 0 is out of range"),
        ({"grass_m": 0.0}, "grass_m = 0.0 must be a positive"),
        ({"grass_m": float("nan")}, "grass_m = nan must be a positive"),
    ],
)
def test_impossible_details_are_refused(arguments: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Detail(**arguments)


def test_unknown_levels_and_numbers_of_threads_are_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="unknown detail 'ultra'; known: full, fast"):
        SimulatedRun(world, detail="ultra")
    with pytest.raises(ConfigError, match="threads = 3 is not supported"):
        Renderer(world, CONDITIONS["noon"], RIG, threads=3)


def test_the_benchmark_prints_a_row_per_case(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--sizes 64x48 --details fast --threads 1 2 --seed 1 --length 30 --poses 1 --repeats 1"
    assert benchmark.main(arguments.split()) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[:3] for row in rows] == [["64x48", "fast", "1"], ["64x48", "fast", "2"]]
    assert all(float(row.split()[3]) > 0.0 for row in rows)
    with pytest.raises(SystemExit):
        benchmark.main(["--sizes", "64x64"])
    assert "ratio 4:3" in capsys.readouterr().err
