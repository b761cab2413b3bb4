"""Whole runs over a recording, without ROS: teach, repeat, odometry. The command line and the examples call these."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data import DatasetReader, Trajectory
from vloc_ros.data.trajectory import increasing, interpolate, read_tum, write_tum
from vloc_ros.errors import DataError
from vloc_ros.evaluation import MatchPicture, ReportRun, Run, draw_matches, pick_fixes, read_run, to_base
from vloc_ros.features.frontend import FrontEnd
from vloc_ros.geometry import se3
from vloc_ros.localization import Localizer
from vloc_ros.mapping import FrameResult, MapStore, State, Teacher
from vloc_ros.mapping.tracker import MotionTracker
from vloc_ros.settings import Settings

OnFrame = Callable[[FrameResult], None]
_TRUTH_GAP_NS = 250_000_000


def chosen_frames(reader: DatasetReader, start: int, stop: int | None, step: int) -> range:
    """Indices of the frames ``start:stop:step``, as in a slice.

    Raises:
        DataError: no frame is chosen.
    """
    if step < 1:
        raise DataError(f"--step {step} must be at least 1")
    frames = range(len(reader))[start:stop:step]
    if len(frames) == 0:
        raise DataError(f"no frame is chosen: the recording has {len(reader)} frames, --start is {start}, --stop is {stop}")
    return frames


def new_map(path: Path, reader: DatasetReader, settings: Settings) -> MapStore:
    """Make a map for a recording's camera and the configured features.

    Raises:
        MapError: the file exists, or cannot be made.
    """
    extractor = settings.features.create()
    return MapStore.create(path, reader.camera, reader.base_T_camera, extractor.name, extractor.fingerprint)


def teach(
    reader: DatasetReader, store: MapStore, settings: Settings, frames: Iterable[int] | None = None, source: str = ""
) -> Iterator[FrameResult]:
    """Teach a recording into a new session of a map; yields the result of each frame as it is done.

    Raises:
        MapError: the map does not fit the camera or the features, or cannot be written.
        DataError: a frame cannot be read.
    """
    teacher = Teacher(reader.camera, store, settings, source)
    for index in range(len(reader)) if frames is None else frames:
        yield teacher.process(reader.frame(index))
    teacher.close()


def repeat(
    reader: DatasetReader, store: MapStore, settings: Settings, frames: Iterable[int] | None = None
) -> Iterator[FrameResult]:
    """Localise a recording against a map; yields the result of each frame as it is done.

    Raises:
        MapError: the map is empty or does not fit the camera or the features.
        DataError: a frame cannot be read.
    """
    localizer = Localizer(reader.camera, store, settings)
    for index in range(len(reader)) if frames is None else frames:
        yield localizer.process(reader.frame(index))


def odometry(reader: DatasetReader, settings: Settings, frames: Iterable[int] | None = None) -> Iterator[FrameResult]:
    """Visual odometry alone; yields the result of each frame as it is done.

    Raises:
        DataError: a frame cannot be read.
    """
    frontend = FrontEnd(reader.camera, settings.features, settings.stereo)
    tracker = MotionTracker(frontend, settings, reader.base_T_camera)
    for index in range(len(reader)) if frames is None else frames:
        tracked = tracker.track(reader.frame(index), None)
        yield FrameResult(
            stamp_ns=tracked.stamp_ns,
            state=State.UNINITIALISED,
            reason=tracked.reason,
            odom_T_base=tracked.odom_T_base,
            odom_covariance=None if tracked.motion is None else tracked.motion.covariance,
            map_T_base=None,
            map_covariance=None,
            fix=False,
            keyframe=None,
            inliers=0,
            odometry_inliers=tracked.inliers,
            timings_ms=tracked.clock.elapsed_ms(),
        )


def truth_of(reader: DatasetReader) -> Trajectory | None:
    """``world_T_base`` of a recording, where known; for judging only."""
    truth = reader.ground_truth
    return None if truth is None else to_base(truth, reader.base_T_camera)


def truth_file(map_path: Path) -> Path:
    """Where the truth of a map's keyframes is kept: beside the map and not in it, so that nothing that estimates can see it."""
    return map_path.with_suffix(".truth.tum")


def save_keyframe_truth(reader: DatasetReader, map_path: Path) -> None:
    """Keep the true poses of a map's keyframes that a recording knows, beside those that are known already.

    Raises:
        MapError: the map cannot be read.
        DataError: the file cannot be written.
    """
    truth = truth_of(reader)
    if truth is None:
        return
    with MapStore.open(map_path, read_only=True) as store:
        stamps = np.array([k.stamp_ns for k in store.keyframes()], dtype=np.int64)
    poses = interpolate(truth, stamps, _TRUTH_GAP_NS)
    known = np.isfinite(poses).all(axis=(1, 2))
    stamps, poses = stamps[known], poses[known]
    if truth_file(map_path).exists():
        before = read_tum(truth_file(map_path))
        stamps, poses = np.concatenate([before.stamps_ns, stamps]), np.concatenate([before.poses, poses])
    if len(stamps):
        write_tum(truth_file(map_path), increasing(stamps, poses))


@dataclass(frozen=True, slots=True)
class Judged:
    """A finished run that is judged by the truth, where there is one."""

    name: str
    folder: Path
    reader: DatasetReader
    map_path: Path | None = None

    def report(self) -> ReportRun:
        """Numbers, errors and match pictures.

        Raises:
            VlocError: the record of the run, the map or a frame cannot be read.
        """
        run, truth = read_run(self.folder), truth_of(self.reader)
        if self.map_path is None:
            return ReportRun.evaluate(self.name, run, truth)
        with MapStore.open(self.map_path, read_only=True) as store:
            keyframes = store.keyframes()
            pictures = self._pictures(run, store)
        kept = truth_file(self.map_path)
        keyframe_truth = read_tum(kept) if kept.exists() else None
        return ReportRun.evaluate(self.name, run, truth, keyframes, keyframe_truth, pictures)

    def _pictures(self, run: Run, store: MapStore) -> list[MatchPicture]:
        index_of = {int(stamp): index for index, stamp in enumerate(self.reader.stamps_ns)}
        pictures = []
        for which, place in pick_fixes(run.frames).items():
            frame = run.frames[place]
            assert frame.match is not None
            image = store.image(frame.match.keyframe)
            if image is None or frame.stamp_ns not in index_of:
                continue
            live = self.reader.frame(index_of[frame.stamp_ns]).left
            caption = f"{self.name}: {which} fix, {frame.inliers} inliers; live image above, keyframe {frame.match.keyframe} below"
            pictures.append(MatchPicture(draw_matches(live, image, frame.match), caption))
        return pictures


def route_length(poses: list[NDArray[np.float64]]) -> float:
    """Length of the path through (4, 4) poses [m]."""
    return float(sum(se3.translation_norm(se3.between(a, b)) for a, b in itertools.pairwise(poses)))
