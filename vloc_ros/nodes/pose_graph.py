"""Node ``pose_graph``: says of each candidate for a loop closure whether it is true, and straightens the path by those that are."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import Future

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry

from vloc_ros.errors import VlocError
from vloc_ros.ros.errands import Errands
from vloc_ros.ros.input_watch import InputWatch
from vloc_ros.ros.managed_node import Entity, ManagedNode
from vloc_ros.ros.pose_graph_inputs import teaches, to_candidate, to_keyframe
from vloc_ros.ros.pose_graph_keeper import GraphKeeper
from vloc_ros.ros.pose_graph_outputs import GraphOutputs
from vloc_ros.ros.pose_graph_report import report
from vloc_ros.ros.pose_graph_settings import GraphNodeSettings
from vloc_ros.ros.problems import Problems
from vloc_ros.ros.qos import CANDIDATES_KEPT, KEYFRAMES_KEPT, latched
from vloc_ros.ros.runtime import run_node
from vloc_ros.ros.services import trigger_service
from vloc_ros.ros.worker import Worker

_TURN_S, _REPORT_S, _PICTURE_S = 0.05, 1.0, 2.0
_STOP_S = 30.0
_SWITCH_S = 0.0005


class PoseGraphNode(ManagedNode):
    """Wires topics, services and parameters to a :class:`GraphKeeper` that runs in a worker's thread."""

    def __init__(self) -> None:
        super().__init__("pose_graph", (GraphNodeSettings(),))

    def configure(self) -> None:
        """Start the solver, read the map, and advertise the topics."""
        self._settings = self.settings(GraphNodeSettings())
        self._problems = Problems(self.get_logger().warning)
        self._worker: Worker[None] = Worker(self._turn, lambda _: None, self.broken, "graph")
        self._do = Errands(self._worker, self._problems, self.broken)
        try:
            self._keeper: GraphKeeper = self._worker.call(lambda: GraphKeeper(self._settings, self._problems)).result()
        except BaseException:
            self._worker.stop(_STOP_S)
            raise
        self._outputs = GraphOutputs(self, self._settings)
        self._drawn = -1
        # What the imports made stays: a garbage collection that looks through it again halts every thread.
        gc.collect()
        gc.freeze()

    def activate(self) -> None:
        """Listen, and solve whenever there is something new."""
        self._teaching = False
        self._watch = InputWatch(self, self._problems, self._settings.map)
        self._while_active: list[Entity] = [
            self._watch.subscribe(
                Odometry, "keyframes", lambda m: self._do(lambda: self._take_keyframe(m)), latched(KEYFRAMES_KEPT)
            ),
            self._watch.subscribe(
                Odometry, "loop_closures/candidates", lambda m: self._do(lambda: self._take_candidate(m)), latched(CANDIDATES_KEPT)
            ),
            self.create_subscription(DiagnosticStatus, "state", self._take_state, latched()),
            trigger_service(self, "~/solve", lambda: self._worker.call(self._keeper.solve_now)),
            trigger_service(self, "~/apply", self._apply),
            trigger_service(self, "~/republish", lambda: self._worker.call(self._republish)),
            self.steady_timer(_TURN_S, lambda: self._worker.put(None)),
            self.steady_timer(_REPORT_S, self._watch.look),
            self.steady_timer(_REPORT_S, lambda: self._do(self._report)),
            self.steady_timer(_PICTURE_S, lambda: self._do(self._draw_new)),
        ]
        if self._settings.heartbeat_rate > 0.0:
            self._while_active.append(
                self.steady_timer(1.0 / self._settings.heartbeat_rate, lambda: self._outputs.heartbeat(self._now_ns()))
            )
        self._worker.open()

    def deactivate(self) -> None:
        """Listen no more; a solution that is being computed is taken when the node is active again."""
        self._worker.shut()
        self.destroy_all(self._while_active)

    def cleanup(self) -> None:
        """End the solver and take the topics away."""
        closed: Future[None] = self._worker.call(self._keeper.close)
        ended = self._worker.stop(_STOP_S)
        self._outputs.close()
        gc.unfreeze()  # else this node, frozen too, outlives its end, and others see it until its lease runs out
        if not ended:
            raise VlocError(f"the graph was not closed within {_STOP_S:g} s")
        closed.result()

    def changed(self) -> None:
        """Hand the new values to the thread of the graph; a solution that is being computed is taken first as it was asked for."""
        self._settings = settings = self.settings(GraphNodeSettings())
        self._do(lambda: self._keeper.tune(settings))

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _take_keyframe(self, message: Odometry) -> None:
        keyframe = to_keyframe(message, self._keeper.graph.rejections)
        if keyframe is not None:
            self._keeper.keyframe(*keyframe)

    def _take_candidate(self, message: Odometry) -> None:
        candidate = to_candidate(message, self._keeper.graph.rejections)
        if candidate is not None:
            self._keeper.candidate(*candidate)

    def _take_state(self, message: DiagnosticStatus) -> None:
        self._teaching = teaches(message)

    def _apply(self) -> Future[str]:
        teaching = self._teaching and self.count_publishers(self.resolve_topic_name("state")) > 0
        return self._worker.call(lambda: self._keeper.apply(teaching))

    def _turn(self, _nothing: None) -> None:
        changed = self._keeper.turn()
        if changed is not None:
            self._outputs.labels(self._now_ns(), changed)
            self._draw()

    def _draw_new(self) -> None:
        if len(self._keeper.graph) != self._drawn:
            self._draw()

    def _draw(self) -> None:
        self._drawn = len(self._keeper.graph)
        self._outputs.picture(self._now_ns(), self._keeper)

    def _republish(self) -> str:
        closures = list(self._keeper.graph.closures)
        self._outputs.labels(self._now_ns(), closures)
        self._draw()
        return f"{len(closures)} closures were published with their labels of revision {self._keeper.graph.revision}"

    def _report(self) -> None:
        values = report(self._keeper) | self.reception.values
        self._outputs.diagnostics(self._now_ns(), values, self._problems.take())


def main(arguments: list[str] | None = None) -> int:
    """Console script ``pose_graph``."""
    # While the worker's thread makes messages, each step of the executor waits so long for Python's lock.
    sys.setswitchinterval(_SWITCH_S)
    return run_node(PoseGraphNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
