"""What localisation says about every frame: a state, a reason, and a pose only when it is believed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.mapping.keyframe import KeyframeId


@unique
class State(Enum):
    """Where localisation stands."""

    UNINITIALISED = "uninitialised"
    """No frame has been used yet."""
    RELOCALISING = "relocalising"
    """Searching the whole map without a prior."""
    LOCALISED = "localised"
    """The last fix is recent: the pose is believed."""
    DEAD_RECKONING = "dead_reckoning"
    """No fix in the last frames: odometry carries the pose, its covariance grows."""
    LOST = "lost"
    """Dead reckoning went too far, or the robot was moved: no pose is published."""


@dataclass(frozen=True, slots=True)
class MatchView:
    """Inlier correspondences of a frame with a keyframe, for drawing: (N, 2) pixels in the live and in the map image."""

    keyframe: KeyframeId
    live_pixels: NDArray[np.float32]
    map_pixels: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What teaching or localising made of one frame.

    Attributes:
        stamp_ns: time of exposure [ns].
        state: state after this frame.
        reason: why there is no fix in this frame (localising), or no odometry (teaching); None when all is well.
        odom_T_base: (4, 4) smooth pose in the odometry frame; None when this frame gave no odometry.
        odom_covariance: (6, 6) of the motion since the previous frame; None with it.
        map_T_base: (4, 4) believed pose in the map frame, else None.
        map_covariance: (6, 6) of that pose (right perturbation); None with it.
        fix: whether this frame was itself localised against the map (not dead reckoned).
        keyframe: the keyframe created (teaching) or localised against.
        inliers: inlier matches to the map (localising) or to the last keyframe (teaching).
        odometry_inliers: inlier matches of the visual odometry.
        match: inlier correspondences of the fix, for drawing.
        timings_ms: wall time of each stage [ms].
    """

    stamp_ns: int
    state: State
    reason: RejectReason | None
    odom_T_base: NDArray[np.float64] | None
    odom_covariance: NDArray[np.float64] | None
    map_T_base: NDArray[np.float64] | None
    map_covariance: NDArray[np.float64] | None
    fix: bool
    keyframe: KeyframeId | None
    inliers: int
    odometry_inliers: int
    match: MatchView | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
