"""Light and weather: every condition changes the picture in the way that gives it its name."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_ros.errors import ConfigError
from vloc_ros.simulation import (
    CONDITIONS,
    Condition,
    Renderer,
    Sensor,
    SimulatedRun,
    StereoImages,
    StereoRig,
    World,
    condition_sheet,
)
from vloc_ros.simulation import named_condition as named
from vloc_ros.simulation.lamplight import headlights, street_lamps
from vloc_ros.simulation.light import illuminate

SEED, LENGTH_M, STATION_M = 4, 40.0, 6.0
RIG = StereoRig().scaled(0.375)
TURNING = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 1.5])


@pytest.fixture(scope="module")
def world() -> World:
    return World.generate(SEED, LENGTH_M)


@pytest.fixture(scope="module")
def pose(world: World) -> NDArray[np.float64]:
    return SimulatedRun(world, rig=RIG, start_m=STATION_M).world_T_base[0]


@pytest.fixture(scope="module")
def renderers(world: World) -> dict[str, Renderer]:
    return {name: Renderer(world, condition, RIG) for name, condition in CONDITIONS.items()}


@pytest.fixture(scope="module")
def images(renderers: dict[str, Renderer], pose: NDArray[np.float64]) -> dict[str, StereoImages]:
    return {name: renderer.stereo(pose, 7) for name, renderer in renderers.items()}


@pytest.fixture(scope="module")
def depth(renderers: dict[str, Renderer], pose: NDArray[np.float64]) -> NDArray[np.float32]:
    return renderers["noon"].depth(pose @ RIG.base_T_camera)


def radiance(renderers: dict[str, Renderer], name: str, pose: NDArray[np.float64]) -> NDArray[np.float32]:
    return renderers[name].radiance(pose @ RIG.base_T_camera)


# --- conditions -----------------------------------------------------------------------------------------------------------


def test_there_are_twelve_conditions_in_order() -> None:
    names = "noon late_afternoon overcast dawn dusk night moonless fog rain snow leaves_off moved_cars"
    assert list(CONDITIONS) == names.split()
    assert named("night").headlights and named("night").street_lamps
    assert named("moonless").headlights and not named("moonless").street_lamps and named("moonless").moon == 0.0
    assert not named("leaves_off").leaves
    assert named("moved_cars").parked_cars != named("noon").parked_cars


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hour", float("nan")), ("moon", 1.1), ("rain", -0.1), ("snow", float("nan")), ("cloud_cover", 2.0),
        ("haze_per_m", 1.0), ("exposure_ev", float("inf")), ("parked_cars", -1),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{field} = .* of condition 'odd' must"):
        Condition(**{"name": "odd", "hour": 12.0, field: value})


def test_lamps_go_on_when_it_gets_dark_and_off_when_it_gets_light() -> None:
    late = named("noon").at(22.5)
    assert late.headlights and late.street_lamps and late.name == "noon"
    early = named("night").at(9.0)
    assert not early.headlights and not early.street_lamps
    assert not named("moonless").at(2.5).street_lamps  # dark already: what was chosen stays
    assert not named("noon").at(15.0).headlights


def test_light_fades_smoothly_from_day_to_night() -> None:
    hours = np.arange(16.0, 24.0, 0.05)
    ambient = np.array([illuminate(Condition("x", float(hour))).ambient.mean() for hour in hours])
    steps = np.diff(np.log(ambient))
    assert (steps <= 1e-9).all()
    assert steps.min() > -0.5  # no switch
    assert ambient[-1] < 1e-5 * ambient[0]


def test_the_moon_is_faint_bluish_and_above_the_horizon() -> None:
    full, half = (illuminate(Condition("x", 0.0, moon=share)) for share in (1.0, 0.5))
    assert full.towards_sun[2] > 0.2
    assert full.sun[2] > full.sun[0] > 0.0
    np.testing.assert_allclose(half.sun, 0.5 * full.sun)
    assert full.sun.max() < 1e-3 * illuminate(named("noon")).sun.min()
    assert illuminate(named("moonless")).sun.max() == 0.0
    np.testing.assert_array_equal(illuminate(Condition("x", 12.0, moon=1.0)).sun, illuminate(Condition("x", 12.0)).sun)


# --- day and dusk ---------------------------------------------------------------------------------------------------------


def test_every_condition_renders_its_own_picture(images: dict[str, StereoImages]) -> None:
    for name, pair in images.items():
        assert pair.left.shape == pair.right.shape == (RIG.camera.height, RIG.camera.width, 3)
        assert pair.left.std() > 4.0, name
    pictures = [images[name].left.astype(float) for name in CONDITIONS if name not in ("leaves_off", "moved_cars")]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).mean() > 2.0


def test_night_is_darker_than_dusk_and_dusk_than_noon(images: dict[str, StereoImages]) -> None:
    # The median: a lamp overhead makes its pool bright, not the night.
    noon, dusk, night, moonless = (np.median(images[name].left) for name in ("noon", "dusk", "night", "moonless"))
    assert noon > dusk + 10.0
    assert dusk > night + 5.0
    assert night > moonless
    above = slice(0, RIG.camera.height // 2)  # where the lamps do not reach
    assert np.median(images["night"].left[above]) < 0.4 * np.median(images["dusk"].left[above])


def test_there_are_shadows_at_noon_but_not_under_clouds(world: World, renderers: dict[str, Renderer]) -> None:
    """Where nothing throws a shadow, ground looks the same in two lights but for a factor."""
    run = SimulatedRun(world, rig=RIG, step_m=8.0)
    grey = Renderer(world, Condition("grey", 11.0, cloud_cover=1.0), RIG)

    def unevenness(name: str) -> float:
        worst = 0.0
        for base in run.world_T_base:
            camera = base @ RIG.base_T_camera
            near = grey.depth(camera)[RIG.camera.height // 2 :] < 8.0
            one, other = (r.radiance(camera)[RIG.camera.height // 2 :][near].mean(axis=1) for r in (renderers[name], grey))
            worst = max(worst, float(np.log(one / other).std()))
        return worst

    assert unevenness("noon") > 0.3
    assert unevenness("late_afternoon") > 0.3
    assert unevenness("overcast") < 0.05
    assert all(illuminate(named(name)).sun.max() == 0.0 for name in ("overcast", "fog", "rain"))


def test_dawn_is_in_the_east_and_dusk_in_the_west_and_their_colours_differ() -> None:
    dawn, dusk = illuminate(named("dawn")), illuminate(named("dusk"))
    assert dawn.towards_sun[0] > 0.3 and 0.0 < dawn.towards_sun[2] < 0.2
    assert dusk.towards_sun[0] < -0.3 and -0.15 < dusk.towards_sun[2] < 0.0
    assert dawn.sun[0] > 3.0 * dawn.sun[2] > 0.0
    assert dusk.sun.max() == 0.0 and dusk.glow[0] > 2.0 * dusk.glow[2] > 0.0  # the sun is gone, its glow is not
    assert dawn.horizon[0] > dawn.horizon[1] < dawn.horizon[2]  # pink
    assert dusk.ambient[2] > 1.5 * dusk.ambient[0]  # the blue hour


# --- night ----------------------------------------------------------------------------------------------------------------


def test_the_same_place_is_noisier_at_night(renderers: dict[str, Renderer], pose: NDArray[np.float64]) -> None:
    def noise(name: str) -> float:
        one, other = (renderers[name].stereo(pose, seed).left.astype(float) for seed in (1, 2))
        return float((one - other).std())

    assert noise("night") > 3.0 * noise("noon")
    assert noise("dusk") > noise("noon")


def test_headlights_light_the_foreground_and_fall_with_distance_and_angle(
    renderers: dict[str, Renderer], pose: NDArray[np.float64], depth: NDArray[np.float32]
) -> None:
    image = radiance(renderers, "moonless", pose).mean(axis=2)
    near, far = image[(depth > 2.5) & (depth < 6.0)], image[depth > 25.0]
    assert np.median(near) > 30.0 * np.median(far)
    middle = image[(depth > 4.0) & (depth < 6.0)]
    columns = np.nonzero((depth > 4.0) & (depth < 6.0))[1]
    half = RIG.camera.width / 2.0
    assert np.median(middle[np.abs(columns - half) < 0.4 * half]) > 1.5 * np.median(middle[np.abs(columns - half) > 0.85 * half])


def test_headlights_sit_on_the_robot_beside_the_camera(pose: NDArray[np.float64]) -> None:
    lamps = headlights(pose)
    in_base = (lamps[:, :3] - pose[:3, 3]) @ pose[:3, :3]
    np.testing.assert_allclose(in_base[:, 1], [0.3, -0.3], atol=1e-9)
    np.testing.assert_allclose(in_base[:, 2], 1.0, atol=1e-9)
    assert (np.abs(in_base - RIG.base_T_camera[:3, 3]).max(axis=1) > 0.1).all()
    assert (lamps[:, 6] < lamps[:, 8]).all()  # bluish white


def test_street_lamps_light_the_ground_below_them_and_not_far_away(world: World) -> None:
    condition = Condition("lamps", 1.0, street_lamps=True)
    lit, dark = Renderer(world, condition, RIG), Renderer(world, Condition("dark", 1.0), RIG)
    lamp = world.lamps[0]
    # Look straight down from above the ground, in an optical frame (x right, y down, z forward).
    down = np.diag([1.0, -1.0, -1.0, 1.0])

    def light_at(x: float, y: float) -> NDArray[np.float64]:
        below = down.copy()
        below[:3, 3] = world.terrain.on_ground(np.array([[x, y]]))[0] + [0.0, 0.0, 1.0]
        return np.asarray((lit.radiance(below) - dark.radiance(below)).reshape(-1, 3).mean(axis=0), dtype=np.float64)

    pool = light_at(lamp[0], lamp[1])
    away = max(
        (np.array([lamp[0] + 30.0 * np.cos(a), lamp[1] + 30.0 * np.sin(a)]) for a in np.arange(0.0, 6.3, 0.3)),
        key=lambda place: float(np.linalg.norm(world.lamps[:, :2] - place, axis=1).min()),
    )
    assert np.linalg.norm(world.lamps[:, :2] - away, axis=1).min() > 20.0
    sky = illuminate(condition).ambient.max()
    assert pool.max() > 20.0 * max(light_at(*away).max(), 1e-9)
    assert pool.max() > 3.0 * sky
    assert pool[0] > 1.5 * pool[2]  # warm


def test_the_head_of_a_lamp_glows_and_blooms(world: World) -> None:
    renderer = Renderer(world, named("night"), RIG)
    lamp = world.lamps[0]
    view = np.eye(4)
    view[:3, :3] = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # level, towards +y
    view[:3, 3] = lamp - [0.0, 6.0, 0.6]
    image = renderer.radiance(view)
    peak = np.unravel_index(image.mean(axis=2).argmax(), image.shape[:2])
    scale = 5.0 / float(image.max())
    expected = RIG.camera.project((lamp - view[:3, 3])[None] @ view[:3, :3])[0, :2]
    assert np.linalg.norm(np.array([peak[1], peak[0]]) - expected) < 12.0
    quiet = {"read_noise": 0.0, "shot_noise": 0.0}
    with_bloom, without = Sensor(**quiet).develop(image, scale, 0), Sensor(bloom=0.0, **quiet).develop(image, scale, 0)
    rows = slice(max(peak[0] - 6, 0), peak[0] + 7)
    columns = slice(max(peak[1] - 12, 0), peak[1] + 13)
    assert with_bloom[rows, columns].mean() > without[rows, columns].mean() + 1.0
    dim = Sensor(**quiet)
    np.testing.assert_array_equal(dim.develop(image, 0.1 * scale, 0), Sensor(bloom=0.0, **quiet).develop(image, 0.1 * scale, 0))


def test_only_the_nearest_lamps_in_view_are_used(pose: NDArray[np.float64]) -> None:
    camera = pose @ RIG.base_T_camera
    ahead = camera[:3, 3] + np.outer(np.arange(2.0, 120.0, 4.0), camera[:3, 2])
    used = street_lamps(ahead, camera)
    assert 0 < len(used) <= 5
    np.testing.assert_allclose(used[:, :3], ahead[: len(used)])
    assert len(street_lamps(np.zeros((0, 3)), camera)) == 0
    assert len(street_lamps(camera[:3, 3] - np.outer([20.0, 30.0], camera[:3, 2]), camera)) == 0


# --- weather --------------------------------------------------------------------------------------------------------------


def test_fog_hides_what_is_far_and_has_no_horizon(
    renderers: dict[str, Renderer], pose: NDArray[np.float64], depth: NDArray[np.float32]
) -> None:
    clear, fog = radiance(renderers, "overcast", pose).mean(axis=2), radiance(renderers, "fog", pose).mean(axis=2)
    far, beyond = (depth > 25.0) & np.isfinite(depth), depth > 25.0
    assert far.sum() > 300
    assert clear[far].std() / clear[far].mean() > 0.2
    assert fog[beyond].std() / fog[beyond].mean() < 0.02  # the sky included
    near = depth < 3.0
    assert fog[near].std() / fog[near].mean() > 0.05


def test_snow_brightens_the_ground_more_the_more_there_is(world: World, pose: NDArray[np.float64]) -> None:
    camera = pose @ RIG.base_T_camera
    lower = slice(RIG.camera.height * 2 // 3, None)
    ground = [Renderer(world, Condition("x", 12.0, snow=amount), RIG).radiance(camera)[lower].mean() for amount in (0.0, 0.5, 1.0)]
    assert ground[1] > 1.2 * ground[0]
    assert ground[2] > 1.2 * ground[1]
    assert ground[2] > 2.0 * ground[0]


def test_rain_darkens_the_ground(world: World, pose: NDArray[np.float64]) -> None:
    camera = pose @ RIG.base_T_camera
    dry, wet = (Renderer(world, Condition("x", 12.0, cloud_cover=1.0, rain=rain), RIG) for rain in (0.0, 1.0))
    lower = slice(RIG.camera.height * 3 // 4, None)

    def albedo(renderer: Renderer) -> float:
        return float(np.median(renderer.radiance(camera)[lower]) / renderer._light.ambient.mean())

    assert albedo(wet) < 0.75 * albedo(dry)


# --- reproducibility and the sheet ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["night", "rain", "snow"])
def test_an_image_depends_on_pose_and_seed_alone(
    world: World, renderers: dict[str, Renderer], images: dict[str, StereoImages], pose: NDArray[np.float64], name: str
) -> None:
    again = Renderer(world, named(name), RIG)
    again.stereo(SimulatedRun(world, rig=RIG).world_T_base[50], 3, TURNING)
    pair = again.stereo(pose, 7)
    np.testing.assert_array_equal(pair.left, images[name].left)
    np.testing.assert_array_equal(pair.right, images[name].right)
    assert np.any(again.stereo(pose, 8).left != pair.left)


def test_the_sheet_shows_each_condition_once(world: World) -> None:
    small = StereoRig().scaled(0.125)
    sheet = condition_sheet(world, small, STATION_M, ["noon", named("night"), "fog", "snow"])
    rows, columns = sheet.shape[0] // 2, sheet.shape[1] // 3
    assert sheet.shape == (2 * rows, 3 * 64, 3) and rows > 48
    cells = [sheet[r : r + rows, c : c + columns] for r in (0, rows) for c in range(0, 3 * columns, columns)]
    assert len({cell.tobytes() for cell in cells[:4]}) == 4
    assert (cells[4] == 255).all()
    assert all((cell[: rows - 48] < 128).any() for cell in cells[:4])  # a label
    for conditions, columns in (([], 3), (["noon"], 0)):
        with pytest.raises(ConfigError, match="at least one condition and one column"):
            condition_sheet(world, small, STATION_M, conditions, columns)
    with pytest.raises(ConfigError, match="unknown condition 'hail'"):
        condition_sheet(world, small, STATION_M, ["hail"])
