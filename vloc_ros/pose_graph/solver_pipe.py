"""One child process that solves: starting it, exchanging a message with it before a deadline, and ending it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

from vloc_ros.errors import VlocError
from vloc_ros.pose_graph.wire import LENGTH_BYTES, Message, decode, encode, length_of
from vloc_ros.processes import child_environment

_CHUNK = 1 << 20
_START_S = 120.0
_END_S = 5.0


class ChildLostError(VlocError):
    """The solver's process has ended, or (``late``) does not answer in time."""

    def __init__(self, text: str, *, late: bool = False) -> None:
        super().__init__(text)
        self.late = late


class SolverChild:
    """A running child. Use it from the thread that made it, which must live as long: the kernel ends the child with that thread."""

    def __init__(self, niceness: int) -> None:
        command = [sys.executable, "-m", "vloc_ros.pose_graph.solver_child", str(niceness)]
        started = time.monotonic()
        # A session of its own, so that Ctrl-C in a terminal reaches the owner only, who ends it in good order.
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=child_environment({}), start_new_session=True, bufsize=0
            )
        except OSError as error:
            raise ChildLostError(f"the solver's process cannot be started: {error}") from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        try:
            self._read(started + _START_S)
        except TimeoutError:
            self.kill()
            raise ChildLostError(f"the solver's process was not ready within {_START_S:g} s", late=True) from None
        except BaseException:
            self.kill()
            raise
        self.start_seconds = time.monotonic() - started

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def exchange(self, message: Message, deadline_s: float) -> Message:
        """Ask, and wait for the answer.

        Raises:
            ChildLostError: it ended, or did not answer within ``deadline_s``; the text says which.
            DataError: the answer is not one.
        """
        deadline = time.monotonic() + deadline_s
        try:
            self._write(encode(message), deadline)
            return self._read(deadline)
        except TimeoutError:
            raise ChildLostError(
                f"the solver's process did not answer within its deadline of {deadline_s:g} s", late=True
            ) from None

    def kill_soon(self) -> None:
        """Send the signal that ends it; from any thread."""
        self._process.kill()

    def kill(self) -> None:
        """End it at once, and close the pipes."""
        self._process.kill()
        self._process.wait(_END_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _write(self, frame: bytes, deadline: float) -> None:
        rest = memoryview(frame)
        while rest:
            self._wait_for([], [self._in], deadline)
            try:
                rest = rest[os.write(self._in, rest[:_CHUNK]) :]
            except BrokenPipeError:
                raise self._lost() from None

    def _read(self, deadline: float) -> Message:
        return decode(self._read_exactly(length_of(self._read_exactly(LENGTH_BYTES, deadline)), deadline))

    def _read_exactly(self, count: int, deadline: float) -> bytes:
        found = bytearray()
        while len(found) < count:
            self._wait_for([self._out], [], deadline)
            chunk = os.read(self._out, min(count - len(found), _CHUNK))
            if not chunk:
                raise self._lost()
            found += chunk
        return bytes(found)

    def _wait_for(self, readable: list[int], writable: list[int], deadline: float) -> None:
        ready = select.select(readable, writable, [], max(0.0, deadline - time.monotonic()))
        if not (ready[0] or ready[1]):
            raise TimeoutError

    def _lost(self) -> ChildLostError:
        """Why the pipe is closed at the other end."""
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return ChildLostError("the solver's process closed its pipe")
        if code < 0:
            return ChildLostError(f"the solver's process was ended by signal {signal.Signals(-code).name}")
        return ChildLostError(f"the solver's process ended with exit code {code}")
