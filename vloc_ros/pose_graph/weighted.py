"""Weighted least squares on a pose graph, by gtsam, from wherever the last solve ended."""

from __future__ import annotations

import logging

import gtsam
import numpy as np
from numpy.typing import NDArray

from vloc_ros.pose_graph import manifold
from vloc_ros.pose_graph.factors import between_factor, factor_table, from_values, square_roots, to_values
from vloc_ros.pose_graph.gnc_settings import GncSettings, Optimizer
from vloc_ros.pose_graph.graph import PoseGraph

Array = NDArray[np.float64]
_log = logging.getLogger(__name__)


class WeightedGraph:
    """A graph with weights on its closures and a current estimate of its poses."""

    def __init__(self, graph: PoseGraph, poses: Array, settings: GncSettings) -> None:
        self.graph = graph
        self.poses = poses
        self.weights: Array = np.ones(len(graph.a))
        self._settings = settings
        self._table = factor_table(graph, poses)
        self._closures = np.flatnonzero(~graph.trusted)
        self._square_roots = square_roots(graph.information)
        self._values = to_values(poses)
        self._ordering = self._table.factors.orderingCOLAMD()

    def closure_chi2(self) -> Array:
        """(C,) squared Mahalanobis residuals of the closures at the current poses, unweighted."""
        rows = self._closures
        graph = self.graph
        tangents = manifold.residuals(self.poses, graph.a[rows], graph.b[rows], graph.a_T_b[rows])
        return manifold.squared_mahalanobis(tangents, graph.information[rows])

    def cost(self) -> float:
        """Weighted cost, half the sum of the squared Mahalanobis residuals, at the current poses."""
        return float(self._table.factors.error(self._values))

    def set_weights(self, weights: Array) -> None:
        """Weigh the closures with (M,) factors of their information; entries of trusted edges must be 1."""
        stale = ((weights == 0.0) != (self.weights == 0.0)).any()
        for edge in self._closures[weights[self._closures] != self.weights[self._closures]].tolist():
            slot = int(self._table.slots[edge])
            if weights[edge] == 0.0:
                self._table.factors.remove(slot)
            else:
                factor = between_factor(self.graph, edge, self._square_roots[edge] * np.sqrt(weights[edge]))
                self._table.factors.replace(slot, factor)
        self.weights = weights
        if stale:
            # A factor less is fill-in less.
            self._ordering = self._table.factors.orderingCOLAMD()

    def optimise(self, iterations: int) -> None:
        """Move the poses by at most so many steps of the solver."""
        factors = self._table.factors
        if self._settings.optimizer is Optimizer.GAUSS_NEWTON:
            before = factors.error(self._values)
            solver = gtsam.GaussNewtonOptimizer(factors, self._values, self._parameters(gtsam.GaussNewtonParams(), iterations))
            values = solver.optimize()
            after = factors.error(values)
            if after <= before * (1.0 + 1e-9) + 1e-9:
                self._accept(values)
                return
            _log.debug("Gauss-Newton made the cost grow from %g to %g: Levenberg-Marquardt takes this round", before, after)
        parameters = self._parameters(gtsam.LevenbergMarquardtParams(), max(iterations, 10))
        self._accept(gtsam.LevenbergMarquardtOptimizer(factors, self._values, parameters).optimize())

    def _parameters(self, parameters: gtsam.NonlinearOptimizerParams, iterations: int) -> gtsam.NonlinearOptimizerParams:
        parameters.setMaxIterations(iterations)
        parameters.setRelativeErrorTol(self._settings.relative_cost_tolerance)
        parameters.setOrdering(self._ordering)
        return parameters

    def _accept(self, values: gtsam.Values) -> None:
        self._values = values
        self.poses = from_values(values, self.graph.dimension)
