"""Localisation of a camera against a taught map, frame by frame."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import StereoFrame
from vloc_ros.errors import DataError, MapError
from vloc_ros.features.frontend import FrontEnd, Observation
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.geometry.motion import Motion
from vloc_ros.geometry.uncertainty import change_body, isotropic
from vloc_ros.localization.belief import Belief
from vloc_ros.localization.fix import Fix, FixSolver
from vloc_ros.localization.relocalizer import Relocalizer
from vloc_ros.localization.submap import Submap
from vloc_ros.mapping.keyframe import Keyframe
from vloc_ros.mapping.state import FrameResult, State
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.tracker import MotionTracker, TrackedFrame
from vloc_ros.retrieval.conditions import known_conditions, require_known
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.stages import Stages

if TYPE_CHECKING:
    from vloc_ros.settings import Settings

Array = NDArray[np.float64]
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Hypothesis:
    """A relocalisation that further frames must confirm."""

    belief: Belief
    confirmations: int = 0


class Localizer:
    """Relocalises in a map, then tracks along the taught path; says where it is only when it believes it.

    Raises:
        MapError: the map was made with another camera or another feature type, or holds no keyframe.
        ConfigError: descriptor or a stage after it is unknown, or cannot be computed here, or none of them knows the condition.
        WeightsError: a file of weights is missing, damaged or of another network.
    """

    def __init__(self, camera: StereoCamera, store: MapStore, settings: Settings, stages: Stages | None = None) -> None:
        """In a map; the stages that order the places where a lost robot may be are those given, else made as the settings say."""
        frontend = FrontEnd(camera, settings.features.of_map(store.feature_name), settings.stereo)
        store.require_compatible(camera, frontend.extractor.fingerprint)
        metric = frontend.extractor.metric
        self._settings = settings.localization
        self._base_T_camera = store.base_T_camera
        self._tracker = MotionTracker(frontend, settings, store.base_T_camera)
        self._submap = Submap(store, settings.pnp)
        if not self._submap.keyframes:
            raise MapError(f"the map {store.path} has no keyframe yet; teach a route into it first")
        self._solver = FixSolver(camera, metric, settings.matching, settings.pnp)
        describer = MapDescriptor.of(store, self._settings.descriptor)
        index = describer.index(store, (keyframe.id for keyframe in self._submap.keyframes))
        self.descriptor = describer.descriptor.name if describer.version is None else describer.version.name
        """Which global descriptor, or version of the map's own model, names the places where a lost robot may be."""
        chosen = stages or Stages.chosen(self._settings)
        self.conditions = known_conditions(describer.descriptor.conditions, chosen.conditions)
        """Those of live images that the descriptor, or a stage after it, can be told."""
        self._stages = chosen.of_map(store, self._settings)
        self.require_known(self._settings.condition)
        self._relocalizer = Relocalizer(self._submap, describer.descriptor, index, self._solver, self._settings, self._stages)
        self._state = State.UNINITIALISED
        self._belief: Belief | None = None
        self._hypothesis: _Hypothesis | None = None

    @property
    def route(self) -> list[Keyframe]:
        """The taught path: all keyframes in the order in which they were driven."""
        return list(self._submap.keyframes)

    def require_known(self, condition: str) -> None:
        """Make sure that somebody knows a condition of live images.

        Raises:
            ConfigError: neither the descriptor nor a stage after it does.
        """
        stages = {} if self._stages is None else self._stages.names
        require_known(condition, self.conditions, [self.descriptor, *stages.values()])

    @property
    def search_report(self) -> dict[str, str]:
        """For the diagnostics: how places where a lost robot may be were found the last time; any thread may ask."""
        return self._relocalizer.report

    def take_stage_problem(self) -> str:
        """What was wrong with what the map holds for the stages since the last call; empty when nothing was."""
        return "" if self._stages is None else self._stages.take_problem()

    @property
    def state(self) -> State:
        """Where localisation stands."""
        return self._state

    def set_pose(self, map_T_base: Array, covariance: Array) -> None:
        """Believe an operator's pose of the base (4, 4) with its (6, 6) covariance until a fix says otherwise.

        Raises:
            DataError: no keyframe lies near enough to be matched there.
        """
        sigma = 3.0 * float(np.sqrt(np.max(np.diag(covariance)[:3])))
        farthest, distance = self._settings.max_keyframe_distance + sigma, self._submap.distance(map_T_base)
        if distance > farthest:
            raise DataError(
                f"an initial pose was ignored: it lies {distance:.0f} m from the nearest keyframe, and those beyond "
                f"{farthest:.0f} m are not matched"
            )
        # An operator who is certain is less certain than a fix.
        self._belief = Belief(map_T_base, covariance + self._fix_floor)
        self._hypothesis = None
        self._state = State.DEAD_RECKONING

    def tune(self, settings: Settings) -> None:
        """Take over the live ones of other settings, from the next frame on; what is known of the robot stays."""
        self._settings = settings.localization
        self._solver = replace(self._solver, matching=settings.matching, pnp=settings.pnp)
        self._relocalizer.tune(self._solver, self._settings)
        self._tracker.tune(settings)

    def reset(self) -> None:
        """Forget where the robot is: the next frame relocalises."""
        self._tracker.reset()
        self._belief = self._hypothesis = None
        self._state = State.UNINITIALISED

    def process(self, frame: StereoFrame, motion: Motion | None = None) -> FrameResult:
        """Localise one frame.

        Args:
            frame: the frame; frames must come in the order of their stamps, a jump back by more than a second starts afresh.
            motion: motion of the base since the previous frame from another source (wheels), used when vision has none.

        Raises:
            CalibrationError: the frame is not of the size that the calibration is for.
        """
        tracked = self._tracker.track(frame, motion)
        if tracked.restarted:
            _log.warning("time jumped back: localisation starts afresh")
            self._belief = self._hypothesis = None
            self._state = State.UNINITIALISED
        if tracked.stale:
            return self._result(tracked, Fix.failure(RejectReason.STAMP_NOT_NEWER))
        self._predict(tracked)
        with tracked.clock.stage("features"):
            unusable = tracked.observation.reason
        with tracked.clock.stage("localise"):
            fix = self._fix(tracked.observation) if unusable is None else Fix.failure(unusable)
        self._settle(fix)
        return self._result(tracked, fix)

    def _predict(self, tracked: TrackedFrame) -> None:
        def later(belief: Belief) -> Belief:
            return belief.predicted(tracked.motion, tracked.seconds, self._settings)

        if self._belief is not None:
            self._belief = later(self._belief)
        if self._hypothesis is not None:
            self._hypothesis.belief = later(self._hypothesis.belief)

    def _fix(self, observation: Observation) -> Fix:
        """One fix of this frame; a successful one has been fused into the belief."""
        fix = Fix.failure(RejectReason.NO_CANDIDATE)
        if self._belief is not None:
            fix = self._follow(observation, self._belief)
            if fix.map_T_camera is not None:
                self._belief, self._hypothesis = self._belief.updated(*self._of_base(fix)), None
                return fix
            # A fix that contradicts the prediction may be the one that is right: odometry errs too.
            if fix.reason is not RejectReason.FAILED_GATE and self._belief.frames < self._settings.relocalise_after:
                return fix
        return self._relocalise(observation, fix)

    def _follow(self, observation: Observation, belief: Belief) -> Fix:
        """Match the keyframes next to the predicted pose, in narrow windows and then anywhere in the image."""
        nearest = self._submap.nearest(belief.map_T_base, self._settings.submap_keyframes, self._settings.max_keyframe_distance)
        views = [self._submap.view(keyframe) for keyframe in nearest]
        map_T_camera = belief.map_T_base @ self._base_T_camera
        fix = self._solver.solve(observation.features, views, map_T_camera, self._window(belief))
        if fix.inliers < self._settings.min_inliers:
            fix = self._solver.solve(observation.features, views)
        if fix.map_T_camera is None:
            return fix
        if fix.inliers < self._settings.min_inliers:
            return Fix.failure(RejectReason.TOO_FEW_INLIERS, fix.matches)
        if not belief.agrees(*self._of_base(fix)):
            return Fix.failure(RejectReason.FAILED_GATE, fix.matches)
        return fix

    def _relocalise(self, observation: Observation, followed: Fix) -> Fix:
        if self._hypothesis is not None:
            fix = self._follow(observation, self._hypothesis.belief)
            if fix.map_T_camera is not None:
                self._hypothesis.belief = self._hypothesis.belief.updated(*self._of_base(fix))
                self._hypothesis.confirmations += 1
                if self._hypothesis.confirmations < self._settings.confirm_frames:
                    return Fix.failure(RejectReason.UNCONFIRMED, fix.matches)
                self._belief, self._hypothesis = self._hypothesis.belief, None
                return fix
            self._hypothesis = None
        fix = self._relocalizer.search(observation.grey, observation.features)
        if fix.map_T_camera is None:
            return fix if self._belief is None else followed
        map_T_base, covariance = self._of_base(fix)
        believed_agrees = self._belief is not None and self._belief.agrees(map_T_base, covariance)
        if self._belief is not None and believed_agrees:
            self._belief = self._belief.updated(map_T_base, covariance)
            return fix
        # A robot that believes to be elsewhere, or has weak evidence, does not jump on the word of one frame; but strong
        # evidence of another place is enough to believe the old one no longer: the robot may have been carried.
        if self._relocalizer.is_sure(fix):
            if self._belief is None:
                self._belief = Belief(map_T_base, covariance)
                return fix
            self._belief, self._state = None, State.LOST
        self._hypothesis = _Hypothesis(Belief(map_T_base, covariance))
        return Fix.failure(RejectReason.UNCONFIRMED, fix.matches)

    def _window(self, belief: Belief) -> float:
        """Half side of the search window [px]: three sigma of the prediction, for a point five metres away."""
        sigma = np.sqrt(np.diag(belief.covariance))
        focal = self._solver.camera.fx
        spread = 3.0 * focal * (float(sigma[3:].max()) + float(sigma[:3].max()) / 5.0)
        return self._settings.window_px + spread

    def _of_base(self, fix: Fix) -> tuple[Array, Array]:
        """(4, 4) pose of the base in the map and its covariance, which includes what the matches cannot know of."""
        assert fix.map_T_camera is not None and fix.covariance is not None
        map_T_base = fix.map_T_camera @ se3.inverse(self._base_T_camera)
        return map_T_base, change_body(self._base_T_camera, fix.covariance) + self._fix_floor

    @property
    def _fix_floor(self) -> Array:
        return isotropic(self._settings.fix_sigma_m, self._settings.fix_sigma_rad)

    def _settle(self, fix: Fix) -> None:
        """The state after this frame."""
        if fix.map_T_camera is not None:
            self._state = State.LOCALISED
        elif self._belief is not None:
            if self._belief.is_lost(self._settings):
                self._belief = None
                self._state = State.LOST
            else:
                self._state = State.DEAD_RECKONING
        elif self._state is not State.LOST:
            self._state = State.RELOCALISING

    def _result(self, tracked: TrackedFrame, fix: Fix) -> FrameResult:
        belief = self._belief
        return FrameResult(
            stamp_ns=tracked.stamp_ns,
            state=self._state,
            reason=fix.reason,
            odom_T_base=tracked.odom_T_base,
            odom_covariance=None if tracked.motion is None else tracked.motion.covariance,
            map_T_base=None if belief is None else belief.map_T_base,
            map_covariance=None if belief is None else belief.covariance,
            fix=fix.map_T_camera is not None,
            keyframe=fix.keyframe,
            inliers=fix.inliers,
            odometry_inliers=tracked.inliers,
            match=fix.view,
            timings_ms=tracked.clock.elapsed_ms(),
        )
