"""Weighted least squares on a pose graph, by gtsam, from wherever the last solve ended."""

from __future__ import annotations

import logging

import gtsam
import numpy as np
from numpy.typing import NDArray

from vloc_ros.pose_graph import manifold
from vloc_ros.pose_graph.factors import between_factor, factor_table, from_gtsam_tangent, from_values, square_roots, to_values
from vloc_ros.pose_graph.gnc_settings import GncSettings, Optimizer
from vloc_ros.pose_graph.graph import PoseGraph

Array = NDArray[np.float64]
_log = logging.getLogger(__name__)
_HALVINGS = 6
"""How often a step of Gauss-Newton that leads upwards is halved."""


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

    def innovation_chi2(self, edges: NDArray[np.int64]) -> Array:
        """(E,) squared Mahalanobis residuals of closures that have no weight, under their covariance and that of the poses.

        This is the test for a measurement that is new to an estimate. Infinite where gtsam finds no covariance of the poses.
        """
        graph = self.graph
        a, b = graph.a[edges], graph.b[edges]
        tangents = manifold.residuals(self.poses, a, b, graph.a_T_b[edges])
        carry = manifold.adjoint(manifold.inverse(self.poses[b]) @ self.poses[a])
        noise = np.linalg.inv(graph.information[edges])
        try:
            marginals = gtsam.Marginals(self._table.factors, self._values)
            joints = [marginals.jointMarginalCovariance([int(i), int(j)]) for i, j in zip(a, b, strict=True)]
        except RuntimeError as error:
            _log.debug("the poses have no covariance: %s", str(error).partition("\n")[0])
            return np.full(len(edges), np.inf)
        for place, joint in enumerate(joints):
            i, j = int(a[place]), int(b[place])
            of_a, of_b, mixed = (from_gtsam_tangent(joint.at(k, m)) for k, m in ((i, i), (j, j), (j, i)))
            crossed = mixed @ carry[place].T
            noise[place] += carry[place] @ of_a @ carry[place].T + of_b - crossed - crossed.T
        return manifold.squared_mahalanobis(tangents, np.linalg.inv(noise))

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
        if self._settings.optimizer is Optimizer.GAUSS_NEWTON and self._newton(iterations):
            return
        parameters = gtsam.LevenbergMarquardtParams()
        self._set(parameters, iterations)
        self._accept(gtsam.LevenbergMarquardtOptimizer(factors, self._values, parameters).optimize())

    def _newton(self, iterations: int) -> bool:
        """Gauss-Newton with shortened steps; False where no step leads downwards or the system is too badly conditioned."""
        factors = self._table.factors
        values, cost = self._values, factors.error(self._values)
        for _ in range(iterations):
            try:
                step = factors.linearize(values).optimize(self._ordering)
            except RuntimeError as error:
                # gtsam's way to say that a pivot is not positive, or four thousand times smaller than its neighbour.
                _log.debug("Gauss-Newton: %s; Levenberg-Marquardt takes over", str(error).partition("\n")[0])
                return False
            candidate, reached = values, np.inf
            for halvings in range(_HALVINGS):
                candidate = values.retract(step.scale(0.5**halvings))
                reached = factors.error(candidate)
                if reached <= cost * (1.0 + 1e-9) + 1e-9:
                    break
            else:
                _log.debug("Gauss-Newton finds no way down from %g: Levenberg-Marquardt takes over", cost)
                return False
            gain, values, cost = cost - reached, candidate, reached
            if gain <= self._settings.relative_cost_tolerance * max(cost, 1e-5):
                break
        self._accept(values)
        return True

    def _set(self, parameters: gtsam.NonlinearOptimizerParams, iterations: int) -> None:
        parameters.setMaxIterations(iterations)
        parameters.setRelativeErrorTol(self._settings.relative_cost_tolerance)
        parameters.setOrdering(self._ordering)

    def _accept(self, values: gtsam.Values) -> None:
        self._values = values
        self.poses = from_values(values, self.graph.dimension)
