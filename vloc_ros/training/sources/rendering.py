"""Renders the simulated world for training: places of many sites, each seen from several poses in several conditions.

Rendering is slow and reading is not, so it is done once, into a folder::

    set.json                        what the whole set has in common (:class:`SetPlan`, camera, mount)
    <site>/views.json               poses, images and depths of one site; written when the site is complete
    <site>/<place>_<view>_<condition>.png           RGB
    <site>/<place>_<view>_<season>.depth.png        16 bits, inverse depth in steps of 1 / INVERSE_DEPTH_STEPS [1/m], 0 for the sky

Everything follows from the seeds of the sites. A rendering that was broken off goes on where it was; more sites can be added later.
``vloc autonomy`` drives at the sites of seeds from 1 on: training sets use those from FIRST_TRAINING_SEED on, and validation sets
those from FIRST_VALIDATION_SEED on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vloc_ros.data.files import read_text
from vloc_ros.data.output import write_image, write_text
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.simulation.conditions import CONDITIONS, named_condition
from vloc_ros.simulation.detail import named_detail
from vloc_ros.simulation.renderer import Renderer, render_depth
from vloc_ros.simulation.rig import StereoRig
from vloc_ros.simulation.route import Wander, track
from vloc_ros.simulation.run import MAX_DEVIATION_M, base_poses
from vloc_ros.simulation.season import Season, season_of
from vloc_ros.simulation.sites import Site
from vloc_ros.simulation.world import World

Array = NDArray[np.float64]
FORMAT = "vloc simulated views 1"
FIRST_TRAINING_SEED, FIRST_VALIDATION_SEED = 1000, 2000
INVERSE_DEPTH_STEPS = 16384.0
"""Steps per 1/m: the nearest depth is 0.25 m, and the UTIAS camera's disparity is right to 0.003 px."""
_SCHEME = 90
"""Keeps the random numbers of this file apart from others of the same seed."""


@dataclass(frozen=True)
class SetPlan:
    """What is rendered at each site.

    Attributes:
        conditions: names of the conditions that are used.
        always: groups of conditions; each view is seen in one of each group, in turn.
        places: so many places along each route.
        views: so many poses at each place.
        per_view: so many conditions in which each pose is seen.
        along_m, across_m: largest distance of a pose from the middle of its place, along and across the route [m].
        turn_deg: largest angle between a pose and the direction of the route [deg].
        detail: level of detail of the renderer.
        scale: of the UTIAS camera's image size.
    """

    conditions: tuple[str, ...] = tuple(CONDITIONS)
    always: tuple[tuple[str, ...], ...] = (("noon",), ("night", "moonless", "dusk"))
    places: int = 5
    views: int = 3
    per_view: int = 5
    along_m: float = 0.75
    across_m: float = 0.25
    turn_deg: float = 5.0
    detail: str = "fast"
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in {name for group in self.always for name in group} | set(self.conditions):
            named_condition(name)
        outside = sorted({name for group in self.always for name in group} - set(self.conditions))
        if outside or not all(self.always):
            raise ConfigError(f"each group of always = {self.always} needs names, all of them among the conditions of the set")
        if self.places < 1 or self.views < 1 or not len(self.always) <= self.per_view <= len(self.conditions):
            raise ConfigError(
                f"{self.places} places, {self.views} views and {self.per_view} conditions per view make no set: give 1 or more "
                f"places and views, and {len(self.always)} to {len(self.conditions)} conditions per view"
            )
        if not 0.0 <= self.across_m <= MAX_DEVIATION_M:
            raise ConfigError(f"across_m = {self.across_m} must lie between 0 and {MAX_DEVIATION_M}, where nothing is in the way")


class ViewPlan(NamedTuple):
    """One pose of a place, to be seen in some conditions."""

    place: int
    view: int
    world_T_base: Array
    conditions: tuple[str, ...]

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"{self.place:02d}_{self.view}"


def render_training_set(folder: Path, sites: Sequence[Site], plan: SetPlan | None = None) -> int:
    """Render what is missing of a set of views.

    Args:
        folder: where it is, or will be.
        sites: where; their worlds are built one after the other.
        plan: what is rendered at each.

    Returns:
        How many images the sites have together.

    Raises:
        ConfigError: a site has no route, or there are no sites.
        DataError: the folder holds a set of another plan, or cannot be written.
    """
    plan = plan or SetPlan()
    if not sites:
        raise ConfigError("a set of views needs at least one site")
    rig = StereoRig().scaled(plan.scale)
    claim(folder, FORMAT, plan, rig)
    total = len(sites) * plan.places * plan.views * plan.per_view
    with tqdm(total=total, desc="render", unit="image", file=sys.stderr, disable=None) as bar:
        for site in sites:
            if not (folder / site.name / "views.json").exists():
                _render_site(folder, site, plan, rig, bar)
            else:
                bar.update(plan.places * plan.views * plan.per_view)
            bar.set_postfix_str(f"{bytes_of(folder) / 1e6:.0f} MB")
    return total


def bytes_of(folder: Path) -> int:
    """Size of all files of a set."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def plan_views(site: Site, world: World, plan: SetPlan) -> list[ViewPlan]:
    """The poses of a site and their conditions, by its seed."""
    rng = np.random.default_rng([site.seed, _SCHEME])
    spacing = world.route.length_m / plan.places
    views = []
    for place in range(plan.places):
        middle = (place + rng.uniform(0.1, 0.9)) * spacing
        for view in range(plan.views):
            along, across, turn = rng.uniform(-1.0, 1.0, 3) * [plan.along_m, plan.across_m, np.deg2rad(plan.turn_deg)]
            position, heading = track(world.route, np.array([middle + along]), Wander(0.0, 0, across))
            pose = base_poses(world.terrain, position, heading + turn)[0]
            conditions = _conditions(plan, place * plan.views + view, rng)
            views.append(ViewPlan(place, view, pose, conditions))
    return views


def _conditions(plan: SetPlan, number: int, rng: np.random.Generator) -> tuple[str, ...]:
    """One condition of each group, in turn, and others at random."""
    chosen = list(dict.fromkeys(group[number % len(group)] for group in plan.always))
    others = [name for name in plan.conditions if name not in chosen]
    more = rng.permutation(len(others))[: plan.per_view - len(chosen)]
    return tuple(chosen + [others[k] for k in sorted(more)])


def claim(folder: Path, form: str, plan: Any, rig: StereoRig) -> None:
    """Write the description of a set, or check that the one that is there is the same.

    Args:
        folder: of the set.
        form: name of the format.
        plan: a dataclass of plain values.
        rig: the cameras.

    Raises:
        DataError: the folder holds a set of another plan, or cannot be written.
    """
    values = {"format": form, "plan": asdict(plan), "camera": asdict(rig.camera), "base_T_camera": rig.base_T_camera.tolist()}
    text = json.dumps(values, indent=1) + "\n"
    file = folder / "set.json"
    if not file.exists():
        write_text(file, text)
    elif read_text(file) != text:
        raise DataError(f"{folder} holds views of another plan than the one asked for; name another folder or remove it first")


def _render_site(folder: Path, site: Site, plan: SetPlan, rig: StereoRig, bar: Any) -> None:
    world = site.build()
    views = plan_views(site, world, plan)
    for season in sorted({_season(name) for view in views for name in view.conditions}, key=season_name):
        present = world.in_season(season)
        names = [name for name in plan.conditions if _season(name) == season]
        for view in views:
            if set(names) & set(view.conditions):
                _render_depth(folder / site.name / f"{view.stem}_{season_name(season)}.depth.png", present, view, plan, rig)
        for name in names:
            _render_condition(folder / site.name, site, present, name, [v for v in views if name in v.conditions], plan, rig, bar)
    values = {"site": site.name, "seed": site.seed, "views": [_entry(view, rig) for view in views]}
    write_text(folder / site.name / "views.json", json.dumps(values, indent=1) + "\n")


def _render_condition(
    folder: Path, site: Site, world: World, name: str, views: list[ViewPlan], plan: SetPlan, rig: StereoRig, bar: Any
) -> None:
    """The images of a site in one condition that are not there yet."""
    renderer: Renderer | None = None
    for view in views:
        file = folder / f"{view.stem}_{name}.png"
        if not file.exists():
            # Baking the shadows takes longer than an image.
            renderer = renderer or Renderer(world, named_condition(name), rig, detail=plan.detail)
            seed = ((site.seed * 100 + view.place) * 100 + view.view) * 100 + plan.conditions.index(name)
            write_image(file, renderer.left(view.world_T_base, seed))
        bar.update()


def _render_depth(file: Path, world: World, view: ViewPlan, plan: SetPlan, rig: StereoRig) -> None:
    if not file.exists():
        depth = render_depth(world, rig.camera, view.world_T_base @ rig.base_T_camera, named_detail(plan.detail))
        steps = np.rint(INVERSE_DEPTH_STEPS / np.maximum(depth, INVERSE_DEPTH_STEPS / 65535.0))
        write_image(file, steps.astype(np.uint16))


def _entry(view: ViewPlan, rig: StereoRig) -> dict[str, Any]:
    images = [
        {
            "condition": name,
            "image": f"{view.stem}_{name}.png",
            "inverse_depth": f"{view.stem}_{season_name(_season(name))}.depth.png",
        }
        for name in view.conditions
    ]
    pose = view.world_T_base @ rig.base_T_camera
    return {"place": view.place, "view": view.view, "world_T_camera": pose.tolist(), "images": images}


def _season(name: str) -> Season:
    return season_of(named_condition(name))


def season_name(season: Season) -> str:
    """What a season is called in the names of files."""
    return f"{'leaves' if season.leaves else 'bare'}{season.parked_cars}"
