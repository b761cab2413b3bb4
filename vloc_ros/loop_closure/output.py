"""The loops of a map as files: a table of closures and of rejections, the optimised trajectory, the graph."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data import Trajectory
from vloc_ros.data.trajectory import write_kitti_poses, write_tum
from vloc_ros.evaluation.output import make_folder, write_whole
from vloc_ros.loop_closure.search import LoopRun
from vloc_ros.loop_closure.verifier import Candidate, Rejection
from vloc_ros.pose_graph.files import write_g2o

Array = NDArray[np.float64]
CLOSURE_COLUMNS = ("a", "b", "score", "probability", "inliers", "matches", "label", "weight", "chi2", "revision", "reason")
REJECTION_COLUMNS = ("a", "b", "score", "probability", "inliers", "matches", "reason")


def write_loops(folder: Path, run: LoopRun, base_T_camera: Array) -> None:
    """Write ``closures.csv``, ``rejections.csv``, ``graph.g2o``, and for each session its optimised poses.

    ``optimised_s1.tum`` has map_T_base with stamps, ``optimised_s1.kitti`` has map_T_camera as KITTI's poses are.

    Args:
        folder: made if it is not there.
        run: what was found.
        base_T_camera: (4, 4) pose of the left camera on the base.

    Raises:
        OutputError: a table cannot be written.
        DataError: a trajectory or the graph cannot be written.
    """
    make_folder(folder)
    write_whole(folder / "closures.csv", _csv(CLOSURE_COLUMNS, _closure_rows(run)))
    write_whole(folder / "rejections.csv", _csv(REJECTION_COLUMNS, _rejection_rows(run)))
    write_g2o(folder / "graph.g2o", replace(run.judgement.of.graph, poses=run.judgement.poses))
    sessions = np.array([keyframe.id.session for keyframe in run.keyframes])
    stamps = np.array([keyframe.stamp_ns for keyframe in run.keyframes], dtype=np.int64)
    for session in np.unique(sessions).tolist():
        rows = sessions == session
        poses = run.judgement.poses[rows]
        write_tum(folder / f"optimised_s{session}.tum", Trajectory(stamps[rows], poses))
        write_kitti_poses(folder / f"optimised_s{session}.kitti", poses @ base_T_camera)


def _closure_rows(run: LoopRun) -> Iterable[Sequence[Any]]:
    for closure in run.judgement.closures:
        found, verdict = run.candidate_of(closure), closure.verdict
        measured = ("", "", "", "") if found is None else _measured(found)
        numbers = (f"{verdict.weight:.4f}", f"{verdict.chi2:.3f}", verdict.revision)
        yield (closure.a, closure.b, *measured, verdict.label.value, *numbers, verdict.reason.value)


def _rejection_rows(run: LoopRun) -> Iterable[Sequence[Any]]:
    for pair in run.rejections:
        yield (pair.a, pair.b, *_measured(pair), pair.reason.value)


def _measured(pair: Candidate | Rejection) -> Sequence[Any]:
    probability = "" if pair.probability is None else f"{pair.probability:.4f}"
    return (f"{pair.score:.4f}", probability, pair.inliers, pair.matches)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
