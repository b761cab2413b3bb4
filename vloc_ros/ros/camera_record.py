"""The newest of what a camera has sent, for whoever asks why nothing comes of it. Imports no ROS."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from vloc_ros.diagnosis import StreamFacts

_KEPT = 30


class CameraRecord:
    """Stamps of the newest images of both sides, and one pair of messages; belongs to one thread."""

    def __init__(self) -> None:
        self._stamps: tuple[deque[int], deque[int]] = (deque(maxlen=_KEPT), deque(maxlen=_KEPT))
        self._lags: tuple[deque[float], deque[float]] = (deque(maxlen=_KEPT), deque(maxlen=_KEPT))
        self._newest: list[Any] = [None, None]
        self.pair: tuple[Any, Any] | None = None
        """The newest pair of image messages."""

    def image(self, stream: int, stamp_ns: int, now_ns: int, message: Any) -> None:
        """An image has come at ``now_ns`` of the clock in use."""
        self._stamps[stream].append(stamp_ns)
        self._lags[stream].append((now_ns - stamp_ns) * 1e-9)
        self._newest[stream] = message

    def messages(self) -> tuple[Any, Any] | None:
        """The newest pair; before the first pair the newest image of each side, None where there is none."""
        if self.pair is not None:
            return self.pair
        left, right = self._newest
        return None if left is None else (left, right)

    def streams(self, topics: Sequence[str], sizes: Sequence[tuple[int, int] | None]) -> tuple[StreamFacts, StreamFacts]:
        """Both sides, under the names of their topics."""
        left, right = (
            StreamFacts(
                topics[side],
                tuple(self._stamps[side]),
                tuple(self._lags[side]),
                sizes[side],
                "" if self._newest[side] is None else str(self._newest[side].header.frame_id),
            )
            for side in (0, 1)
        )
        return left, right

    def newest(self, side: int) -> Any:
        """The newest image message of a side; None before the first."""
        return self._newest[side]
