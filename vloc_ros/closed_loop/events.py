"""What befalls a robot on its way: a covered camera, a kidnapping."""

from __future__ import annotations

from dataclasses import dataclass, field

from vloc_ros.errors import ConfigError
from vloc_ros.simulation import Simulator


@dataclass(slots=True)
class Event:
    """Something that happens at a time of the drive [s]."""

    at_s: float

    def apply(self, simulator: Simulator, seconds: float) -> None:
        """Make it happen, if it is time."""
        raise NotImplementedError


@dataclass(slots=True)
class CoverCamera(Event):
    """The lenses are covered for some seconds."""

    seconds: float
    _on: bool = field(default=False, init=False)

    def apply(self, simulator: Simulator, seconds: float) -> None:
        """Cover or uncover the lenses when it is time."""
        wanted = self.at_s <= seconds < self.at_s + self.seconds
        if wanted != self._on:
            self._on = simulator.covered = wanted


@dataclass(slots=True)
class Kidnap(Event):
    """The robot is carried to another station of the route; its wheels notice nothing."""

    station_m: float
    _done: bool = field(default=False, init=False)

    def apply(self, simulator: Simulator, seconds: float) -> None:
        """Carry the robot once, when it is time."""
        if not self._done and seconds >= self.at_s:
            self._done = True
            simulator.place(self.station_m)


def parse_cover(text: str) -> CoverCamera:
    """``AT:SECONDS``.

    Raises:
        ConfigError: it is something else.
    """
    return CoverCamera(*_two(text, "AT:SECONDS, such as 20:5"))


def parse_kidnap(text: str) -> Kidnap:
    """``AT:STATION``.

    Raises:
        ConfigError: it is something else.
    """
    return Kidnap(*_two(text, "AT:STATION, such as 20:65"))


def _two(text: str, what: str) -> tuple[float, float]:
    try:
        first, second = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise ConfigError(f"'{text}' must be {what}, in seconds and metres") from error
    if not (first >= 0.0 and second >= 0.0):
        raise ConfigError(f"'{text}' must be {what}, neither of them negative")
    return first, second
