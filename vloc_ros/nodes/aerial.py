"""Node ``aerial``: where a drone is on a geo-referenced map, from its camera, its height and its heading."""

from __future__ import annotations

import sys
from concurrent.futures import Future

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from sensor_msgs.msg import NavSatFix
from visualization_msgs.msg import Marker

from vloc_ros.aerial.fix import AerialFix, AerialReject
from vloc_ros.errors import DataError, VlocError
from vloc_ros.priority import give_way
from vloc_ros.ros.aerial_input import AerialInput, Shot
from vloc_ros.ros.aerial_messages import fix_to_ros, footprint_to_ros, origin_to_ros, pose_of_fix
from vloc_ros.ros.aerial_navigator import Navigator
from vloc_ros.ros.aerial_settings import AerialNodeSettings
from vloc_ros.ros.diagnostics import of_one_status
from vloc_ros.ros.input_watch import InputWatch
from vloc_ros.ros.managed_node import Entity, ManagedNode
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.qos import latched, reliable
from vloc_ros.ros.runtime import run_node
from vloc_ros.ros.services import trigger_service
from vloc_ros.ros.worker import Worker

_REPORT_S, _STOP_S = 1.0, 30.0


class AerialNode(ManagedNode):
    """Wires topics, services and parameters to a :class:`Navigator` that runs in a worker's thread."""

    def __init__(self) -> None:
        super().__init__("aerial", (AerialNodeSettings(),))

    def configure(self) -> None:
        """Open the map and advertise the topics."""
        self._settings = self.settings(AerialNodeSettings())
        self._problems = Problems(self.get_logger().warning)
        self._navigator = Navigator(self._settings)
        self._superseded = self._damaged = 0
        self._reference_pa: float | None = None
        give_way(self._settings.niceness)
        self._worker: Worker[Shot] = Worker(self._locate, self._drop, self._broken, "photos")
        try:
            self._worker.call(self._navigator.open).result()
        except BaseException:
            self._worker.stop(_STOP_S)
            raise
        ground = self._navigator.ground
        self._frame = ground.frame
        self._fix = self.create_publisher(NavSatFix, "fix", reliable())
        self._footprint = self.create_publisher(Marker, "footprint", reliable())
        self._pose = self.create_publisher(PoseWithCovarianceStamped, "aerial/pose", reliable())
        self._origin = self.create_publisher(NavSatFix, "aerial/origin", latched())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", reliable())
        self._topics = (self._fix, self._footprint, self._pose, self._origin, self._diagnostics)
        stamp_ns = self.get_clock().now().nanoseconds
        self._origin.publish(origin_to_ros(stamp_ns, self._settings.frame, self._frame.origin, ground.accuracy_m))

    def activate(self) -> None:
        """Listen to camera and instruments."""
        watch = InputWatch(self, self._problems)
        self._input = AerialInput(self, self._settings, self._problems, watch, self._worker.put, self._reference_pa)
        self._while_active: list[Entity] = [
            trigger_service(self, "aerial/forget", lambda: self._worker.call(self._navigator.forget)),
            self.steady_timer(_REPORT_S, self._report),
        ]
        self._worker.open()
        self.get_logger().info(f"the map {self._settings.map} is open: waiting for images")

    def deactivate(self) -> None:
        """Listen no more, and show no place any more; the map stays open, and so does what the pressure on the ground was."""
        self._input.close()
        self._worker.shut()
        self._reference_pa = self._input.instruments.reference_pa
        self.destroy_all(self._while_active)
        self._worker.call(self._hide)

    def cleanup(self) -> None:
        """Finish the photo at hand, close the map and take the topics away."""
        closed = self._worker.call(self._navigator.close)
        ended = self._worker.stop(_STOP_S)
        navigator = self._navigator
        refused = ", ".join(f"{count} {reason.name}" for reason, count in navigator.refused.items())
        self.get_logger().info(
            f"{navigator.located} images located, {sum(navigator.refused.values())} refused ({refused or 'none'}), "
            f"{self._superseded} superseded, {self._damaged} damaged"
        )
        self.destroy_all(self._topics)
        if not ended:
            raise VlocError(f"an image was not finished within {_STOP_S:g} s")
        closed.result()

    def changed(self) -> None:
        """Hand the new values over, to be taken between two photos."""
        self._settings = settings = self.settings(AerialNodeSettings())
        if self._active:
            self._input.tune(settings)
        self._worker.call(lambda: self._navigator.tune(settings)).add_done_callback(self._tuned)

    def _tuned(self, outcome: Future[None]) -> None:
        error = outcome.exception()
        if error is not None:
            self._broken(error)

    def _broken(self, error: BaseException) -> None:
        if isinstance(error, VlocError):
            self.fail(str(error))
        else:
            self.broken(error)

    def _drop(self, _shot: Shot) -> None:
        self._superseded += 1

    def _hide(self) -> None:
        """In the worker's thread: the drone flies on, and nobody looks where."""
        nothing = AerialFix.failure(AerialReject.NO_CANDIDATE)
        self._footprint.publish(footprint_to_ros(self.get_clock().now().nanoseconds, self._settings.frame, nothing, self._frame))

    def _locate(self, shot: Shot) -> None:
        """In the worker's thread: one photo, and what is published of it."""
        try:
            photo = shot.photo()
        except DataError as error:
            self._damaged += 1
            self._problems.report(Problem.BAD_FRAME, str(error))
            return
        self._problems.clear(Problem.BAD_FRAME)
        fix = self._navigator.locate(photo)
        if not self._active:  # an inactive node says nothing
            return
        frame, stamp_ns = self._settings.frame, shot.stamp_ns
        self._fix.publish(fix_to_ros(stamp_ns, shot.frame_id, fix))
        self._footprint.publish(footprint_to_ros(stamp_ns, frame, fix, self._frame, self._settings.patience))
        if fix.success and fix.heading_deg is not None:
            yaw = shot.settings.camera.yaw
            self._pose.publish(pose_of_fix(stamp_ns, frame, fix, shot.flown.height_m, yaw))

    def _report(self) -> None:
        self._input.look()
        flown, reference = self._input.newest, self._input.instruments.reference_pa
        self._problems.report_or_clear(Problem.NO_POSITION, self._navigator.trouble)
        values = self._navigator.report()
        values |= {
            "superseded": str(self._superseded),
            "damaged": str(self._damaged),
            "without_camera_info": str(self._input.without_camera_info),
            "height": "unknown" if flown is None or flown.height_m is None else f"{flown.height_m:.1f} m by {flown.source}",
            "heading": "unknown" if flown is None or flown.attitude is None else f"{flown.attitude.heading_deg:.1f} deg",
        }
        if reference is not None:
            values["reference_pressure"] = f"{reference:.1f} Pa"
        values |= self.reception.values
        name = f"{self.get_fully_qualified_name()}: aerial localisation"
        stamp_ns = self.get_clock().now().nanoseconds
        self._diagnostics.publish(of_one_status(name, stamp_ns, values, self._problems.take(), self._navigator.mode))


def main(arguments: list[str] | None = None) -> int:
    """Console script ``aerial``."""
    return run_node(AerialNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
