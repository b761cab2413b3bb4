"""Commands for a worker whose outcome nobody waits for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from vloc_ros.errors import VlocError
from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.worker import Worker


class Errands:
    """Runs something in a worker's thread; what it raises is not lost."""

    def __init__(self, worker: Worker[Any], problems: Problems, on_error: Callable[[BaseException], None]) -> None:
        """Of a worker.

        Args:
            worker: runs them between two items.
            problems: where a VlocError is reported, as bad input.
            on_error: called in the worker's thread with what else they raise.
        """
        self._worker, self._problems, self._on_error = worker, problems, on_error

    def __call__(self, command: Callable[[], Any]) -> None:
        """Hand a command over; returns at once."""
        self._worker.call(command).add_done_callback(self._done)

    def _done(self, outcome: Future[Any]) -> None:
        error = outcome.exception()
        if isinstance(error, VlocError):
            self._problems.report(Problem.BAD_INPUT, str(error))
        elif error is not None:
            self._on_error(error)
