"""What a place network learns from tuples: weights and margins of the losses of system M."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

from vloc_ros.config import param


@unique
class OutlierLoss(Enum):
    """How pairs that the pose graph rejects are driven apart."""

    HINGE = "hinge"
    """Until they are as far apart as unrelated images, with a gradient as large as a triplet's."""
    MEAN_SQUARE = "mean_square"
    """As published; next to nothing for long descriptors."""


@dataclass(frozen=True)
class TripletSettings:
    """Descriptors from tuples and outlier pairs."""

    margin: float = param(0.1**0.5, "by how much negatives are to be farther than the positive", min=0.0, max=2.0)
    outliers: OutlierLoss = param(OutlierLoss.HINGE, "of outlier pairs: hinge, or mean_square as published")
    outlier_weight: float = param(1.0, "weight of an outlier pair beside a tuple", min=0.0, max=1e6)
    apart: float = param(2.0**0.5, "distance that hinge wants between the images of an outlier pair", min=0.0, max=2.0)
    images_at_once: int = param(8, "images in memory at once on the way forth and back; more need more and are faster", min=1)


@dataclass(frozen=True)
class UncertaintySettings:
    """Descriptors and their variances from tuples and outlier pairs."""

    margin: float = param(0.1, "by how much squared distances to negatives are to be larger", min=0.0, max=4.0)
    published_sign: bool = param(False, "take the margin with the sign of the released program, which forgives it")
    prior_weight: float = param(1e-6, "weight of the divergence from the prior of variance 1/C, C channels", min=0.0, max=1.0)
    widening: float = param(10.0, "variance of outlier pairs, in that of the prior", min=1.0, max=1000.0)
    outlier_weight: float = param(1.0, "weight of an outlier pair beside a tuple", min=0.0, max=1e6)
    images_at_once: int = param(8, "images in memory at once on the way forth and back; more need more and are faster", min=1)


_COMMON: dict[str, Any] = {
    "epochs": 10,
    "optimizer": "sgd",
    "learning_rate": 1e-4,
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "schedule": "step",
    "rate_step": 5,
    "rate_factor": 0.5,
    "warm_up": 0,
    "gradient_clip": 0.0,
    "seed": 123,
}
PUBLISHED_TRIPLET: dict[str, Any] = _COMMON | {"batch": 4}
"""Settings of the loop that were published for the calibration of descriptors (source_systems 2.1, 2.3)."""
PUBLISHED_UNCERTAINTY: dict[str, Any] = _COMMON | {"batch": 16}
"""And for the training of variances.

Nothing is clipped here, as published. Its losses have no bound where a small variance is wrong, and one step too far makes the next
ones overflow: on a robot, take this with ``gradient_clip`` 1.
"""
