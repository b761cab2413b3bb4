"""One thread that does the work between a callback and its results: the newest item wins, commands run between items."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_log = logging.getLogger(__name__)


class Worker(Generic[T]):
    """Processes the newest item it was given, in a thread of its own.

    Callbacks only ``put``; so subscriptions and services never wait for a frame. Items that are replaced before they were taken
    are handed to ``on_drop``. Commands run in the same thread between two items, so what they touch needs no lock.
    """

    def __init__(
        self, process: Callable[[T], None], on_drop: Callable[[T], None], on_error: Callable[[BaseException], None], name: str
    ) -> None:
        """Start the thread, closed: items wait until :meth:`open`.

        Args:
            process: called with each item, in the worker's thread.
            on_drop: called with each item that a newer one replaced, in the thread that called ``put``.
            on_error: called when ``process`` raises; the worker takes no further item then, but still runs commands.
            name: of the thread.
        """
        self._process, self._on_drop, self._on_error = process, on_drop, on_error
        self._wake = threading.Condition()
        self._item: list[T] = []
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._open = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Offer an item; it replaces one that still waits."""
        with self._wake:
            replaced, self._item = self._item, [item]
            self._wake.notify()
        for old in replaced:
            self._on_drop(old)

    def open(self) -> None:
        """Let items through."""
        with self._wake:
            self._open = True
            self._wake.notify()

    def shut(self) -> None:
        """Let no item through after the one at hand, and drop one that waits: it would be old news at :meth:`open`.

        Commands still run.
        """
        with self._wake:
            self._open = False
            dropped, self._item = self._item, []
        for item in dropped:
            self._on_drop(item)

    def call(self, command: Callable[[], R]) -> Future[R]:
        """Run a command in the worker's thread before the next item; the future carries its result or exception."""
        future: Future[R] = Future()

        def run() -> None:
            try:
                future.set_result(command())
            except BaseException as error:
                future.set_exception(error)

        with self._wake:
            if self._stopping:
                future.set_exception(RuntimeError("the worker has stopped"))
                return future
            self._commands.put(run)
            self._wake.notify()
        return future

    def stop(self, timeout_s: float) -> bool:
        """Finish the item at hand, run the commands that wait, drop a waiting item; whether the thread ended in time."""
        with self._wake:
            self._stopping = True
            dropped, self._item = self._item, []
            self._wake.notify()
        for item in dropped:
            self._on_drop(item)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or not self._commands.empty() or (self._open and bool(self._item)))
                item: list[T] = []
                if self._commands.empty():
                    if self._stopping:
                        return
                    item, self._item = self._item, []
            while not self._commands.empty():
                self._commands.get()()
            for taken in item:
                self._handle(taken)

    def _handle(self, item: T) -> None:
        try:
            self._process(item)
        except BaseException as error:
            with self._wake:
                self._open = False
            self._on_error(error)
