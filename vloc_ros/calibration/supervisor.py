"""Runs the trainer of place recognition beside a robot that drives: in a child process, within a budget, again after a death.

The trainer reads the map, keeps its work in a folder, and goes on from there when it is started again; so it may be killed at
any moment. It says what it does in lines of JSON: ``{"stage": ..., "share": ...}`` with whatever else, and at the end
``{"done": {...}}`` or ``{"error": "a sentence"}``.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, unique
from pathlib import Path
from typing import Any

from vloc_ros.calibration.cpu_budget import BudgetSettings, CpuBudget, Restraint
from vloc_ros.calibration.trainer_child import TrainerChild
from vloc_ros.config import param, section
from vloc_ros.errors import TrainingError

_log = logging.getLogger(__name__)
_TURN_S, _REST_S, _END_S, _CLOSE_S = 0.05, 0.2, 10.0, 10.0


@unique
class TrainerState(Enum):
    """What the trainer is at."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting to be started again"


@unique
class Pause(Enum):
    """Why somebody wants the trainer to stand still, beside its budget."""

    USER = "somebody asked for it"
    LATE = "the localisation is late"
    INACTIVE = "the node is not active"


@unique
class Ending(Enum):
    """How a job ended."""

    DONE = "done"
    ERROR = "error"
    GAVE_UP = "gave up"


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """How the trainer is run."""

    niceness: int = param(
        19, "how far it gives way to others, 0 to 19; at 19 it runs only where the processor is idle (SCHED_IDLE)", min=0, max=19
    )
    back_off: float = param(
        5.0, "wait so long before a trainer that died is started again; twice as long each time", unit="s", min=0.0
    )
    longest_back_off: float = param(600.0, "but no longer than this", unit="s", min=0.0)
    deaths: int = param(5, "after so many deaths in a row without any progress it is given up", min=1, max=1000)
    budget: BudgetSettings = section(BudgetSettings)


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How a job ended.

    Attributes:
        ending: how.
        values: what the trainer said at the end (under ``done``); empty when it did not get there.
        text: why there is no result, in a sentence; empty when there is one.
    """

    ending: Ending
    values: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class TrainerStatus:
    """A look at the trainer.

    Attributes:
        state: what it is at.
        pid: of the child; None while there is none.
        stage, share: the last that it said; share of the stage in 0 .. 1.
        figures: whatever else it said of this stage, the newest of each.
        pauses: who wants it to stand still.
        restraint: of the budget.
        cpu_seconds: processor time of this job.
        cpu_last_hour: of all jobs in the last 60 minutes.
        starts: of the child, for this job.
        deaths: in a row, without progress between.
        last_death: of them, in a sentence.
        unreadable: lines of the child that were no JSON object.
    """

    state: TrainerState = TrainerState.IDLE
    pid: int | None = None
    stage: str = ""
    share: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    pauses: tuple[Pause, ...] = ()
    restraint: Restraint | None = None
    cpu_seconds: float = 0.0
    cpu_last_hour: float = 0.0
    starts: int = 0
    deaths: int = 0
    last_death: str = ""
    unreadable: int = 0


class Supervisor:
    """Owns the child, in a thread of its own; no method waits for the trainer.

    Stopping the child uses SIGSTOP. One that is just writing to the map is let finish that, as everybody else who writes waits
    for it.
    """

    def __init__(self, settings: SupervisorSettings | None = None) -> None:
        """Start the thread; there is no job yet."""
        self._settings = settings or SupervisorSettings()
        self._lock = threading.Condition()
        self._budget = CpuBudget(self._settings.budget, time.monotonic())
        self._allowed = self._settings.budget
        self._pauses: set[Pause] = set()
        self._job: tuple[list[str], Path] | None = None
        self._outcome: JobOutcome | None = None
        self._status = TrainerStatus()
        self._closing = False
        self._child: TrainerChild | None = None
        self._start_at = 0.0
        self._stages: list[str] = []
        self._furthest = (-1, 0.0)
        self._final: JobOutcome | None = None
        self._final_at = 0.0
        self._thread = threading.Thread(target=self._run, name="trainer", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether there is a job that has not ended, or whose outcome waits to be polled."""
        with self._lock:
            return self._job is not None or self._outcome is not None

    @property
    def status(self) -> TrainerStatus:
        """A look at the trainer."""
        with self._lock:
            return replace(self._status, pauses=tuple(sorted(self._pauses, key=lambda pause: pause.name)))

    def start(self, program: Sequence[str], log: Path) -> None:
        """Begin a job, or go on with one that was interrupted: the program knows.

        Args:
            program: an executable with its arguments.
            log: file for what it writes to its standard error.

        Raises:
            RuntimeError: there is one already, or this is closed.
        """
        with self._lock:
            if self._job is not None or self._outcome is not None or self._closing:
                raise RuntimeError("this is closed" if self._closing else "there is a job already: poll its outcome first")
            self._job, self._start_at = (list(program), log), 0.0
            self._stages, self._furthest, self._final = [], (-1, 0.0), None
            self._status = TrainerStatus(TrainerState.WAITING, cpu_last_hour=self._status.cpu_last_hour)
            self._lock.notify_all()

    def poll(self) -> JobOutcome | None:
        """How the job ended, once; None while there is none or it goes on."""
        return self.wait(0.0)

    def wait(self, timeout_s: float) -> JobOutcome | None:
        """As :meth:`poll`, but wait for it up to so long [s]."""
        with self._lock:
            self._lock.wait_for(lambda: self._outcome is not None, timeout_s)
            outcome, self._outcome = self._outcome, None
            return outcome

    def pause(self, why: Pause) -> None:
        """Let the trainer stand still until all who wanted that want it no more."""
        with self._lock:
            self._pauses.add(why)
            self._lock.notify_all()

    def resume(self, why: Pause) -> None:
        """One reason to stand still is gone."""
        with self._lock:
            self._pauses.discard(why)
            self._lock.notify_all()

    def tune(self, budget: BudgetSettings) -> None:
        """Allow more or less of the processor from now on."""
        with self._lock:
            self._allowed = budget
            self._lock.notify_all()

    def close(self) -> None:
        """Kill the trainer and end the thread; a job that was not done can be begun again later. Twice does no harm."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while not self._closing:
            try:
                if self._job is None:
                    self._spend(0.0)
                    with self._lock:
                        self._lock.wait_for(lambda: self._closing or self._job is not None, _REST_S)
                elif self._child is None:
                    self._start_child()
                else:
                    self._turn(self._child)
            except Exception as error:  # of ours; the caller must not wait for ever
                _log.exception("internal error")
                self._drop_child()
                self._end(JobOutcome(Ending.GAVE_UP, {}, f"internal error: {error!r}"))
        self._drop_child()

    def _start_child(self) -> None:
        self._spend(0.0)
        with self._lock:
            held = self._may_not_run()
            if held or time.monotonic() < self._start_at:
                self._say(state=TrainerState.PAUSED if held else TrainerState.WAITING)
                self._lock.wait(_TURN_S)
                return
            assert self._job is not None
            program, log = self._job
        try:
            self._child = TrainerChild(program, self._settings.niceness, log)
        except TrainingError as error:
            self._died(str(error))
            return
        self._say(state=TrainerState.RUNNING, pid=self._child.pid, starts=self._status.starts + 1)

    def _turn(self, child: TrainerChild) -> None:
        """Hear it, charge it, and stop it or let it go on."""
        code = child.code  # before its lines are read: a child that has ended says nothing afterwards
        for values in child.lines(0.0 if code is not None else _TURN_S):
            self._hear(values)
        self._spend(child.cpu_spent())
        if code is None:
            self._hold_or_let_go(child)
            return
        words = child.last_words()
        self._drop_child()
        if self._final is not None:
            self._end(self._final)
        else:
            self._died(_how(code) + (f": {words}" if words else ""))

    def _hold_or_let_go(self, child: TrainerChild) -> None:
        if self._final is not None and time.monotonic() > self._final_at + _END_S:
            child.kill()  # it has said its last word, and hangs
            return
        stands = self._may_not_run()
        if stands:
            stands = child.stop()
        else:
            child.go_on()
        # that it stands still for a moment, as its share is used up, is no pause
        paused = stands and (bool(self._pauses) or self._status.restraint is not Restraint.SHARE)
        self._say(state=TrainerState.PAUSED if paused else TrainerState.RUNNING, unreadable=child.unreadable)

    def _may_not_run(self) -> bool:
        """Whether anything wants it to stand still."""
        restraint = self._budget.restraint()
        self._say(restraint=restraint)
        return bool(self._pauses) or restraint is not None

    def _spend(self, seconds: float) -> None:
        self._budget.tune(self._allowed)
        self._budget.spend(time.monotonic(), seconds)
        self._say(cpu_seconds=self._status.cpu_seconds + seconds, cpu_last_hour=self._budget.last_hour)

    def _hear(self, values: dict[str, Any]) -> None:
        done, error = values.get("done"), values.get("error")
        if isinstance(done, dict):
            self._final, self._final_at = JobOutcome(Ending.DONE, done, ""), time.monotonic()
        elif error is not None:
            self._final, self._final_at = JobOutcome(Ending.ERROR, {}, str(error)), time.monotonic()
        elif isinstance(values.get("stage"), str):
            self._progress(values)

    def _progress(self, values: dict[str, Any]) -> None:
        stage, share = values["stage"], values.get("share")
        share = min(1.0, max(0.0, float(share))) if isinstance(share, int | float) else 0.0
        if stage not in self._stages:
            self._stages.append(stage)
        reached = (self._stages.index(stage), share)
        if reached > self._furthest:
            self._furthest = reached
            self._say(deaths=0)
        others = {key: value for key, value in values.items() if key not in ("stage", "share")}
        figures = others if stage != self._status.stage else self._status.figures | others
        self._say(stage=stage, share=share, figures=figures)

    def _died(self, how: str) -> None:
        """It ended without a last word: start it again, later and later, unless that leads nowhere."""
        deaths = self._status.deaths + 1
        self._say(state=TrainerState.WAITING, pid=None, deaths=deaths, last_death=how)
        if deaths >= self._settings.deaths:
            times = "" if deaths == 1 else f" {deaths} times in a row"
            self._end(
                JobOutcome(Ending.GAVE_UP, {}, f"the trainer's process died{times} without any progress; the last time it {how}")
            )
            return
        wait_s = min(self._settings.longest_back_off, self._settings.back_off * 2.0 ** (deaths - 1))
        _log.warning("the trainer's process %s; it goes on from what it has stored in %g s", how, wait_s)
        with self._lock:
            self._start_at = time.monotonic() + wait_s

    def _end(self, outcome: JobOutcome) -> None:
        with self._lock:
            self._job, self._outcome = None, outcome
            self._status = replace(self._status, state=TrainerState.IDLE, pid=None, restraint=None)
            self._lock.notify_all()

    def _drop_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            self._say(pid=None)

    def _say(self, **changes: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **changes)


def _how(code: int) -> str:
    if code < 0:
        known = -code in set(signal.Signals)
        return f"was ended by signal {signal.Signals(-code).name if known else -code}"
    return f"ended with exit code {code} and without a last word"
