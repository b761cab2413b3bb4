"""gtsam's own GNC optimiser with odometry and anchors as known inliers: the oracle that ours is measured against."""

from __future__ import annotations

import gtsam
import numpy as np
from numpy.typing import NDArray

from vloc_ros.pose_graph.factors import FactorTable, factor_table, from_values, to_values
from vloc_ros.pose_graph.gnc_settings import GncSettings, Optimizer
from vloc_ros.pose_graph.graph import PoseGraph

Array = NDArray[np.float64]
_GTSAM_MAX_ITERATIONS = 100


def solve_bare(graph: PoseGraph, poses: Array, settings: GncSettings) -> tuple[Array, Array, int, bool]:
    """Poses, weights of the edges, rounds (gtsam does not tell: the allowed ones) and whether all weights are 0 or 1."""
    table = factor_table(graph, poses)
    solver = bare_solver(table, poses, settings, table.known_inliers(graph.trusted))
    solved = from_values(solver.optimize(), graph.dimension)
    weights = np.asarray(solver.getWeights(), dtype=np.float64)[table.slots] if len(graph.a) else np.zeros(0)
    decided = bool((np.minimum(weights, 1.0 - weights) <= settings.weights_tolerance).all())
    return solved, weights, settings.max_iterations, decided


def bare_solver(
    table: FactorTable, poses: Array, settings: GncSettings, known_inliers: list[int]
) -> gtsam.GncLMOptimizer | gtsam.GncGaussNewtonOptimizer:
    """The optimiser of gtsam, ready to run, with these slots as known inliers."""
    solver: gtsam.GncLMOptimizer | gtsam.GncGaussNewtonOptimizer
    if settings.optimizer is Optimizer.GAUSS_NEWTON:
        newton = gtsam.GncGaussNewtonParams(gtsam.GaussNewtonParams())
        _set(newton, settings, known_inliers)
        solver = gtsam.GncGaussNewtonOptimizer(table.factors, to_values(poses), newton)
    else:
        damped = gtsam.GncLMParams(gtsam.LevenbergMarquardtParams())
        _set(damped, settings, known_inliers)
        solver = gtsam.GncLMOptimizer(table.factors, to_values(poses), damped)
    solver.setInlierCostThresholdsAtProbability(settings.probability)
    return solver


def _set(parameters: gtsam.GncGaussNewtonParams | gtsam.GncLMParams, settings: GncSettings, known_inliers: list[int]) -> None:
    if settings.max_iterations != _GTSAM_MAX_ITERATIONS:
        # gtsam prints a warning on stdout whenever it is told.
        parameters.setMaxIterations(settings.max_iterations)
    parameters.setLambdaStep(settings.mu_step)
    parameters.setRelativeCostTol(settings.relative_cost_tolerance)
    parameters.setWeightsTol(settings.weights_tolerance)
    if known_inliers:
        parameters.setKnownInliers(known_inliers)
