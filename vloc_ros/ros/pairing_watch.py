"""Whether many images find no partner: the camera works, but the network loses images, or their stamps are in disorder."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from vloc_ros.ros.problems import Problem, Problems
from vloc_ros.ros.sync import SyncCounts

WINDOW_S = 5.0
"""What is judged: the images of so long a time."""
LEAST_IMAGES = 20
"""Fewer images tell nothing."""
LARGEST_SHARE = 0.1
"""A larger share of images without a partner is worth a word."""


class PairingWatch:
    """Compares the counts of a synchroniser with those of a few seconds ago. No pair at all is another problem, of the stamps."""

    def __init__(self, problems: Problems, clock: Callable[[], float] = time.monotonic) -> None:
        self._problems, self._clock = problems, clock
        self._seen: deque[tuple[float, SyncCounts]] = deque()

    def look(self, counts: SyncCounts) -> None:
        """Report, or take back what was reported; call it about once a second."""
        now = self._clock()
        self._seen.append((now, counts))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()
        first = self._seen[0][1]
        received, unpaired = counts.received - first.received, counts.unpaired - first.unpaired
        few = received < LEAST_IMAGES or counts.pairs == first.pairs
        if few or unpaired <= LARGEST_SHARE * received:
            self._problems.clear(Problem.UNPAIRED)
            return
        # In tenths, so that the same trouble makes the same text for a while.
        self._problems.report(
            Problem.UNPAIRED,
            f"about {round(10.0 * unpaired / received) or 1} of 10 images have no partner: they are lost on the way, come too "
            "late, or carry the stamp of another one; look after the network and the driver, or raise sync.queue",
        )

    def close(self) -> None:
        """Forget, and take back what was reported."""
        self._seen.clear()
        self._problems.clear(Problem.UNPAIRED)
