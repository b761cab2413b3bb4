"""Renders orthophotos of simulated sites for training: one picture of each in several conditions, aligned to the pixel.

A set is a folder::

    set.json                        what the whole set has in common (:class:`AerialPlan`)
    <site>/<condition>.jpg          RGB, north up

Everything follows from the seeds of the sites. A rendering that was broken off goes on where it was; more sites can be added later.
Orthophotos of a real place from several years, cut to the same corners, can be put into such folders as well.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from vloc_ros.data.files import read_text
from vloc_ros.data.output import write_jpeg, write_text
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.simulation.conditions import CONDITIONS, named_condition
from vloc_ros.simulation.orthophoto import GroundArea, orthophoto
from vloc_ros.simulation.season import season_of
from vloc_ros.simulation.sites import Site

FORMAT = "vloc aerial views 1"
FROM_ABOVE = ("noon", "overcast", "late_afternoon", "dusk", "snow", "leaves_off")
"""Conditions in which a survey could have been flown, and that differ from above."""
_NOT_FROM_ABOVE = ("night", "moonless", "fog", "rain")
_QUALITY = 93


@dataclass(frozen=True)
class AerialPlan:
    """What is rendered of each site.

    Attributes:
        conditions: names, each a picture.
        resolution_m: side of a pixel on the ground [m].

    Raises:
        ConfigError: a condition is unknown, or one in which nobody flies a survey; or the resolution is not 0.05 to 2 m.
    """

    conditions: tuple[str, ...] = FROM_ABOVE
    resolution_m: float = 0.2

    def __post_init__(self) -> None:
        if not self.conditions:
            raise ConfigError(f"name at least one condition of {', '.join(usable())}")
        for name in self.conditions:
            named_condition(name)
            if name in _NOT_FROM_ABOVE:
                raise ConfigError(f"no survey is flown in condition '{name}'; choose among {', '.join(usable())}")
        if not 0.05 <= self.resolution_m <= 2.0:
            raise ConfigError(f"a resolution of {self.resolution_m} m per pixel is out of range: give 0.05 to 2")


def usable() -> tuple[str, ...]:
    """Names of the conditions in which orthophotos are rendered."""
    return tuple(name for name in CONDITIONS if name not in _NOT_FROM_ABOVE)


def render_aerial(folder: Path, sites: Sequence[Site], plan: AerialPlan | None = None) -> int:
    """Render what is missing of a set of orthophotos.

    Args:
        folder: where it is, or will be.
        sites: where; their worlds are built one after the other.
        plan: what is rendered of each.

    Returns:
        How many pictures the sites have together.

    Raises:
        ConfigError: a site has no route, or there are no sites.
        DataError: the folder holds a set of another plan, or cannot be written.
    """
    plan = plan or AerialPlan()
    if not sites:
        raise ConfigError("a set of orthophotos needs at least one site")
    _claim(folder, plan)
    total = len(sites) * len(plan.conditions)
    with tqdm(total=total, desc="render", unit="image", file=sys.stderr, disable=None) as bar:
        for site in sites:
            _render_site(folder / site.name, site, plan, bar)
    return total


def _claim(folder: Path, plan: AerialPlan) -> None:
    text = json.dumps({"format": FORMAT, "resolution_m": plan.resolution_m}, indent=1) + "\n"
    file = folder / "set.json"
    if not file.exists():
        write_text(file, text)
    elif read_text(file) != text:
        raise DataError(f"{folder} holds orthophotos of another resolution than the one asked for; name another folder")


def _render_site(folder: Path, site: Site, plan: AerialPlan, bar: tqdm) -> None:  # type: ignore[type-arg]
    """The pictures of a site that are not there yet, those of one season after the other: its trees are grown once for each."""
    missing = [name for name in plan.conditions if not (folder / f"{name}.jpg").exists()]
    bar.update(len(plan.conditions) - len(missing))
    if not missing:
        return
    world = site.build()
    area = GroundArea.of_world(world, plan.resolution_m)
    for season in dict.fromkeys(season_of(named_condition(name)) for name in missing):
        present = world.in_season(season)
        for name in (name for name in missing if season_of(named_condition(name)) == season):
            seed = site.seed * 100 + tuple(CONDITIONS).index(name)
            write_jpeg(folder / f"{name}.jpg", orthophoto(present, named_condition(name), area, seed), _QUALITY)
            bar.update()
