"""A measured motion, for example from wheel odometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion of a frame from a to b: ``a_T_b`` (4, 4) with the (6, 6) covariance of its right perturbation."""

    a_T_b: NDArray[np.float64]
    covariance: NDArray[np.float64]
