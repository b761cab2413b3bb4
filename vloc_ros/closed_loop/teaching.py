"""Teaching a route: an operator drives it once, in good light."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vloc_ros.closed_loop.operator import Operator
from vloc_ros.closed_loop.settings import DriveSettings
from vloc_ros.data.reader import Trajectory
from vloc_ros.localization import FrameResult
from vloc_ros.mapping import MapStore, Teacher
from vloc_ros.path_following import TaughtPath
from vloc_ros.settings import Settings
from vloc_ros.simulation import Route, Simulator, Wander, World, base_poses, track

_SPACING_M = 0.5
_OVERRUN_S = 30.0


def driven_path(world: World, route: Route, wander: Wander) -> TaughtPath:
    """The path in the world that an operator means to drive: once around."""
    stations = np.arange(0.0, route.length_m + 0.5 * _SPACING_M, _SPACING_M)
    return TaughtPath(list(base_poses(world.terrain, *track(route, stations, wander))))


class Teaching:
    """An operator drives the route while a map is made. Iterate to drive; :attr:`truth` is complete afterwards."""

    def __init__(
        self, simulator: Simulator, store: MapStore, settings: Settings, drive: DriveSettings, wander: Wander, source: str
    ) -> None:
        self._simulator, self._drive, self.store = simulator, drive, store
        self._path = driven_path(simulator.world, simulator.world.route, wander)
        self._teacher = Teacher(simulator.rig.camera, store, settings, source)
        self._stamps: list[int] = []
        self._poses: list[np.ndarray] = []

    @property
    def frames(self) -> int:
        """About how many frames it takes."""
        return round(self._path.length / self._drive.follower.speed * self._drive.camera_rate)

    @property
    def truth(self) -> Trajectory:
        """True ``world_T_base`` of the frames so far; for judging only."""
        return Trajectory(np.array(self._stamps, dtype=np.int64), np.array(self._poses).reshape(-1, 4, 4))

    def __iter__(self) -> Iterator[FrameResult]:
        """Drive and teach, frame by frame; the place where it ends becomes the last keyframe."""
        simulator, operator = self._simulator, Operator(self._path, self._drive.follower)
        simulator.place_at(self._path.poses[0])
        period = 1.0 / self._drive.camera_rate
        ticks = max(round(period * self._drive.control_rate), 1)
        for _ in range(round((self._path.length / self._drive.follower.speed * 1.5 + _OVERRUN_S) / period)):
            arrived = operator.arrived
            self._stamps.append(simulator.now_ns)
            self._poses.append(simulator.world_T_base)
            yield self._teacher.process(simulator.frame(), force_keyframe=arrived)
            if arrived:
                break
            for _ in range(ticks):
                simulator.command(operator.command(simulator.now_ns, simulator.world_T_base))
                simulator.advance(period / ticks)
        self._teacher.close()
