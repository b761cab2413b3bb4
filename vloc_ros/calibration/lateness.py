"""Whether the localisation keeps up with its camera, from the stamps of what it publishes."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import param

_ANOTHER_CLOCK_S = 60.0
_IN_FUTURE_S = 1.0


@dataclass(frozen=True, slots=True)
class LatenessSettings:
    """When the training makes room."""

    limit: float = param(
        0.3,
        "the localisation is late when its odometry comes so long after its frame; 0: never",
        unit="s",
        min=0.0,
        max=60.0,
        live=True,
    )
    pause: float = param(
        10.0, "the trainer stands still until it has been in time for so long", unit="s", min=0.0, max=3600.0, live=True
    )


class Lateness:
    """Hears of each odometry message; times are by the clock that stamps it, and by a steady one."""

    def __init__(self, settings: LatenessSettings) -> None:
        self._settings = settings
        self._late_at = float("-inf")
        self.lag_s: float | None = None
        """Of the newest message; None before the first."""
        self.times_late = 0
        """Messages that came late."""

    def tune(self, settings: LatenessSettings) -> None:
        """Other limits count from now on."""
        self._settings = settings

    def heard(self, stamp_ns: int, now_ns: int, steady_s: float) -> None:
        """A message with this stamp came at this time [ns, same clock]."""
        self.lag_s = 1e-9 * (now_ns - stamp_ns)
        if self._settings.limit > 0.0 and self.comparable and self.lag_s > self._settings.limit:
            self.times_late += 1
            self._late_at = steady_s

    @property
    def comparable(self) -> bool:
        """Whether stamps and clock are of one time: those of a recording are not, unless use_sim_time is set."""
        return self.lag_s is None or -_IN_FUTURE_S <= self.lag_s <= _ANOTHER_CLOCK_S

    def late(self, steady_s: float) -> bool:
        """Whether it is late now, or was so a moment ago."""
        return steady_s - self._late_at < self._settings.pause
