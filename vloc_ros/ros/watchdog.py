"""A watchdog that does not depend on the executor of the node it watches. Imports no ROS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_REPEAT_S = 0.5
_CHECKS = 4


class Watchdog:
    """Calls ``bark`` when it was not fed for a while, and again twice a second until it is fed.

    A thread of its own looks after it, so that it barks also while the executor hangs in a callback. (What hangs in a C library
    that holds Python's lock stops this thread too: a robot base must have a timeout of its own.)
    """

    def __init__(self, timeout_s: float, bark: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        """Start the thread, at rest.

        Args:
            timeout_s: the longest time between two meals [s].
            bark: called in whatever thread looks.
            clock: steady time [s].
        """
        self._timeout_s, self._bark, self._clock = timeout_s, bark, clock
        self._lock = threading.Lock()
        self._fed: float | None = None
        self._barked = float("-inf")
        self._hungry = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def feed(self) -> bool:
        """All is well; returns whether it had barked since the last time."""
        with self._lock:
            self._fed, had_barked, self._hungry = self._clock(), self._hungry, False
            return had_barked

    @property
    def barked(self) -> bool:
        """Whether it has barked since it was fed."""
        with self._lock:
            return self._hungry

    def rest(self) -> None:
        """Nothing is expected until it is fed again."""
        with self._lock:
            self._fed, self._hungry = None, False

    def look(self) -> None:
        """Bark if it is time to; may be called from any thread."""
        with self._lock:
            now = self._clock()
            if self._fed is None or now - self._fed <= self._timeout_s:
                return
            if self._hungry and now - self._barked < _REPEAT_S:
                return
            self._hungry, self._barked = True, now
            # Within the lock: a feeding that comes now waits, and the command after it is the last word.
            self._bark()

    def close(self) -> None:
        """End the thread; it does not bark after this."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._timeout_s / _CHECKS):
            self.look()
