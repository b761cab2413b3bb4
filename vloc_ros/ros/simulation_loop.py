"""The course of a simulation: ticks of the robot, images of its cameras, in lock-step with the other nodes or by the wall clock."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from vloc_ros.closed_loop import DriveSettings
from vloc_ros.errors import VlocError
from vloc_ros.geometry.planar import STANDSTILL, PlanarTwist
from vloc_ros.ros.acknowledgement import Acknowledgements
from vloc_ros.ros.command_inbox import CommandInbox
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.simulated_drive import SimulatedDrive
from vloc_ros.ros.simulator_outputs import SimulatorOutputs
from vloc_ros.ros.simulator_settings import Driver, SimulatorNodeSettings
from vloc_ros.simulation import Simulator

_POLL_S, _SETTLE_S = 0.05, 0.5
_AFTER_ACK_S = 0.005
_QUIET_S, _LAST_S = 0.5, 10.0
_PATIENCE = 3
_WINDOW_S = 3.0
_SLOW = 0.9


class SimulationLoop:
    """Drives the simulated robot to the end of its drive. Runs in one thread, and renders in another."""

    def __init__(
        self,
        settings: SimulatorNodeSettings,
        drive: DriveSettings,
        outputs: SimulatorOutputs,
        inbox: CommandInbox,
        acknowledgements: Acknowledgements,
        problems: Problems,
    ) -> None:
        """Prepare.

        Args:
            settings: of the node.
            drive: rhythm of the drive.
            outputs: publishes.
            inbox: commands from outside.
            acknowledgements: of the localization.
            problems: told what goes wrong.
        """
        self._settings, self._drive, self._outputs = settings, drive, outputs
        self._inbox, self._acknowledgements, self._problems = inbox, acknowledgements, problems
        self._from_topic = settings.driver is Driver.TOPIC
        self.requests: queue.SimpleQueue[Callable[[Simulator], None]] = queue.SimpleQueue()
        """What befalls the robot before the next image; may be put from any thread."""
        self.before_last: Callable[[], None] = lambda: None
        """Called before the last image is published."""
        self.frames = self.silent = 0
        """Images published, and those that were not acknowledged (lock-step)."""
        self.achieved: float | None = None
        """Simulated by wall time over the last seconds."""
        self._in_flight: int | None = None
        self._rendering: Future[None] | None = None
        self._missed = self._unanswered = 0

    def run(self, simulator: Simulator, course: SimulatedDrive, stop: threading.Event) -> None:
        """Drive until the end, or until told to stop.

        Raises:
            VlocError: lock-step, and the other nodes are missing or do not answer.
        """
        course.begin(simulator)
        self._wait_for_others(simulator, stop)
        period = 1.0 / self._drive.camera_rate
        ticks = max(round(period * self._drive.control_rate), 1)
        limit_ns = simulator.now_ns + round(self._settings.duration * 1e9) if self._settings.duration > 0.0 else None
        self._due = self._window = time.monotonic()
        self._window_ns = simulator.now_ns
        with ThreadPoolExecutor(1, thread_name_prefix="camera") as self._camera:
            last = False
            while not stop.is_set() and not last:
                last = course.look(simulator, period) or (limit_ns is not None and simulator.now_ns >= limit_ns)
                while not self.requests.empty():
                    self.requests.get()(simulator)
                if last:
                    self.before_last()
                for tick in range(1 if last else ticks):
                    self._tick(simulator, course, tick == 0, period / ticks, stop)
                self._measure(simulator.now_ns)
            self._finish(stop)

    def _tick(self, simulator: Simulator, course: SimulatedDrive, exposing: bool, seconds: float, stop: threading.Event) -> None:
        now_ns = simulator.now_ns
        if self._in_flight is not None and now_ns >= self._in_flight + round(self._drive.latency * 1e9) - 1000:
            self._await_frame(stop)
        self._inbox.expect(now_ns)
        self._outputs.clock(now_ns)
        robot = simulator.robot
        self._outputs.robot(now_ns, simulator.odom_T_base, robot.wheel_twist, simulator.world_T_base, robot.twist)
        if exposing:
            self._expose(simulator)
        twist = course.command(simulator, self._wanted(now_ns, stop))
        if twist is not None:
            simulator.command(twist)
        simulator.advance(seconds)
        self._keep_pace(seconds, stop)

    def _expose(self, simulator: Simulator) -> None:
        """Take images: now in lock-step, else while the robot drives on. The wheels of the moment were published before."""
        now_ns, develop = simulator.now_ns, simulator.expose()

        def publish() -> None:
            self._outputs.frame(develop(), simulator.rig.camera)
            self.frames += 1

        if self._settings.lockstep:
            self._acknowledgements.expect(now_ns)
            publish()
            self._in_flight = now_ns
            return
        if self._rendering is not None:
            self._rendering.result()
        self._rendering = self._camera.submit(publish)

    def _wanted(self, now_ns: int, stop: threading.Event) -> PlanarTwist | None:
        """The command of the topic: of this moment in lock-step, else whatever is new."""
        if not self._from_topic:
            return None
        if not self._settings.lockstep:
            return self._inbox.take()
        answer = self._inbox.wait(self._settings.command_timeout, stop)
        if answer is not None or stop.is_set():
            self._unanswered = 0
            return answer
        self._unanswered += 1
        limit = self._settings.command_timeout
        text = f"no command on {self._inbox.topic} with the stamp {now_ns} of the wheel odometry within {limit:g} s"
        if self._unanswered >= _PATIENCE:
            raise VlocError(f"{text}; does the path_follower listen to the topic odom, and is it enabled?")
        self._problems.report(Problem.NO_COMMAND, f"{text}; the robot stands still")
        return STANDSTILL

    def _await_frame(self, stop: threading.Event) -> None:
        """Wait until localisation has finished the frame in flight."""
        assert self._in_flight is not None
        limit = self._settings.ack_timeout * (2.0 if self.frames == 1 else 1.0)
        done = self._acknowledgements.wait(limit, stop)
        stamp_ns, self._in_flight = self._in_flight, None
        if done or stop.is_set():
            self._missed = 0
            # The pose was published before the acknowledgement, but on another topic: let it arrive before the next odometry.
            stop.wait(_AFTER_ACK_S)
            return
        self.silent += 1
        self._missed += 1
        if self._acknowledgements.publishers == 0 or self._missed >= _PATIENCE:
            raise VlocError(f"the localization has gone or hangs after {self.frames} frames")
        self._problems.report(Problem.NO_ACKNOWLEDGEMENT, f"the frame of {stamp_ns} ns was not processed within {limit:g} s")

    def _wait_for_others(self, simulator: Simulator, stop: threading.Event) -> None:
        limit = self._settings.wait_for_subscriber
        deadline = time.monotonic() + limit
        while limit > 0.0 and not stop.is_set() and (missing := self._missing()) is not None:
            if time.monotonic() > deadline:
                text = f"{missing} within {limit:g} s"
                if self._settings.lockstep:
                    raise VlocError(f"{text}; are the other nodes running in this namespace?")
                self._problems.report(Problem.NOBODY_LISTENS, f"{text}; the drive begins all the same")
                break
            self._outputs.clock(simulator.now_ns)
            stop.wait(_POLL_S)
        stop.wait(_SETTLE_S)  # discovery ends a little later on the other side
        self._outputs.clock(simulator.now_ns)

    def _missing(self) -> str | None:
        if not self._outputs.images_heard:
            return "nobody has subscribed to the images"
        if self._settings.lockstep and self._acknowledgements.publishers == 0:
            return "nobody has said to acknowledge images on the topic processed"
        if self._from_topic and self._inbox.publishers == 0:
            return f"nobody has said to publish {self._inbox.topic}"
        if self._from_topic and self._settings.lockstep and not self._outputs.odometry_heard:
            return "nobody has subscribed to the wheel odometry on the topic odom"
        return None

    def _keep_pace(self, seconds: float, stop: threading.Event) -> None:
        """Sleep until the wall clock has caught up. What comes late moves the rest: time runs slower, nothing is skipped."""
        factor = self._settings.real_time_factor
        if self._settings.lockstep or factor == 0.0:
            return
        self._due += seconds / factor
        ahead = self._due - time.monotonic()
        if ahead > 0.0:
            stop.wait(ahead)
        elif -ahead > seconds / factor:
            self._due = time.monotonic()

    def _measure(self, now_ns: int) -> None:
        wall = time.monotonic() - self._window
        if wall < _WINDOW_S:
            return
        self.achieved = (now_ns - self._window_ns) * 1e-9 / wall
        self._window, self._window_ns = time.monotonic(), now_ns
        wanted = self._settings.real_time_factor
        if self._settings.lockstep or wanted == 0.0 or self.achieved >= _SLOW * wanted:
            self._problems.clear(Problem.SLOW)
            return
        self._problems.report(
            Problem.SLOW,
            f"this machine renders too slowly for real_time_factor = {wanted:g}: simulated time runs slower (see /diagnostics); "
            "lower scale or camera_rate, or set lockstep",
        )

    def _finish(self, stop: threading.Event) -> None:
        if self._rendering is not None:
            self._rendering.result()
        if self._settings.lockstep:
            if self._in_flight is not None and not stop.is_set():
                self._await_frame(stop)
        else:
            self._acknowledgements.wait_until_quiet(_QUIET_S, _LAST_S, stop)
