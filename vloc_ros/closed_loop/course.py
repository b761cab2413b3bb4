"""A simulated site with its taught map: what is needed to drive there, now and later."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vloc_ros.closed_loop.drive import ClosedLoop, DrivePlan
from vloc_ros.closed_loop.settings import ClosedLoopSettings
from vloc_ros.closed_loop.teaching import Teaching
from vloc_ros.data.reader import Trajectory
from vloc_ros.data.trajectory import interpolate, read_tum, write_tum
from vloc_ros.errors import DataError, MapError
from vloc_ros.localization import Localizer
from vloc_ros.mapping import MapStore
from vloc_ros.path_following import TaughtPath
from vloc_ros.runs import truth_file
from vloc_ros.simulation import Condition, Layout, RouteShape, Season, Simulator, Site, StereoRig, Wander, World, season_of

_SCHEME = "simulation"
_TEACHING_WANDER_M = 0.15
_START_OFFSET_M, _START_TURN_RAD = 0.10, 0.03
_STAMP_GAP_NS = 50_000_000


def describe(site: Site) -> str:
    """One line that names a site, as noted in a map that was taught there; :func:`site_of` reads it."""
    return f"{_SCHEME} {site.name} seed={site.seed} length_m={site.length_m:g} shape={site.shape.value} layout={site.layout.value}"


def site_of(store: MapStore) -> Site:
    """The site where a map was taught.

    Raises:
        MapError: it was not taught in the simulated world.
    """
    sources = [session.source for session in store.sessions()]
    words = sources[0].split() if sources else []
    if len(words) != 6 or words[0] != _SCHEME:
        raise MapError(
            f"the map {store.path} was not taught in the simulated world; name a new file, which `vloc drive` then teaches first"
        )
    values = dict(word.split("=", 1) for word in words[2:])
    return Site(words[1], int(values["seed"]), float(values["length_m"]), RouteShape(values["shape"]), Layout(values["layout"]))


@dataclass(frozen=True, slots=True)
class Course:
    """Everything about a drive but where and in what light.

    Attributes:
        settings: of localisation and drive.
        seed: of slip, odometry errors, wander and noise.
        detail: level of detail of the rendered images, by name.
        threads: of the renderer, 1 or 2.
    """

    settings: ClosedLoopSettings
    seed: int = 1
    detail: str = "fast"
    threads: int = 1

    def teach(self, site: Site, condition: Condition, path: Path, rig: StereoRig) -> Teaching:
        """Make a map and let an operator drive the route; iterate over the result, then call :func:`finish_teaching`.

        Raises:
            MapError: the file exists, or cannot be made.
        """
        extractor = self.settings.features.create()
        store = MapStore.create(path, rig.camera, rig.base_T_camera, extractor.name, extractor.fingerprint)
        simulator = self._simulator(site, condition, rig, self.seed)
        wander = Wander(_TEACHING_WANDER_M, self.seed)
        return Teaching(simulator, store, self.settings, self.settings.drive, wander, describe(site))

    def loop(self, store: MapStore, condition: Condition, plan: DrivePlan) -> ClosedLoop:
        """A robot at the beginning of the taught path, a little beside it, in another light.

        Raises:
            MapError: the map was not taught in the simulated world, or with other features.
            DataError: the truth that lies beside the map is missing.
        """
        taught = TaughtPath(list(keyframe_truth(store).poses))
        rig = StereoRig(store.camera, store.base_T_camera)
        simulator = self._simulator(site_of(store), condition, rig, self.seed + 1000)
        place_at_start(simulator, taught, self.seed)
        return ClosedLoop(simulator, Localizer(rig.camera, store, self.settings), taught, self.settings.drive, plan)

    def _simulator(self, site: Site, condition: Condition, rig: StereoRig, seed: int) -> Simulator:
        world = world_of(site, season_of(condition))
        return Simulator(world, condition, self.settings.drive.robot, rig=rig, seed=seed, detail=self.detail, threads=self.threads)


def place_at_start(simulator: Simulator, taught: TaughtPath, seed: int) -> None:
    """Put the robot at the beginning of the true taught path, a little beside it and a little turned, by seed."""
    offset = np.random.default_rng([seed, 8]).uniform(-1.0, 1.0, 2) * [_START_OFFSET_M, _START_TURN_RAD]
    simulator.place_at(taught.poses[0], *offset)


@lru_cache(maxsize=1)
def world_of(site: Site, season: Season) -> World:
    """The world of a site; the last one is kept, as several drives often follow each other in the same."""
    return site.build(season)


def finish_teaching(teaching: Teaching) -> None:
    """Keep the true poses of the keyframes beside the map and close it."""
    store = teaching.store
    stamps = np.array([keyframe.stamp_ns for keyframe in store.keyframes()], dtype=np.int64)
    poses = interpolate(teaching.truth, stamps, _STAMP_GAP_NS)
    write_tum(truth_file(store.path), Trajectory(stamps, poses))
    store.close()


def keyframe_truth(store: MapStore) -> Trajectory:
    """True ``world_T_base`` of the keyframes of a map; for judging only.

    Raises:
        DataError: the file beside the map is missing.
    """
    path = truth_file(store.path)
    if not path.exists():
        raise DataError(f"{path} is missing: without the truth of the taught path no drive along {store.path} can be judged")
    return read_tum(path)
