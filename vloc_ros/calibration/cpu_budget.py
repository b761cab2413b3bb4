"""How much of the processor the training of place recognition may take: a share at any time, and so much in any hour."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, unique

from vloc_ros.config import param

_HOUR_S, _MINUTE_S = 3600.0, 60.0
_AT_ONCE_S = 1.0


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """What the trainer may take of the processor."""

    share: float = param(0.5, "share of one processor core", min=0.01, max=64.0, live=True)
    seconds_per_hour: float = param(
        0.0, "time of one core in any 60 minutes; 0: no limit", unit="s", min=0.0, max=3600.0 * 64, live=True
    )


@unique
class Restraint(Enum):
    """Why the trainer may not run at this moment."""

    SHARE = "its share of the processor is used up for the moment"
    HOUR = "its time for this hour is used up"


class CpuBudget:
    """Keeps the account; somebody else stops the process (SIGSTOP) and lets it go on (SIGCONT)."""

    def __init__(self, settings: BudgetSettings, now: float) -> None:
        """Open the account, full.

        Args:
            settings: what may be taken.
            now: steady time [s], as in all methods.
        """
        self._settings, self._now = settings, now
        self._most = _AT_ONCE_S * settings.share
        self._left = self._most
        self._minutes: deque[tuple[float, float]] = deque()
        self._in_debt = False

    def tune(self, settings: BudgetSettings) -> None:
        """Another budget from now on; what was taken in the last hour counts against it."""
        self._settings = settings
        self._most = _AT_ONCE_S * settings.share
        self._left = min(self._left, self._most)

    def spend(self, now: float, seconds: float) -> None:
        """So much processor time was taken since the last time this was called [s]."""
        self._left = min(self._most, self._left + self._settings.share * max(0.0, now - self._now)) - seconds
        self._now = now
        if not self._minutes or now - self._minutes[-1][0] >= _MINUTE_S:
            self._minutes.append((now, 0.0))
        begun, before = self._minutes[-1]
        self._minutes[-1] = begun, before + seconds
        while now - self._minutes[0][0] >= _HOUR_S:
            self._minutes.popleft()

    @property
    def last_hour(self) -> float:
        """Processor time taken in the last 60 minutes [s], whole minutes at a time."""
        return sum(seconds for _, seconds in self._minutes)

    def restraint(self) -> Restraint | None:
        """Why it may not run now; None when it may."""
        limit = self._settings.seconds_per_hour
        if limit > 0.0 and self.last_hour >= limit:
            return Restraint.HOUR
        # Once in debt it rests for a while, as stopping and going on every few milliseconds serves nobody.
        self._in_debt = self._left < (0.5 * self._most if self._in_debt else 0.0)
        return Restraint.SHARE if self._in_debt else None
