"""Node ``place_recognition``: finds the earlier keyframes that new ones resemble, verifies them, and publishes the candidates."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from std_msgs.msg import String

from vloc_ros.errors import VlocError
from vloc_ros.loop_closure import Candidate
from vloc_ros.mapping import KeyframeId
from vloc_ros.priority import give_way
from vloc_ros.ros import model_message
from vloc_ros.ros.conversions import odometry_to_ros
from vloc_ros.ros.diagnostics import of_one_status
from vloc_ros.ros.input_watch import InputWatch
from vloc_ros.ros.managed_node import Entity, ManagedNode
from vloc_ros.ros.place_recognition_settings import RecognitionNodeSettings
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.qos import CANDIDATES_KEPT, KEYFRAMES_KEPT, latched, reliable
from vloc_ros.ros.recognition_report import report
from vloc_ros.ros.recognizer import Recognizer
from vloc_ros.ros.runtime import run_node
from vloc_ros.ros.worker import Worker

_RETRY_S, _REPORT_S, _STOP_S = 0.5, 1.0, 30.0


class PlaceRecognitionNode(ManagedNode):
    """Wires topics and parameters to a :class:`Recognizer` that runs in a worker's thread."""

    def __init__(self) -> None:
        super().__init__("place_recognition", (RecognitionNodeSettings(),))

    def configure(self) -> None:
        """Read the parameters and advertise the topics; the map is opened with the first keyframe."""
        self._settings = self.settings(RecognitionNodeSettings())
        self._problems = Problems(self.get_logger().warning)
        self._recognizer = Recognizer(self._settings)
        give_way(self._settings.niceness)
        self._worker: Worker[None] = Worker(self._turn, lambda _: None, self.broken, "recognition")
        self._candidates = self.create_publisher(Odometry, "loop_closures/candidates", latched(CANDIDATES_KEPT))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", reliable())

    def activate(self) -> None:
        """Listen for keyframes."""
        self._watch = InputWatch(self, self._problems, self._settings.map)
        self._while_active: list[Entity] = [
            self._watch.subscribe(Odometry, "keyframes", self._keyframe, latched(KEYFRAMES_KEPT)),
            self.steady_timer(_REPORT_S, self._watch.look),
            self.create_subscription(String, "model", self._model, latched()),
            self.steady_timer(_RETRY_S, lambda: self._worker.put(None)),
            self.steady_timer(_REPORT_S, lambda: self._worker.call(self._report).add_done_callback(self._reported)),
        ]
        self._worker.open()

    def deactivate(self) -> None:
        """Listen no more; keyframes that wait are searched for when the node is active again."""
        self._worker.shut()
        self.destroy_all(self._while_active)

    def cleanup(self) -> None:
        """Finish the keyframe at hand, close the map and take the topics away."""
        closed = self._worker.call(self._recognizer.close)
        ended = self._worker.stop(_STOP_S)
        counts, waiting = self._recognizer.counts, self._recognizer.waiting
        self.get_logger().info(
            f"{counts['keyframes']} keyframes searched, {counts['candidates']} candidates, {waiting} left waiting"
        )
        self.destroy_all((self._candidates, self._diagnostics))
        if not ended:
            raise VlocError(f"a keyframe was not finished within {_STOP_S:g} s; what was found before it is published")
        closed.result()

    def changed(self) -> None:
        """Hand the new values to the thread of the search, which takes them over between two keyframes."""
        self._settings = settings = self.settings(RecognitionNodeSettings())
        self._worker.call(lambda: self._recognizer.tune(settings)).add_done_callback(self._reported)

    def require_usable(self, values: Mapping[str, Any]) -> None:
        """A condition must be one that somebody knows."""
        self._recognizer.require_known(values.get("loops.condition", ""))

    def _keyframe(self, message: Odometry) -> None:
        try:
            id = KeyframeId.parse(message.child_frame_id)
        except VlocError as error:
            self._problems.report(Problem.BAD_INPUT, str(error))
            return
        self._worker.call(lambda: self._recognizer.announce(id))
        self._worker.put(None)

    def _model(self, message: String) -> None:
        """Somebody says that there is another version: look into the map now, which alone decides."""
        try:
            model_message.loads(message.data)
        except VlocError as error:
            self._problems.report(Problem.BAD_MODEL_MESSAGE, str(error))
            return
        self._problems.clear(Problem.BAD_MODEL_MESSAGE)
        self._worker.put(None)

    def _turn(self, _nothing: None) -> None:
        """One keyframe, and a step towards another model; more come in further turns, so that commands run between them."""
        searched, more = self._search(), self._follow()
        if more or (searched and self._recognizer.waiting):
            self._worker.put(None)

    def _search(self) -> bool:
        """Whether a keyframe was searched for."""
        try:
            detection = self._recognizer.step()
        except VlocError as error:
            self._problems.report(Problem.BAD_INPUT, str(error))
            return False  # the timer tries again
        if detection is None:
            return False
        self._problems.clear(Problem.BAD_INPUT)
        if detection.candidate is not None:
            self._publish(detection.candidate)
        return True

    def _follow(self) -> bool:
        """Whether there is more to do at once."""
        more = self._recognizer.follow()
        problem = self._recognizer.swap.problem
        if problem:
            self._problems.report(Problem.MODEL, problem)
        else:
            self._problems.clear(Problem.MODEL)
        return more

    def _publish(self, found: Candidate) -> None:
        stamp_ns = self.get_clock().now().nanoseconds
        self._candidates.publish(odometry_to_ros(stamp_ns, str(found.a), str(found.b), found.a_T_b, found.covariance))

    def _report(self) -> None:
        name = f"{self.get_fully_qualified_name()}: place recognition"
        stamp_ns = self.get_clock().now().nanoseconds
        try:
            self._recognizer.look_up_labels()
            self._problems.clear(Problem.MAP)
        except VlocError as error:
            self._problems.report(Problem.MAP, str(error))
        self._problems.report_or_clear(Problem.PATCHES, self._recognizer.take_stage_problem())
        values = report(self._recognizer) | self.reception.values
        self._diagnostics.publish(of_one_status(name, stamp_ns, values, self._problems.take(), "searching"))

    def _reported(self, outcome: Future[None]) -> None:
        error = outcome.exception()
        if error is not None:
            self.broken(error)


def main(arguments: list[str] | None = None) -> int:
    """Console script ``place_recognition``."""
    return run_node(PlaceRecognitionNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
