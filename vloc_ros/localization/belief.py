"""The pose that is carried from fix to fix: prediction by odometry, growth of its uncertainty, the gate, and fusion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry import se3
from vloc_ros.geometry.motion import Drift, Motion
from vloc_ros.geometry.uncertainty import CHI2_6DOF_999, fuse, isotropic, mahalanobis
from vloc_ros.localization.parameters import LocalizationSettings

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Belief:
    """Where the base is in the map.

    Attributes:
        map_T_base: (4, 4) pose.
        covariance: (6, 6) of its right perturbation.
        drifted: what the drift of the odometry has come to since the last fix (one sigma) [m], [rad].
        seconds: passed since the last fix [s].
        frames: without a fix.
    """

    map_T_base: Array
    covariance: Array
    drifted: Drift = Drift()
    seconds: float = 0.0
    frames: int = 0

    def predicted(self, motion: Motion | None, seconds: float, settings: LocalizationSettings) -> Belief:
        """The belief one frame later, before its fix.

        Odometry drifts: its error grows with the distance and not with the square root of it, as independent errors would.
        Without a motion the pose stays and its uncertainty grows as fast as the robot may move.
        """
        later = replace(self, seconds=self.seconds + seconds, frames=self.frames + 1)
        if motion is None:
            blind = isotropic(settings.blind_sigma_mps * seconds, settings.blind_sigma_radps * seconds)
            return replace(later, covariance=self.covariance + blind)
        distance = se3.translation_norm(motion.a_T_b)
        drifted = Drift(*(old + rate * distance for old, rate in zip(self.drifted, motion.drift, strict=True)))
        growth = isotropic(*drifted) - isotropic(*self.drifted)
        covariance = se3.compose_covariance(self.covariance, motion.a_T_b, motion.covariance) + growth
        return replace(later, map_T_base=se3.normalised(self.map_T_base @ motion.a_T_b), covariance=covariance, drifted=drifted)

    def agrees(self, map_T_base: Array, covariance: Array) -> bool:
        """Chi-square gate: whether a fix fits the prediction at the 99.9 % level."""
        return mahalanobis(self.map_T_base, self.covariance, map_T_base, covariance) < CHI2_6DOF_999

    def updated(self, map_T_base: Array, covariance: Array) -> Belief:
        """The belief after a fix that passed the gate."""
        return Belief(*fuse(self.map_T_base, self.covariance, map_T_base, covariance))

    def is_lost(self, settings: LocalizationSettings) -> bool:
        """Whether it has been carried too far to be believed."""
        sigma = np.sqrt(np.diag(self.covariance))
        return bool(
            sigma[:3].max() > settings.lost_sigma_m
            or sigma[3:].max() > settings.lost_sigma_rad
            or self.seconds > settings.lost_after_s
        )
