"""Who moves the simulated robot, when the drive is over, and what is recorded of it. Imports no ROS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vloc_ros.closed_loop import (
    DriveFile,
    DriveMoment,
    DriveSettings,
    Operator,
    Supervisor,
    driven_path,
    place_at_start,
    resident_mib,
)
from vloc_ros.data.reader import Trajectory
from vloc_ros.data.trajectory import read_tum, write_tum
from vloc_ros.geometry.planar import STANDSTILL, PlanarTwist
from vloc_ros.path_following import DriveState, StopReason, TaughtPath
from vloc_ros.ros.simulator_settings import SimulatorNodeSettings
from vloc_ros.simulation import Simulator, Wander

Array = NDArray[np.float64]
_STANDS_MPS, _STANDS_S = 0.02, 1.0


class SimulatedDrive(Protocol):
    """What the loop of the simulation asks."""

    def begin(self, simulator: Simulator) -> None:
        """Place the robot."""

    def look(self, simulator: Simulator, seconds: float) -> bool:
        """Keep account just before an image is taken, ``seconds`` after the last one; whether it is the last one."""

    def command(self, simulator: Simulator, wanted: PlanarTwist | None) -> PlanarTwist | None:
        """What the wheels get now; ``wanted`` is the new command of the topic, None where there is none."""

    def close(self) -> None:
        """Finish the records."""


class TeachingDrive:
    """An operator drives once along the route; the true poses of the keyframes are written at the end."""

    def __init__(self, settings: SimulatorNodeSettings, drive: DriveSettings, keyframes: Callable[[], list[int]]) -> None:
        """Prepare a drive.

        Args:
            settings: of the simulator.
            drive: of robot and operator.
            keyframes: the stamps of the keyframes [ns], so far as they are known.
        """
        self._settings, self._drive, self._keyframes = settings, drive, keyframes
        self._poses: dict[int, Array] = {}

    def begin(self, simulator: Simulator) -> None:
        """Place the robot at the beginning of the route."""
        world, settings = simulator.world, self._settings
        path = driven_path(world, world.route, Wander(settings.wander, settings.drive_seed))
        self._operator = Operator(path, self._drive.follower)
        simulator.place_at(path.poses[0])

    def look(self, simulator: Simulator, seconds: float) -> bool:
        """Remember where the robot is."""
        self._poses[simulator.now_ns] = simulator.world_T_base
        return self._operator.arrived

    def command(self, simulator: Simulator, wanted: PlanarTwist | None) -> PlanarTwist | None:
        """What the operator does."""
        return self._operator.command(simulator.now_ns, simulator.world_T_base)

    def close(self) -> None:
        """Write the truth.

        Raises:
            DataError: it cannot be written.
        """
        stamps = sorted(set(self._keyframes()) & self._poses.keys())
        if self._settings.truth and stamps:
            truth = Trajectory(np.array(stamps, dtype=np.int64), np.array([self._poses[stamp] for stamp in stamps]))
            write_tum(Path(self._settings.truth).expanduser(), truth)


class TopicDrive:
    """``cmd_vel`` drives; with the truth of the taught path a supervisor steps in, and the drive is recorded."""

    def __init__(self, settings: SimulatorNodeSettings, drive: DriveSettings) -> None:
        """Prepare a drive.

        Raises:
            DataError: the truth of the taught path cannot be read.
            OutputError: the record cannot be written.
        """
        self._settings, self._drive = settings, drive
        truth = Path(settings.truth).expanduser()
        self._taught = TaughtPath(list(read_tum(truth).poses)) if settings.truth else None
        info: dict[str, Any] = {"site": settings.site, "condition": settings.condition, "length_m": settings.length}
        self._file = DriveFile(Path(settings.out).expanduser(), info) if settings.out else None
        self.supervisor: Supervisor | None = None
        self.interventions = 0
        """How often the operator has stepped in."""
        self.follower: tuple[DriveState, StopReason | None] | None = None
        """What the path follower says of itself: for the record only."""
        self._wanted = STANDSTILL
        self._seen: tuple[int, Array, PlanarTwist, bool] | None = None
        self._stood_s = 0.0

    def begin(self, simulator: Simulator) -> None:
        """Place the robot at the beginning of the taught path, a little beside it; without one, at that of the route."""
        if self._taught is None:
            return
        place_at_start(simulator, self._taught, self._settings.drive_seed)
        self.supervisor = Supervisor(self._taught, self._drive, self._settings.laps, simulator.world_T_base)

    def look(self, simulator: Simulator, seconds: float) -> bool:
        """Record the last frame; whether the robot has come to the end."""
        supervisor, twist = self.supervisor, simulator.robot.twist
        if supervisor is None:
            return False
        if self._seen is not None:
            self._record(simulator, supervisor, seconds)
            self._stood_s = self._stood_s + seconds if abs(twist.linear) < _STANDS_MPS else 0.0
        self._seen = (simulator.now_ns, simulator.world_T_base, twist, supervisor.operating)
        if self._settings.duration > 0.0:
            return False
        return supervisor.finished or (supervisor.near_end and self._stood_s >= _STANDS_S)

    def _record(self, simulator: Simulator, supervisor: Supervisor, seconds: float) -> None:
        assert self._seen is not None
        intervention = supervisor.watch(simulator.world_T_base, seconds, self._wanted)
        self.interventions += intervention is not None
        if self._file is not None:
            stamp_ns, pose, twist, operating = self._seen
            state, reason = self.follower or (self._apparent_state, None)
            self._file.add(DriveMoment(stamp_ns, pose, twist, state, reason, operating, intervention, resident_mib()))

    @property
    def _apparent_state(self) -> DriveState:
        return DriveState.FOLLOWING if self._wanted.linear > 0.0 else DriveState.STOPPED

    def command(self, simulator: Simulator, wanted: PlanarTwist | None) -> PlanarTwist | None:
        """The command of the topic, or that of the operator while he drives."""
        self._wanted = self._wanted if wanted is None else wanted
        if self.supervisor is None or not self.supervisor.operating:
            return wanted
        return self.supervisor.twist(simulator.now_ns, simulator.world_T_base, self._wanted)

    def close(self) -> None:
        """Finish the record."""
        if self._file is not None:
            self._file.close()
