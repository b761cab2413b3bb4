"""The record of a drive: what the robot did beside what localisation said, and the truth of both."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import dump_yaml
from vloc_ros.data.frame import Image
from vloc_ros.errors import DataError
from vloc_ros.evaluation import Run, RunLog, read_run
from vloc_ros.evaluation.output import make_folder, writing
from vloc_ros.geometry import se3
from vloc_ros.geometry.planar import PlanarTwist
from vloc_ros.localization import FrameResult
from vloc_ros.path_following import DriveState, StopReason
from vloc_ros.settings import Settings

Array = NDArray[np.float64]
DRIVE = "drive.jsonl"


@unique
class Intervention(Enum):
    """Why the operator stepped in."""

    STUCK = "the robot stood still for too long"
    LEFT_CORRIDOR = "the robot left the corridor"


@dataclass(frozen=True, slots=True)
class DriveMoment:
    """What only the simulation knows about one camera frame.

    Attributes:
        stamp_ns: of the exposure [ns].
        world_T_base: (4, 4) true pose at the exposure; localisation and follower never see it.
        twist: true velocity then.
        state, reason: of the follower just before the next frame.
        operator: whether the operator drove.
        intervention: why the operator stepped in, at the frame where that happened.
        memory_mib: resident memory of the process that writes.
    """

    stamp_ns: int
    world_T_base: Array
    twist: PlanarTwist
    state: DriveState
    reason: StopReason | None
    operator: bool
    intervention: Intervention | None
    memory_mib: float


@dataclass(frozen=True, slots=True)
class DriveStep:
    """What happened at one camera frame.

    Attributes:
        result: what localisation made of the frame.
        world_T_base: (4, 4) true pose at its exposure; localisation and follower never see it.
        twist: true velocity then.
        state, reason: of the follower just before the next frame.
        operator: whether the operator drove.
        intervention: why the operator stepped in, at the frame where that happened.
        memory_mib: resident memory of this process.
        image: the left image; not recorded.
    """

    result: FrameResult
    world_T_base: Array
    twist: PlanarTwist
    state: DriveState
    reason: StopReason | None
    operator: bool
    intervention: Intervention | None
    memory_mib: float
    image: Image

    @property
    def moment(self) -> DriveMoment:
        """The part of it that localisation does not know."""
        return DriveMoment(
            self.result.stamp_ns,
            self.world_T_base,
            self.twist,
            self.state,
            self.reason,
            self.operator,
            self.intervention,
            self.memory_mib,
        )


@dataclass(frozen=True, slots=True)
class DriveRecord:
    """A drive as it was recorded: F frames.

    Attributes:
        info: what was driven: site, condition, features and the like.
        run: the results of localisation.
        world_T_base: (F, 4, 4) true poses.
        twists: (F, 2) true velocities [m/s], [rad/s].
        states, reasons: of the follower.
        operator: (F,) whether the operator drove.
        interventions: (frame, reason) of each.
        memory_mib: (F,) resident memory.
    """

    info: dict[str, Any]
    run: Run
    world_T_base: Array
    twists: Array
    states: tuple[DriveState, ...]
    reasons: tuple[StopReason | None, ...]
    operator: NDArray[np.bool_]
    interventions: tuple[tuple[int, Intervention], ...]
    memory_mib: Array


class DriveFile:
    """Writes ``drive.jsonl``, line by line: what the simulation knows of a drive whose localisation keeps its own record.

    Args:
        out: folder, created if missing.
        info: what is driven; the first line.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, out: Path, info: dict[str, Any]) -> None:
        self._path = make_folder(Path(out)) / DRIVE
        with writing(self._path):
            self._file: TextIO = self._path.open("w", encoding="utf-8", buffering=1)
        self._write(info)

    def add(self, moment: DriveMoment) -> None:
        """Append a moment."""
        self._write(
            {
                "stamp_ns": moment.stamp_ns,
                "truth": [*moment.world_T_base[:3, 3].tolist(), *se3.quaternion(moment.world_T_base).tolist()],
                "twist": list(moment.twist),
                "state": moment.state.name,
                "reason": None if moment.reason is None else moment.reason.name,
                "operator": moment.operator,
                "intervention": None if moment.intervention is None else moment.intervention.name,
                "memory_mib": moment.memory_mib,
            }
        )

    def _write(self, values: dict[str, Any]) -> None:
        with writing(self._path):
            self._file.write(json.dumps(values) + "\n")

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class DriveLog:
    """Writes a drive into a folder, line by line: ``frames.jsonl`` as any run, and ``drive.jsonl`` beside it.

    Args:
        out: folder, created if missing.
        settings: of localisation.
        info: what is driven; the first line of ``drive.jsonl``.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, out: Path, settings: Settings, info: dict[str, Any]) -> None:
        self._run = RunLog(out, dump_yaml(settings), str(info.get("site", "simulation")), match_every=0)
        self._drive = DriveFile(out, info)

    def add(self, step: DriveStep) -> None:
        """Append a step."""
        self._run.add(step.result)
        self._drive.add(step.moment)

    def close(self) -> None:
        """Finish the files."""
        self._drive.close()
        self._run.close()

    def __enter__(self) -> DriveLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_drive(folder: Path) -> DriveRecord:
    """Read a recorded drive back, joined with the record of its localisation by the stamps of the frames.

    A line that a killed process did not finish is left out, and so is a frame that localisation has dropped.

    Raises:
        DataError: there is none, or it is damaged.
    """
    run = read_run(folder)
    lines = list(_lines(folder / DRIVE))
    if not lines:
        raise DataError(f"{folder / DRIVE} is empty; the drive ended before it began")
    info = lines[0]
    try:
        moments = {int(line["stamp_ns"]): line for line in lines[1:]}
        frames = tuple(frame for frame in run.frames if frame.stamp_ns in moments)
        steps = [moments[frame.stamp_ns] for frame in frames]
        truth = [se3.from_quaternion(np.array(step["truth"][:3]), np.array(step["truth"][3:])) for step in steps]
        return DriveRecord(
            info=info,
            run=Run(run.source, run.config_yaml, frames, run.complete),
            world_T_base=np.array(truth).reshape(-1, 4, 4),
            twists=np.array([step["twist"] for step in steps]).reshape(-1, 2),
            states=tuple(DriveState[step["state"]] for step in steps),
            reasons=tuple(None if step["reason"] is None else StopReason[step["reason"]] for step in steps),
            operator=np.array([step["operator"] for step in steps], dtype=bool),
            interventions=tuple(_interventions(list(moments.values()), [frame.stamp_ns for frame in frames])),
            memory_mib=np.array([step["memory_mib"] for step in steps], dtype=np.float64),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / DRIVE} is damaged: {error!r}; drive again into another folder") from error


def _interventions(moments: list[dict[str, Any]], stamps_ns: list[int]) -> Iterator[tuple[int, Intervention]]:
    """Each with the frame at which it happened, or the next one: localisation may have dropped that frame."""
    for moment in moments:
        if moment["intervention"] is not None and stamps_ns:
            index = min(bisect_left(stamps_ns, moment["stamp_ns"]), len(stamps_ns) - 1)
            yield index, Intervention[moment["intervention"]]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; is this the folder of a drive?") from error
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DataError(f"{path} is damaged: {error}") from error
