"""Counts, rates and latencies of a node: what its diagnostics and its last words report."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique

import numpy as np

from vloc_ros.geometry.estimate import RejectReason


@unique
class DropReason(Enum):
    """Why a pair of images was not processed."""

    SUPERSEDED = "a newer frame arrived before it could be processed"
    NO_CALIBRATION = "no usable camera_info had arrived yet"
    UNKNOWN_ENCODING = "its encoding is not supported"
    BAD_IMAGE = "its size or its data do not fit the description of it"
    WRONG_SIZE = "its size differs from that in camera_info"
    CALIBRATION_CHANGED = "camera_info no longer describes the camera this run began with"
    OLD = "it is older than what was taught already"
    FINISHED = "teaching was finished"
    MAP = "the map could not be read or written"


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Median and 99th percentile, and how many values they are of."""

    count: int
    p50: float
    p99: float


class Statistics:
    """Thread-safe counters of one node. Times are those of a steady clock."""

    def __init__(self, window: int = 500, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._drops: Counter[DropReason] = Counter()
        self._rejections: Counter[RejectReason] = Counter()
        self._last_rejection = ""
        self._received: Counter[str] = Counter()
        self._arrivals: dict[str, float] = {}
        self._finished: deque[float] = deque(maxlen=window)
        self._timings: dict[str, deque[float]] = {}
        self._window = window
        self._processed = 0
        self._lost = 0

    def received(self, topic: str) -> None:
        """A message has arrived."""
        with self._lock:
            self._received[topic] += 1
            self._arrivals[topic] = self._clock()

    def dropped(self, reason: DropReason, count: int = 1) -> None:
        """Pairs were not processed."""
        with self._lock:
            self._drops[reason] += count

    def lost(self, count: int) -> None:
        """The middleware has lost images, or replaced them by newer ones before they were taken."""
        with self._lock:
            self._lost += count

    @property
    def images_lost(self) -> int:
        """How many images were lost before they reached this node."""
        return self._lost

    def rejected(self, reason: RejectReason, stamp_ns: int) -> None:
        """A frame was processed, but gave no fix (localising), or no odometry (teaching)."""
        with self._lock:
            self._rejections[reason] += 1
            self._last_rejection = f"{reason.name}: {reason.value} (image of {stamp_ns} ns)"

    def processed(self, timings_ms: dict[str, float]) -> None:
        """A frame was finished; the stages it took [ms]."""
        with self._lock:
            self._processed += 1
            self._finished.append(self._clock())
            for stage, value in timings_ms.items():
                self._timings.setdefault(stage, deque(maxlen=self._window)).append(value)

    @property
    def frames(self) -> int:
        """How many frames were finished."""
        return self._processed

    @property
    def drops(self) -> dict[DropReason, int]:
        """How many were dropped, by reason."""
        with self._lock:
            return dict(self._drops)

    @property
    def rejections(self) -> dict[RejectReason, int]:
        """How many frames gave no fix, by reason."""
        with self._lock:
            return dict(self._rejections)

    @property
    def last_rejection(self) -> str:
        """The newest of them in a sentence; empty before the first."""
        return self._last_rejection

    def messages(self, topic: str) -> int:
        """How many messages of a topic have arrived."""
        return self._received[topic]

    def age(self, topic: str) -> float:
        """Seconds since the last message of a topic; infinite before the first."""
        arrival = self._arrivals.get(topic)
        return float("inf") if arrival is None else self._clock() - arrival

    def rate_hz(self, horizon_s: float = 5.0) -> float:
        """Frames finished per second over the last seconds."""
        with self._lock:
            recent = [instant for instant in self._finished if instant > self._clock() - horizon_s]
        if len(recent) < 2 or recent[-1] == recent[0]:
            return 0.0
        return (len(recent) - 1) / (recent[-1] - recent[0])

    def percentiles(self) -> dict[str, Percentiles]:
        """Of the recent wall times of each stage [ms]."""
        with self._lock:
            timings = {stage: np.asarray(values) for stage, values in self._timings.items()}
        return {
            stage: Percentiles(len(values), float(np.percentile(values, 50)), float(np.percentile(values, 99)))
            for stage, values in timings.items()
        }

    def summary(self, unpaired: int) -> str:
        """One line: frames finished and dropped, with the reasons, and single images that made no pair.

        Of all images sent, ``2 * (processed + dropped) + unpaired + lost`` are accounted for.
        """
        drops = self.drops
        reasons = ", ".join(f"{count} {reason.name}" for reason, count in drops.items())
        dropped = f"{sum(drops.values())} dropped ({reasons})" if drops else "none dropped"
        text = f"{self.frames} frames processed, {dropped}"
        if unpaired or self._lost:
            text += f"; {unpaired} images without a partner, {self._lost} lost before they arrived"
        return text
