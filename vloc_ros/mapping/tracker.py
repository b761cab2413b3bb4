"""What teaching and localising do first with every frame: check its stamp and measure the motion."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import StereoFrame
from vloc_ros.features.frontend import FrontEnd, Observation
from vloc_ros.geometry import se3
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.geometry.motion import Drift, Motion
from vloc_ros.geometry.uncertainty import change_body
from vloc_ros.mapping.odometry import OdometryStep, StereoOdometry

if TYPE_CHECKING:
    from vloc_ros.settings import Settings

Array = NDArray[np.float64]
_RESTART_AFTER_NS = 1_000_000_000


class StageClock:
    """Wall time of the stages of one frame."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a block under a name."""
        start = time.perf_counter()
        yield
        self._stages[name] = self._stages.get(name, 0.0) + 1e3 * (time.perf_counter() - start)

    def elapsed_ms(self) -> dict[str, float]:
        """Time of each stage, and ``total`` since the clock was made [ms]."""
        return {**self._stages, "total": 1e3 * (time.perf_counter() - self._start)}


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """A frame and the motion of the base that led to it.

    Attributes:
        stamp_ns: time of exposure [ns].
        seconds: since the previous frame [s]; 0 for the first.
        observation: what can be measured in it.
        motion: of the base since the last frame that had one; None when nothing measured it.
        odom_T_base: (4, 4) pose in the odometry frame; None when this frame gave no motion.
        inliers: of the visual odometry.
        reason: why vision gave no motion.
        broken: the motion that led here is unknown for good: the path has a gap.
        stale: the stamp is not newer than the previous one; nothing was done with the frame.
        restarted: the stamp jumped back so far that the odometry started afresh.
        clock: its stages.
    """

    stamp_ns: int
    seconds: float
    observation: Observation
    motion: Motion | None
    odom_T_base: Array | None
    inliers: int
    reason: RejectReason | None
    broken: bool
    stale: bool
    restarted: bool
    clock: StageClock


class MotionTracker:
    """Odometry of the base, from one frame to the next."""

    def __init__(self, frontend: FrontEnd, settings: Settings, base_T_camera: Array) -> None:
        self.frontend = frontend
        self._base_T_camera = base_T_camera
        self._odometry = StereoOdometry(
            frontend.camera, frontend.extractor.metric, settings.odometry, settings.matching, settings.pnp
        )
        self._drift = Drift(*settings.odometry.drift(1.0))
        self._odom_T_base = np.eye(4)
        self._last_ns: int | None = None

    def tune(self, settings: Settings) -> None:
        """Take over the thresholds of matching and solving, from the next frame on."""
        self._odometry.tune(settings.matching, settings.pnp)

    def reset(self) -> None:
        """Forget the previous frame; the odometry frame goes on."""
        self._odometry.reset()
        self._last_ns = None

    def track(self, frame: StereoFrame, wheels: Motion | None) -> TrackedFrame:
        """Process the next frame; ``wheels`` is a motion of the base that is used when vision has none.

        Raises:
            CalibrationError: the frame is not of the size that the calibration is for.
        """
        clock = StageClock()
        restarted = self._last_ns is not None and frame.stamp_ns < self._last_ns - _RESTART_AFTER_NS
        if restarted:
            self.reset()
        if self._last_ns is not None and frame.stamp_ns <= self._last_ns:
            return self._stale(frame, clock)
        first = self._last_ns is None
        seconds = 0.0 if self._last_ns is None else (frame.stamp_ns - self._last_ns) * 1e-9
        self._last_ns = frame.stamp_ns
        observation = self.frontend.observe(frame)
        with clock.stage("odometry"):
            step = self._odometry.update(observation)
        motion = self._of_base(step) or wheels
        if motion is not None:
            self._odom_T_base = se3.normalised(self._odom_T_base @ motion.a_T_b)
        known = motion is not None or (first and not observation.is_blank)
        return TrackedFrame(
            stamp_ns=frame.stamp_ns,
            seconds=seconds,
            observation=observation,
            motion=motion,
            odom_T_base=self._odom_T_base if known else None,
            inliers=step.inliers,
            reason=step.reason,
            broken=restarted or (step.broken and motion is None),
            stale=False,
            restarted=restarted,
            clock=clock,
        )

    def _of_base(self, step: OdometryStep) -> Motion | None:
        if step.previous_T_camera is None or step.covariance is None:
            return None
        base_T_camera = self._base_T_camera
        motion = base_T_camera @ step.previous_T_camera @ se3.inverse(base_T_camera)
        return Motion(motion, change_body(base_T_camera, step.covariance), self._drift)

    def _stale(self, frame: StereoFrame, clock: StageClock) -> TrackedFrame:
        observation = self.frontend.observe(frame)
        return TrackedFrame(frame.stamp_ns, 0.0, observation, None, None, 0, None, False, True, False, clock)
