"""How much nearer to the truth the loop closures brought a map; for judging only, after everything has been estimated."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.trajectory import read_tum
from vloc_ros.evaluation import absolute_trajectory_error
from vloc_ros.evaluation.trajectories import poses_at
from vloc_ros.loop_closure.search import LoopRun

_MOST_GAP_S = 0.001


@dataclass(frozen=True, slots=True)
class TrajectoryError:
    """Absolute trajectory error (root mean square, after rigid alignment) of one session's keyframes [m].

    Attributes:
        session: which.
        keyframes: how many have a known truth.
        odometry_m: of the odometry alone.
        optimised_m: of the optimised poses.
    """

    session: int
    keyframes: int
    odometry_m: float
    optimised_m: float

    def to_dict(self) -> dict[str, float]:
        """As plain values."""
        return asdict(self)


def trajectory_errors(run: LoopRun, truth_file: Path) -> list[TrajectoryError]:
    """Errors of each session that has at least three keyframes of known truth; none without a file.

    Raises:
        DataError: the file is there but cannot be read.
    """
    if not truth_file.exists():
        return []
    truth = read_tum(truth_file)
    stamps = np.array([keyframe.stamp_ns for keyframe in run.keyframes], dtype=np.int64)
    sessions = np.array([keyframe.id.session for keyframe in run.keyframes])
    true_poses, known = poses_at(truth, stamps, _MOST_GAP_S)
    result = []
    for session in np.unique(sessions).tolist():
        rows: NDArray[np.bool_] = known & (sessions == session)
        if np.count_nonzero(rows) >= 3:
            errors = [absolute_trajectory_error(p[rows], true_poses[rows]) for p in (run.odometry, run.judgement.poses)]
            of_odometry, optimised = (error.translation.rmse for error in errors)
            result.append(TrajectoryError(session, int(np.count_nonzero(rows)), of_odometry, optimised))
    return result
