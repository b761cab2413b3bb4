"""Who allows a robot to drive: the operator's switch, and the dead man's switch. Imports no ROS."""

from __future__ import annotations

import time
from collections.abc import Callable

from vloc_ros.path_following import StopReason


class DriveSwitch:
    """Whether driving is allowed now, by a steady clock.

    Args:
        enabled: whether driving is enabled from the start.
        dead_man_s: how long one call of :meth:`hold` allows to drive [s]; None: no such call is needed.
        clock: steady time [s].
    """

    def __init__(self, enabled: bool, dead_man_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._enabled, self._dead_man_s, self._clock = enabled, dead_man_s, clock
        self._held_until = float("-inf")

    @property
    def enabled(self) -> bool:
        """Whether the operator wants the robot to drive."""
        return self._enabled

    @property
    def has_dead_man(self) -> bool:
        """Whether the dead man's switch must be held too."""
        return self._dead_man_s is not None

    def tune(self, dead_man_s: float) -> None:
        """The next call of :meth:`hold` allows to drive for so long [s], where the dead man's switch counts at all."""
        self._dead_man_s = dead_man_s if self.has_dead_man else None

    def enable(self, on: bool) -> None:
        """Allow driving, or forbid it."""
        self._enabled = on

    def hold(self, on: bool) -> None:
        """Hold the dead man's switch for a while, or release it at once."""
        self._held_until = self._clock() + self._dead_man_s if on and self._dead_man_s is not None else float("-inf")

    @property
    def reason(self) -> StopReason | None:
        """Why the robot may not drive now; None when it may."""
        if not self._enabled:
            return StopReason.DISABLED
        if self._dead_man_s is not None and self._clock() > self._held_until:
            return StopReason.DEAD_MAN
        return None
