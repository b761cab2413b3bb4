"""The record of one run on disk: written line by line while it goes on, read back also after a kill."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from vloc_ros import __version__
from vloc_ros.data.reader import Trajectory
from vloc_ros.data.trajectory import TUM_HEADER, tum_line, write_tum
from vloc_ros.errors import DataError, VlocError
from vloc_ros.evaluation.output import OutputError, make_folder, write_whole, writing
from vloc_ros.evaluation.records import decode_frame, encode_frame
from vloc_ros.evaluation.trajectories import Array, stack
from vloc_ros.mapping.state import FrameResult, State

FRAMES, HEADER, CONFIG, TRAJECTORY, ODOMETRY = "frames.jsonl", "run.json", "config.yaml", "trajectory.tum", "odometry.tum"
FORMAT = 1
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it was recorded.

    Attributes:
        source: what was replayed or listened to.
        config_yaml: text of the effective configuration.
        frames: one result per frame, in the order of processing.
        complete: whether the record ends with a whole line (False after a kill in the middle of a write).
    """

    source: str
    config_yaml: str
    frames: tuple[FrameResult, ...]
    complete: bool = True

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(F,) stamps of the frames [ns], as they came: possibly not increasing."""
        return np.array([frame.stamp_ns for frame in self.frames], dtype=np.int64)

    @property
    def seeks_map(self) -> bool:
        """Whether any frame was looked for or found in a map, as in repeating and not in mere odometry."""
        sought = (State.RELOCALISING, State.LOST)
        return any(frame.map_T_base is not None or frame.state in sought for frame in self.frames)

    @property
    def trajectory(self) -> Trajectory:
        """``map_T_base`` of the frames with a believed pose; a frame that is not newer than those before is left out."""
        return _trajectory(self.frames, lambda frame: frame.map_T_base)

    @property
    def odometry(self) -> Trajectory:
        """``odom_T_base`` of the frames with odometry; a frame that is not newer than those before is left out."""
        return _trajectory(self.frames, lambda frame: frame.odom_T_base)


class RunLog:
    """Writes a run into a folder, replacing the run that was there.

    ``frames.jsonl`` gets one line per frame, handed to the operating system at once, so that a killed process loses at most
    the line in flight. ``run.json`` and ``config.yaml`` are written first (the latter again by :meth:`changed`), ``trajectory.tum``
    and ``odometry.tum`` by :meth:`close`; :func:`write_trajectories` makes these two from ``frames.jsonl`` when the process was
    killed before.
    Not thread-safe: one writer.

    Args:
        out: folder, created if missing.
        config_yaml: text of the effective configuration.
        source: what is replayed or listened to, for the reader of the report.
        match_every: keep the match pixels of every n-th frame; 0 keeps none.
        match_limit: keep at most so many matches of such a frame, spread evenly.

    Raises:
        OutputError: the folder or a file in it cannot be written.
    """

    def __init__(self, out: Path, config_yaml: str, source: str, *, match_every: int = 0, match_limit: int = 200) -> None:
        self.folder = make_folder(Path(out))
        self._match_every, self._match_limit = match_every, match_limit
        self._count, self._changes = 0, ""
        # On disk and not in memory: a robot may drive for days.
        self._map, self._odometry = _TumFile(self.folder / TRAJECTORY), _TumFile(self.folder / ODOMETRY)
        header = {"format": FORMAT, "vloc_ros": __version__, "source": source}
        write_whole(self.folder / HEADER, json.dumps(header, indent=2) + "\n")
        write_whole(self.folder / CONFIG, config_yaml)
        with writing(self._frames_path):
            self._file: TextIO | None = self._frames_path.open("w", encoding="utf-8")

    @property
    def _frames_path(self) -> Path:
        return self.folder / FRAMES

    def add(self, result: FrameResult) -> None:
        """Record one frame.

        Raises:
            OutputError: the line cannot be written (the disk is full), or the log is closed.
        """
        if self._file is None:
            raise OutputError(f"the run log in {self.folder} is closed; open a new one to record more frames")
        keep = self._match_every > 0 and self._count % self._match_every == 0
        record = encode_frame(result, self._match_limit if keep else 0)
        with writing(self._frames_path):
            self._file.write(json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n")
            self._file.flush()
        self._count += 1
        self._map.add(result.stamp_ns, result.map_T_base)
        self._odometry.add(result.stamp_ns, result.odom_T_base)

    def changed(self, config_yaml: str, changes: Mapping[str, tuple[object, object]]) -> None:
        """The configuration was changed in the run: ``config.yaml`` is now this one, and says what it was before.

        Args:
            config_yaml: text of the effective configuration.
            changes: value before and value now, by key.

        Raises:
            OutputError: the file cannot be written.
        """
        said = ", ".join(f"{key} from {before} to {now}" for key, (before, now) in changes.items())
        self._changes += f"# changed before frame {self._count + 1}: {said}\n"
        write_whole(self.folder / CONFIG, config_yaml + self._changes)

    def close(self) -> None:
        """Write the trajectories and close; closing again does nothing.

        Raises:
            OutputError: the last line cannot be written.
        """
        if self._file is None:
            return
        file, self._file = self._file, None
        with writing(self._frames_path):
            file.close()
        self._map.close()
        self._odometry.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except VlocError as failure:
            if error is None:
                raise
            # The error that ends the run matters more than the one of tidying up after it.
            _LOG.warning("%s", failure)


def read_run(folder: Path) -> Run:
    """Read a recorded run; a last line that was cut by a kill is left out.

    Raises:
        DataError: the folder holds no run, it is of a newer format, or a line before the last is damaged.
    """
    folder = Path(folder)
    header = _header(folder / HEADER)
    config = _read(folder / CONFIG).decode("utf-8", errors="replace")
    lines = _read(folder / FRAMES).split(b"\n")
    complete = lines[-1] == b""
    if complete:
        lines.pop()
    frames: list[FrameResult] = []
    for number, line in enumerate(lines, start=1):
        try:
            frames.append(decode_frame(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            if number < len(lines):
                raise DataError(f"{folder / FRAMES}, line {number} is damaged ({error}); restore the file") from error
            complete = False
            _LOG.warning("%s: the last line is incomplete and was left out", folder / FRAMES)
    return Run(str(header.get("source", "")), config, tuple(frames), complete)


def write_trajectories(run: Run, folder: Path) -> None:
    """Write ``trajectory.tum`` and ``odometry.tum`` of a run, exactly as :meth:`RunLog.close` does.

    Raises:
        DataError: they cannot be written.
    """
    write_tum(Path(folder) / TRAJECTORY, run.trajectory)
    write_tum(Path(folder) / ODOMETRY, run.odometry)


class _TumFile:
    """Writes stamped poses as they come, each newer than those before; the file gets its name when it is closed."""

    def __init__(self, path: Path) -> None:
        self._path, self._unfinished = path, path.with_name(path.name + ".part")
        self._last: int | None = None
        with writing(path):
            path.unlink(missing_ok=True)
            self._file = self._unfinished.open("w", encoding="utf-8")
            self._file.write(TUM_HEADER)

    def add(self, stamp_ns: int, pose: Array | None) -> None:
        if pose is not None and (self._last is None or stamp_ns > self._last):
            self._last = stamp_ns
            with writing(self._path):
                self._file.write(tum_line(stamp_ns, pose))

    def close(self) -> None:
        with writing(self._path):
            self._file.close()
            self._unfinished.replace(self._path)


class _Path:
    """Stamped poses as they come, each newer than those before."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._poses: list[Array] = []

    def add(self, stamp_ns: int, pose: Array | None) -> None:
        if pose is not None and (not self._stamps or stamp_ns > self._stamps[-1]):
            self._stamps.append(stamp_ns)
            self._poses.append(np.array(pose, dtype=np.float64))

    def trajectory(self) -> Trajectory:
        return Trajectory(np.array(self._stamps, dtype=np.int64), stack(self._poses))


def _trajectory(frames: tuple[FrameResult, ...], pose_of: Callable[[FrameResult], Array | None]) -> Trajectory:
    path = _Path()
    for frame in frames:
        path.add(frame.stamp_ns, pose_of(frame))
    return path.trajectory()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.parent} holds no recorded run: cannot read {path.name} ({error.strerror})") from error


def _header(path: Path) -> dict[str, object]:
    try:
        header = json.loads(_read(path))
        version = int(header["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); it should say of which format the run is") from error
    if version > FORMAT:
        raise DataError(f"{path} is of format {version}, newer than format {FORMAT} known here; update vloc_ros")
    return dict(header)
