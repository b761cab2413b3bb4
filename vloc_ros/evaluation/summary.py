"""The numbers of one run, as tables, ``--json`` and reports quote them."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vloc_ros.config import param
from vloc_ros.data.reader import Trajectory
from vloc_ros.evaluation.frame_errors import FrameErrors, KeyframeTruth, frame_errors
from vloc_ros.evaluation.metrics import Drift, absolute_trajectory_error, kitti_drift
from vloc_ros.evaluation.runlog import Run
from vloc_ros.evaluation.trajectories import Array, poses_at
from vloc_ros.mapping.keyframe import Keyframe
from vloc_ros.mapping.state import FrameResult, State

TOTAL = "total"
"""Name of the stage, if there is one, that holds the wall time of the whole frame."""
THRESHOLDS = {"0.25m_2deg": (0.25, 2.0), "0.5m_5deg": (0.5, 5.0), "5m_10deg": (5.0, 10.0)}


@dataclass(frozen=True)
class EvaluationConfig:
    """How runs are judged."""

    false_fix_m: float = param(0.3, "a believed pose that is farther from the truth is a false fix", unit="m", min=0.0)
    max_truth_gap_s: float = param(0.25, "longest gap of the true trajectory that is interpolated", unit="s", min=0.0)


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers of a run; None where they cannot be computed (no truth, no pose, no timing), never 0 instead.

    Attributes:
        frames: frames processed.
        localised, localised_percent: frames in state LOCALISED with a believed pose, and their share [%].
        believed: frames with a believed pose, dead reckoned ones included.
        fixes: frames that were themselves localised against the map.
        false_fixes, false_fix_threshold_m: believed poses wrong by more than the threshold [m].
        judged: frames with truth, over which ``within`` is taken.
        error_kind: ``relative_to_keyframe`` or ``absolute``; which error the next four and ``false_fixes`` are of.
        median_position_error_m, median_rotation_error_deg, max_position_error_m: over the believed poses.
        within: share [%] of *all* judged frames that are so good; a frame without a believed pose is not. Unknown for a run
            that never looked for itself in a map.
        median_absolute_error_m: position error in the world after the map was aligned with it.
        ate_rmse_m: absolute trajectory error of the believed poses after SE(3) alignment.
        odometry_ate_rmse_m: the same of the odometry.
        translation_drift_percent, rotation_drift_deg_per_m: of the odometry, as KITTI defines them.
        drift_lengths_m, drift_segments: segment lengths behind the drift and their number.
        rate_hz: frames per second of processing time.
        latency_ms: processing time of a frame: p50, p90, p99 and max.
        stages_ms: p50 and p99 of each stage.
        states, reasons: number of frames in each state, and with each reason for refusal (by name).
        median_inliers: over the fixes; without any fix, over the frames with inliers.
        median_odometry_inliers: over the frames with odometry.
    """

    frames: int
    localised: int
    localised_percent: float | None
    believed: int
    fixes: int
    false_fixes: int | None
    false_fix_threshold_m: float
    judged: int | None
    error_kind: str | None
    median_position_error_m: float | None
    median_rotation_error_deg: float | None
    max_position_error_m: float | None
    within: dict[str, float | None]
    median_absolute_error_m: float | None
    ate_rmse_m: float | None
    odometry_ate_rmse_m: float | None
    translation_drift_percent: float | None
    rotation_drift_deg_per_m: float | None
    drift_lengths_m: tuple[float, ...] | None
    drift_segments: int | None
    rate_hz: float | None
    latency_ms: dict[str, float | None]
    stages_ms: dict[str, dict[str, float]]
    states: dict[str, int]
    reasons: dict[str, int]
    median_inliers: float | None
    median_odometry_inliers: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    def to_json(self, indent: int | None = 2) -> str:
        """JSON text; what is unknown is null."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)


def summarise(
    run: Run,
    truth: Trajectory | None = None,
    keyframes: Sequence[Keyframe] = (),
    keyframe_truth: KeyframeTruth | None = None,
    config: EvaluationConfig | None = None,
    errors: FrameErrors | None = None,
) -> Summary:
    """Boil a run down to its numbers.

    Args:
        run: the run.
        truth: ``world_T_base`` over the time of the run.
        keyframes: those of the map that was repeated.
        keyframe_truth: their ``world_T_base``, by name or over the time of teaching.
        config: thresholds.
        errors: of :func:`frame_errors` for the same arguments, if they are at hand.
    """
    config = config or EvaluationConfig()
    if errors is None and truth is not None:
        errors = frame_errors(run, truth, keyframes, keyframe_truth, config.max_truth_gap_s)
    if not keyframes and not run.seeks_map:
        # Mere odometry: a frame without a pose in a map is not a failure to find one.
        errors = None
    frames = run.frames
    localised = sum(frame.state is State.LOCALISED and frame.map_T_base is not None for frame in frames)
    return Summary(
        frames=len(frames),
        localised=localised,
        localised_percent=100.0 * localised / len(frames) if frames else None,
        believed=sum(frame.map_T_base is not None for frame in frames),
        fixes=sum(frame.fix for frame in frames),
        states=dict(Counter(frame.state.value for frame in frames)),
        reasons=dict(Counter(frame.reason.name for frame in frames if frame.reason is not None)),
        median_inliers=_median(_inliers(frames)),
        median_odometry_inliers=_median([frame.odometry_inliers for frame in frames if frame.odom_T_base is not None]),
        false_fix_threshold_m=config.false_fix_m,
        **_error_numbers(errors, config),
        **_trajectory_numbers(run, truth, config),
        **_timing_numbers(frames),
    )


def _error_numbers(errors: FrameErrors | None, config: EvaluationConfig) -> dict[str, Any]:
    judged = 0 if errors is None else int(np.count_nonzero(errors.judged))
    if errors is None or judged == 0:
        unknown = ("false_fixes", "error_kind", "median_position_error_m", "median_rotation_error_deg")
        more = ("max_position_error_m", "median_absolute_error_m")
        return {**dict.fromkeys(unknown + more), "judged": None if errors is None else 0, "within": dict.fromkeys(THRESHOLDS)}
    position, rotation = _known(errors.position_m), _known(errors.rotation_rad)
    return {
        "false_fixes": errors.false_poses(config.false_fix_m),
        "judged": judged,
        "error_kind": errors.kind.value,
        "median_position_error_m": _median(position),
        "median_rotation_error_deg": _median(np.degrees(rotation)),
        "max_position_error_m": float(np.max(position)) if len(position) else None,
        "within": {name: errors.within_percent(metres, np.radians(deg)) for name, (metres, deg) in THRESHOLDS.items()},
        "median_absolute_error_m": _median(_known(np.linalg.norm(errors.absolute[:, :3, 3], axis=1))),
    }


def _trajectory_numbers(run: Run, truth: Trajectory | None, config: EvaluationConfig) -> dict[str, Any]:
    odometry = _against(run.odometry, truth, config.max_truth_gap_s)
    drift: Drift | None = None if odometry is None else kitti_drift(*odometry)
    return {
        "ate_rmse_m": _ate(_against(run.trajectory, truth, config.max_truth_gap_s)),
        "odometry_ate_rmse_m": _ate(odometry),
        "translation_drift_percent": None if drift is None else drift.translation_percent,
        "rotation_drift_deg_per_m": None if drift is None else drift.rotation_deg_per_m,
        "drift_lengths_m": None if drift is None else drift.lengths_m,
        "drift_segments": None if drift is None else drift.segments,
    }


def _timing_numbers(frames: Sequence[FrameResult]) -> dict[str, Any]:
    stages: dict[str, list[float]] = {}
    for frame in frames:
        for name, value in frame.timings_ms.items():
            stages.setdefault(name, []).append(value)
    latency = np.array([frame_time_ms(frame) for frame in frames if frame.timings_ms])
    empty = len(latency) == 0
    p50, p90, p99 = (None, None, None) if empty else (float(value) for value in np.percentile(latency, (50, 90, 99)))
    stages.pop(TOTAL, None)
    return {
        "rate_hz": None if empty or latency.sum() <= 0.0 else 1000.0 / float(np.mean(latency)),
        "latency_ms": {"p50": p50, "p90": p90, "p99": p99, "max": None if empty else float(np.max(latency))},
        "stages_ms": {
            name: {"p50": float(np.percentile(values, 50)), "p99": float(np.percentile(values, 99))}
            for name, values in stages.items()
        },
    }


def frame_time_ms(frame: FrameResult) -> float:
    """Processing time of a frame [ms]: its ``total`` if it was measured, else the sum of its stages."""
    return frame.timings_ms.get(TOTAL, sum(frame.timings_ms.values()))


def _against(trajectory: Trajectory, truth: Trajectory | None, max_gap_s: float) -> tuple[Array, Array] | None:
    """Estimated and true poses at the times where both are known; None for fewer than three."""
    if truth is None:
        return None
    true_poses, known = poses_at(truth, trajectory.stamps_ns, max_gap_s)
    return (trajectory.poses[known], true_poses[known]) if np.count_nonzero(known) >= 3 else None


def _ate(pair: tuple[Array, Array] | None) -> float | None:
    return None if pair is None else absolute_trajectory_error(*pair).translation.rmse


def _inliers(frames: Sequence[FrameResult]) -> list[int]:
    fixes = [frame.inliers for frame in frames if frame.fix]
    return fixes or [frame.inliers for frame in frames if frame.inliers > 0]


def _known(values: Array) -> Array:
    return values[np.isfinite(values)]


def _median(values: Sequence[float] | Array) -> float | None:
    return float(np.median(values)) if len(values) else None
