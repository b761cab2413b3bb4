"""Teaching: a drive becomes a session of keyframes in a map."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import StereoFrame
from vloc_ros.features import Features
from vloc_ros.features.frontend import FrontEnd
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.geometry.motion import Motion
from vloc_ros.geometry.pnp import Landmarks
from vloc_ros.geometry.uncertainty import isotropic
from vloc_ros.mapping.keyframe import Edge, EdgeKind, Keyframe
from vloc_ros.mapping.policy import needs_keyframe
from vloc_ros.mapping.registration import Registrar
from vloc_ros.mapping.session import SessionKind
from vloc_ros.mapping.state import FrameResult, State
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.tracker import MotionTracker, TrackedFrame

if TYPE_CHECKING:
    from vloc_ros.settings import Settings

Array = NDArray[np.float64]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Since:
    """Motion of the base since the last keyframe."""

    keyframe: Keyframe
    features: Features
    landmarks: Landmarks
    keyframe_T_base: Array
    covariance: Array
    distance: float


class Teacher:
    """Drives the odometry and adds keyframes to a new session of a map.

    When the odometry breaks (covered camera, too fast a turn) no keyframe is added until the last one is seen again: a taught
    route has no gap that a robot could not follow.

    Raises:
        MapError: the map was made with another camera or another feature type.
    """

    def __init__(self, camera: StereoCamera, store: MapStore, settings: Settings, source: str = "") -> None:
        frontend = FrontEnd(camera, settings.features.of_map(store.feature_name), settings.stereo)
        store.require_compatible(camera, frontend.extractor.fingerprint)
        self._settings = settings
        self._store = store
        self._camera = camera
        self._registrar = Registrar(camera, frontend.extractor.metric, settings.matching, settings.pnp)
        self._tracker = MotionTracker(frontend, settings, store.base_T_camera)
        self._source = source
        self._session: int | None = None
        self._since: _Since | None = None
        self._state = State.UNINITIALISED

    @property
    def state(self) -> State:
        """LOCALISED while the route is unbroken, DEAD_RECKONING during skipped frames, LOST while it is interrupted."""
        return self._state

    def process(self, frame: StereoFrame, motion: Motion | None = None, force_keyframe: bool = False) -> FrameResult:
        """Use one frame.

        Args:
            frame: the frame, newer than all before.
            motion: motion of the base since the previous frame from another source (wheels), used when vision has none.
            force_keyframe: make this frame a keyframe whatever the policy says, if its pose is known.

        Raises:
            CalibrationError: the frame is not of the size that the calibration is for.
            MapError: the map cannot be written; it keeps all keyframes that were added before.
        """
        tracked = self._tracker.track(frame, motion)
        added: Keyframe | None = None
        if tracked.stale:
            return self._result(tracked, RejectReason.STAMP_NOT_NEWER, None)
        with tracked.clock.stage("map"):
            reason = self._advance(tracked)
            if reason is None and self._wants_keyframe(tracked, force_keyframe):
                reason = tracked.observation.reason
                if reason is None:
                    added = self._add_keyframe(frame, tracked)
        return self._result(tracked, reason, added)

    def tune(self, settings: Settings) -> None:
        """Take over the live ones of other settings, from the next frame on; the session goes on."""
        self._settings = settings
        self._registrar = replace(self._registrar, matching=settings.matching, pnp=settings.pnp)
        self._tracker.tune(settings)

    def close(self) -> None:
        """End the session; the map stays open."""
        self._session = None
        self._since = None

    def _advance(self, tracked: TrackedFrame) -> RejectReason | None:
        """Move on by the measured motion, or find the last keyframe again."""
        if self._since is None:
            return None
        if tracked.broken:
            self._state = State.LOST
        if self._state is State.LOST:
            return self._resume(tracked, self._since)
        if tracked.motion is None:
            self._state = State.DEAD_RECKONING
            return tracked.reason
        self._since = self._moved(self._since, tracked.motion)
        self._state = State.LOCALISED
        return None

    def _moved(self, since: _Since, motion: Motion) -> _Since:
        return _Since(
            since.keyframe,
            since.features,
            since.landmarks,
            se3.normalised(since.keyframe_T_base @ motion.a_T_b),
            se3.compose_covariance(since.covariance, motion.a_T_b, motion.covariance),
            since.distance + se3.translation_norm(motion.a_T_b),
        )

    def _resume(self, tracked: TrackedFrame, since: _Since) -> RejectReason | None:
        if tracked.observation.reason is not None:
            return tracked.observation.reason
        registration = self._registrar.register(since.features, tracked.observation.features)
        if registration.a_T_b is None:
            return tracked.reason or registration.reason
        motion, covariance = registration.of_bases(self._store.base_T_camera)
        self._since = _Since(since.keyframe, since.features, since.landmarks, motion, covariance, se3.translation_norm(motion))
        _log.info("teaching goes on from keyframe %s", since.keyframe.id)
        self._state = State.LOCALISED
        return None

    def _wants_keyframe(self, tracked: TrackedFrame, forced: bool) -> bool:
        if self._since is None or forced:
            return True
        base_T_camera = self._store.base_T_camera
        keyframe_T_camera = se3.inverse(base_T_camera) @ self._since.keyframe_T_base @ base_T_camera
        points = self._since.landmarks.points
        return needs_keyframe(self._settings.keyframes, self._camera, keyframe_T_camera, points, tracked.inliers)

    def _add_keyframe(self, frame: StereoFrame, tracked: TrackedFrame) -> Keyframe:
        features = tracked.observation.features
        if self._session is None:
            self._session = self._store.begin_session(SessionKind.TEACH, self._source)
        # The map frame is the base frame of the first keyframe, so that z is up when the robot starts on level ground.
        map_T_base, edge = np.eye(4), None
        if self._since is not None:
            since = self._since
            map_T_base = se3.normalised(since.keyframe.map_T_base @ since.keyframe_T_base)
            angle = se3.rotation_angle(since.keyframe_T_base)
            covariance = since.covariance + self._settings.odometry.drift_between(since.distance, angle)
            id = self._store.next_keyframe_id(self._session)
            edge = Edge(since.keyframe.id, id, EdgeKind.ODOMETRY, since.keyframe_T_base, covariance)
        image = frame.left if self._settings.keyframes.image_quality > 0 else None
        keyframe = self._store.add_keyframe(self._session, frame.stamp_ns, map_T_base, features, image, edge)
        with_depth = features.select(np.isfinite(features.disparity))
        landmarks = Landmarks.triangulate(
            self._camera,
            with_depth.keypoints.astype(np.float64),
            with_depth.disparity.astype(np.float64),
            self._settings.pnp,
        )
        self._since = _Since(keyframe, with_depth, landmarks, np.eye(4), isotropic(1e-6, 1e-6), 0.0)
        self._state = State.LOCALISED
        return keyframe

    def _result(self, tracked: TrackedFrame, reason: RejectReason | None, added: Keyframe | None) -> FrameResult:
        since = self._since if self._state is State.LOCALISED and not tracked.stale else None
        return FrameResult(
            stamp_ns=tracked.stamp_ns,
            state=self._state,
            reason=reason,
            odom_T_base=tracked.odom_T_base,
            odom_covariance=None if tracked.motion is None else tracked.motion.covariance,
            map_T_base=None if since is None else since.keyframe.map_T_base @ since.keyframe_T_base,
            map_covariance=None if since is None else since.covariance + isotropic(*self._settings.odometry.drift(since.distance)),
            fix=added is not None,
            keyframe=None if added is None else added.id,
            inliers=tracked.inliers,
            odometry_inliers=tracked.inliers,
            timings_ms=tracked.clock.elapsed_ms(),
        )
