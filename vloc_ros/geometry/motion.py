"""A measured motion, for example from wheel odometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from numpy import float64
from numpy.typing import NDArray


class Drift(NamedTuple):
    """The part of an odometry's error that grows with the distance itself, not with its square root as independent errors do.

    Attributes:
        position: standard deviation by distance [m/m].
        rotation: standard deviation by distance [rad/m].
    """

    position: float = 0.0
    rotation: float = 0.0


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion of a frame from a to b: ``a_T_b`` (4, 4) with the (6, 6) covariance of its right perturbation, and its drift."""

    a_T_b: NDArray[float64]
    covariance: NDArray[float64]
    drift: Drift = Drift()
