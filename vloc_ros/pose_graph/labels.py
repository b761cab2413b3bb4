"""The verdict of the pose graph on a loop closure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique


@unique
class Label(Enum):
    """What the robust graph says of a loop closure; a later revision of the graph may say otherwise."""

    INLIER = "inlier"
    OUTLIER = "outlier"
    UNDECIDED = "undecided"


@unique
class LabelReason(Enum):
    """Why a closure has its label."""

    AGREES = "it agrees with the odometry and the other closures"
    REJECTED = "it contradicts the odometry or the other closures, and the robust solver gave it no weight"
    LARGE_RESIDUAL = "the solution leaves a residual beyond the threshold"
    BETWEEN = "the robust solver gave it some weight, but not all"
    NOT_CONVERGED = "the solver ran out of iterations before it had decided"
    UNCHECKED = "nothing else in the graph could contradict it"
    NOT_YET = "the graph has not been solved with it yet"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Label of one closure.

    Attributes:
        label: what it is.
        weight: of the robust solver, 0 (rejected) to 1 (fully believed).
        chi2: squared Mahalanobis residual at the solution, unweighted.
        revision: number of the solution that said so; larger is newer.
        reason: why.
    """

    label: Label
    weight: float
    chi2: float
    revision: int
    reason: LabelReason
