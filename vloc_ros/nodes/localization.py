"""Node ``localization``: teaches a route, or localises along it, from the topics of a stereo or RGB-D camera."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry

from vloc_ros.errors import VlocError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.ros.camera_diagnosis import CameraDiagnosis
from vloc_ros.ros.camera_input import CameraInput
from vloc_ros.ros.conversions import checked_covariance, pose_from_ros, pose_with_covariance_from_ros, stamp_to_ns
from vloc_ros.ros.decoding import Pair
from vloc_ros.ros.diagnostics import diagnostics
from vloc_ros.ros.frame_loop import FrameLoop
from vloc_ros.ros.managed_node import Entity, ManagedNode
from vloc_ros.ros.node_settings import LocalizationNodeSettings, base_T_camera_from_numbers, numbers_of_base_T_camera
from vloc_ros.ros.outputs import Outputs
from vloc_ros.ros.pipeline import Pipeline
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.qos import reliable
from vloc_ros.ros.runtime import run_node
from vloc_ros.ros.services import trigger_service
from vloc_ros.ros.statistics import DropReason, Statistics
from vloc_ros.ros.worker import Worker
from vloc_ros.settings import Settings

_STOP_S = 30.0
_BASE_T_CAMERA = "base_T_camera"


class LocalizationNode(ManagedNode):
    """Wires topics, services and parameters to a :class:`FrameLoop` that runs in a worker's thread."""

    def __init__(self) -> None:
        description = "pose of the left optical frame in the base frame: x y z qx qy qz qw, or a 4x4 matrix by rows"
        arrays = {_BASE_T_CAMERA: (numbers_of_base_T_camera(base_T_camera_from_numbers([])), description)}
        super().__init__("localization", (LocalizationNodeSettings(), Settings()), arrays)

    def configure(self) -> None:
        """Open the map and advertise the topics."""
        self._settings = self.settings(LocalizationNodeSettings())
        base_T_camera = base_T_camera_from_numbers(list(self.get_parameter(_BASE_T_CAMERA).value))
        self._mount = None if np.allclose(base_T_camera, BASE_T_OPTICAL) else base_T_camera
        self._statistics, self._problems = Statistics(), Problems(self.get_logger().warning)
        self._unpaired = 0
        self._pipeline = Pipeline(self._settings, self.settings(Settings()), base_T_camera)
        self._worker: Worker[Pair] = Worker(lambda pair: self._loop.handle(pair), self._superseded, self._broken, "frames")
        try:
            self._worker.call(self._pipeline.prepare).result()
        except BaseException:
            self._worker.stop(_STOP_S)
            raise
        self._outputs = Outputs(self, self._settings)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", reliable())
        self._loop = FrameLoop(self._settings.camera, self._pipeline, self._outputs, self._statistics, self._problems)

    def activate(self) -> None:
        """Subscribe to the camera and offer the services."""
        self._camera_input = CameraInput(
            self, self._settings, self._statistics, self._problems, self._camera_known, self._worker.put
        )
        self._diagnosis = CameraDiagnosis(
            self,
            self._problems,
            self._camera_input,
            self._settings.frames.base,
            self._mount,
            Path(self._settings.map).expanduser(),
            self._worker.call,
        )
        self._activated = time.monotonic()
        self._while_active: list[Entity] = [
            self.create_subscription(PoseWithCovarianceStamped, "initialpose", self._initial_pose, reliable()),
            trigger_service(self, "~/reset", lambda: self._worker.call(self._pipeline.reset)),
            trigger_service(self, "~/keyframe", lambda: self._worker.call(self._pipeline.force_keyframe)),
            trigger_service(self, "~/finish", lambda: self._worker.call(self._pipeline.finish)),
            self.steady_timer(1.0, self._report),
        ]
        if self._settings.use_wheel_odometry:
            self._while_active.append(self.create_subscription(Odometry, "odom", self._wheel_odometry, reliable(100)))
        self._outputs.start(self.get_clock().now().nanoseconds)
        if self._pipeline.begun:
            self._worker.open()
        self.get_logger().info(f"mode {self._settings.mode.value}, map {self._settings.map}: waiting for images")

    def deactivate(self) -> None:
        """Let go of the camera; the map stays open."""
        self._worker.shut()
        self._diagnosis.close()
        self._camera_input.close()
        counts = self._camera_input.counts
        self._unpaired += counts.unpaired + counts.pending
        self.destroy_all(self._while_active)

    def cleanup(self) -> None:
        """Finish the frame at hand, close the map and take the topics away."""
        closed: Future[None] = self._worker.call(self._pipeline.close)
        ended = self._worker.stop(_STOP_S)
        self.get_logger().info(self._statistics.summary(self._unpaired))
        self._outputs.close()
        self.destroy_publisher(self._diagnostics)
        if not ended:
            raise VlocError(f"a frame was not finished within {_STOP_S:g} s; the map holds what was stored before it")
        closed.result()

    def changed(self) -> None:
        """Hand the new values to the thread of the frames, which takes them over between two frames."""
        node, settings = self.settings(LocalizationNodeSettings()), self.settings(Settings())
        self._settings = node
        if self._active:
            self._camera_input.tune(node)
        self._worker.call(lambda: self._tune(node, settings)).add_done_callback(self._tuned)

    def require_usable(self, values: Mapping[str, Any]) -> None:
        """A condition must be one that somebody knows."""
        self._pipeline.require_known(values.get("localization.condition", ""))

    def _tune(self, node: LocalizationNodeSettings, settings: Settings) -> None:
        self._outputs.tune(node)
        self._pipeline.tune(node, settings)

    def _tuned(self, outcome: Future[None]) -> None:
        """All was taken over, whatever comes of the record."""
        error = outcome.exception()
        if isinstance(error, VlocError):
            self._problems.report(Problem.OUTPUT, f"the change of parameters was not recorded: {error}")
        elif error is not None:
            self._broken(error)

    def _camera_known(self, camera: StereoCamera) -> None:
        heard = time.monotonic()
        self._worker.call(lambda: self._loop.begin(camera)).add_done_callback(lambda outcome: self._begun(outcome, heard))

    def _begun(self, outcome: Future[None], heard: float) -> None:
        error = outcome.exception()
        if error is None:
            self._worker.open()
            self.get_logger().info(f"the map {self._settings.map} is ready after {time.monotonic() - heard:.2f} s")
        else:
            self._broken(error)

    def _broken(self, error: BaseException) -> None:
        if isinstance(error, VlocError):
            self.fail(str(error))
        else:
            self.broken(error)

    def _superseded(self, _pair: Pair) -> None:
        self._statistics.dropped(DropReason.SUPERSEDED if self._pipeline.begun else DropReason.NO_CALIBRATION)

    def _initial_pose(self, message: PoseWithCovarianceStamped) -> None:
        try:
            self._require_map_frame(message.header.frame_id)
            map_T_base, covariance = pose_with_covariance_from_ros(message)
        except VlocError as error:
            self._problems.report(Problem.BAD_INPUT, str(error))
            return
        self._worker.call(lambda: self._pipeline.set_pose(map_T_base, covariance)).add_done_callback(self._pose_set)

    def _pose_set(self, outcome: Future[None]) -> None:
        error = outcome.exception()
        if error is not None:
            self._problems.report(Problem.BAD_INPUT, str(error))

    def _require_map_frame(self, frame_id: str) -> None:
        if frame_id not in ("", self._settings.frames.map):
            raise VlocError(f"an initial pose in frame '{frame_id}' was ignored: it must be in '{self._settings.frames.map}'")

    def _wheel_odometry(self, message: Odometry) -> None:
        try:
            pose = pose_from_ros(message.pose.pose)
        except VlocError as error:
            self._problems.report(Problem.BAD_INPUT, str(error))
            return
        try:
            covariance = checked_covariance(message.twist.covariance)
        except VlocError:
            covariance = None  # drivers that know none say -1, or fill it with anything
        self._loop.wheel.add(stamp_to_ns(message.header.stamp), pose, covariance)

    def _report(self) -> None:
        idle = 0.0 if self._pipeline.finished else time.monotonic() - max(self._activated, self._loop.output_at)
        self._diagnosis.look(idle, self._settings.timeout)
        stamp_ns = self.get_clock().now().nanoseconds
        extra = {"mode": self._settings.mode.value, **self._pipeline.map_report, **self.reception.values}
        name = self.get_fully_qualified_name()
        counts, last = self._camera_input.counts, self._loop.last
        self._diagnostics.publish(diagnostics(name, stamp_ns, self._statistics, self._problems.take(), counts, last, extra))


def main(arguments: list[str] | None = None) -> int:
    """Console script ``localization``."""
    return run_node(LocalizationNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
