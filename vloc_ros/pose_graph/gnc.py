"""Graduated non-convexity on a pose graph: the poses, and how far each loop closure is to be believed.

Truncated least squares by graduated non-convexity (Yang, Antonante, Tzoumas, Carlone, "Graduated Non-Convexity for Robust
Spatial Perception", RA-L 2020, eq. 12 to 14), with odometry and anchors as known inliers. gtsam's own loop solves every round
again from the initial values; ours starts each from the last one, on a graph in which runs of odometry are one edge
(:mod:`vloc_ros.pose_graph.reduction`), and finishes on the whole graph.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2 as chi2_distribution

from vloc_ros.errors import DataError
from vloc_ros.pose_graph import manifold
from vloc_ros.pose_graph.anchors import odometry_poses
from vloc_ros.pose_graph.bare import solve_bare
from vloc_ros.pose_graph.gnc_settings import GncMethod, GncSettings, Optimizer
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.odometry_gate import odometry_view
from vloc_ros.pose_graph.reduction import reduce_graph
from vloc_ros.pose_graph.weighted import WeightedGraph

Array = NDArray[np.float64]

__all__ = ["GncMethod", "GncSettings", "GncSolution", "Optimizer", "chi2_threshold", "solve_gnc"]

_log = logging.getLogger(__name__)
_SMALLEST_MU = 1e-6
_HOPELESS = 10.0
"""Closures so many thresholds from the odometry are looked at again only if the solution happens to agree with them."""


@dataclass(frozen=True, slots=True)
class GncSolution:
    """What the robust solver found.

    Attributes:
        poses: (N, d + 1, d + 1) solution, in the order of the graph's poses.
        weights: (M,) from 0 (rejected) to 1 (believed), in the order of the graph's edges; 1 for trusted ones.
        chi2: (M,) squared Mahalanobis residual of each edge at the solution, unweighted.
        iterations: rounds of the weights.
        converged: whether all weights came to 0 or 1 (or the cost to rest) within the allowed rounds.
        seconds: wall time.
    """

    poses: Array
    weights: Array
    chi2: Array
    iterations: int
    converged: bool
    seconds: float


def chi2_threshold(probability: float, freedoms: int) -> float:
    """The squared Mahalanobis residual that a true measurement stays below with this probability; twice GNC's ``barc^2``."""
    return float(chi2_distribution.ppf(probability, freedoms))


def solve_gnc(graph: PoseGraph, settings: GncSettings, start: Array | None = None) -> GncSolution:
    """Optimise a graph whose closures may be false.

    Each connected component is anchored at the start of its first pose. Parts that only closures join keep together as long as
    one of these is believed, else they stay where they started. Poses without any edge stay where they are. A closure given
    twice counts twice.

    Args:
        graph: the graph.
        settings: of the solver.
        start: (N, d + 1, d + 1) poses to start from, such as the previous solution; without them the integrated odometry.

    Raises:
        DataError: ``start`` does not fit the graph, or the linear system cannot be solved because the numbers of the graph
            are too far apart (information matrices over many orders of magnitude).
    """
    begun = time.perf_counter()
    if start is not None and (start.shape != graph.poses.shape or not np.isfinite(start).all()):
        raise DataError(f"the start of the solver must be finite poses of shape {graph.poses.shape}, not {start.shape}")
    poses = odometry_poses(graph) if start is None else np.asarray(start, dtype=np.float64)
    try:
        if settings.method is GncMethod.GTSAM:
            poses, weights, iterations, converged = solve_bare(graph, poses, settings)
        else:
            poses, weights, iterations, converged = _solve(graph, poses, settings)
    except RuntimeError as error:
        # gtsam says so when elimination meets a pivot that is not positive.
        raise DataError(f"the pose graph cannot be solved: {' '.join(str(error).split())[:300]}") from error
    chi2 = manifold.squared_mahalanobis(manifold.residuals(poses, graph.a, graph.b, graph.a_T_b), graph.information)
    return GncSolution(poses, weights, chi2, iterations, converged, time.perf_counter() - begun)


def _solve(graph: PoseGraph, poses: Array, settings: GncSettings) -> tuple[Array, Array, int, bool]:
    held = _held_back(graph, settings)
    weights, progress = np.where(held, 0.0, 1.0), _Progress(converged=bool(graph.trusted.all()))
    closures = ~graph.trusted
    reduced = reduce_graph(graph, poses) if settings.method is GncMethod.REDUCED and closures.any() else None
    if reduced is not None:
        small = WeightedGraph(reduced.graph, reduced.graph.poses, settings)
        trusted = np.zeros(int(reduced.graph.trusted.sum()), dtype=bool)
        progress = _all_rounds(small, settings, np.concatenate([trusted, held[closures]]))
        weights[closures] = small.weights[~reduced.graph.trusted]
        poses = reduced.expanded(small.poses)
    whole = WeightedGraph(graph, poses, settings)
    whole.set_weights(weights)
    if reduced is None and closures.any():
        progress = _all_rounds(whole, settings, held)
    whole.optimise(settings.final_iterations)
    if reduced is not None and progress.converged:
        # The short cut is of first order: the whole graph has the last word on every weight.
        wanted = _weights(whole, progress.mu, settings)
        if np.abs(wanted - whole.weights).max() > 10.0 * settings.weights_tolerance:
            progress = _rounds(whole, settings, np.zeros(len(graph.a), dtype=bool), progress)
            whole.optimise(settings.final_iterations)
    if _round_off(whole, settings):
        whole.optimise(settings.final_iterations)
    return whole.poses, whole.weights, progress.rounds, progress.converged


def _round_off(state: WeightedGraph, settings: GncSettings) -> bool:
    """Make decided weights exactly 0 or 1; whether any was not. A false closure of 1e-4 the weight still pulls by a metre."""
    weights = state.weights.copy()
    weights[weights <= settings.weights_tolerance] = 0.0
    weights[weights >= 1.0 - settings.weights_tolerance] = 1.0
    if np.array_equal(weights, state.weights):
        return False
    state.set_weights(weights)
    return True


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far the rounds have come: the control parameter (0 before the first), rounds done, and whether that was enough."""

    mu: float = 0.0
    rounds: int = 0
    converged: bool = False


def _held_back(graph: PoseGraph, settings: GncSettings) -> NDArray[np.bool_]:
    """(M,) bool: closures so far from the odometry that they would only drag the first rounds astray."""
    if settings.gate == 0.0:
        return np.zeros(len(graph.a), dtype=bool)
    view, threshold = odometry_view(graph), chi2_threshold(settings.probability, graph.freedoms)
    # Between one threshold and the gate the covariances are not to be trusted alone: they are often too small for the drift of
    # a long way, and so large on a short one that odometry can be bent into a loop at little cost.
    bent = (view.chi2 > threshold) & (view.drift > settings.drift)
    return np.asarray((view.chi2 > settings.gate * threshold) | bent)


def _all_rounds(state: WeightedGraph, settings: GncSettings, held: NDArray[np.bool_]) -> _Progress:
    """Rounds without the closures held back, and again with those of them that the solution makes plausible."""
    progress = _rounds(state, settings, held, _Progress())
    threshold = chi2_threshold(settings.probability, state.graph.freedoms)
    distance = np.full(len(held), np.inf)
    distance[held] = odometry_view(state.graph).chi2[held]
    while held.any() and progress.converged and progress.rounds < settings.max_iterations:
        agrees = np.zeros(len(held), dtype=bool)
        agrees[~state.graph.trusted] = state.closure_chi2() < threshold
        near = np.flatnonzero(held & ~agrees & (distance < _HOPELESS * threshold))
        agrees[near] = state.innovation_chi2(near) < threshold
        released = held & agrees
        if not released.any():
            break
        held = held & ~released
        progress = _rounds(state, settings, held, replace(progress, mu=_first_mu(state, settings, released)))
    return progress


def _rounds(state: WeightedGraph, settings: GncSettings, held: NDArray[np.bool_], progress: _Progress) -> _Progress:
    """Alternate between poses and weights until the weights are decided."""
    free = ~state.graph.trusted & ~held
    mu = progress.mu
    if mu == 0.0:
        state.set_weights(np.where(held, 0.0, 1.0))
        mu = _first_mu(state, settings, free)
        state.optimise(settings.first_iterations)
    before = np.inf
    for number in range(progress.rounds + 1, settings.max_iterations + 1):
        state.set_weights(np.where(held, 0.0, _weights(state, mu, settings)))
        state.optimise(settings.inner_iterations)
        cost = state.cost()
        doubt = np.minimum(state.weights[free], 1.0 - state.weights[free])
        settled = mu > 1.0 and abs(before - cost) <= settings.relative_cost_tolerance * max(cost, 1e-12)
        # While mu is small the weights of all closures with some residual are: that none is believed yet decides nothing.
        some = mu >= 1.0 or bool((state.weights[free] >= 1.0 - settings.weights_tolerance).any())
        if (some and (doubt <= settings.weights_tolerance).all()) or settled:
            return _Progress(mu, number, True)
        mu *= settings.mu_step
        before = cost
    return _Progress(mu, settings.max_iterations, False)


def _first_mu(state: WeightedGraph, settings: GncSettings, free: NDArray[np.bool_]) -> float:
    """The control parameter at which even the worst closure is not yet cut off."""
    chi2 = state.closure_chi2()[free[~state.graph.trusted]]
    worst = float(chi2.max(initial=0.0)) / chi2_threshold(settings.probability, state.graph.freedoms)
    # Below the threshold all closures agree with the start: truncated least squares as it is.
    return max(1.0 / (2.0 * worst - 1.0), _SMALLEST_MU) if worst > 1.0 else 1.0


def _weights(state: WeightedGraph, mu: float, settings: GncSettings) -> Array:
    """(M,) weights of truncated least squares at this mu; 1 for trusted edges."""
    threshold = chi2_threshold(settings.probability, state.graph.freedoms)
    ratio = np.maximum(state.closure_chi2() / threshold, 1e-300)
    weights = np.ones(len(state.graph.a))
    weights[~state.graph.trusted] = np.clip(np.sqrt(mu * (mu + 1.0) / ratio) - mu, 0.0, 1.0)
    return weights
