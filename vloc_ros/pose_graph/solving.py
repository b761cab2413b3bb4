"""One graph solved and labelled, by the steadier solver where the fast one cannot."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError
from vloc_ros.pose_graph.gnc import GncSolution, solve_gnc
from vloc_ros.pose_graph.gnc_settings import Optimizer
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.labelling import label_closures
from vloc_ros.pose_graph.labels import Verdict
from vloc_ros.pose_graph.settings import PoseGraphSettings

Array = NDArray[np.float64]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LabelledSolution:
    """A solution and the verdict on each edge (None for trusted ones)."""

    solution: GncSolution
    verdicts: list[Verdict | None]


def solve_and_label(graph: PoseGraph, settings: PoseGraphSettings, start: Array | None, revision: int) -> LabelledSolution:
    """Solve a graph and judge its closures.

    Gauss-Newton meets systems that are too badly conditioned for it (tens of kilometres of odometry seen from one end); the
    damping of Levenberg-Marquardt gets through them.

    Args:
        graph: it.
        settings: of the solver and the labels.
        start: (N, d + 1, d + 1) poses to start from; None: the integrated odometry.
        revision: number that the verdicts bear.

    Raises:
        DataError: it cannot be solved.
    """
    try:
        solution = solve_gnc(graph, settings.gnc, start)
    except DataError as error:
        if settings.gnc.optimizer is Optimizer.LEVENBERG_MARQUARDT:
            raise
        _log.warning("%s; once more with damping", error)
        solution = solve_gnc(graph, replace(settings.gnc, optimizer=Optimizer.LEVENBERG_MARQUARDT), start)
    return LabelledSolution(solution, label_closures(graph, solution, settings.labels, revision))
