"""One fix: the pose of an image against keyframes of the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.features import Features, Matcher, MatchSettings, Metric, Sightings, sight
from vloc_ros.geometry import se3
from vloc_ros.geometry.alignment import estimate_alignment
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import PoseEstimate, RejectReason
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
        seen = [self._match(live, view, map_T_camera, window_px) for view in views]
        of_live = np.concatenate([s.pairs[:, 1] for s in seen])
        moved = [
            view.landmarks.select(s.pairs[:, 0]).moved(se3.between(anchor.map_T_camera, view.map_T_camera))
            for view, s in zip(views, seen, strict=True)
        ]
        landmarks = Landmarks(np.concatenate([m.points for m in moved]), np.concatenate([m.covariances for m in moved]))
        estimate = self._estimate(landmarks, seen)
        if estimate.a_T_b is None or estimate.covariance is None:
            return Fix.failure(estimate.reason or RejectReason.TOO_FEW_INLIERS, len(of_live))
        ends = np.cumsum([len(s) for s in seen])
        inliers = np.split(estimate.inliers, ends[:-1])
        best = int(np.argmax([mask.sum() for mask in inliers]))
        of_best = seen[best].pairs[inliers[best], 0]
        return Fix(
            map_T_camera=anchor.map_T_camera @ se3.inverse(estimate.a_T_b),
            covariance=of_inverse(estimate.a_T_b, estimate.covariance),
            keyframe=views[best].keyframe.id,
            # a point that two keyframes remember is one point
            inliers=len(np.unique(of_live[estimate.inliers])),
            matches=len(of_live),
            view=MatchView(views[best].keyframe.id, seen[best].keypoints[inliers[best]], views[best].features.keypoints[of_best]),
            reason=None,
        )

    def _match(self, live: Features, view: MappedView, map_T_camera: Array | None, window_px: float) -> Sightings:
        """Where the features of the keyframe are seen in the image."""
        predicted = None
        if map_T_camera is not None:
            points = se3.transform(relative_pose(view, map_T_camera), view.landmarks.points)
            predicted = self.camera.project(points)[:, :2]
        return sight(view.features, live, self.metric, self.matching, predicted, window_px)

    def _estimate(self, landmarks: Landmarks, seen: list[Sightings]) -> PoseEstimate:
        """The pose of the image in the frame of the landmarks, as the matcher asks for."""
        pixels = np.concatenate([s.keypoints for s in seen]).astype(np.float64)
        disparity = np.concatenate([s.disparity for s in seen]).astype(np.float64)
        if self.matching.matcher is Matcher.SOFT:
            weights = np.concatenate([s.weights for s in seen]).astype(np.float64)
            return estimate_alignment(self.camera, landmarks, pixels, disparity, weights, self.pnp)
        return estimate_pose(self.camera, landmarks, pixels, disparity, self.pnp)
