"""What a pose estimator returns: a believed pose with its covariance, or a failure with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray


@unique
class RejectReason(Enum):
    """Why an estimate, a match or a frame was refused. Each published rejection carries one."""

    BLANK_IMAGE = "the image is nearly uniform (covered lens, black or overexposed)"
    TOO_FEW_FEATURES = "too few key points were found in the image"
    TOO_FEW_STEREO_POINTS = "too few key points have a valid disparity"
    TOO_FEW_MATCHES = "too few matches to the reference"
    TOO_FEW_INLIERS = "too few matches agree on one pose"
    LOW_INLIER_RATIO = "too small a share of the matches agrees on the pose"
    DEGENERATE_GEOMETRY = "the matches do not determine a pose (all far away, in one line or in one spot)"
    NOT_CONVERGED = "the non-linear refinement did not converge"
    FAILED_GATE = "the pose disagrees with the prediction (chi-square gate)"
    LARGE_COVARIANCE = "the pose is too uncertain"
    NO_CANDIDATE = "no place of the map resembles this image"
    UNCONFIRMED = "a relocalisation awaits confirmation by a second frame"
    MOTION_TOO_LARGE = "the motion between two frames is larger than the robot can make"
    STAMP_NOT_NEWER = "the time stamp is not newer than the last one"


@dataclass(frozen=True, slots=True)
class PoseEstimate:
    """Result of a pose estimator: ``a_T_b`` maps points of b into a.

    Attributes:
        success: whether the pose is believed.
        a_T_b: (4, 4) transform, None on failure (never identity for "don't know").
        covariance: (6, 6) of the right perturbation (rho [m], phi [rad]), None on failure.
        inliers: (N,) bool mask over the given correspondences; all False on failure.
        reason: None on success.
    """

    success: bool
    a_T_b: NDArray[np.float64] | None
    covariance: NDArray[np.float64] | None
    inliers: NDArray[np.bool_]
    reason: RejectReason | None = None

    @classmethod
    def failure(cls, reason: RejectReason, count: int = 0) -> PoseEstimate:
        """A failed estimate over ``count`` correspondences."""
        return cls(False, None, None, np.zeros(count, dtype=bool), reason)
