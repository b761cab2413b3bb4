"""Renders a long-term benchmark of the simulated world, laid out as CMU-Seasons.

A folder for each site (an *area*)::

    set.json                                        what the whole set has in common (:class:`SeasonsPlan`, camera, mount)
    <site>/conditions.txt                           number of a folder and name of its condition
    <site>/train00/img_00007_c0_<stamp>us.jpg       to learn from: first part of the route; 00 is the reference condition
    <site>/s1/test00/...                            the database: last part of the route in the reference condition
    <site>/s1/test01/...                            queries of the next condition
    <site>/s1/pose_new_s1.txt                       poses of database and queries; written when the site is complete

What is learned from is not paired: every condition has poses of its own. Everything follows from the seeds of the sites,
which are 4000 and more unless asked otherwise. A rendering that was broken off goes on where it was; more sites can be added later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vloc_ros.data.output import write_jpeg, write_text
from vloc_ros.data.seasons import pose_lines
from vloc_ros.data.seasons_layout import CONDITIONS_FILE
from vloc_ros.errors import ConfigError
from vloc_ros.simulation.conditions import named_condition
from vloc_ros.simulation.renderer import Renderer
from vloc_ros.simulation.rig import StereoRig
from vloc_ros.simulation.route import Wander, track
from vloc_ros.simulation.run import MAX_DEVIATION_M, MIDNIGHT_NS, base_poses
from vloc_ros.simulation.season import season_of
from vloc_ros.simulation.sites import Site
from vloc_ros.simulation.world import World
from vloc_ros.training.sources.rendering import claim

Array = NDArray[np.float64]
FORMAT = "vloc simulated seasons 1"
_SLICE = 1
_SCHEME = 91
"""Keeps the random numbers of this file apart from others of the same seed."""
_DAY_US, _SPEED_M_S = 86_400_000_000, 1.0


@dataclass(frozen=True)
class SeasonsPlan:
    """What is rendered at each site.

    Attributes:
        conditions: names, the reference first.
        train_images: so many to learn from in each condition.
        queries: so many in each condition but the reference.
        spacing_m: of the database along the route [m].
        train_share: part of the route that is learned from; the database and the queries are of the rest.
        gap_m: what lies before the rest so closely is not learned from [m].
        train_across_m: largest distance from the middle of the route, in what is learned from [m].
        train_turn_deg: largest angle to the direction of the route, in what is learned from [deg].
        query_across_m: standard deviation of the distance of a query from the middle of the route [m].
        query_turn_deg: standard deviation of the angle of a query to the direction of the route [deg].
        detail: level of detail of the renderer.
        scale: of the UTIAS camera's image size.
        quality: of the JPEG files, 1 to 100.
    """

    conditions: tuple[str, ...] = ("noon", "overcast", "dusk", "night", "fog", "snow")
    train_images: int = 100
    queries: int = 40
    spacing_m: float = 1.0
    train_share: float = 0.7
    gap_m: float = 5.0
    train_across_m: float = 0.4
    train_turn_deg: float = 5.0
    query_across_m: float = 0.15
    query_turn_deg: float = 2.0
    detail: str = "fast"
    scale: float = 0.625
    quality: int = 95

    def __post_init__(self) -> None:
        for name in self.conditions:
            named_condition(name)
        if len(self.conditions) < 2 or len(set(self.conditions)) < len(self.conditions):
            raise ConfigError(
                f"conditions = {', '.join(self.conditions)} must be two or more, each named once, the reference first"
            )
        if self.train_images < 1 or self.queries < 1:
            raise ConfigError(f"{self.train_images} images to learn from and {self.queries} queries make no set; give 1 or more")
        if not self.spacing_m > 0.0 or not 0.0 < self.train_share < 1.0 or self.gap_m < 0.0:
            raise ConfigError("spacing_m must be positive, train_share between 0 and 1, and gap_m not negative")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality = {self.quality} of JPEG files must lie between 1 and 100")
        if not 0.0 <= self.train_across_m <= MAX_DEVIATION_M or not 0.0 <= self.query_across_m <= MAX_DEVIATION_M:
            raise ConfigError(f"poses must lie within {MAX_DEVIATION_M} m of the middle of the route, where nothing is in the way")


class Shot(NamedTuple):
    """One image to be rendered: its file below the folder of the site, where the robot stands, and the seed of the noise."""

    file: Path
    world_T_base: Array
    seed: int


def render_seasons(folder: Path, sites: Sequence[Site], plan: SeasonsPlan | None = None) -> int:
    """Render what is missing of a long-term benchmark.

    Args:
        folder: where it is, or will be.
        sites: where; their worlds are built one after the other.
        plan: what is rendered at each.

    Returns:
        How many images the sites have together.

    Raises:
        ConfigError: a site has no route, or too short a one, or there are no sites.
        DataError: the folder holds a set of another plan, or cannot be written.
    """
    plan = plan or SeasonsPlan()
    if not sites:
        raise ConfigError("a long-term benchmark needs at least one site")
    rig = StereoRig().scaled(plan.scale)
    counts = [sum(_counts(site, plan)) for site in sites]
    claim(folder, FORMAT, plan, rig)
    with tqdm(total=sum(counts), desc="render", unit="image", file=sys.stderr, disable=None) as bar:
        for site, count in zip(sites, counts, strict=True):
            if (folder / site.name / _pose_file()).exists():
                bar.update(count)
            else:
                _render_site(folder / site.name, site, plan, rig, bar)
    return sum(counts)


def plan_shots(site: Site, world: World, plan: SeasonsPlan, number: int) -> tuple[list[Shot], list[Shot]]:
    """What is rendered at a site in the condition of a number: to learn from, and database (number 0) or queries."""
    rng = np.random.default_rng([site.seed, _SCHEME, number])
    learned, _, asked = _stretches(site, plan)
    spread, turn = plan.train_across_m, np.deg2rad(plan.train_turn_deg)
    stations = _stations(*learned, plan.train_images, rng)
    across, turned = (rng.uniform(-1.0, 1.0, (2, len(stations))).T * [spread, turn]).T
    train = _shots(site, world, plan, number, f"train{number:02d}", np.stack([stations, across, turned]))
    if number == 0:
        stations = np.arange(*asked, plan.spacing_m)
        return train, _shots(site, world, plan, 0, f"s{_SLICE}/test00", np.stack([stations, 0 * stations, 0 * stations]))
    half = 0.5 * plan.spacing_m
    last = asked[0] + (len(np.arange(*asked, plan.spacing_m)) - 1) * plan.spacing_m
    stations = _stations(asked[0] - half, last + half, plan.queries, rng)
    across = np.clip(rng.normal(0.0, plan.query_across_m, len(stations)), -MAX_DEVIATION_M, MAX_DEVIATION_M)
    turned = rng.normal(0.0, np.deg2rad(plan.query_turn_deg), len(stations))
    return train, _shots(site, world, plan, number, f"s{_SLICE}/test{number:02d}", np.stack([stations, across, turned]))


def _stations(first: float, last: float, count: int, rng: np.random.Generator) -> Array:
    """(N,) stations [m] in order: one at random in each of so many equal parts of a stretch."""
    return first + (np.arange(count) + rng.uniform(0.0, 1.0, count)) * (last - first) / count


def _stretches(site: Site, plan: SeasonsPlan) -> tuple[tuple[float, float], float, tuple[float, float]]:
    """First and last station [m] of what is learned from, where the rest begins, and of what is asked."""
    border = plan.train_share * site.length_m
    if border <= plan.gap_m or site.length_m - border <= plan.spacing_m:
        raise ConfigError(
            f"a route of {site.length_m:g} m leaves nothing to learn from or nothing to ask for with {plan.train_share:.0%} of it "
            f"to learn from, a gap of {plan.gap_m:g} m and a database every {plan.spacing_m:g} m"
        )
    return (0.0, border - plan.gap_m), border, (border, site.length_m)


def _counts(site: Site, plan: SeasonsPlan) -> tuple[int, int, int]:
    """Images to learn from, of the database, and queries."""
    database = len(np.arange(*_stretches(site, plan)[2], plan.spacing_m))
    return len(plan.conditions) * plan.train_images, database, (len(plan.conditions) - 1) * plan.queries


def _shots(site: Site, world: World, plan: SeasonsPlan, number: int, folder: str, places: Array) -> list[Shot]:
    """Images of a folder at (3, N) stations [m], offsets to the left [m] and angles to the left [rad]."""
    # A drive a day, at the hour of its condition; the microseconds keep the names of sites apart.
    start_us = MIDNIGHT_NS // 1000 + number * _DAY_US + round(named_condition(plan.conditions[number]).hour * 3600e6) + site.seed
    shots = []
    for index, (station, across, turned) in enumerate(places.T):
        position, heading = track(world.route, np.array([station]), Wander(0.0, 0, float(across)))
        stamp_us = start_us + round(1e6 * station / _SPEED_M_S)
        pose = base_poses(world.terrain, position, heading + turned)[0]
        shots.append(Shot(Path(folder, f"img_{index:05d}_c0_{stamp_us}us.jpg"), pose, stamp_us % 1_000_000_007))
    return shots


def _render_site(folder: Path, site: Site, plan: SeasonsPlan, rig: StereoRig, bar: Any) -> None:
    write_text(folder / CONDITIONS_FILE, "".join(f"{number:02d} {name}\n" for number, name in enumerate(plan.conditions)))
    world = site.build()
    poses: list[tuple[str, Array]] = []
    for number, name in enumerate(plan.conditions):
        train, test = plan_shots(site, world, plan, number)
        _render_shots(folder, world, name, [*train, *test], plan, rig, bar)
        poses += [(shot.file.name, shot.world_T_base @ rig.base_T_camera) for shot in test]
    write_text(folder / _pose_file(), pose_lines(poses))


def _render_shots(folder: Path, world: World, name: str, shots: list[Shot], plan: SeasonsPlan, rig: StereoRig, bar: Any) -> None:
    """Those of one condition that are not there yet."""
    condition = named_condition(name)
    renderer: Renderer | None = None
    for shot in shots:
        file = folder / shot.file
        if not file.exists():
            # Baking the shadows takes longer than an image.
            renderer = renderer or Renderer(world.in_season(season_of(condition)), condition, rig, detail=plan.detail)
            write_jpeg(file, renderer.left(shot.world_T_base, shot.seed), plan.quality)
        bar.update()


def _pose_file() -> Path:
    return Path(f"s{_SLICE}", f"pose_new_s{_SLICE}.txt")
