"""Pairs the messages of two topics by their stamps.

``message_filters`` is used where ROS provides it, else the built-in synchroniser; :func:`create_synchroniser` picks, and both
obey the rules of :class:`Synchroniser`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

PairCallback = Callable[[int, Any, Any], None]
"""Called with (stamp of the left message [ns], left, right)."""

JUMP_BACK_NS = 1_000_000_000
"""A stamp this much older than its predecessor means that time has restarted (a bag in a loop), not that a message was late."""


class Stream(IntEnum):
    """The two inputs."""

    LEFT = 0
    RIGHT = 1


@dataclass(slots=True)
class SyncCounts:
    """What became of the messages: ``received == 2 * pairs + unpaired + pending`` at any time."""

    received: int = 0
    pairs: int = 0
    unpaired: int = 0
    pending: int = 0
    restarts: int = 0


class Synchroniser(ABC):
    """Pairs two streams.

    Rules: the stamps of a pair differ by at most the slop; no message is used twice; stamps of pairs increase, except after a
    restart of time; at most ``depth`` messages wait in each stream.
    """

    def __init__(self, slop_ns: int, depth: int, on_pair: PairCallback) -> None:
        if slop_ns < 0 or depth < 1:
            raise ValueError(f"slop {slop_ns} ns must not be negative and depth {depth} must be at least 1")
        self.slop_ns = slop_ns
        self.depth = depth
        self._on_pair = on_pair
        self._newest: list[int | None] = [None, None]
        self._counts = SyncCounts()

    @property
    @abstractmethod
    def counts(self) -> SyncCounts:
        """A snapshot of the counts."""

    @property
    def newest_difference_ns(self) -> int | None:
        """Newest left stamp minus newest right stamp [ns]; None before both have come."""
        left, right = self._newest
        return None if left is None or right is None else left - right

    def add(self, stream: Stream, stamp_ns: int, message: Any) -> None:
        """Hand in a message; may call back with a pair before it returns."""
        self._counts.received += 1
        newest = self._newest[stream]
        if newest is not None and stamp_ns < newest - JUMP_BACK_NS:
            self._restart()
        newest = self._newest[stream]
        self._newest[stream] = stamp_ns if newest is None else max(newest, stamp_ns)
        self._insert(stream, stamp_ns, message)

    def _restart(self) -> None:
        self._counts.restarts += 1
        self._newest = [None, None]
        self._forget()

    @abstractmethod
    def _insert(self, stream: Stream, stamp_ns: int, message: Any) -> None:
        """Queue a message and emit what fits."""

    @abstractmethod
    def _forget(self) -> None:
        """Drop all that waits, counting it as unpaired."""


class BuiltinSynchroniser(Synchroniser):
    """Emits a pair as soon as a partner within the slop has arrived, choosing the nearest one waiting."""

    def __init__(self, slop_ns: int, depth: int, on_pair: PairCallback) -> None:
        super().__init__(slop_ns, depth, on_pair)
        self._queues: tuple[deque[tuple[int, Any]], deque[tuple[int, Any]]] = (deque(), deque())
        self._emitted: list[int | None] = [None, None]

    @property
    def counts(self) -> SyncCounts:
        """A snapshot of the counts."""
        self._counts.pending = len(self._queues[0]) + len(self._queues[1])
        counts = self._counts
        return SyncCounts(counts.received, counts.pairs, counts.unpaired, counts.pending, counts.restarts)

    def _insert(self, stream: Stream, stamp_ns: int, message: Any) -> None:
        emitted = self._emitted[stream]
        if emitted is not None and stamp_ns <= emitted:
            self._counts.unpaired += 1
            return
        partner = self._nearest(Stream(1 - stream), stamp_ns)
        if partner is None:
            self._enqueue(stream, stamp_ns, message)
            return
        other_stamp, other = partner
        self._drop_until(stream, stamp_ns)
        self._drop_until(Stream(1 - stream), other_stamp)
        self._counts.unpaired -= 1  # the partner itself was waiting there and is paired now
        self._counts.pairs += 1
        self._emitted[stream], self._emitted[1 - stream] = stamp_ns, other_stamp
        if stream is Stream.LEFT:
            self._on_pair(stamp_ns, message, other)
        else:
            self._on_pair(other_stamp, other, message)

    def _nearest(self, stream: Stream, stamp_ns: int) -> tuple[int, Any] | None:
        waiting = [entry for entry in self._queues[stream] if abs(entry[0] - stamp_ns) <= self.slop_ns]
        return min(waiting, key=lambda entry: abs(entry[0] - stamp_ns), default=None)

    def _enqueue(self, stream: Stream, stamp_ns: int, message: Any) -> None:
        queue = self._queues[stream]
        position = len(queue)
        while position > 0 and queue[position - 1][0] > stamp_ns:
            position -= 1
        queue.insert(position, (stamp_ns, message))
        if len(queue) > self.depth:
            queue.popleft()
            self._counts.unpaired += 1

    def _drop_until(self, stream: Stream, stamp_ns: int) -> None:
        queue = self._queues[stream]
        while queue and queue[0][0] <= stamp_ns:
            queue.popleft()
            self._counts.unpaired += 1

    def _forget(self) -> None:
        for queue in self._queues:
            self._counts.unpaired += len(queue)
            queue.clear()
        self._emitted = [None, None]


class MessageFiltersSynchroniser(Synchroniser):
    """``message_filters.ApproximateTimeSynchronizer`` behind the same rules.

    It compares the stamps of message headers, so each message is wrapped with the stamp it was handed in with. Its queue keeps
    the messages with the largest stamps and would starve after a jump back in time, so it is made anew at each restart.
    """

    def __init__(self, slop_ns: int, depth: int, on_pair: PairCallback) -> None:
        super().__init__(slop_ns, depth, on_pair)
        self._lost = 0
        self._emitted: tuple[int, int] | None = None
        self._build()

    @property
    def counts(self) -> SyncCounts:
        """A snapshot of the counts."""
        counts = self._counts
        pending = sum(len(queue) for queue in self._filter.queues)
        unpaired = counts.received - 2 * counts.pairs - pending
        return SyncCounts(counts.received, counts.pairs, unpaired, pending, counts.restarts)

    def _build(self) -> None:
        from message_filters import ApproximateTimeSynchronizer, SimpleFilter

        self._inputs = (SimpleFilter(), SimpleFilter())
        # It wants the difference to be less than its slop, and takes it in seconds: a little more, which _emit makes exact.
        self._filter = ApproximateTimeSynchronizer(list(self._inputs), self.depth, (self.slop_ns + 2) * 1e-9)
        self._filter.registerCallback(self._emit)

    def _insert(self, stream: Stream, stamp_ns: int, message: Any) -> None:
        self._inputs[stream].signalMessage(_Stamped(stamp_ns, message))

    def _emit(self, left: _Stamped, right: _Stamped) -> None:
        stamps = (left.stamp_ns, right.stamp_ns)
        in_order = self._emitted is None or all(new > old for new, old in zip(stamps, self._emitted, strict=True))
        if not in_order or abs(stamps[0] - stamps[1]) > self.slop_ns:
            return  # its slop is a rounded number of seconds, and it may emit a late pair
        self._emitted = stamps
        self._counts.pairs += 1
        self._on_pair(left.stamp_ns, left.message, right.message)

    def _forget(self) -> None:
        self._emitted = None
        self._build()


class _Stamped:
    """What message_filters wants of a message: ``header.stamp``."""

    __slots__ = ("header", "message", "stamp", "stamp_ns")

    def __init__(self, stamp_ns: int, message: Any) -> None:
        from builtin_interfaces.msg import Time

        self.stamp_ns = stamp_ns
        self.message = message
        self.header = self
        self.stamp = Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def has_message_filters() -> bool:
    """Whether ROS's own synchroniser can be imported."""
    try:
        import message_filters  # noqa: F401
    except ImportError:
        return False
    return True


def create_synchroniser(slop_ns: int, depth: int, on_pair: PairCallback) -> Synchroniser:
    """A synchroniser of two streams.

    Args:
        slop_ns: largest difference of the stamps of a pair [ns].
        depth: how many messages of each stream may wait.
        on_pair: called with each pair, in the thread that called ``add``.
    """
    chosen = MessageFiltersSynchroniser if has_message_filters() else BuiltinSynchroniser
    return chosen(slop_ns, depth, on_pair)
