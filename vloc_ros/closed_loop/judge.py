"""Judging a drive by the truth, after it is over."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.closed_loop.record import DriveRecord
from vloc_ros.data.reader import Trajectory
from vloc_ros.evaluation import frame_errors
from vloc_ros.mapping import Keyframe
from vloc_ros.path_following import TaughtPath

Array = NDArray[np.float64]
FALSE_POSE_M = 0.3
"""A believed pose that is farther from the truth is false."""
STANDING_MPS = 0.02
"""A slower robot stands."""
_CARRIED_M = 0.5


@dataclass(frozen=True, slots=True)
class DriveSummary:
    """The numbers of a drive; None where there is nothing to take them from.

    Attributes:
        site, condition, features: what was driven, and with what.
        path_m: length of the taught path [m].
        driven_m: true distance driven [m], by robot and operator; where a robot is carried it does not drive.
        operator_m: of it by the operator [m].
        autonomy_percent: share of the distance driven that the robot drove by itself [%].
        interventions: how often the operator stepped in.
        lateral_rms_m, lateral_max_m: true distance to the taught path while the robot drove by itself [m].
        heading_rms_deg: true angle to the taught path then [deg].
        fixes_per_m: fixes against the map by true distance driven [1/m].
        median_inliers: of the fixes.
        false_poses: believed poses that are wrong by more than 0.3 m against their keyframe.
        localised_percent: frames with a fix [%].
        rate_hz: frames per second of the time that localisation took.
        frames: camera frames.
        frames_alone: of them those in which the robot moved by itself.
        fixes: frames that were localised against the map.
        memory_mib_per_hour: growth of the resident memory in the second half, by simulated time; None for short drives.
    """

    site: str
    condition: str
    features: str
    path_m: float
    driven_m: float
    operator_m: float
    autonomy_percent: float
    interventions: int
    lateral_rms_m: float | None
    lateral_max_m: float | None
    heading_rms_deg: float | None
    fixes_per_m: float
    median_inliers: float | None
    false_poses: int
    localised_percent: float
    rate_hz: float | None
    frames: int
    frames_alone: int
    fixes: int
    memory_mib_per_hour: float | None

    def to_dict(self) -> dict[str, Any]:
        """All numbers by name."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class JudgedDrive:
    """A drive against the truth of what was taught; F frames.

    Attributes:
        record: what was recorded.
        path: the true taught path in the world.
        station: (F,) true distance along it [m].
        lateral: (F,) true distance to its left [m].
        heading: (F,) true angle to its left [rad].
        inliers: (F,) of the fixes, NaN where there was none.
        pose_error: (F,) error of the believed pose against its keyframe [m], NaN without one.
        summary: the numbers.
    """

    record: DriveRecord
    path: TaughtPath
    station: Array
    lateral: Array
    heading: Array
    inliers: Array
    pose_error: Array
    summary: DriveSummary


def judge(record: DriveRecord, keyframes: list[Keyframe], keyframe_truth: Trajectory) -> JudgedDrive:
    """Judge a drive.

    Args:
        record: what was recorded.
        keyframes: of the taught path, in order.
        keyframe_truth: their true poses ``world_T_base`` by stamp.

    Raises:
        DataError: the truth is of too few keyframes.
    """
    path = TaughtPath(list(keyframe_truth.poses))
    station, lateral, heading = _on_path(path, record)
    run = record.run
    inliers = np.array([frame.inliers if frame.fix else np.nan for frame in run.frames])
    truth = Trajectory(run.stamps_ns, record.world_T_base)
    pose_error = frame_errors(run, truth, keyframes, keyframe_truth).position_m
    moved = steps_m(record)
    alone = ~record.operator
    driven, by_robot = float(moved.sum()), float(moved[alone[:-1]].sum())
    # A robot that stands and waits for help is not following anything.
    follows = alone & (np.abs(record.twists[:, 0]) > STANDING_MPS)
    fixes = int(np.isfinite(inliers).sum())
    seconds = sum(frame.timings_ms.get("total", 0.0) for frame in run.frames) * 1e-3
    frames = len(run.frames)
    summary = DriveSummary(
        site=str(record.info.get("site", "")),
        condition=str(record.info.get("condition", "")),
        features=str(record.info.get("features", "")),
        path_m=path.length,
        driven_m=driven,
        operator_m=driven - by_robot,
        autonomy_percent=percent_alone(driven, driven - by_robot),
        interventions=len(record.interventions),
        lateral_rms_m=_rms(lateral[follows]),
        lateral_max_m=float(np.abs(lateral[follows]).max()) if follows.any() else None,
        heading_rms_deg=float(np.degrees(_rms(heading[follows]) or 0.0)) if follows.any() else None,
        fixes_per_m=fixes / driven if driven > 0.0 else 0.0,
        median_inliers=float(np.nanmedian(inliers)) if fixes else None,
        false_poses=int(np.count_nonzero(pose_error > FALSE_POSE_M)),
        localised_percent=100.0 * fixes / frames if frames else 0.0,
        rate_hz=frames / seconds if seconds > 0.0 else None,
        frames=frames,
        frames_alone=int(follows.sum()),
        fixes=fixes,
        memory_mib_per_hour=_memory_slope(record),
    )
    return JudgedDrive(record, path, station, lateral, heading, inliers, pose_error, summary)


def percent_alone(driven_m: float, operator_m: float) -> float:
    """Share [%] of a distance that the robot drove by itself; exactly 100 without an operator, 0 with nothing else."""
    return 100.0 * (1.0 - operator_m / driven_m) if driven_m > 0.0 else 0.0


def carried(record: DriveRecord) -> NDArray[np.bool_]:
    """(F - 1,) whether the robot was carried from each frame to the next: farther than its speed explains."""
    seconds = np.diff(record.run.stamps_ns) * 1e-9
    speed = np.abs(record.twists[:, 0])
    return np.asarray(_moved_m(record) > 2.0 * np.maximum(speed[:-1], speed[1:]) * seconds + _CARRIED_M)


def steps_m(record: DriveRecord) -> Array:
    """(F - 1,) true distance driven from each frame to the next [m]; 0 where the robot was carried, for nobody drove there."""
    return np.asarray(np.where(carried(record), 0.0, _moved_m(record)))


def _moved_m(record: DriveRecord) -> Array:
    return np.asarray(np.linalg.norm(np.diff(record.world_T_base[:, :3, 3], axis=0), axis=1))


def _on_path(path: TaughtPath, record: DriveRecord) -> tuple[Array, Array, Array]:
    """Station, lateral and heading of true poses, each looked for where the last was: a path may cross itself.

    Where the robot was carried, the whole path is searched.
    """
    points, near = [], None
    elsewhere = [True, *carried(record)]
    for pose, lost in zip(record.world_T_base, elsewhere, strict=False):
        point = path.locate(pose, None if lost else near)
        if abs(point.lateral) > 2.0 or (near is not None and path.closed and path.length - near < 1.0):
            point = path.locate(pose)
        points.append(point)
        near = point.station
    table = np.array([point[:3] for point in points], dtype=np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def _rms(values: Array) -> float | None:
    return float(np.sqrt(np.mean(values**2))) if len(values) else None


def _memory_slope(record: DriveRecord) -> float | None:
    """Least-squares slope [MiB/h] of the second half of a drive of ten minutes or more."""
    hours = (record.run.stamps_ns - record.run.stamps_ns[:1]) / 3.6e12
    if len(hours) == 0 or hours[-1] < 1.0 / 6.0:
        return None
    late = hours >= 0.5 * hours[-1]
    return float(np.polyfit(hours[late], record.memory_mib[late], 1)[0])
