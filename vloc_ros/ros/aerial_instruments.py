"""The newest readings of height and attitude, and which of them belong to an image. Imports no ROS."""

from __future__ import annotations

import statistics
from bisect import insort
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.attitude import Attitude, barometric_height_m, camera_attitude, height_of_range_m
from vloc_ros.ros.aerial_settings import AerialNodeSettings, HeightSource

Array = NDArray[np.float64]
T = TypeVar("T")
_KEPT = 400
"""Readings of each instrument: two seconds of a fast one, or more."""
_BACK_NS = 1_000_000_000
"""A clock that jumps back by more was set back, or a recording begins anew; as the navigator has it."""
_APART_S = 5.0
"""What is farther from an image than this is not late: it has stopped, or keeps another time."""


class Flown(NamedTuple):
    """What the instruments say of one image.

    Attributes:
        height_m: above the ground, None where nobody knows [m].
        attitude: of the camera, None where nobody knows.
        source: what told the height; empty where nothing did.
        missing: what should be known and is not, and why, in words; empty when nothing is missing.
    """

    height_m: float | None
    attitude: Attitude | None
    source: str
    missing: str


@dataclass
class _Track(Generic[T]):
    """Readings of one instrument by their stamps, which may come in any order."""

    readings: list[tuple[int, T]] = field(default_factory=list)

    def add(self, stamp_ns: int, value: T) -> None:
        if self.readings and stamp_ns < self.readings[-1][0] - _BACK_NS:
            self.readings.clear()
        insort(self.readings, (stamp_ns, value), key=lambda reading: reading[0])
        del self.readings[:-_KEPT]

    @property
    def newest(self) -> int:
        """Stamp of the newest [ns]; of the beginning of time when there is none."""
        return self.readings[-1][0] if self.readings else -(2**62)

    def nearest_stamp(self, stamp_ns: int) -> int:
        """Stamp of the reading nearest to one [ns]; the beginning of time when there is none."""
        return min((stamp for stamp, _ in self.readings), key=lambda stamp: abs(stamp - stamp_ns), default=-(2**62))

    def nearest(self, stamp_ns: int, max_age_s: float) -> T | None:
        best = min(self.readings, key=lambda reading: abs(reading[0] - stamp_ns), default=None)
        return None if best is None or abs(best[0] - stamp_ns) > 1e9 * max_age_s else best[1]


class Instruments:
    """Belongs to one thread: that of the subscriptions."""

    def __init__(self, settings: AerialNodeSettings, reference_pa: float | None = None) -> None:
        """Nothing is known yet, but for a reference pressure [Pa] that was found before: the drone may be in the air by now."""
        self._settings = settings
        self._ranges: _Track[float | None] = _Track()
        self._pressures: _Track[float] = _Track()
        self._orientations: _Track[Array] = _Track()
        self._first: list[float] = []
        self._reference = settings.instruments.reference_pressure or reference_pa or 0.0

    def tune(self, settings: AerialNodeSettings) -> None:
        """Take over the live ones of other settings."""
        self._settings = settings

    @property
    def reference_pa(self) -> float | None:
        """Pressure at the ground of the map [Pa]; None until it is known."""
        return self._reference or None

    def add_range(self, stamp_ns: int, range_m: float | None) -> None:
        """A distance along the camera's axis [m]; None when nothing was in range."""
        self._ranges.add(stamp_ns, range_m)

    def add_pressure(self, stamp_ns: int, pressure_pa: float) -> None:
        """A pressure of the air [Pa]; the first ones may make the reference."""
        if not self._reference:
            self._first.append(pressure_pa)
            if len(self._first) >= self._settings.instruments.reference_messages:
                self._reference = statistics.median(self._first)
        self._pressures.add(stamp_ns, pressure_pa)

    def add_orientation(self, stamp_ns: int, enu_R_flu: Array) -> None:
        """A (3, 3) orientation of the airframe."""
        self._orientations.add(stamp_ns, enu_R_flu)

    def reach(self, stamp_ns: int) -> bool:
        """Whether nothing that comes later can be nearer to a stamp [ns] than what is here: each instrument is as far."""
        wanted, kinds = self._settings.instruments, []
        if wanted.heading or wanted.tilt:
            kinds.append(self._orientations.newest)
        if wanted.height in (HeightSource.AUTO, HeightSource.RANGE, HeightSource.PRESSURE):
            used = {HeightSource.RANGE: [self._ranges.newest], HeightSource.PRESSURE: [self._pressures.newest]}
            kinds.append(max(used.get(wanted.height, [self._ranges.newest, self._pressures.newest])))
        return all(newest >= stamp_ns for newest in kinds)

    def at(self, stamp_ns: int) -> Flown:
        """What belongs to an image of a stamp [ns]: the nearest readings, none of them too old."""
        wanted = self._settings.instruments
        attitude = self._attitude(stamp_ns) if wanted.heading or wanted.tilt else None
        height, source = self._height(stamp_ns, attitude)
        missing = []
        if attitude is None and (wanted.heading or wanted.tilt):
            missing.append(
                f"no attitude within {wanted.max_age:g} s of the image{self._apart(stamp_ns, self._orientations, 'imu')}"
            )
        if height is None and wanted.height is not HeightSource.NONE:
            missing.append(f"no height{self._why_no_height(stamp_ns)}")
        return Flown(height, attitude, source, "; ".join(missing))

    def _why_no_height(self, stamp_ns: int) -> str:
        """How it goes on after 'no height'."""
        wanted, max_age = self._settings.instruments, self._settings.instruments.max_age
        if wanted.height is not HeightSource.RANGE and self._pressures.readings:
            if not self._reference:
                return f": {len(self._first)} of {wanted.reference_messages} messages for the reference pressure"
            if self._pressures.nearest(stamp_ns, max_age) is not None:
                return f": the pressure is that of the ground or below it (the reference is {self._reference:.0f} Pa)"
        near = abs(self._ranges.nearest_stamp(stamp_ns) - stamp_ns) <= 1e9 * max_age
        if wanted.height is not HeightSource.PRESSURE and near:
            return ": nothing is in range of the range finder"
        apart = self._apart(stamp_ns, self._ranges, "range") or self._apart(stamp_ns, self._pressures, "pressure")
        return f" within {max_age:g} s of the image{apart}"

    @staticmethod
    def _apart(stamp_ns: int, track: _Track[Any], topic: str) -> str:
        """What is said of an instrument that keeps another time than the camera does."""
        if not track.readings or abs(track.nearest_stamp(stamp_ns) - stamp_ns) <= _APART_S * 1e9:
            return ""
        return f" (the stamps of {topic} are more than {_APART_S:g} s from it: has it stopped, or another clock?)"

    def _attitude(self, stamp_ns: int) -> Attitude | None:
        settings = self._settings
        orientation = self._orientations.nearest(stamp_ns, settings.instruments.max_age)
        if orientation is None:
            return None
        found = camera_attitude(orientation, settings.camera.yaw)
        apart_s = 1e-9 * abs(self._orientations.nearest_stamp(stamp_ns) - stamp_ns)
        return Attitude(
            heading_deg=(found.heading_deg + settings.instruments.heading_offset) % 360.0,
            tilt=replace(found.tilt, sigma=float(np.deg2rad(settings.instruments.tilt_rate * apart_s))),
        )

    def _height(self, stamp_ns: int, attitude: Attitude | None) -> tuple[float | None, str]:
        wanted, max_age = self._settings.instruments.height, self._settings.instruments.max_age
        if wanted in (HeightSource.AUTO, HeightSource.RANGE):
            distance = self._ranges.nearest(stamp_ns, max_age)
            if distance is not None:
                return height_of_range_m(distance, attitude if self._settings.instruments.tilt else None), "range"
        if wanted in (HeightSource.AUTO, HeightSource.PRESSURE) and self._reference:
            pressure = self._pressures.nearest(stamp_ns, max_age)
            if pressure is not None:
                height = barometric_height_m(pressure, self._reference)
                return (height, "pressure") if height > 0.0 else (None, "")
        return None, ""
