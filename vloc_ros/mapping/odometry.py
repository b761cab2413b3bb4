"""Stereo visual odometry: the motion of the camera between frames, with its covariance."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.features import Features, MatchSettings, Metric, match
from vloc_ros.features.frontend import Observation
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import PoseEstimate, RejectReason
from vloc_ros.geometry.motion import Motion
from vloc_ros.geometry.pnp import Landmarks, PnpSettings, estimate_pose
from vloc_ros.geometry.uncertainty import of_inverse

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OdometrySettings:
    """Visual odometry from frame to frame."""

    window_px: float = param(60.0, "search window around the predicted position", unit="px", min=2.0, max=1000.0)
    refine: bool = param(True, "align matched key points to sub-pixel accuracy (Lucas-Kanade)")
    max_speed: float = param(30.0, "a faster motion is refused", unit="m/s", min=0.1, max=100.0)
    drift_percent: float = param(1.0, "odometry uncertainty per distance (one sigma)", unit="%", min=0.01, max=100.0)
    drift_deg_per_m: float = param(0.05, "heading uncertainty per distance (one sigma)", unit="deg/m", min=0.001, max=90.0)

    def drift(self, distance: float) -> tuple[float, float]:
        """Standard deviations [m], [rad] that odometry collects over a distance [m], beyond the noise of its matches."""
        return distance * self.drift_percent / 100.0, distance * float(np.radians(self.drift_deg_per_m))


@dataclass(frozen=True, slots=True)
class OdometryStep:
    """Motion of the camera from the previous frame to this one.

    Attributes:
        previous_T_camera: (4, 4), None when unknown.
        covariance: (6, 6) with it.
        inliers: matches that agree on it.
        reason: why there is none.
    """

    previous_T_camera: Array | None
    covariance: Array | None
    inliers: int
    reason: RejectReason | None

    @property
    def motion(self) -> Motion | None:
        """The motion, when known."""
        if self.previous_T_camera is None or self.covariance is None:
            return None
        return Motion(self.previous_T_camera, self.covariance)


@dataclass(frozen=True, slots=True)
class _Reference:
    observation: Observation
    features: Features  # those with a disparity
    landmarks: Landmarks


class StereoOdometry:
    """Frame-to-frame odometry; a frame that cannot be used is skipped, and the motion into the next one is then unknown."""

    def __init__(
        self,
        camera: StereoCamera,
        metric: Metric,
        settings: OdometrySettings,
        matching: MatchSettings,
        pnp: PnpSettings,
    ) -> None:
        self._camera = camera
        self._metric = metric
        self._settings = settings
        self._matching = matching
        self._pnp = pnp
        self._reference: _Reference | None = None
        self._velocity: Array | None = None  # twist of the last motion per second

    def update(self, observation: Observation) -> OdometryStep:
        """Motion from the previous usable frame to this one; the first frame, and one after a gap, has none."""
        reference, self._reference = self._reference, None
        if observation.reason is not None:
            return OdometryStep(None, None, 0, observation.reason)
        self._reference = self._as_reference(observation)
        if reference is None:
            return OdometryStep(None, None, 0, None)
        seconds = (observation.stamp_ns - reference.observation.stamp_ns) * 1e-9
        estimate = self._estimate(reference, observation, seconds)
        if estimate.a_T_b is None or estimate.covariance is None:
            self._velocity = None
            return OdometryStep(None, None, 0, estimate.reason)
        previous_T_camera = se3.inverse(estimate.a_T_b)
        self._velocity = se3.log(previous_T_camera) / seconds
        covariance = of_inverse(estimate.a_T_b, estimate.covariance)
        return OdometryStep(previous_T_camera, covariance, int(estimate.inliers.sum()), None)

    def reset(self) -> None:
        """Forget the previous frame."""
        self._reference = None
        self._velocity = None

    def predict(self, seconds: float) -> Array | None:
        """Motion over a time at the last velocity; None when that is unknown."""
        return None if self._velocity is None else se3.exp(self._velocity * seconds)

    def _estimate(self, reference: _Reference, observation: Observation, seconds: float) -> PoseEstimate:
        motion = self.predict(seconds)
        estimate = PoseEstimate.failure(RejectReason.TOO_FEW_MATCHES)
        if motion is not None:
            predicted = self._camera.project(se3.transform(se3.inverse(motion), reference.landmarks.points))[:, :2]
            estimate = self._match_and_solve(reference, observation, predicted)
        if not estimate.success:
            estimate = self._match_and_solve(reference, observation, None)
        if estimate.a_T_b is not None and se3.translation_norm(estimate.a_T_b) > self._settings.max_speed * seconds:
            return PoseEstimate.failure(RejectReason.MOTION_TOO_LARGE)
        return estimate

    def _match_and_solve(self, reference: _Reference, observation: Observation, predicted: Array | None) -> PoseEstimate:
        live = observation.features
        matches = match(reference.features, live, self._metric, self._matching, predicted, self._settings.window_px)
        of_reference, of_live = matches.indices.T
        pixels = live.keypoints[of_live]
        if self._settings.refine and len(pixels):
            pixels = align_pixels(reference.observation.grey, observation.grey, reference.features.keypoints[of_reference], pixels)
        landmarks = Landmarks(reference.landmarks.points[of_reference], reference.landmarks.covariances[of_reference])
        disparity = live.disparity[of_live].astype(np.float64)
        return estimate_pose(self._camera, landmarks, pixels.astype(np.float64), disparity, self._pnp)

    def _as_reference(self, observation: Observation) -> _Reference:
        features = observation.features.select(np.isfinite(observation.features.disparity))
        landmarks = Landmarks.triangulate(
            self._camera, features.keypoints.astype(np.float64), features.disparity.astype(np.float64), self._pnp
        )
        return _Reference(observation, features, landmarks)


def align_pixels(
    image_a: NDArray[np.uint8], image_b: NDArray[np.uint8], pixels_a: NDArray[np.float32], pixels_b: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, 2) positions in image b that show exactly what is at the (N, 2) pixels of image a.

    Two detections of one point differ by a fraction of a pixel; photometric alignment of the patches (Lucas and Kanade 1981)
    removes that. A point that would move by more than 2 px, or is not found, keeps its detected position.
    """
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        image_a,
        image_b,
        pixels_a.reshape(-1, 1, 2),
        pixels_b.reshape(-1, 1, 2).copy(),
        winSize=(11, 11),
        maxLevel=0,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 15, 0.01),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    moved = moved.reshape(-1, 2)
    good = (found.ravel() == 1) & (np.linalg.norm(moved - pixels_b, axis=1) < 2.0)
    return np.where(good[:, None], moved, pixels_b)
