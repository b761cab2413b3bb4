"""Following a flight from photo to photo by the drone's own last position, and finding it again after a loss."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.fix import AerialFix, AerialReject
from vloc_ros.aerial.locator import Locator
from vloc_ros.aerial.photo import Photo
from vloc_ros.aerial.proposing import Prior
from vloc_ros.config import param
from vloc_ros.errors import DataError

Array = NDArray[np.float64]
_NS = 1e9


@dataclass(frozen=True)
class TrackerSettings:
    """How a flight is followed."""

    max_speed: float = param(25.0, "greatest speed over the ground", unit="m/s", min=0.1, max=300.0)
    lost_after: float = param(10.0, "without a position for so long, the whole map is searched", unit="s", min=0.0)
    confirmations: int = param(
        1, "further photos that must agree with a position that was found on the whole map, before it is believed", min=0, max=10
    )
    largest_gate: float = param(0.5, "a gate that covers more than this share of the map is none", min=0.0, max=1.0)


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A position at a time."""

    stamp_ns: int
    metres: Array
    covariance: Array


class Tracker:
    """Follows a flight. Its predictions come from its own positions and the greatest speed, and from nothing else."""

    def __init__(self, locator: Locator, settings: TrackerSettings | None = None) -> None:
        """Begin lost, as a drone that was just switched on is."""
        self.settings = settings or TrackerSettings()
        self._locator = locator
        self._stamp_ns: int | None = None
        self._last: _Sighting | None = None
        self._awaiting: list[_Sighting] = []

    @property
    def is_lost(self) -> bool:
        """Whether the next photo is searched for on the whole map, as far as is known before it comes."""
        return self._last is None

    def step(self, photo: Photo) -> AerialFix:
        """Where the next photo was taken.

        Args:
            photo: with a time stamp that is newer than that of the photo before.

        Returns:
            A position that is believed, or none with its reason. After a loss the first position is UNCONFIRMED.

        Raises:
            DataError: the photo has no time stamp.
        """
        if photo.stamp_ns is None:
            raise DataError(f"{photo.name or 'a photo'} has no time stamp, without which a flight cannot be followed")
        if self._stamp_ns is not None and photo.stamp_ns <= self._stamp_ns:
            return AerialFix.failure(AerialReject.STAMP_NOT_NEWER)
        before, self._stamp_ns = self._stamp_ns, photo.stamp_ns
        prior = self.predict(photo.stamp_ns)
        if prior is None:
            if self._last is not None and self._last.stamp_ns == before:
                # Not lost, the map is no larger than the gate: the position of the photo before confirms the next one.
                self._awaiting = [self._last] * self.settings.confirmations
            self._last = None
            return self._search(photo, photo.stamp_ns)
        self._awaiting = []
        fix = self._locator.locate(photo, prior)
        if fix.success:
            self._last = _sighting(fix, photo.stamp_ns)
        return fix

    def predict(self, stamp_ns: int) -> Prior | None:
        """Where the drone should be at a time [ns]; None when that is not known well enough to search nearby alone."""
        if self._last is None:
            return None
        seconds = (stamp_ns - self._last.stamp_ns) / _NS
        if seconds > self.settings.lost_after:
            return None
        prior = Prior(self._last.metres, self._last.covariance + self._drift(seconds))
        sides = np.diff(self._locator.ground.bounds, axis=0)[0]
        area = np.pi * prior.radius(self._locator.settings.gate_sigmas) ** 2
        return prior if area <= self.settings.largest_gate * float(np.prod(sides)) else None

    def _search(self, photo: Photo, stamp_ns: int) -> AerialFix:
        """Search the whole map; a position is believed when enough others, each found on the whole map too, lead to it."""
        fix = self._locator.locate(photo)
        if not fix.success:
            return fix
        found = _sighting(fix, stamp_ns)
        reachable = bool(self._awaiting) and self._within_reach(self._awaiting[-1], found)
        self._awaiting = [*self._awaiting, found] if reachable else [found]
        if len(self._awaiting) <= self.settings.confirmations:
            refused = AerialFix.failure(AerialReject.UNCONFIRMED, fix.matches, fix.inliers, fix.tile)
            return replace(refused, seconds=fix.seconds)
        self._last, self._awaiting = found, []
        return fix

    def _within_reach(self, before: _Sighting, after: _Sighting) -> bool:
        """Whether a drone can have flown from one position to the other."""
        seconds = (after.stamp_ns - before.stamp_ns) / _NS
        if seconds > self.settings.lost_after:
            return False
        off = after.metres - before.metres
        covariance = before.covariance + after.covariance + self._drift(seconds)
        return bool(off @ np.linalg.solve(covariance, off) <= self._locator.settings.gate_sigmas**2)

    def _drift(self, seconds: float) -> Array:
        """(2, 2) covariance of a flight of unknown direction; its gate just holds what the greatest speed reaches [m^2]."""
        made: Array = (self.settings.max_speed * seconds / self._locator.settings.gate_sigmas) ** 2 * np.eye(2)
        return made


def _sighting(fix: AerialFix, stamp_ns: int) -> _Sighting:
    assert fix.metres is not None
    assert fix.covariance is not None
    return _Sighting(stamp_ns, fix.metres, fix.covariance)
