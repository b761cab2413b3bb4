"""Stereo visual odometry: the motion of the camera between frames, with its covariance."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.features import MatchSettings, Metric, match
from vloc_ros.features.frontend import Observation
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import PoseEstimate, RejectReason
from vloc_ros.geometry.pnp import Landmarks, PnpSettings, estimate_pose
from vloc_ros.geometry.uncertainty import isotropic, of_inverse

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class OdometrySettings:
    """Visual odometry from frame to frame."""

    window_px: int = param(7, "side of the patch that is aligned", unit="px", min=5, max=101)
    max_round_trip_px: float = param(
        0.8, "a corner that, tracked there and back, ends farther off is dropped", unit="px", min=0.05, max=20.0
    )
    sure_inliers: int = param(
        60, "features are matched too where fewer tracked corners agree, and what more agree on counts", min=6, max=10000
    )
    max_gap: float = param(
        0.35, "frames that cannot be used are skipped for so long before the odometry starts afresh", unit="s", min=0.0, max=10.0
    )
    max_speed: float = param(30.0, "a faster motion is refused", unit="m/s", min=0.1, max=100.0)
    drift_percent: float = param(1.0, "odometry uncertainty per distance (one sigma)", unit="%", min=0.01, max=100.0)
    drift_deg_per_m: float = param(0.05, "heading uncertainty per distance (one sigma)", unit="deg/m", min=0.001, max=90.0)
    drift_percent_of_turn: float = param(1.0, "heading uncertainty per rotation (one sigma)", unit="%", min=0.0, max=100.0)
    correlated_m: float = param(10.0, "errors of the odometry are alike over this distance", unit="m", min=0.0, max=1000.0)
    correlated_rad: float = param(1.0, "and over this much rotation", unit="rad", min=0.0, max=100.0)

    def drift(self, distance: float) -> tuple[float, float]:
        """Standard deviations [m], [rad] that odometry collects over a distance [m], beyond the noise of its matches."""
        return distance * self.drift_percent / 100.0, distance * float(np.radians(self.drift_deg_per_m))

    def drift_between(self, distance: float, angle: float) -> Array:
        """(6, 6) covariance that odometry collects between two keyframes, beyond the noise of its matches.

        Errors of odometry (calibration, rolling distance, depth) persist over some metres or part of a turn. Treated as
        independent from keyframe to keyframe they would average out, and the more so the denser the keyframes are; so the
        variance of a short piece is its share of the variance of a piece as long as the errors persist.

        Args:
            distance: travelled [m].
            angle: between the two orientations [rad].
        """
        metres, radians = self.drift(np.sqrt(distance * max(distance, self.correlated_m)))
        turned = self.drift_percent_of_turn / 100.0 * np.sqrt(angle * max(angle, self.correlated_rad))
        return isotropic(metres, float(np.hypot(radians, turned)))


@dataclass(frozen=True, slots=True)
class OdometryStep:
    """Motion of the camera since the last frame that had one.

    Attributes:
        previous_T_camera: (4, 4), None when unknown.
        covariance: (6, 6) with it.
        inliers: corners or matches that agree on it.
        reason: why there is none.
        broken: the motion that led to this frame will never be known; the next one starts from here.
    """

    previous_T_camera: Array | None
    covariance: Array | None
    inliers: int
    reason: RejectReason | None
    broken: bool = False


class StereoOdometry:
    """Tracks corners from frame to frame (Lucas and Kanade 1981, in pyramids), and matches features where few agree.

    A frame that cannot be used is skipped: the next one is compared with the last that could, unless that is too long ago.
    """

    def __init__(
        self, camera: StereoCamera, metric: Metric, settings: OdometrySettings, matching: MatchSettings, pnp: PnpSettings
    ) -> None:
        self._camera = camera
        self._metric = metric
        self._settings = settings
        self._matching = matching
        self._pnp = pnp
        self._previous: Observation | None = None
        self._velocity: Array | None = None  # twist of the last motion per second

    def tune(self, matching: MatchSettings, pnp: PnpSettings) -> None:
        """Match and solve with other thresholds from the next frame on."""
        self._matching, self._pnp = matching, pnp

    def update(self, observation: Observation) -> OdometryStep:
        """Motion since the last usable frame; the first frame has none."""
        previous = self._previous
        if previous is None:
            self._previous = None if observation.is_blank else observation
            return OdometryStep(None, None, 0, RejectReason.BLANK_IMAGE if observation.is_blank else None)
        seconds = (observation.stamp_ns - previous.stamp_ns) * 1e-9
        estimate = self._estimate(previous, observation, seconds)
        if estimate.a_T_b is None or estimate.covariance is None:
            return self._skipped(observation, seconds, estimate.reason)
        self._previous = observation
        previous_T_camera = se3.inverse(estimate.a_T_b)
        self._velocity = se3.log(previous_T_camera) / seconds
        covariance = of_inverse(estimate.a_T_b, estimate.covariance)
        return OdometryStep(previous_T_camera, covariance, int(estimate.inliers.sum()), None)

    def _skipped(self, observation: Observation, seconds: float, reason: RejectReason | None) -> OdometryStep:
        broken = seconds > self._settings.max_gap
        if broken:
            self._previous = None if observation.is_blank else observation
            self._velocity = None
        return OdometryStep(None, None, 0, reason, broken)

    def _estimate(self, previous: Observation, current: Observation, seconds: float) -> PoseEstimate:
        if current.is_blank:
            return PoseEstimate.failure(RejectReason.BLANK_IMAGE)
        tracked = self._plausible(self._track(previous, current, seconds), seconds)
        if np.count_nonzero(tracked.inliers) >= self._settings.sure_inliers:
            return tracked
        # In fog or darkness a handful of corners can agree on a wrong motion that looks certain.
        matched = self._plausible(self._match(previous, current), seconds)
        return max(matched, tracked, key=lambda estimate: np.count_nonzero(estimate.inliers))

    def reset(self) -> None:
        """Forget the previous frame."""
        self._previous = None
        self._velocity = None

    def _track(self, previous: Observation, current: Observation, seconds: float) -> PoseEstimate:
        corners = previous.corners
        disparity = previous.disparity_at(corners)
        known = np.isfinite(disparity)
        corners, landmarks = corners[known], self._landmarks(corners[known], disparity[known])
        if len(corners) < self._pnp.min_inliers:
            return PoseEstimate.failure(RejectReason.TOO_FEW_STEREO_POINTS)
        pixels, found = self._follow(previous, current, corners, self._predicted(landmarks, corners, seconds))
        return self._solve(landmarks.select(found), pixels[found], current.disparity_at(pixels[found]))

    def _predicted(self, landmarks: Landmarks, corners: Pixels, seconds: float) -> Pixels:
        """Where the corners will be if the camera goes on as before; where they were if that is not known."""
        if self._velocity is None:
            return corners.copy()
        moved = se3.transform(se3.exp(-self._velocity * seconds), landmarks.points)
        pixels = self._camera.project(moved)[:, :2]
        inside = self._camera.contains(pixels)
        return np.where(inside[:, None], pixels, corners).astype(np.float32)

    def _follow(
        self, previous: Observation, current: Observation, corners: Pixels, predicted: Pixels
    ) -> tuple[Pixels, NDArray[np.bool_]]:
        """Positions of the corners in the current image, and which of them come back to where they were."""
        options = {
            "winSize": (self._settings.window_px, self._settings.window_px),
            "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.01),
            "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
        }
        shape = (-1, 1, 2)
        pixels, found, _ = cv2.calcOpticalFlowPyrLK(
            previous.grey, current.grey, corners.reshape(shape), predicted.reshape(shape).copy(), maxLevel=3, **options
        )
        back, returned, _ = cv2.calcOpticalFlowPyrLK(
            current.grey, previous.grey, pixels, corners.reshape(shape).copy(), maxLevel=1, **options
        )
        off = np.linalg.norm(back.reshape(-1, 2) - corners, axis=1)
        good = (found.ravel() == 1) & (returned.ravel() == 1) & (off < self._settings.max_round_trip_px)
        pixels = pixels.reshape(-1, 2)
        return pixels, good & self._camera.contains(pixels, margin=2.0)

    def _match(self, previous: Observation, current: Observation) -> PoseEstimate:
        """The slower way, for motions and changes of light that defeat tracking."""
        for observation in (previous, current):
            if observation.reason is not None:
                return PoseEstimate.failure(observation.reason)
        reference = previous.features.select(np.isfinite(previous.features.disparity))
        of_reference, of_live = match(reference, current.features, self._metric, self._matching).indices.T
        landmarks = self._landmarks(reference.keypoints[of_reference], reference.disparity[of_reference])
        return self._solve(landmarks, current.features.keypoints[of_live], current.features.disparity[of_live])

    def _landmarks(self, pixels: Pixels, disparity: Pixels) -> Landmarks:
        return Landmarks.triangulate(self._camera, pixels.astype(np.float64), disparity.astype(np.float64), self._pnp)

    def _solve(self, landmarks: Landmarks, pixels: Pixels, disparity: Pixels) -> PoseEstimate:
        return estimate_pose(self._camera, landmarks, pixels.astype(np.float64), disparity.astype(np.float64), self._pnp)

    def _plausible(self, estimate: PoseEstimate, seconds: float) -> PoseEstimate:
        if estimate.a_T_b is not None and se3.translation_norm(estimate.a_T_b) > self._settings.max_speed * seconds:
            return PoseEstimate.failure(RejectReason.MOTION_TOO_LARGE, len(estimate.inliers))
        return estimate
