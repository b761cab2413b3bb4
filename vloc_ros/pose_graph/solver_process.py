"""The GNC solve beside the caller: in a child process, as gtsam holds Python's lock while it solves."""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import VlocError
from vloc_ros.pose_graph.gnc import GncSolution
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.labels import Verdict
from vloc_ros.pose_graph.settings import PoseGraphSettings
from vloc_ros.pose_graph.solver_messages import SolveRequest, answer_from_message, request_to_message
from vloc_ros.pose_graph.solver_pipe import ChildLostError, SolverChild

Array = NDArray[np.float64]
_log = logging.getLogger(__name__)
_ATTEMPTS = 2
_CLOSE_S = 10.0


@unique
class SolveFailure(Enum):
    """Why there is no solution."""

    DIED = "the solver's process died twice over it"
    DEADLINE = "the solver ran past its deadline twice"
    REFUSED = "the solver refused the graph"
    NOT_STARTED = "the solver's process cannot be started"


@dataclass(frozen=True, slots=True)
class SolveOutcome:
    """What became of a request.

    Attributes:
        revision: number of the request.
        solution: None when there is none.
        verdicts: one for each edge, None for the trusted ones; empty when there is no solution.
        failure: why there is no solution; None when there is one.
        text: the same in a sentence with the particulars; empty when there is a solution.
        attempts: how often it was tried.
        seconds: from the request to this outcome, with its way to the child and back.
    """

    revision: int
    solution: GncSolution | None
    verdicts: list[Verdict | None]
    failure: SolveFailure | None
    text: str
    attempts: int
    seconds: float


class SolverProcess:
    """Owns one child process, started once and used again for each graph; no method waits for a solve unless told to.

    A child that dies or runs past the deadline is killed and replaced, and the request is tried once more; then it is
    reported as a failure. A thread of this object talks to the child, so that big arrays do not hold up the caller.
    """

    def __init__(self, deadline_s: float = 60.0, niceness: int = 5) -> None:
        """Start the child, without waiting for it.

        Args:
            deadline_s: time for one attempt at one graph [s].
            niceness: of the child, so that it gives way to what runs in real time; 0 to 19.
        """
        self._deadline_s, self._niceness = deadline_s, niceness
        self._requests: queue.SimpleQueue[SolveRequest | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._outcome: SolveOutcome | None = None
        self._busy = self._closing = False
        self._starts, self._start_seconds = 0, 0.0
        self._child: SolverChild | None = None
        self._thread = threading.Thread(target=self._run, name="solver", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a request is being worked on, or its outcome waits to be polled."""
        with self._changed:
            return self._busy

    @property
    def pid(self) -> int | None:
        """Process number of the child; None while there is none."""
        child = self._child
        return None if child is None else child.pid

    @property
    def restarts(self) -> int:
        """How often the child had to be replaced."""
        return max(0, self._starts - 1)

    @property
    def start_seconds(self) -> float:
        """How long the last start took until the child was ready [s], the import of gtsam above all; 0.0 before."""
        return self._start_seconds

    def submit(self, graph: PoseGraph, settings: PoseGraphSettings, start: Array | None = None, revision: int = 0) -> None:
        """Ask for a solution; returns at once. The arrays must not be changed afterwards.

        Raises:
            RuntimeError: it is busy, or closed.
        """
        with self._changed:
            if self._busy or self._closing:
                raise RuntimeError("the solver is closed" if self._closing else "the solver is busy: poll its outcome first")
            self._busy = True
        self._requests.put(SolveRequest(graph, settings, start, revision))

    def poll(self) -> SolveOutcome | None:
        """The outcome, once; None while there is none."""
        return self.wait(0.0)

    def wait(self, timeout_s: float) -> SolveOutcome | None:
        """As :meth:`poll`, but wait for it up to so long [s]."""
        with self._changed:
            self._changed.wait_for(lambda: self._outcome is not None, timeout_s)
            outcome, self._outcome = self._outcome, None
            if outcome is not None:
                self._busy = False
            return outcome

    def close(self) -> None:
        """End the child, whatever it does. Closing twice does no harm."""
        with self._changed:
            self._closing = True
        self._requests.put(None)
        child = self._child
        if child is not None:
            child.kill_soon()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            self._ready_child()
        except VlocError as error:
            _log.warning("the solver's process could not be started, and is started again when it is needed: %s", error)
        while (request := self._requests.get()) is not None and not self._closing:
            begun = time.monotonic()
            try:
                outcome = self._serve(request)
            except Exception as error:  # of ours; the caller must not wait for ever
                _log.exception("internal error")
                text, seconds = f"internal error: {error!r}", time.monotonic() - begun
                outcome = SolveOutcome(request.revision, None, [], SolveFailure.REFUSED, text, 1, seconds)
            with self._changed:
                self._outcome = outcome
                self._changed.notify_all()
        self._drop_child()

    def _serve(self, request: SolveRequest) -> SolveOutcome:
        begun = time.monotonic()
        failure, text, attempt = SolveFailure.DIED, "", 0
        message = request_to_message(request)
        while attempt < _ATTEMPTS and not self._closing:
            attempt += 1
            failure = SolveFailure.NOT_STARTED
            try:
                child = self._ready_child()
                failure = SolveFailure.DIED
                reply = child.exchange(message, self._deadline_s)
            except VlocError as error:
                if isinstance(error, ChildLostError) and error.late:
                    failure = SolveFailure.DEADLINE
                text = str(error)
                self._drop_child()
                if not self._closing:
                    _log.warning("%s; %s", text, "trying once more" if attempt < _ATTEMPTS else "giving up this request")
                continue
            if "error" in reply.meta:
                failure, text = SolveFailure.REFUSED, str(reply.meta["error"])
                break
            answer = answer_from_message(reply)
            seconds = time.monotonic() - begun
            return SolveOutcome(request.revision, answer.solution, answer.verdicts, None, "", attempt, seconds)
        return SolveOutcome(request.revision, None, [], failure, text, attempt, time.monotonic() - begun)

    def _ready_child(self) -> SolverChild:
        if self._child is not None and not self._child.alive:
            _log.warning("the solver's process ended while it had nothing to do; it is started again")
            self._drop_child()
        if self._child is None:
            self._starts += 1
            self._child = SolverChild(self._niceness)
            self._start_seconds = self._child.start_seconds
        return self._child

    def _drop_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
