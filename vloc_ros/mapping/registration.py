"""Registration of two images: the relative pose of their cameras from matches, with the disparities of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.features import Features, Matcher, MatchSettings, Metric, match, sight
from vloc_ros.geometry import se3
from vloc_ros.geometry.alignment import estimate_alignment
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import PoseEstimate, RejectReason
from vloc_ros.geometry.pnp import Landmarks, PnpSettings, estimate_pose, refine_pose
from vloc_ros.geometry.uncertainty import CHI2_6DOF_999, change_body, fuse, mahalanobis, of_inverse

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Registration:
    """The relative pose of two cameras, or the reason why there is none.

    Attributes:
        a_T_b: (4, 4) pose of camera b in the frame of camera a, None on failure.
        covariance: (6, 6) of its right perturbation, None with it.
        pairs: (M, 2) int64 matched rows (in a, in b).
        inliers: (M,) bool, the matches that agree with the pose; all False on failure.
        reason: None on success.
    """

    a_T_b: Array | None
    covariance: Array | None
    pairs: Rows
    inliers: NDArray[np.bool_]
    reason: RejectReason | None

    @property
    def support(self) -> int:
        """How many matches agree."""
        return int(np.count_nonzero(self.inliers))

    def of_bases(self, base_T_camera: Array) -> tuple[Array, Array]:
        """(4, 4) pose of base b in the frame of base a and its (6, 6) covariance, for cameras fixed alike to their bases.

        Raises:
            ValueError: the registration failed; ask :attr:`a_T_b` first.
        """
        if self.a_T_b is None or self.covariance is None:
            raise ValueError("a registration that failed has no pose")
        pose = base_T_camera @ self.a_T_b @ se3.inverse(base_T_camera)
        return pose, change_body(base_T_camera, self.covariance)


@dataclass(frozen=True, slots=True)
class Registrar:
    """Matches two sets of features of one camera and solves for the relative pose.

    Attributes:
        camera: of both.
        metric: how descriptors are compared; None to do as their type says.
        matching: thresholds of matching.
        pnp: of the pose.
    """

    camera: StereoCamera
    metric: Metric | None
    matching: MatchSettings
    pnp: PnpSettings

    def register(self, a: Features, b: Features, window_px: float = np.inf) -> Registration:
        """Relative pose of two views.

        The pose comes from the side that knows the depth of more matches: its landmarks are seen by the other, whose disparities
        count where there are any. Matches of which only the other side knows the depth make a second, independent estimate in
        the opposite direction, starting from the first; if the two agree (99.9 %) they are fused.

        Args:
            a: features of one view; NaN disparities are fine.
            b: features of the other.
            window_px: half side of the window around a feature's own position in which its match is searched; for views
                taken from about the same pose.
        """
        if self.matching.matcher is Matcher.SOFT:
            return self._register_softly(a, b, window_px)
        predicted = None if np.isinf(window_px) else a.keypoints
        pairs = match(a, b, self.metric or a.metric, self.matching, predicted, window_px).indices
        deep = np.isfinite(a.disparity[pairs[:, 0]]), np.isfinite(b.disparity[pairs[:, 1]])
        swapped = int(np.count_nonzero(deep[1])) > int(np.count_nonzero(deep[0]))
        views, known = ((b, a), deep[::-1]) if swapped else ((a, b), deep)
        rows = pairs[:, ::-1] if swapped else pairs
        first = self._solve(*views, rows[known[0]])
        if first.a_T_b is None or first.covariance is None:
            return Registration(None, None, pairs, np.zeros(len(pairs), dtype=bool), first.reason)
        inliers = np.zeros(len(pairs), dtype=bool)
        inliers[known[0]] = first.inliers
        # "first" maps points of the reference (views[0]) into the other: other_T_reference
        pose, covariance = se3.inverse(first.a_T_b), of_inverse(first.a_T_b, first.covariance)
        rest = known[1] & ~known[0]
        second = self._solve(views[1], views[0], rows[rest][:, ::-1], pose)
        if _agree(pose, covariance, second) and second.a_T_b is not None and second.covariance is not None:
            pose, covariance = fuse(pose, covariance, second.a_T_b, second.covariance)
            inliers[rest] = second.inliers
        if swapped:
            pose, covariance = se3.inverse(pose), of_inverse(pose, covariance)
        return Registration(pose, covariance, pairs, inliers, None)

    def _register_softly(self, a: Features, b: Features, window_px: float) -> Registration:
        """The pose that lays the points of a on those expected in b; matches need the depths of both."""
        deep = np.flatnonzero(np.isfinite(a.disparity))
        source = a.select(deep)
        predicted = None if np.isinf(window_px) else source.keypoints
        seen = sight(source, b, self.metric or source.metric, self.matching, predicted, window_px)
        of_source = seen.pairs[:, 0]
        pairs = np.stack([deep[of_source], seen.pairs[:, 1]], axis=1)
        found = estimate_alignment(
            self.camera,
            self._landmarks(source, of_source),
            seen.keypoints.astype(np.float64),
            seen.disparity.astype(np.float64),
            seen.weights.astype(np.float64),
            self.pnp,
        )
        if found.a_T_b is None or found.covariance is None:
            return Registration(None, None, pairs, found.inliers, found.reason)
        # "found" maps points of a into b
        a_T_b = se3.inverse(found.a_T_b)
        return Registration(a_T_b, of_inverse(found.a_T_b, found.covariance), pairs, found.inliers, None)

    def _landmarks(self, view: Features, rows: Rows) -> Landmarks:
        """Landmarks of features that have a disparity, in the frame of their camera."""
        pixels, disparity = view.keypoints[rows].astype(np.float64), view.disparity[rows].astype(np.float64)
        return Landmarks.triangulate(self.camera, pixels, disparity, self.pnp)

    def _solve(self, reference: Features, live: Features, rows: Rows, guess: Array | None = None) -> PoseEstimate:
        """``live_T_reference`` from (N, 2) rows (in the reference, where all have a disparity, and in the live view)."""
        of_reference, of_live = rows.T
        landmarks = self._landmarks(reference, of_reference)
        pixels = live.keypoints[of_live].astype(np.float64)
        disparity = live.disparity[of_live].astype(np.float64)
        if guess is None:
            return estimate_pose(self.camera, landmarks, pixels, disparity, self.pnp)
        if len(rows) < self.pnp.min_inliers:
            return PoseEstimate.failure(RejectReason.TOO_FEW_MATCHES, len(rows))
        return refine_pose(self.camera, landmarks, pixels, disparity, guess, self.pnp)


def _agree(pose: Array, covariance: Array, other: PoseEstimate) -> bool:
    if other.a_T_b is None or other.covariance is None:
        return False
    return mahalanobis(pose, covariance, other.a_T_b, other.covariance) < CHI2_6DOF_999
