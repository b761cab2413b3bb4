"""One fix: the pose of an image against keyframes of the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.features import Features, MatchSettings, Metric, match
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.geometry.pnp import Landmarks, PnpSettings, estimate_pose
from vloc_ros.geometry.uncertainty import of_inverse
from vloc_ros.localization.submap import MappedView, relative_pose
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.state import MatchView

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fix:
    """A pose against the map, or the reason why there is none.

    Attributes:
        map_T_camera: (4, 4), None on failure.
        covariance: (6, 6) with it.
        keyframe: the keyframe that gave most inliers.
        inliers: how many matches agree.
        matches: how many there were.
        view: the inlier correspondences with that keyframe.
        reason: None on success.
    """

    map_T_camera: Array | None
    covariance: Array | None
    keyframe: KeyframeId | None
    inliers: int
    matches: int
    view: MatchView | None
    reason: RejectReason | None

    @classmethod
    def failure(cls, reason: RejectReason, matches: int = 0) -> Fix:
        """No fix."""
        return cls(None, None, None, 0, matches, None, reason)


@dataclass(frozen=True, slots=True)
class FixSolver:
    """Matches an image to keyframes and solves for its pose."""

    camera: StereoCamera
    metric: Metric
    matching: MatchSettings
    pnp: PnpSettings

    def solve(self, live: Features, views: list[MappedView], map_T_camera: Array | None = None, window_px: float = np.inf) -> Fix:
        """Pose from all matches with some keyframes together.

        Args:
            live: features of the image.
            views: the keyframes, the most promising first; the pose is solved in the camera frame of that one.
            map_T_camera: (4, 4) predicted pose; matches are then searched in a window around the predicted positions.
            window_px: half side of that window.
        """
        if not views:
            return Fix.failure(RejectReason.NO_CANDIDATE)
        anchor = views[0]
        pairs = [self._match(live, view, map_T_camera, window_px) for view in views]
        of_live = np.concatenate([p[:, 1] for p in pairs])
        moved = [
            Landmarks(v.landmarks.points[p[:, 0]], v.landmarks.covariances[p[:, 0]]).moved(
                se3.between(anchor.map_T_camera, v.map_T_camera)
            )
            for v, p in zip(views, pairs, strict=True)
        ]
        landmarks = Landmarks(np.concatenate([m.points for m in moved]), np.concatenate([m.covariances for m in moved]))
        pixels = live.keypoints[of_live].astype(np.float64)
        estimate = estimate_pose(self.camera, landmarks, pixels, live.disparity[of_live].astype(np.float64), self.pnp)
        if estimate.a_T_b is None or estimate.covariance is None:
            return Fix.failure(estimate.reason or RejectReason.TOO_FEW_INLIERS, len(of_live))
        ends = np.cumsum([len(p) for p in pairs])
        inliers = np.split(estimate.inliers, ends[:-1])
        best = int(np.argmax([mask.sum() for mask in inliers]))
        chosen = pairs[best][inliers[best]]
        return Fix(
            map_T_camera=anchor.map_T_camera @ se3.inverse(estimate.a_T_b),
            covariance=of_inverse(estimate.a_T_b, estimate.covariance),
            keyframe=views[best].keyframe.id,
            # a point that two keyframes remember is one point
            inliers=len(np.unique(of_live[estimate.inliers])),
            matches=len(of_live),
            view=MatchView(views[best].keyframe.id, live.keypoints[chosen[:, 1]], views[best].features.keypoints[chosen[:, 0]]),
            reason=None,
        )

    def _match(self, live: Features, view: MappedView, map_T_camera: Array | None, window_px: float) -> NDArray[np.int64]:
        """(N, 2) indices (in the keyframe, in the image)."""
        predicted = None
        if map_T_camera is not None:
            points = se3.transform(relative_pose(view, map_T_camera), view.landmarks.points)
            predicted = self.camera.project(points)[:, :2]
        return match(view.features, live, self.metric, self.matching, predicted, window_px).indices
