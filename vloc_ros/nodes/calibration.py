"""Node ``calibration``: tunes place recognition to the site while the robot drives, and goes back when that was no gain."""

from __future__ import annotations

import sys
from concurrent.futures import Future

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from std_msgs.msg import String

from vloc_ros.calibration.settings import default_settings
from vloc_ros.errors import VlocError
from vloc_ros.priority import give_way
from vloc_ros.ros.calibration_keeper import CalibrationKeeper
from vloc_ros.ros.calibration_report import message, report
from vloc_ros.ros.calibration_settings import CalibrationNodeSettings
from vloc_ros.ros.conversions import stamp_to_ns
from vloc_ros.ros.diagnostics import of_one_status
from vloc_ros.ros.errands import Errands
from vloc_ros.ros.managed_node import Entity, ManagedNode
from vloc_ros.ros.model_message import dumps
from vloc_ros.ros.problems import Problems
from vloc_ros.ros.qos import CANDIDATES_KEPT, latched, reliable
from vloc_ros.ros.runtime import run_node
from vloc_ros.ros.services import trigger_service
from vloc_ros.ros.worker import Worker

_TURN_S, _REPORT_S, _STOP_S = 0.2, 1.0, 30.0
_LABELS = ("inliers", "outliers", "undecided")


class CalibrationNode(ManagedNode):
    """Wires topics, services and parameters to a :class:`CalibrationKeeper` that runs in a worker's thread."""

    def __init__(self) -> None:
        super().__init__("calibration", (CalibrationNodeSettings(), default_settings()))

    def configure(self) -> None:
        """Read the parameters, take up the work that was left, and advertise the topics."""
        self._settings = self.settings(CalibrationNodeSettings())
        self._problems = Problems(self.get_logger().warning)
        calibration = self.settings(default_settings())
        give_way(self._settings.niceness)
        self._worker: Worker[None] = Worker(self._turn, lambda _: None, self.broken, "calibration")
        self._do = Errands(self._worker, self._problems, self.broken)
        try:
            made = self._worker.call(lambda: CalibrationKeeper(self._settings, calibration, self._problems))
            self._keeper: CalibrationKeeper = made.result()
        except BaseException:
            self._worker.stop(_STOP_S)
            raise
        self._keeper.active(False)
        self._model = self.create_publisher(String, "model", latched())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", reliable())

    def activate(self) -> None:
        """Listen, and let the trainer run."""
        self._while_active: list[Entity] = [
            *(
                self.create_subscription(
                    Odometry,
                    f"loop_closures/{label}",
                    lambda _message: self._do(self._keeper.labelled),
                    latched(CANDIDATES_KEPT),
                )
                for label in _LABELS
            ),
            self.create_subscription(Odometry, "odometry", self._odometry, reliable()),
            trigger_service(self, "~/trigger", lambda: self._worker.call(self._keeper.trigger)),
            trigger_service(self, "~/pause", lambda: self._worker.call(lambda: self._keeper.pause(True))),
            trigger_service(self, "~/resume", lambda: self._worker.call(lambda: self._keeper.pause(False))),
            self.steady_timer(_TURN_S, lambda: self._worker.put(None)),
            self.steady_timer(_REPORT_S, lambda: self._do(self._report)),
        ]
        self._keeper.active(True)
        self._worker.open()

    def deactivate(self) -> None:
        """Listen no more; the trainer stands still until the node is active again."""
        self._worker.shut()
        self._keeper.active(False)
        self.destroy_all(self._while_active)

    def cleanup(self) -> None:
        """End the trainer, which goes on where it was when the node is configured again, and take the topics away."""
        closed: Future[None] = self._worker.call(self._keeper.close)
        ended = self._worker.stop(_STOP_S)
        self.destroy_all((self._model, self._diagnostics))
        if not ended:
            raise VlocError(f"the calibration was not closed within {_STOP_S:g} s")
        closed.result()

    def changed(self) -> None:
        """Hand the new values to the thread of the calibration; they count for a trainer that runs, too."""
        self._settings = settings = self.settings(CalibrationNodeSettings())
        self._do(lambda: self._keeper.tune(settings))

    def _odometry(self, heard: Odometry) -> None:
        stamp_ns, now_ns = stamp_to_ns(heard.header.stamp), self.get_clock().now().nanoseconds
        self._do(lambda: self._keeper.odometry(stamp_ns, now_ns))

    def _turn(self, _nothing: None) -> None:
        changed = self._keeper.turn()
        if changed is not None:
            self._model.publish(String(data=dumps(changed.wanted)))

    def _report(self) -> None:
        name, stamp_ns = f"{self.get_fully_qualified_name()}: calibration", self.get_clock().now().nanoseconds
        values, said = report(self._keeper) | self.reception.values, message(self._keeper)
        self._diagnostics.publish(of_one_status(name, stamp_ns, values, self._problems.take(), said))


def main(arguments: list[str] | None = None) -> int:
    """Console script ``calibration``."""
    return run_node(CalibrationNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
