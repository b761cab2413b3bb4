"""A simulated drone flies by the positions that the node ``aerial`` finds for it, over real topics.

Simulated time waits for the answer to each photo, so that a busy computer loses none; the autopilot gets it as late as it was.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import NavSatFix

from vloc_ros.aerial.flown import FlownPhoto
from vloc_ros.aerial.georeference import LocalFrame
from vloc_ros.errors import VlocError
from vloc_ros.processes import NodeSpec, child_environment, command_of
from vloc_ros.ros.drone_topics import DroneTopics, position_of
from vloc_ros.simulation.autopilot import Autopilot
from vloc_ros.simulation.flight import Flight

Array = NDArray[np.float64]
_TICK_S = 0.1
_START_S, _ANSWER_S, _LOOK_S, _STOP_S = 90.0, 60.0, 1.0, 20.0


@dataclass(frozen=True, slots=True)
class FlightPlan:
    """How a flight goes.

    Attributes:
        waypoints: (N, 2) to be flown over, east and north in the world [m].
        covers: (at, seconds) when the lens is covered, and for how long [s].
        photo_s: time between photos [s].
        longest_s: the flight ends after so long, wherever it is [s].
        home_sigma_m: error of the place of the start that the autopilot knows [m].
    """

    waypoints: Array
    covers: Sequence[tuple[float, float]] = ()
    photo_s: float = 1.0
    longest_s: float = 900.0
    home_sigma_m: float = 10.0


@contextmanager
def aerial_node(parameters: Mapping[str, Any], domain_id: int) -> Iterator[subprocess.Popen[bytes]]:
    """The node ``aerial`` as a process of its own while it lasts; what it writes goes to a file that an error quotes.

    Raises:
        VlocError: it ended by itself while it was needed.
    """
    environment = child_environment({"ROS_DOMAIN_ID": str(domain_id), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"})
    with tempfile.TemporaryDirectory(prefix="vloc_fly_") as folder:
        log = Path(folder) / "aerial.log"
        with log.open("wb") as output:
            command = command_of(NodeSpec("aerial", "aerial", parameters), Path(folder))
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            yield process
        finally:
            code = process.poll()
            if code is not None:
                said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing"]
                raise VlocError(f"the node aerial ended in flight with exit code {code}; it said: {said[-1]}")
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_heard(topics: DroneTopics, process: subprocess.Popen[bytes]) -> None:
    """Wait until the node listens and answers.

    Raises:
        VlocError: it does not.
    """
    deadline = time.monotonic() + _START_S
    while not topics.is_heard:
        if process.poll() is not None:
            raise VlocError("the node aerial ended before it listened")
        if time.monotonic() > deadline:
            raise VlocError(f"the node aerial did not begin to listen within {_START_S:g} s; is the map very large?")
        time.sleep(0.05)
    time.sleep(0.5)  # what listens to the images hears the instruments a moment later


class FlightLoop:
    """Flies a plan, photo by photo."""

    def __init__(
        self,
        flight: Flight,
        plan: FlightPlan,
        topics: DroneTopics,
        frame: LocalFrame,
        seed: int = 0,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        """Put the drone at the first waypoint.

        Args:
            flight: the drone.
            plan: what it is to do.
            topics: of it.
            frame: whose metres are those of the world.
            seed: of what the autopilot takes for the place of the start.
            alive: whether there is somebody whose answers are worth waiting for.
        """
        self._flight, self._plan, self._topics, self._frame, self._alive = flight, plan, topics, frame, alive
        start = plan.waypoints[0]
        flight.place(start, _heading(plan.waypoints[min(1, len(plan.waypoints) - 1)] - start))
        home = start + plan.home_sigma_m * np.random.default_rng([seed, 41]).standard_normal(2)
        drone = flight.settings.drone
        self.autopilot = Autopilot(plan.waypoints, drone.airspeed, home, max(plan.home_sigma_m, 1.0), drone.turn_rate)
        self._late: deque[tuple[float, int, Array, Array]] = deque()

    def run(self) -> Iterator[FlownPhoto]:
        """Fly to the last waypoint, or until the time is over; yields each photo when it was answered.

        Raises:
            VlocError: nobody is there any more who could answer.
        """
        ticks_per_photo = max(round(self._plan.photo_s / _TICK_S), 1)
        tick = 0
        while not self.autopilot.finished and tick * _TICK_S < self._plan.longest_s:
            tick += 1
            self._tick(tick * _TICK_S)
            if tick % ticks_per_photo == 0:
                yield self._photo(tick * _TICK_S)

    def _tick(self, seconds: float) -> None:
        flight, autopilot = self._flight, self.autopilot
        flight.covered = any(at <= seconds < at + length for at, length in self._plan.covers)
        flight.advance(_TICK_S)
        readings = flight.readings()
        self._topics.feel(readings)
        autopilot.predict(readings.stamp_ns, _TICK_S, readings.heading_deg)
        while self._late and self._late[0][0] <= seconds:
            _, stamp_ns, metres, covariance = self._late.popleft()
            autopilot.correct(stamp_ns, metres, covariance)
        flight.command(autopilot.heading())

    def _photo(self, seconds: float) -> FlownPhoto:
        flight, stamp_ns = self._flight, self._flight.now_ns
        begun = self._topics.photograph(stamp_ns, flight.image())
        answer = self._answer(stamp_ns)
        wall_s = None if answer is None else answer[1] - begun
        found = None if answer is None else position_of(answer[0])
        fix, covariance = None, None
        if found is not None and wall_s is not None:
            fix, covariance = self._frame.metres(found[0][None])[0], found[1]
            self._late.append((seconds + wall_s, stamp_ns, fix, covariance))
        return FlownPhoto(seconds, flight.position, self.autopilot.position, fix, covariance, flight.covered, wall_s)

    def _answer(self, stamp_ns: int) -> tuple[NavSatFix, float] | None:
        deadline = time.monotonic() + _ANSWER_S
        while (answer := self._topics.answer(stamp_ns, _LOOK_S)) is None and time.monotonic() < deadline:
            if not self._alive():
                raise VlocError("the node aerial answers no more")
        return answer


def _heading(towards: Array) -> float:
    return float(np.rad2deg(np.arctan2(towards[0], towards[1])))
