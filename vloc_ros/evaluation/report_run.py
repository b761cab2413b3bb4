"""One run as a report shows it: the record with everything it is judged by, in one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vloc_ros.data.reader import Trajectory
from vloc_ros.evaluation.frame_errors import ALIGNMENT_LEVER_M, FrameErrors, KeyframeTruth, frame_errors
from vloc_ros.evaluation.metrics import align
from vloc_ros.evaluation.pictures import MatchPicture
from vloc_ros.evaluation.runlog import Run
from vloc_ros.evaluation.summary import EvaluationConfig, Summary, summarise
from vloc_ros.evaluation.trajectories import NANOSECONDS, Array, inverses, poses_at, stack
from vloc_ros.mapping.keyframe import Keyframe
from vloc_ros.mapping.state import State


@dataclass(frozen=True, slots=True)
class ReportRun:
    """A run with its judgement. Build it with :meth:`evaluate`.

    Attributes:
        name: short title of the run, as in "repeat at dusk".
        run: the record, F frames.
        summary: its numbers.
        errors: its errors per frame, where there is truth.
        truth: ``world_T_base``.
        taught_route: (N, 4, 4) ``map_T_base`` along the taught route.
        pictures: match pictures.
        max_gap_s: longest gap of the truth that is interpolated [s].
    """

    name: str
    run: Run
    summary: Summary
    errors: FrameErrors | None = None
    truth: Trajectory | None = None
    taught_route: Array | None = None
    pictures: tuple[MatchPicture, ...] = ()
    max_gap_s: float = 0.25

    @classmethod
    def evaluate(
        cls,
        name: str,
        run: Run,
        truth: Trajectory | None = None,
        keyframes: Sequence[Keyframe] = (),
        keyframe_truth: KeyframeTruth | None = None,
        pictures: Sequence[MatchPicture] = (),
        config: EvaluationConfig | None = None,
    ) -> ReportRun:
        """Judge a run; the arguments are those of :func:`summarise`, and the keyframes are the taught route."""
        config = config or EvaluationConfig()
        gap = config.max_truth_gap_s
        errors = None if truth is None else frame_errors(run, truth, keyframes, keyframe_truth, gap)
        summary = summarise(run, truth, keyframes, keyframe_truth, config, errors)
        route = stack([keyframe.map_T_base for keyframe in keyframes]) if keyframes else None
        return cls(name, run, summary, errors, truth, route, tuple(pictures), gap)

    @property
    def follows_map(self) -> bool:
        """Whether any frame has a believed pose in a map; otherwise the run is shown by its odometry."""
        return any(frame.map_T_base is not None for frame in self.run.frames)

    @property
    def states(self) -> list[State]:
        """State after each frame."""
        return [frame.state for frame in self.run.frames]

    def times(self) -> tuple[Array, str]:
        """(F,) values of the time axis and its label: seconds, or frame numbers when stamps do not increase."""
        stamps = self.run.stamps_ns
        if len(stamps) > 1 and np.all(np.diff(stamps) > 0):
            return (stamps - stamps[0]) / NANOSECONDS, "time [s]"
        return np.arange(len(stamps), dtype=np.float64), "frame"

    def poses(self) -> Array:
        """(F, 4, 4) believed poses in the map, or the odometry of a run without a map; NaN where there is none."""
        unknown = np.full((4, 4), np.nan)
        frames, in_map = self.run.frames, self.follows_map
        poses = [frame.map_T_base if in_map else frame.odom_T_base for frame in frames]
        return stack([unknown if pose is None else pose for pose in poses])

    def true_poses(self) -> Array | None:
        """(F, 4, 4) true poses in the frame of :meth:`poses`, NaN where unknown; None when they cannot be brought there."""
        if self.truth is None:
            return None
        true_poses, known = poses_at(self.truth, self.run.stamps_ns, self.max_gap_s)
        world_T_shown = None if self.errors is None else self.errors.world_T_map
        if world_T_shown is None:
            estimate = self.poses()
            both = known & np.isfinite(estimate[:, 0, 0])
            if not np.any(both):
                return None
            world_T_shown = align(estimate[both], true_poses[both], lever_m=ALIGNMENT_LEVER_M)
        world_T = np.eye(4)
        world_T[:3, :3], world_T[:3, 3] = world_T_shown.rotation, world_T_shown.translation
        return np.asarray(inverses(world_T[None])[0] @ true_poses)
