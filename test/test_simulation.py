"""The simulated world: exact geometry, believable images, and reproducible to the last bit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from vloc_ros.data.reader import formats
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.geometry import se3
from vloc_ros.simulation import CONDITIONS, Condition, Sensor, SimulatedRun, StereoRig, Wander, World, contact_sheet, mount
from vloc_ros.simulation.jit import _kernel_stamp
from vloc_ros.simulation.light import illuminate, sun_direction
from vloc_ros.simulation.palette import Material
from vloc_ros.simulation.raster import rasterise
from vloc_ros.simulation.renderer import render_depth
from vloc_ros.simulation.route import Route, track
from vloc_ros.simulation.run import base_poses
from vloc_ros.simulation.shadows import lit_share

SEED, LENGTH_M = 4, 60.0


@pytest.fixture(scope="module")
def world() -> World:
    return World.generate(SEED, LENGTH_M)


@pytest.fixture(scope="module")
def noon(world: World) -> SimulatedRun:
    return SimulatedRun(world, condition="noon")


@pytest.fixture(scope="module")
def evening(world: World) -> SimulatedRun:
    return SimulatedRun(world, condition="late_afternoon", seed=1)


def first_hit(world: World, origin: np.ndarray, direction: np.ndarray) -> float:
    """Smallest t > 0 with origin + t * direction on a triangle (Moeller and Trumbore), or infinity."""
    a, b, c = world.mesh.vertices.astype(np.float64).transpose(1, 0, 2)
    e1, e2 = b - a, c - a
    p = np.cross(direction, e2)
    det = np.einsum("ij,ij->i", e1, p)
    with np.errstate(divide="ignore", invalid="ignore"):
        s = origin - a
        u = np.einsum("ij,ij->i", s, p) / det
        q = np.cross(s, e1)
        v = q @ direction / det
        t = np.einsum("ij,ij->i", e2, q) / det
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 1e-4)
    return float(t[hit].min()) if hit.any() else np.inf


# --- geometry -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_depth_is_that_of_a_ray_through_the_pixel_centre(world: World, noon: SimulatedRun, side: str) -> None:
    pose = noon.ground_truth.poses[31]
    if side == "right":
        pose = pose @ noon.rig.left_T_right
    depth = render_depth(world, noon.camera, pose)
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.integers(0, noon.camera.width, 20), rng.integers(0, noon.camera.height, 20)], axis=1)
    agree = 0
    for u, v in pixels:
        ray = np.array([(u - noon.camera.cx) / noon.camera.fx, (v - noon.camera.cy) / noon.camera.fy, 1.0])
        expected = first_hit(world, pose[:3, 3], pose[:3, :3] @ ray)
        found = float(depth[v, u])
        agree += found == expected or abs(found - expected) < 1e-3 * expected
    assert agree >= 19  # a ray that grazes an edge may pass on the other side of it


def test_a_surface_point_projects_to_where_it_is_seen_in_both_cameras(world: World, noon: SimulatedRun) -> None:
    pose = noon.ground_truth.poses[40]
    left = render_depth(world, noon.camera, pose)
    v, u = (a[::501] for a in np.nonzero(np.isfinite(left) & (left < 40.0)))
    disparity = noon.camera.disparity_of_depth(left[v, u])
    points = noon.camera.back_project(np.stack([u, v], axis=1).astype(float), disparity)
    np.testing.assert_allclose(noon.camera.project(points)[:, :2], np.stack([u, v], axis=1), atol=1e-9)
    right = render_depth(world, noon.camera, pose @ noon.rig.left_T_right)
    ur = u - disparity
    inside = ur > 1.0
    low = np.floor(ur[inside]).astype(int)
    a, b = right[v[inside], low], right[v[inside], low + 1]
    between = (np.minimum(a, b) * 0.999 <= left[v, u][inside]) & (left[v, u][inside] <= np.maximum(a, b) * 1.001)
    assert np.count_nonzero(inside) > 100
    assert between.mean() > 0.85  # the rest is occluded, or lies on leaves smaller than a pixel


def test_there_are_no_holes_in_the_ground(world: World, noon: SimulatedRun) -> None:
    camera = noon.camera
    pose = noon.world_T_base[10] @ mount(0.0, 0.0, 1.0, np.deg2rad(60.0))  # nothing but ground below the horizon
    assert np.isfinite(render_depth(world, camera, pose)).all()


def test_triangles_that_cross_the_camera_plane_are_drawn_in_front_of_it_only(world: World, noon: SimulatedRun) -> None:
    pose = noon.world_T_base[5] @ mount(0.0, 0.0, 0.12, 0.0)
    depth = render_depth(world, noon.camera, pose)
    bottom = depth[-1, noon.camera.width // 2]
    assert bottom == pytest.approx(0.12 / ((noon.camera.height - 1 - noon.camera.cy) / noon.camera.fy), rel=0.25)
    assert (depth > 0.0).all()


def test_the_sky_is_infinitely_far(noon: SimulatedRun) -> None:
    depth = np.concatenate([noon.depth(i)[:4].ravel() for i in (0, 60, 120, 180)])
    assert np.isinf(depth).any()
    assert not np.isnan(depth).any()


def test_shadows_fall_where_a_ray_to_the_sun_is_blocked(world: World, evening: SimulatedRun) -> None:
    renderer = evening.renderer
    towards = illuminate(evening.condition).towards_sun
    rng = np.random.default_rng(1)
    points = world.terrain.on_ground(world.route.position(rng.uniform(0, LENGTH_M, 30)) + rng.uniform(-3, 3, (30, 2)))
    points[:, 2] += 0.1
    share = [lit_share(renderer._shadow.nearest, renderer._shadow.frame, *point, 0.05) for point in points]
    blocked = np.array([np.isfinite(first_hit(world, point, towards)) for point in points])
    assert 3 < blocked.sum() < 28
    clear_cut = np.abs(np.array(share) - 0.5) > 0.49
    assert clear_cut.sum() > 12
    assert np.mean((np.array(share)[clear_cut] < 0.5) == blocked[clear_cut]) > 0.85


# --- images ---------------------------------------------------------------------------------------------------------------


def sift(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points, descriptors = cv2.SIFT_create(3000).detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    return np.array([p.pt for p in points], dtype=np.float32), descriptors


def matches(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    pairs = cv2.BFMatcher().knnMatch(a, b, 2)
    return np.array([(m.queryIdx, m.trainIdx) for m, n in pairs if m.distance < 0.8 * n.distance])


def test_there_are_features_near_and_far_all_over_the_image(noon: SimulatedRun) -> None:
    for index in (20, 140):
        image = noon.frame(index).left
        points, _ = sift(image)
        assert len(points) > 900
        assert len(cv2.ORB_create(3000).detect(image)) > 1000
        cells = {(int(u // 64), int(v // 64)) for u, v in points}
        assert len(cells) >= 42  # of 48
        depth = noon.depth(index)[points[:, 1].astype(int), points[:, 0].astype(int)]
        assert np.count_nonzero(depth < 5.0) > 100
        assert np.count_nonzero((depth > 10.0) & np.isfinite(depth)) > 100


def test_stereo_agrees_with_depth_to_a_fraction_of_a_pixel(noon: SimulatedRun) -> None:
    errors, rows = [], []
    for index in (20, 140):
        frame, camera = noon.frame(index), noon.camera
        (left, a), (right, b) = sift(frame.left), sift(frame.right)
        pairs = matches(a, b)
        p, q = left[pairs[:, 0]], right[pairs[:, 1]]
        inverse = cv2.remap((1.0 / noon.depth(index)).astype(np.float32), p[:, :1], p[:, 1:], cv2.INTER_LINEAR)[:, 0]
        error = p[:, 0] - q[:, 0] - camera.fx * camera.baseline * inverse
        row = q[:, 1] - p[:, 1]
        good = (np.abs(error) < 1.5) & (np.abs(row) < 1.5)
        assert good.mean() > 0.7
        errors.append(error[good])
        rows.append(row[good])
    error, row = np.concatenate(errors), np.concatenate(rows)
    assert np.mean(np.abs(row) < 0.3) > 0.75
    assert np.median(np.abs(error)) < 0.2
    assert abs(np.median(error)) < 0.08
    assert abs(np.median(row)) < 0.03


def test_light_makes_matching_harder_but_not_impossible(world: World, noon: SimulatedRun, evening: SimulatedRun) -> None:
    again = SimulatedRun(world, condition="noon", seed=5, lateral_wander_m=0.2)

    def right_ones(other: SimulatedRun, index: int) -> int:
        (p, a), (q, b) = sift(noon.frame(index).left), sift(other.frame(index).left)
        pairs = matches(a, b)
        p, q = p[pairs[:, 0]].astype(float), q[pairs[:, 1]]
        z = noon.depth(index)[np.round(p[:, 1]).astype(int), np.round(p[:, 0]).astype(int)].astype(float)
        seen = np.isfinite(z)
        points = noon.camera.back_project(p[seen], noon.camera.disparity_of_depth(z[seen]))
        other_T_noon = se3.between(other.ground_truth.poses[index], noon.ground_truth.poses[index])
        expected = noon.camera.project(se3.transform(other_T_noon, points))[:, :2]
        return int(np.count_nonzero(np.linalg.norm(expected - q[seen], axis=1) < 3.0))

    same = sum(right_ones(again, i) for i in (20, 140))
    later = sum(right_ones(evening, i) for i in (20, 140))
    assert same > 500
    assert 30 < later < 0.5 * same


def test_late_afternoon_is_warmer_and_its_sun_low(noon: SimulatedRun, evening: SimulatedRun) -> None:
    assert sun_direction(12.0)[2] > 0.85
    assert sun_direction(12.0)[1] < 0.0  # in the south
    assert 0.1 < illuminate(CONDITIONS["late_afternoon"]).towards_sun[2] < 0.4
    assert illuminate(CONDITIONS["late_afternoon"]).towards_sun[0] < 0.0  # in the west
    day, late = illuminate(CONDITIONS["noon"]).sun, illuminate(CONDITIONS["late_afternoon"]).sun
    assert late[0] / late[2] > 1.3 * day[0] / day[2]


def test_an_overcast_sky_throws_no_shadows() -> None:
    light = illuminate(CONDITIONS["overcast"])
    assert light.sun.max() == 0.0
    assert light.ambient.min() > illuminate(CONDITIONS["noon"]).ambient.min() * 0.5


def test_exposure_follows_the_light_but_night_stays_dark(world: World) -> None:
    small = StereoRig().scaled(0.25)
    day, dusk, night = (SimulatedRun(world, condition=Condition("x", h), rig=small).frame(0).left.mean() for h in (12, 19, 0.5))
    assert 85 < day < 135
    assert 60 < dusk < 150
    assert night < 0.5 * day


# --- reproducibility ------------------------------------------------------------------------------------------------------


def test_a_seed_is_a_world(world: World) -> None:
    twin, other = World.generate(SEED, LENGTH_M), World.generate(SEED + 1, 30.0)
    for name in ("attributes", "labels", "cluster_start", "cluster_sphere"):
        np.testing.assert_array_equal(getattr(world.mesh, name), getattr(twin.mesh, name))
    np.testing.assert_array_equal(world.cover.layers, twin.cover.layers)
    near = np.array([[1.0, 2.0], [-3.0, 4.0]])
    assert np.all(world.terrain.height(near) != other.terrain.height(near))
    with pytest.raises(ValueError, match="read-only"):
        world.mesh.attributes[0, 0] = 1.0


def test_a_frame_depends_on_its_index_and_seed_alone(world: World, noon: SimulatedRun) -> None:
    first = noon.frame(7)
    noon.frame(100)
    second = SimulatedRun(world, condition="noon").frame(7)
    np.testing.assert_array_equal(first.left, second.left)
    np.testing.assert_array_equal(first.right, second.right)
    noisy = SimulatedRun(world, condition="noon", seed=3).frame(7)
    difference = np.abs(first.left.astype(int) - noisy.left.astype(int))
    assert 0.1 < difference.mean() < 6.0  # another noise of the sensor, the same scene


def test_noise_has_the_strength_it_is_given() -> None:
    flat = np.full((120, 160, 3), 0.2, dtype=np.float32)
    quiet = Sensor(read_noise=0.0, shot_noise=0.0, vignetting=0.0).develop(flat, 1.0, 0)
    assert quiet.std() == 0.0
    loud = Sensor(read_noise=0.02, shot_noise=0.0, vignetting=0.0).develop(flat, 1.0, 0).astype(float)
    slope = 255.0 * 1.055 / 2.4 * 0.2 ** (1 / 2.4 - 1)  # of the sRGB curve at 0.2
    assert loud.std() == pytest.approx(0.02 * slope, rel=0.05)
    assert loud.mean() == pytest.approx(quiet.mean(), abs=1.0)


def test_cached_kernels_expire_when_any_kernel_changes() -> None:
    assert _kernel_stamp() in rasterise._cache._cache_file._source_stamp


# --- route and robot ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "length"), [(0, 60.0), (1, 150.0), (2, 500.0)])
def test_a_route_is_a_smooth_loop_of_its_length(seed: int, length: float) -> None:
    route = Route.generate(seed, length)
    station = np.arange(0.0, length, 0.05)
    points = route.position(station)
    steps = np.linalg.norm(np.diff(np.vstack([points, points[:1]]), axis=0), axis=1)
    assert steps.sum() == pytest.approx(length, rel=2e-3)
    np.testing.assert_allclose(steps, 0.05, rtol=0.02)
    np.testing.assert_allclose(route.position(np.array([0.3])), route.position(np.array([length + 0.3])), atol=1e-9)
    assert np.abs(route.curvature(station)).max() < 1.0 / 5.0
    turning = np.sum(route.curvature(station)) * 0.05
    assert turning == pytest.approx(2.0 * np.pi, rel=1e-2)


def test_wander_is_smooth_and_bounded_and_heading_follows_it(world: World) -> None:
    wander = Wander(0.3, 8, -0.1)
    station = np.arange(0.0, 40.0, 0.01)
    positions, headings = track(world.route, station, wander)
    offset = np.sum((positions - world.route.position(station)) ** 2, axis=1) ** 0.5
    assert offset.max() <= 0.4 + 1e-9
    assert offset.max() > 0.15
    moved = np.diff(positions, axis=0)
    along = np.arctan2(moved[:, 1], moved[:, 0])
    error = np.angle(np.exp(1j * (along - 0.5 * (np.unwrap(headings)[1:] + np.unwrap(headings)[:-1]))))
    assert np.abs(error).max() < 2e-3


def test_the_robot_stands_on_the_ground(world: World, noon: SimulatedRun) -> None:
    poses = noon.world_T_base
    products = poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.tile(np.eye(3), (len(poses), 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(poses[:, :3, :3]), 1.0)
    assert np.abs(poses[:, 2, 3] - world.terrain.height(poses[:, :2, 3])).max() < 0.05
    tilt = np.arccos(np.clip(np.sum(poses[:, :3, 2] * world.terrain.normal(poses[:, :2, 3]), axis=1), -1.0, 1.0))
    assert np.rad2deg(tilt).max() < 5.0
    uphill = base_poses(world.terrain, np.zeros((1, 2)), np.zeros(1))[0]
    ahead, behind = world.terrain.height(np.array([[0.4, 0.0], [-0.4, 0.0]]))
    assert uphill[2, 0] == pytest.approx((ahead - behind) / 0.8, abs=0.05)


def test_the_track_is_clear(world: World) -> None:
    mesh = world.mesh
    solid = ~np.isin(mesh.materials, [Material.GROUND, Material.GRASS])
    corners = mesh.vertices[solid].reshape(-1, 3).astype(float)
    above = corners[:, 2] - world.terrain.height(corners[:, :2])
    low = corners[(above < 1.8) & (above > -0.2)]
    assert cKDTree(world.route.samples(0.1)).query(low[:, :2])[0].min() > 1.15


# --- the reader -----------------------------------------------------------------------------------------------------------


def test_a_run_is_a_reader(noon: SimulatedRun) -> None:
    frame = noon.frame(3)
    assert frame.size == (512, 384)
    assert frame.left.shape == (384, 512, 3)
    assert frame.stamp_ns == noon.stamps_ns[3]
    np.testing.assert_array_equal(np.diff(noon.stamps_ns), 100_000_000)
    assert len(noon) == round(LENGTH_M / 0.25)
    truth = noon.ground_truth
    np.testing.assert_allclose(truth.poses[9], noon.world_T_base[9] @ noon.base_T_camera)
    np.testing.assert_array_equal(truth.stamps_ns, noon.stamps_ns)
    np.testing.assert_array_equal(noon.frame(-1).left, noon.frame(len(noon) - 1).left)
    assert "simulation" not in formats()


def test_another_start_sees_the_same_places(world: World, noon: SimulatedRun) -> None:
    shifted = SimulatedRun(world, start_m=20.0, stop_m=100.0)
    assert len(shifted) == 320
    np.testing.assert_allclose(shifted.ground_truth.poses[0], noon.ground_truth.poses[80], atol=1e-9)
    np.testing.assert_allclose(shifted.ground_truth.poses[200], noon.ground_truth.poses[40], atol=1e-9)


def test_the_rig_looks_forward_and_down_and_scales(noon: SimulatedRun) -> None:
    rig = StereoRig()
    axis = rig.base_T_camera[:3, 2]
    assert axis[0] > 0.9
    assert -0.3 < axis[2] < -0.05
    right = rig.base_T_camera @ rig.left_T_right
    assert rig.base_T_camera[1, 3] == pytest.approx(-right[1, 3])  # centred on the robot
    assert 0.8 < rig.base_T_camera[2, 3] < 1.5
    half = rig.scaled(0.5)
    assert (half.camera.width, half.camera.height) == (256, 192)
    points = np.array([[0.4, -0.2, 3.0], [-1.0, 0.5, 9.0]])
    full_pixels, half_pixels = rig.camera.project(points), half.camera.project(points)
    np.testing.assert_allclose((full_pixels[:, :2] + 0.5) / 2.0 - 0.5, half_pixels[:, :2])
    small = SimulatedRun(noon.world, rig=half)
    assert small.frame(0).size == (256, 192)
    blocks = noon.frame(0).left.reshape(192, 2, 256, 2, 3).mean(axis=(1, 3))
    assert np.corrcoef(blocks.ravel(), small.frame(0).left.ravel())[0, 1] > 0.95


def test_a_contact_sheet_shows_one_row_per_run(world: World) -> None:
    small = StereoRig().scaled(0.125)
    sheet = contact_sheet([SimulatedRun(world, condition=name, rig=small) for name in CONDITIONS], columns=3)
    assert sheet.shape == (len(CONDITIONS) * 48, 3 * 64, 3)
    with pytest.raises(ConfigError, match="at least one run"):
        contact_sheet([])
    with pytest.raises(ConfigError, match="image size"):
        contact_sheet([SimulatedRun(world, rig=small), SimulatedRun(world)])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"condition": "blizzard"}, "unknown condition 'blizzard'; known: noon"),
        ({"step_m": 0.0}, "step_m"),
        ({"step_m": float("nan")}, "step_m"),
        ({"rate_hz": -1.0}, "rate_hz"),
        ({"start_m": 5.0, "stop_m": 5.0}, "must lie before"),
        ({"seed": -1}, "seed"),
        ({"lateral_wander_m": 0.5, "lateral_offset_m": -0.5}, "add up to 1.0 m"),
    ],
)
def test_impossible_runs_are_refused(world: World, arguments: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        SimulatedRun(world, **arguments)


def test_other_impossible_things_are_refused(noon: SimulatedRun) -> None:
    with pytest.raises(DataError, match="frame 240 does not exist"):
        noon.frame(len(noon))
    with pytest.raises(DataError, match="does not exist"):
        noon.depth(-len(noon) - 1)
    with pytest.raises(ConfigError, match="30 to 2000 m"):
        World.generate(0, 10.0)
    with pytest.raises(ConfigError, match="seed"):
        World.generate(-1, 100.0)
    with pytest.raises(ConfigError, match="hour"):
        CONDITIONS["noon"].at(25.0)
    with pytest.raises(ConfigError, match="cloud_cover"):
        Condition("x", 12.0, cloud_cover=1.5)
    with pytest.raises(ConfigError, match="haze"):
        Condition("x", 12.0, haze_per_m=-1.0)
    with pytest.raises(ConfigError, match="orthonormal"):
        StereoRig(base_T_camera=np.diag([1.0, 1.0, 2.0, 1.0]))
    with pytest.raises(ConfigError, match="4x4"):
        StereoRig(base_T_camera=np.eye(3))
    with pytest.raises(ConfigError, match="positive"):
        StereoRig().scaled(0.0)
