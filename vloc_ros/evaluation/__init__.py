"""How good a run was: its record, its numbers, and a report about it."""

from vloc_ros.evaluation.frame_errors import ErrorKind, FrameErrors, KeyframeTruth, frame_errors
from vloc_ros.evaluation.metrics import (
    Alignment,
    Drift,
    ErrorStatistics,
    PoseErrors,
    Similarity,
    absolute_trajectory_error,
    align,
    kitti_drift,
    relative_pose_error,
    umeyama,
)
from vloc_ros.evaluation.output import OutputError
from vloc_ros.evaluation.pictures import MatchPicture, draw_matches, pick_fixes
from vloc_ros.evaluation.report import write_report
from vloc_ros.evaluation.report_run import ReportRun
from vloc_ros.evaluation.runlog import Run, RunLog, read_run, write_trajectories
from vloc_ros.evaluation.summary import EvaluationConfig, Summary, summarise
from vloc_ros.evaluation.trajectories import to_base

__all__ = [
    "Alignment",
    "Drift",
    "ErrorKind",
    "ErrorStatistics",
    "EvaluationConfig",
    "FrameErrors",
    "KeyframeTruth",
    "MatchPicture",
    "OutputError",
    "PoseErrors",
    "ReportRun",
    "Run",
    "RunLog",
    "Similarity",
    "Summary",
    "absolute_trajectory_error",
    "align",
    "draw_matches",
    "frame_errors",
    "kitti_drift",
    "pick_fixes",
    "read_run",
    "relative_pose_error",
    "summarise",
    "to_base",
    "umeyama",
    "write_report",
    "write_trajectories",
]
