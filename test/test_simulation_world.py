"""Worlds: seasons, layouts and the named sites; everything here is checked on the geometry, without rendering."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from vloc_ros.errors import ConfigError
from vloc_ros.simulation import SITES, Condition, Layout, Route, RouteShape, Season, SimulatedRun, Site, World, season_of, sites
from vloc_ros.simulation.buildings import Opening, _add_wall, _House
from vloc_ros.simulation.furnishing import build_houses
from vloc_ros.simulation.mesh import OPEN, UV, Mesh
from vloc_ros.simulation.palette import Material
from vloc_ros.simulation.parking import find_more_parking, find_usual_parking, park
from vloc_ros.simulation.plot import CORRIDOR_M, Plot
from vloc_ros.simulation.rows import HOUSE_SPACING_M, TREE_SPACING_M, build_rows
from vloc_ros.simulation.run import base_poses
from vloc_ros.simulation.terrain import Terrain
from vloc_ros.simulation.world import STEEPEST_GRADE

SEED, LENGTH_M = 2, 60.0
WINTER = Season(leaves=False)


@pytest.fixture(scope="module")
def summer() -> World:
    return World.generate(SEED, LENGTH_M)


@pytest.fixture(scope="module")
def winter(summer: World) -> World:
    return summer.in_season(WINTER)


@pytest.fixture(scope="module", params=range(3), ids=[site.name for site in SITES[:3]])
def place(request: pytest.FixtureRequest) -> Iterator[World]:
    """The first three sites, one for each shape and each layout."""
    yield replace(SITES[request.param], length_m=80.0).build()


def triangles(mesh: Mesh, *, of: list[Material] | None = None, without: list[Material] | None = None) -> set[bytes]:
    """Every triangle with all that is fixed when it is built; its openness is not."""
    keep = np.ones(len(mesh), dtype=bool)
    if of is not None:
        keep &= np.isin(mesh.materials, of)
    if without is not None:
        keep &= ~np.isin(mesh.materials, without)
    rows = np.hstack([mesh.attributes[:, :OPEN], mesh.labels.astype(np.float32)])[keep]
    return {row.tobytes() for row in np.ascontiguousarray(rows)}


def vertices(rows: set[bytes]) -> np.ndarray:
    """(T, 3, 3) corners of triangles [m]."""
    return np.array([np.frombuffer(row, dtype=np.float32)[:9] for row in rows], dtype=np.float64).reshape(-1, 3, 3)


def assert_equal_worlds(a: World, b: World) -> None:
    for name in ("attributes", "labels", "cluster_start", "cluster_sphere"):
        np.testing.assert_array_equal(getattr(a.mesh, name), getattr(b.mesh, name))
    np.testing.assert_array_equal(a.cover.layers, b.cover.layers)
    np.testing.assert_array_equal(a.lamps, b.lamps)
    np.testing.assert_array_equal(a.parking, b.parking)
    assert a.season == b.season


# --- seasons --------------------------------------------------------------------------------------------------------------


def test_a_season_is_the_same_however_it_is_reached(summer: World, winter: World) -> None:
    assert_equal_worlds(winter, World.generate(SEED, LENGTH_M, WINTER))
    assert summer.in_season(Season()) is summer
    assert winter.route is summer.route
    assert winter.terrain is summer.terrain
    assert winter.cover is summer.cover


def test_winter_takes_leaves_and_gives_twigs_and_nothing_else(summer: World, winter: World) -> None:
    soft = [Material.LEAF, Material.GRASS]
    before, after = triangles(summer.mesh, without=soft), triangles(winter.mesh, without=soft)
    assert before <= after
    new = triangles(winter.mesh, of=[Material.BARK]) - triangles(summer.mesh, of=[Material.BARK])
    assert after - before == new
    assert len(new) > 3000
    leaves, needles = triangles(summer.mesh, of=[Material.LEAF]), triangles(winter.mesh, of=[Material.LEAF])
    assert needles < leaves  # conifers keep theirs
    assert len(needles) > 1000
    # Every twig hangs where leaves were.
    crowns = cKDTree(vertices(leaves - needles).mean(axis=1)[:, :2])
    assert crowns.query(vertices(new).mean(axis=1)[:, :2])[0].max() < 1.5
    np.testing.assert_array_equal(winter.lamps, summer.lamps)


def test_grass_stays_but_pales(summer: World, winter: World) -> None:
    def blades(world: World) -> np.ndarray:
        rows = world.mesh.attributes[world.mesh.materials == Material.GRASS].astype(np.float64)
        return rows[np.lexsort(rows[:, :9].T)]

    green, pale = blades(summer), blades(winter)
    np.testing.assert_array_equal(green[:, :24], pale[:, :24])
    green_share = [row[:, 25].mean() / row[:, 24].mean() for row in (green, pale)]
    assert green_share[1] < 0.85 * green_share[0]


def test_more_sky_is_seen_through_bare_trees(summer: World, winter: World) -> None:
    def under_trees(world: World) -> np.ndarray:
        ground = world.mesh.materials == Material.GROUND
        order = np.lexsort(world.mesh.attributes[ground, :9].T)
        return world.mesh.openness[ground][order].astype(np.float64)

    dark, light = under_trees(summer), under_trees(winter)
    shaded = dark < 0.8
    assert shaded.sum() > 100
    assert light[shaded].mean() > dark[shaded].mean() + 0.03


def test_other_cars_change_nothing_but_what_stands_on_the_spots(summer: World) -> None:
    assert len(summer.parking) >= 3
    before, after = triangles(summer.mesh), triangles(summer.in_season(Season(parked_cars=3)).mesh)
    for changed in (before - after, after - before):
        assert len(changed) > 100
        assert cKDTree(summer.parking).query(vertices(changed).reshape(-1, 3))[0].max() < 3.0


def test_cars_move_come_and_go() -> None:
    route = Route.generate(1, 200.0)
    terrain = Terrain.around(1, route.samples(1.0))
    plot = Plot(route, terrain)
    spots = find_more_parking(plot, find_usual_parking(plot))
    assert len(spots) >= 6
    places = cKDTree(np.array([spot.centre for spot in spots]))
    assert places.query_pairs(4.0) == set()
    looks = []
    for number in (0, 1, 2, 3, 1):
        street = Plot(route, terrain)
        park(street, spots, number)
        mesh = street.builder.build()
        spot_of = places.query(mesh.vertices.mean(axis=1)[:, :2])[1]
        looks.append({int(spot): frozenset(mesh.labels[spot_of == spot, 1].tolist()) for spot in np.unique(spot_of)})
        assert len(looks[-1]) == round(0.6 * len(spots))
    assert looks[1] == looks[4]
    assert len({frozenset(look) for look in looks}) >= 3  # other spots
    for i, j in ((0, 1), (1, 2), (2, 3)):
        assert all(looks[i][spot] != looks[j][spot] for spot in looks[i].keys() & looks[j].keys())  # other cars


def test_a_run_takes_the_world_into_its_season(summer: World) -> None:
    condition = Condition("late autumn", 14.0, leaves=False, parked_cars=3)
    assert season_of(condition) == Season(leaves=False, parked_cars=3)
    run = SimulatedRun(summer, condition=condition)
    assert run.world.season == Season(leaves=False, parked_cars=3)
    assert run.world.route is summer.route
    assert SimulatedRun(summer, condition="noon").world is summer
    np.testing.assert_array_equal(run.world_T_base, SimulatedRun(summer).world_T_base)
    with pytest.raises(ConfigError, match="parked_cars = -1"):
        SimulatedRun(summer, condition=replace(condition, parked_cars=-1))


# --- layouts --------------------------------------------------------------------------------------------------------------


def local_triangles(mesh: Mesh, pose: np.ndarray, reach: float, materials: list[Material]) -> tuple[np.ndarray, np.ndarray]:
    """(T, 18) corners in the frame of a pose (x, y, z, yaw), surface coordinates and tints, and (T, 2) labels, near the pose."""
    corners = mesh.vertices.astype(np.float64)
    near = np.linalg.norm(corners.mean(axis=1)[:, :2] - pose[:2], axis=1) < reach
    near &= np.isin(mesh.materials, materials)
    c, s = np.cos(pose[3]), np.sin(pose[3])
    local = (corners[near] - pose[:3]) @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    rest = mesh.attributes[near, UV:OPEN].astype(np.float64)
    return np.hstack([local.reshape(-1, 9), rest]), mesh.labels[near]


def assert_alike(mesh: Mesh, poses: list[np.ndarray], reach: float, materials: list[Material]) -> None:
    first, first_labels = local_triangles(mesh, poses[0], reach, materials)
    assert len(first) > 100
    for pose in poses[1:]:
        other, labels = local_triangles(mesh, pose, reach, materials)
        assert len(other) == len(first)
        distance, match = cKDTree(first).query(other)
        assert distance.max() < 1e-3
        assert len(np.unique(match)) == len(first)
        np.testing.assert_array_equal(labels, first_labels[match])


@pytest.mark.parametrize("site", [SITES[2], SITES[4]], ids=lambda site: site.name)
def test_look_alike_rows_are_equal_up_to_a_rigid_motion(site: Site) -> None:
    route = Route.generate(site.seed, site.length_m, site.shape)
    plot = Plot(route, Terrain.around(site.seed, route.samples(1.0)))
    rows = build_rows(plot, bare=False)
    mesh = plot.builder.build()
    assert len(rows.houses) >= 4
    walls = [Material.BRICK, Material.PLASTER, Material.PLANK, Material.TILE, Material.GLASS, Material.STONE]
    assert_alike(mesh, rows.houses, 5.6, walls)
    assert len(rows.trees) >= 8
    leaves = mesh.vertices[mesh.materials == Material.LEAF].reshape(-1, 9).astype(np.float64)
    one, found = len(leaves) // len(rows.trees), cKDTree(leaves)
    assert one * len(rows.trees) == len(leaves)
    near = np.linalg.norm(leaves[:, :2] - rows.trees[0][:2], axis=1) < 1.5  # crowns touch further out
    crown = leaves[near] - np.tile(rows.trees[0], 3)
    assert len(crown) > 0.3 * one
    for foot in rows.trees:
        assert found.query(crown + np.tile(foot, 3))[0].max() < 1e-3
    for feet, spacing in ((np.array(rows.houses), HOUSE_SPACING_M), (np.array(rows.trees), TREE_SPACING_M)):
        stations = np.array([plot.station_of(foot[:2]) for foot in feet])
        steps = np.diff(np.sort(stations))
        assert np.count_nonzero(np.abs(steps - spacing) < 1.5) >= 0.5 * len(steps)


def test_a_look_alike_world_is_lined_with_these_rows(place: World) -> None:
    plot = Plot(place.route, place.terrain)
    build_rows(plot, bare=False)
    rows, world = triangles(plot.builder.build()), triangles(place.mesh)
    assert (rows <= world) == (place.layout is Layout.LOOKALIKE)


def test_a_mixed_world_has_no_two_equal_houses() -> None:
    route = Route.generate(2, 120.0)
    plot = Plot(route, Terrain.around(2, route.samples(1.0)))
    build_houses(plot)
    mesh = plot.builder.build()
    glass = mesh.labels[mesh.materials == Material.TILE]
    assert len(np.unique(glass[:, 1])) >= 3  # each roof has a seed of its own


def test_only_a_hilly_route_is_steep() -> None:
    for shape, seed in ((RouteShape.LOOP, 0), (RouteShape.FIGURE_EIGHT, 2), (RouteShape.MEANDER, 4)):
        route = Route.generate(seed, 120.0, shape)
        points = route.samples(0.5)
        gentle = Terrain.around(seed, points)
        hilly = gentle.with_grade(points, STEEPEST_GRADE)
        assert gentle.grade(points) < 0.75 * STEEPEST_GRADE
        assert 0.11 <= hilly.grade(points) <= 0.121
        tangents = route.tangent(np.arange(0.0, 120.0, 0.5))
        pitch = np.arcsin(base_poses(hilly, points, np.arctan2(tangents[:, 1], tangents[:, 0]))[:, 2, 0])
        assert np.deg2rad(5.0) < np.abs(pitch).max() < np.arctan(STEEPEST_GRADE) + np.deg2rad(2.0)  # stones under the wheels
        assert pitch.min() < np.deg2rad(-2.5)
        assert pitch.max() > np.deg2rad(2.5)


# --- sites ----------------------------------------------------------------------------------------------------------------


def test_the_first_sites_cover_all_shapes_and_layouts() -> None:
    assert [(site.shape, site.layout) for site in SITES[:3]] == [
        (RouteShape.LOOP, Layout.MIXED),
        (RouteShape.FIGURE_EIGHT, Layout.HILLY),
        (RouteShape.MEANDER, Layout.LOOKALIKE),
    ]
    many = sites(20, seed0=7)
    assert len({site.name for site in many}) == len({site.seed for site in many}) == 20
    assert [site.seed for site in many] == list(range(7, 27))
    assert all(site.length_m == 120.0 for site in many)
    assert sites(len(SITES)) == list(SITES)
    assert sites(0) == []
    with pytest.raises(ConfigError, match="must not be negative"):
        sites(-1)
    with pytest.raises(ConfigError, match="must not be negative"):
        sites(1, seed0=-1)
    with pytest.raises(ConfigError, match="too tightly"):
        replace(SITES[1], length_m=30.0).build()


def test_a_site_builds_its_world() -> None:
    site = Site("short", 3, 50.0, RouteShape.FIGURE_EIGHT, Layout.HILLY)
    world = site.build(WINTER)
    assert (world.seed, world.route.length_m, world.layout, world.season) == (3, 50.0, Layout.HILLY, WINTER)


@pytest.mark.parametrize("season", [Season(), Season(leaves=False, parked_cars=1)], ids=["summer", "winter"])
def test_the_whole_track_is_free(place: World, season: Season) -> None:
    mesh = place.in_season(season).mesh
    solid = ~np.isin(mesh.materials, [Material.GROUND, Material.GRASS])
    corners = mesh.vertices[solid].astype(np.float64)
    # Sides of long triangles, not only their corners.
    points = np.concatenate([corners, 0.5 * (corners + np.roll(corners, -1, axis=1)), corners.mean(axis=1, keepdims=True)], axis=1)
    points = points.reshape(-1, 3)
    points = points[cKDTree(place.route.samples(0.5)).query(points[:, :2], distance_upper_bound=4.0)[0] < 4.0]
    low = points[points[:, 2] - place.terrain.height(points[:, :2]) < 1.8]
    assert len(low) > 1000
    assert cKDTree(place.route.samples(0.05)).query(low[:, :2])[0].min() > CORRIDOR_M - 0.1


def test_cars_stand_on_their_wheels(place: World) -> None:
    car = place.mesh.vertices[place.mesh.materials == Material.PAINT].reshape(-1, 3).astype(np.float64)
    car = car[cKDTree(place.parking).query(car)[0] < 2.4]
    above = car[:, 2] - place.terrain.height(car[:, :2])
    assert len(above) > 300
    assert above.min() > -0.12
    tyres = np.sort(above)[: len(above) // 40]
    assert tyres.max() < 0.06


def test_a_lamp_every_so_often(place: World) -> None:
    samples = place.route.samples(0.25)
    distance, index = cKDTree(samples).query(place.lamps[:, :2])
    stations = index * 0.25
    assert np.all(np.diff(stations) > 0.0)  # sorted along the route
    gaps = np.diff(np.append(stations, stations[0] + place.route.length_m))
    assert gaps.max() < 38.0
    assert 15.0 < gaps.mean() < 30.0
    assert distance.max() < 3.0
    above = place.lamps[:, 2] - place.terrain.height(place.lamps[:, :2])
    assert np.all((above > 3.5) & (above < 5.6))


def test_houses_stand_in_the_ground_and_not_below_it(place: World) -> None:
    stone = place.mesh.vertices[place.mesh.materials == Material.STONE].astype(np.float64)
    plinths = stone[np.ptp(stone[:, :, 2], axis=1) > 2.1]  # stones by the way are not as tall
    assert len(plinths) >= 8
    lowest = plinths[plinths[:, :, 2] == plinths[:, :, 2].min(axis=1, keepdims=True)]
    assert (lowest[:, 2] - place.terrain.height(lowest[:, :2])).max() < -0.3  # no gap under a wall
    highest = plinths[plinths[:, :, 2] == plinths[:, :, 2].max(axis=1, keepdims=True)]
    assert (highest[:, 2] - place.terrain.height(highest[:, :2])).min() > -1.0  # windows start a metre above the floor


def test_a_wall_is_whole_around_a_door_under_a_wider_window() -> None:
    openings = [Opening(2.0, 0.3, 1.0, 2.0, True), Opening(1.9, 3.7, 1.2, 1.4, False), Opening(5.0, 1.0, 0.9, 1.4, False)]
    house, start, along = _House(), np.zeros(3), np.array([1.0, 0.0, 0.0])
    finish = (Material.BRICK, np.array([0.4, 0.2, 0.1]))
    _add_wall(house, start, along, 8.0, 6.0, openings, finish, np.ones(3), 0.0, np.random.default_rng(0))
    ((_, wall, _),) = [part for part in house.parts if part[0] is Material.BRICK]
    cross = np.cross(wall.vertices[:, 1] - wall.vertices[:, 0], wall.vertices[:, 2] - wall.vertices[:, 0])
    assert np.all(cross[:, 1] <= 0.0)  # all of it faces the street
    assert 0.5 * np.abs(cross[:, 1]).sum() == pytest.approx(8.0 * 6.0 - 2.0 - 1.2 * 1.4 - 0.9 * 1.4)
    centres = wall.vertices.mean(axis=1)
    for opening in openings:
        inside = (centres[:, 0] > opening.left) & (centres[:, 0] < opening.left + opening.width)
        assert not np.any(inside & (centres[:, 2] > opening.bottom) & (centres[:, 2] < opening.bottom + opening.height))
