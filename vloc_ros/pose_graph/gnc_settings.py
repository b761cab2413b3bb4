"""Settings of the robust solver."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

from vloc_ros.config import param


@unique
class Optimizer(Enum):
    """What solves the weighted least squares of each round."""

    GAUSS_NEWTON = "gauss_newton"
    LEVENBERG_MARQUARDT = "levenberg_marquardt"


@unique
class GncMethod(Enum):
    """How the rounds are done; the labels agree, the time does not."""

    REDUCED = "reduced"
    """Runs of odometry as one edge, each round from the last one; then the whole graph."""
    WARM = "warm"
    """The whole graph, each round from the last one."""
    GTSAM = "gtsam"
    """gtsam's own optimiser, each round from the initial values."""


@dataclass(frozen=True)
class GncSettings:
    """Settings of graduated non-convexity."""

    probability: float = param(
        0.99, "a true closure stays below the chi-square threshold with this probability", min=0.5, max=0.999999, live=True
    )
    method: GncMethod = param(GncMethod.REDUCED, "how the rounds are done")
    optimizer: Optimizer = param(Optimizer.GAUSS_NEWTON, "what solves the least squares; falls back to levenberg_marquardt")
    gate: float = param(
        4.0,
        "closures so many chi-square thresholds from the odometry wait until the others are solved; 0: none does",
        min=0.0,
        live=True,
    )
    drift: float = param(
        0.3,
        "beyond one threshold, those wait too that need odometry to err by more than this share of its path",
        min=0.0,
        live=True,
    )
    mu_step: float = param(1.4, "factor of the control parameter from round to round", min=1.01, max=10.0)
    max_iterations: int = param(100, "most rounds of the weights", min=1, max=10000)
    relative_cost_tolerance: float = param(1e-5, "relative change of the cost at which a round has settled", min=0.0, max=0.1)
    weights_tolerance: float = param(1e-4, "a weight so near to 0 or 1 is decided", min=0.0, max=0.1)
    first_iterations: int = param(10, "most steps of the solver before the first weights", min=1, max=1000)
    inner_iterations: int = param(2, "most steps of the solver in a round", min=1, max=1000)
    final_iterations: int = param(50, "most steps of the solver at the decided weights", min=1, max=1000)
