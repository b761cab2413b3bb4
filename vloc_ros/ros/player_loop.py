"""The course of a replay: which frame comes when, and what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from vloc_ros.errors import DataError, VlocError
from vloc_ros.ros.acknowledgement import Acknowledgements
from vloc_ros.ros.node_settings import PlayerNodeSettings
from vloc_ros.ros.playback import Playback

_QUIET_S, _LAST_S = 0.5, 10.0
_POLL_S = 0.05
_PATIENCE = 3
_RELIABLE_S = 4.0
_SETTLE_S = 0.2


@dataclass(slots=True)
class ReplayCounts:
    """What became of the frames."""

    published: int = 0
    unreadable: int = 0
    unacknowledged: int = 0


class Replay:
    """Plays the frames of a recording once, or again and again. Runs in one thread."""

    def __init__(
        self,
        playback: Playback,
        acknowledgements: Acknowledgements,
        stamps_ns: list[int],
        settings: PlayerNodeSettings,
        warn: Callable[[str], object],
    ) -> None:
        """Prepare a replay.

        Args:
            playback: publishes.
            acknowledgements: of the localization.
            stamps_ns: of all frames of the recording [ns].
            settings: which frames, and how fast.
            warn: told what goes wrong, one sentence at a time.

        Raises:
            DataError: the range of frames is empty.
        """
        self._playback, self._acknowledgements, self._settings, self._warn = playback, acknowledgements, settings, warn
        self._stamps = stamps_ns
        stop = len(stamps_ns) if settings.stop < 0 else min(settings.stop, len(stamps_ns))
        self._frames = range(settings.start, stop, settings.step)
        if not self._frames:
            raise DataError(
                f"no frame lies in start={settings.start}, stop={settings.stop}, step={settings.step}: "
                f"{settings.source} has {len(stamps_ns)} frames"
            )
        self.counts = ReplayCounts()
        self._silent = 0

    def run(self, stop: threading.Event) -> None:
        """Play until the end, or until told to stop.

        Raises:
            VlocError: nobody listens, or (lockstep) the localization has gone or did not finish every frame.
        """
        self._wait_for_listeners(stop)
        while not stop.is_set():
            self._play_once(stop)
            if not self._settings.loop:
                break
        if not self._settings.lockstep:
            self._acknowledgements.wait_until_quiet(_QUIET_S, _LAST_S, stop)
        elif self.counts.unacknowledged:
            raise VlocError(f"lockstep failed: {self.summary()}; is the localization slow, or its qos.reliability best_effort?")

    def summary(self) -> str:
        """One line: what was published, and what became of it."""
        counts = self.counts
        parts = [f"{counts.published} of {len(self._frames)} frames published"]
        if self._settings.loop:
            parts = [f"{counts.published} frames published"]
        if counts.unreadable:
            parts.append(f"{counts.unreadable} could not be read")
        parts.append(f"{self._acknowledgements.count} acknowledged as processed")
        return ", ".join(parts)

    def _wait_for_listeners(self, stop: threading.Event) -> None:
        limit = self._settings.wait_for_subscriber
        deadline = time.monotonic() + limit
        while limit > 0.0 and not stop.is_set() and not self._ready():
            if time.monotonic() > deadline:
                raise VlocError(
                    f"nobody has subscribed to the images within {limit:g} s; is the localization running in this namespace?"
                )
            stop.wait(_POLL_S)
        if self._settings.lockstep:
            self._wait_for_reliable_listeners(stop)
        stop.wait(_SETTLE_S)  # discovery ends a little later on the other side

    def _wait_for_reliable_listeners(self, stop: threading.Event) -> None:
        """A localization with qos.reliability auto becomes reliable a second after it has discovered this player."""
        deadline = time.monotonic() + _RELIABLE_S
        while not stop.is_set() and time.monotonic() < deadline:
            if self._ready() and not self._playback.best_effort_subscribers():
                return
            stop.wait(_POLL_S)
        deaf = self._playback.best_effort_subscribers()
        if deaf:
            self._warn(
                f"lockstep may lose frames to {', '.join(deaf)}, which listens best effort; set its qos.reliability to reliable"
            )

    def _ready(self) -> bool:
        return self._playback.matched and (not self._settings.lockstep or self._acknowledgements.publishers > 0)

    def _play_once(self, stop: threading.Event) -> None:
        origin: tuple[float, int] | None = None
        for index in self._frames:
            try:
                played = self._playback.read(index)
            except DataError as error:
                self.counts.unreadable += 1
                self._warn(f"frame {index} was left out: {error}")
                continue
            if origin is None:
                origin = (time.monotonic(), played.stamp_ns)
            elif not self._settings.lockstep and self._settings.rate > 0.0:
                seconds = (played.stamp_ns - origin[1]) * 1e-9 / self._settings.rate
                self._playback.sleep(played.stamp_ns, origin[0] + seconds, stop)
            if stop.is_set():
                return
            self._acknowledgements.expect(played.stamp_ns)
            self._playback.publish(played)
            self.counts.published += 1
            if self._settings.lockstep:
                self._await(played.stamp_ns, stop)

    def _await(self, stamp_ns: int, stop: threading.Event) -> None:
        limit = self._settings.ack_timeout * (2.0 if self.counts.published == 1 else 1.0)
        if self._acknowledgements.wait(limit, stop) or stop.is_set():
            self._silent = 0
            return
        self.counts.unacknowledged += 1
        self._silent += 1
        # A killed process is missed by DDS only after its lease, some 20 s.
        if self._acknowledgements.publishers == 0 or self._silent >= _PATIENCE:
            raise VlocError(f"the localization has gone or hangs: {self.summary()}")
        self._warn(f"the frame of {stamp_ns * 1e-9:.3f} s was not processed within {limit:g} s")
