"""One trainer as a child process: its lines, its processor time, stopping it and letting it go on, and ending it."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vloc_ros.calibration import background, process_table
from vloc_ros.errors import TrainingError
from vloc_ros.processes import PARENT_VARIABLE, child_environment

_log = logging.getLogger(__name__)
_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 20
_TAIL_BYTES = 2000
_KILL_S = 5.0
_SETTLE_S = 0.2
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")}


class TrainerChild:
    """A running child that gives way to everything. Use it from the thread that made it, which must live as long as the child:
    the kernel kills it with that thread.
    """

    def __init__(self, program: Sequence[str], niceness: int, log: Path) -> None:
        """Start it.

        Args:
            program: an executable with its arguments; writes one JSON object in each line of its standard output.
            niceness: 0 to 19.
            log: file for its standard error, begun anew.

        Raises:
            TrainingError: it cannot be started, or the file not be written.
        """
        variables = child_environment(_ONE_THREAD)
        del variables[PARENT_VARIABLE]  # it would ask for a milder signal than the one that background.py asks for
        self._log = log
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as errors:
                # A session of its own: Ctrl-C in a terminal reaches the owner only, and a signal to the group all that it starts.
                self._process = subprocess.Popen(
                    background.command(program, niceness),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=variables,
                    start_new_session=True,
                    bufsize=0,
                )
        except OSError as error:
            raise TrainingError(f"the trainer's process cannot be started: {error}") from error
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        self._begun = b""
        self._open = True
        self._cpu = 0.0
        self.stopped = False
        """Whether it was told to stop, and not to go on since."""
        self.unreadable = 0
        """Lines that were no JSON object."""

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Exit code, negative after a signal; None while it runs."""
        return self._process.poll()

    def lines(self, wait_s: float) -> list[dict[str, Any]]:
        """What it has said since the last time; waits up to so long [s] for something. A line that is no object is only counted."""
        if not self._open:
            time.sleep(wait_s)
            return []
        heard: list[dict[str, Any]] = []
        while self._open and select.select([self._out], [], [], 0.0 if heard else wait_s)[0]:
            chunk = os.read(self._out, _CHUNK)
            self._open = bool(chunk)
            *complete, self._begun = (self._begun + chunk).split(b"\n")
            heard += [values for line in complete if (values := self._read(line)) is not None]
            if len(self._begun) > _LONGEST_LINE:
                self.unreadable, self._begun = self.unreadable + 1, b""
            wait_s = 0.0
        return heard

    def _read(self, line: bytes) -> dict[str, Any] | None:
        try:
            values = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            values = None
        if isinstance(values, dict):
            return values
        self.unreadable += 1
        _log.debug("the trainer wrote a line that is no JSON object: %r", line[:200])
        return None

    def cpu_spent(self) -> float:
        """Processor time since the last time this was asked [s]."""
        total = process_table.cpu_seconds(self.pid) if self.code is None else self._cpu
        spent, self._cpu = max(0.0, total - self._cpu), max(total, self._cpu)
        return spent

    def stop(self) -> bool:
        """Let it stand still; False when that must wait, because it is writing to the map and would make the others wait.

        To be called again and again while it is to stand still: what it was at when it was told to stop may have to be finished.
        """
        if not self.stopped:
            self._signal(signal.SIGSTOP)
            self.stopped = True
            self._settle()
        if process_table.holds_map_lock(self.pid):
            self.go_on()
            return False
        return True

    def go_on(self) -> None:
        """Let it run."""
        if self.stopped:
            self._signal(signal.SIGCONT)
            self.stopped = False

    def _settle(self) -> None:
        """Wait until all its threads stand still: until then it can still take a lock."""
        deadline = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline and self.code is None:
            if os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.002)

    def kill(self) -> int | None:
        """End it at once with all that it started; its exit code. Twice does no harm."""
        self._signal(signal.SIGKILL)
        try:
            self._process.wait(_KILL_S)
        except subprocess.TimeoutExpired:
            _log.warning("the trainer's process %d does not end: it waits for a device", self.pid)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._open = False
        return self._process.returncode

    def last_words(self) -> str:
        """The end of what it wrote to its standard error, in one line; empty when it wrote nothing."""
        try:
            text = self._log.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is not None:
            return  # its number may be another's by now
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            _log.debug("process %d had ended already", self.pid)
