"""Node ``simulator``: a robot with cameras and wheels in a simulated world, driven by ``cmd_vel`` or by an operator."""

from __future__ import annotations

import math
import sys
import threading
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry
from std_msgs.msg import Float64
from std_srvs.srv import SetBool, Trigger

from vloc_ros.closed_loop import DriveSettings
from vloc_ros.errors import VlocError
from vloc_ros.path_following import DriveState, StopReason
from vloc_ros.ros.acknowledgement import Acknowledgements
from vloc_ros.ros.command_inbox import CommandInbox
from vloc_ros.ros.conversions import stamp_to_ns
from vloc_ros.ros.managed_node import Entity, ManagedNode
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.qos import latched, reliable
from vloc_ros.ros.runtime import run_node
from vloc_ros.ros.simulated_drive import TeachingDrive, TopicDrive
from vloc_ros.ros.simulation_loop import SimulationLoop
from vloc_ros.ros.simulator_outputs import SimulatorOutputs
from vloc_ros.ros.simulator_report import drive_summary, simulator_diagnostics
from vloc_ros.ros.simulator_settings import Driver, SimulatorNodeSettings, build_simulator, check

_STOP_S = 30.0
_KEYFRAME_S = 5.0


class SimulatorNode(ManagedNode):
    """Runs a :class:`SimulationLoop` in a thread."""

    def __init__(self) -> None:
        super().__init__("simulator", (SimulatorNodeSettings(), DriveSettings()))

    def configure(self) -> None:
        """Advertise the topics; the world is made by the thread."""
        self._settings, self._drive = self.settings(SimulatorNodeSettings()), self.settings(DriveSettings())
        check(self._settings, self._drive)
        self._problems = Problems(self.get_logger().warning)
        self._outputs = SimulatorOutputs(self, self._settings, self._drive.use_wheels)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", reliable())
        self._inbox = CommandInbox(self, self._settings.stamped)
        self._acknowledgements = Acknowledgements(self)

    def activate(self) -> None:
        """Begin to build the world, and to drive."""
        self._stage = "building the world"
        self._keyframes: list[int] = []
        teaching = self._settings.driver is Driver.OPERATOR
        self._course: TeachingDrive | TopicDrive = (
            TeachingDrive(self._settings, self._drive, lambda: list(self._keyframes))
            if teaching
            else TopicDrive(self._settings, self._drive)
        )
        self._loop = SimulationLoop(self._settings, self._drive, self._outputs, self._inbox, self._acknowledgements, self._problems)
        if teaching:
            self._loop.before_last = self._make_last_keyframe
        self._while_active: list[Entity] = [
            self.create_subscription(Odometry, "keyframes", self._keyframe_made, reliable(100)),
            self.create_subscription(DiagnosticStatus, "path_follower/state", self._follower_said, latched()),
            self.create_subscription(Float64, "~/kidnap", self._kidnap, reliable()),
            self.create_service(SetBool, "~/cover", self._cover),
            self.steady_timer(1.0, self._report),
        ]
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._simulate, name="simulation", daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        """Stop; activating again begins the drive again."""
        self._halt.set()
        self._thread.join(_STOP_S)
        self.destroy_all(self._while_active)

    def cleanup(self) -> None:
        """Take the topics away."""
        self._outputs.close()
        self._inbox.close()
        self._acknowledgements.close()
        self.destroy_publisher(self._diagnostics)

    def _simulate(self) -> None:
        try:
            simulator = build_simulator(self._settings, self._drive)
            if self._halt.is_set():
                return
            self._stage = "driving"
            self.get_logger().info("the world is built")
            try:
                self._loop.run(simulator, self._course, self._halt)
            finally:
                self._course.close()
        except VlocError as error:
            self.fail(str(error))
        except Exception as error:
            self.broken(error)
        else:
            self._stage = "done"
            self.get_logger().info(drive_summary(self._loop, self._course))
            if self._settings.exit_when_done and not self._halt.is_set():
                self.done.set()

    def _make_last_keyframe(self) -> None:
        """Ask localisation to remember the place where teaching ends."""
        client: Any = self.create_client(Trigger, "localization/keyframe")
        answered = threading.Event()
        if client.wait_for_service(timeout_sec=1.0):
            client.call_async(Trigger.Request()).add_done_callback(lambda _answer: answered.set())
            answered.wait(_KEYFRAME_S)
        self.destroy_client(client)
        if not answered.is_set():
            self.get_logger().warning("the localization did not promise a keyframe at the end of the route")

    def _keyframe_made(self, message: Odometry) -> None:
        self._keyframes.append(stamp_to_ns(message.header.stamp))

    def _follower_said(self, message: DiagnosticStatus) -> None:
        """Note what the path follower says: for the record."""
        values = {pair.key: pair.value for pair in message.values}
        reason = values.get("reason", "")
        if not isinstance(self._course, TopicDrive) or "state" not in values:
            return
        try:
            self._course.follower = (DriveState(values["state"]), StopReason[reason] if reason else None)
        except (ValueError, KeyError) as error:
            self._problems.report(Problem.BAD_INPUT, f"a state of the path follower is none that this release knows: {error}")

    def _cover(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        covered = bool(request.data)
        self._loop.requests.put(lambda simulator: setattr(simulator, "covered", covered))
        response.success, response.message = True, "the cameras are covered" if covered else "the cameras are free"
        return response

    def _kidnap(self, message: Float64) -> None:
        station = float(message.data)
        if not math.isfinite(station):
            self._problems.report(
                Problem.BAD_INPUT, f"the robot was not carried to station {station}, which is no place on a route"
            )
            return
        self._loop.requests.put(lambda simulator: simulator.place(station))

    def _report(self) -> None:
        name, stamp_ns = self.get_fully_qualified_name(), self.get_clock().now().nanoseconds
        self._diagnostics.publish(
            simulator_diagnostics(
                name, stamp_ns, self._stage, self._loop, self._course, self._problems.take(), self.reception.values
            )
        )


def main(arguments: list[str] | None = None) -> int:
    """Console script ``simulator``."""
    return run_node(SimulatorNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
