"""Flies a drone along waypoints by position fixes that come late and rarely, and by dead reckoning between them.

A Kalman filter of position and wind: the drone's own airspeed and heading carry the position on, fixes correct both. It knows
nothing but what instruments and fixes say.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from vloc_ros.simulation.drone import direction

Array = NDArray[np.float64]
_REACHED_M = 12.0
"""From so near a waypoint is reached, or from farther where the drone cannot turn as tightly."""
_LOOK_AHEAD_M = 25.0
_GUST_M2_S, _WIND_M2_S3 = 8.0, 0.05
"""Growth of the variances of position and wind."""
_REMEMBERED_S = 60.0
_GATE = 16.0
"""Squared Mahalanobis distance of a fix that is not taken."""


class Autopilot:
    """Where the drone takes itself to be, and which heading leads on."""

    def __init__(
        self, waypoints: Array, airspeed: float, position: Array, sigma_m: float = 10.0, turn_rate_deg_s: float = 25.0
    ) -> None:
        """Begin near a known place, which is where the drone was started.

        Args:
            waypoints: (N, 2) to be flown over in turn, east and north [m].
            airspeed: of the drone [m/s].
            position: (2,) of the start [m].
            sigma_m: of that along each axis [m].
            turn_rate_deg_s: fastest turn of the drone.
        """
        self._turn_rate = float(np.deg2rad(turn_rate_deg_s))
        self._waypoints, self._airspeed = np.asarray(waypoints, dtype=np.float64), airspeed
        self._start: Array = np.array(position, dtype=np.float64)
        self._state: Array = np.concatenate([position, np.zeros(2)])
        self._covariance: Array = np.diag([sigma_m**2, sigma_m**2, 9.0, 9.0])
        self._past: deque[tuple[int, Array]] = deque()
        self.next = 0
        """Number of the waypoint that is flown to; that of waypoints when all were reached."""
        self.refused = 0
        """Fixes that were too far from where the drone takes itself to be."""

    @property
    def position(self) -> Array:
        """(2,) estimate, east and north [m]."""
        return self._state[:2].copy()

    @property
    def wind(self) -> Array:
        """(2,) estimate, east and north [m/s]."""
        return self._state[2:].copy()

    @property
    def sigma_m(self) -> float:
        """Standard deviation of the position along its most uncertain axis [m]."""
        return float(np.sqrt(np.linalg.eigvalsh(self._covariance[:2, :2])[-1]))

    @property
    def reach_m(self) -> float:
        """From so near a waypoint is reached [m]: the radius of the tightest turn over the ground, or the drone might circle it."""
        speed = self._airspeed + float(np.linalg.norm(self.wind))
        return max(_REACHED_M, speed / self._turn_rate)

    @property
    def finished(self) -> bool:
        """Whether all waypoints were reached."""
        return self.next >= len(self._waypoints)

    def predict(self, stamp_ns: int, seconds: float, heading_deg: float) -> None:
        """Time has passed [s] up to a stamp [ns], with the nose at a measured heading [deg]."""
        transition = np.eye(4)
        transition[:2, 2:] = seconds * np.eye(2)
        self._state = transition @ self._state
        self._state[:2] += seconds * self._airspeed * direction(heading_deg)
        growth = np.diag([_GUST_M2_S, _GUST_M2_S, _WIND_M2_S3, _WIND_M2_S3]) * seconds
        self._covariance = transition @ self._covariance @ transition.T + growth
        self._past.append((stamp_ns, self.position))
        while self._past[0][0] < stamp_ns - _REMEMBERED_S * 1e9:
            self._past.popleft()
        if not self.finished and np.linalg.norm(self._waypoints[self.next] - self.position) < self.reach_m:
            self.next += 1

    def correct(self, stamp_ns: int, metres: Array, covariance: Array) -> bool:
        """Take a fix of an earlier moment, carried on by what was flown since; whether it was plausible.

        Args:
            stamp_ns: of its image [ns].
            metres: (2,) east and north [m].
            covariance: (2, 2) of that [m^2].
        """
        then = min(self._past, key=lambda entry: abs(entry[0] - stamp_ns))[1] if self._past else self.position
        surprise = metres - then
        gain_of = self._covariance[:2, :2] + covariance
        if surprise @ np.linalg.solve(gain_of, surprise) > _GATE:
            self.refused += 1
            return False
        gain = self._covariance[:, :2] @ np.linalg.inv(gain_of)
        self._state = self._state + gain @ surprise
        self._covariance = self._covariance - gain @ self._covariance[:2]
        self._past = deque((stamp, place + gain[:2] @ surprise) for stamp, place in self._past)
        return True

    def heading(self) -> float:
        """Heading that leads along the line to the next waypoint, against the wind, clockwise from north [deg]."""
        target = self._waypoints[min(self.next, len(self._waypoints) - 1)]
        before = self._waypoints[self.next - 1] if self.next else self._start
        along = target - before
        length = float(np.linalg.norm(along))
        aim = target
        if length > 1e-6:
            along = along / length
            reached = float((self.position - before) @ along)
            aim = before + min(reached + _LOOK_AHEAD_M, length) * along
        wanted = aim - self.position
        wanted = wanted / max(float(np.linalg.norm(wanted)), 1e-6)
        across = self.wind - (self.wind @ wanted) * wanted
        drift = min(float(across @ across), 0.8 * self._airspeed**2)
        through = np.sqrt(self._airspeed**2 - drift) * wanted - across
        return float(np.rad2deg(np.arctan2(through[0], through[1])) % 360.0)


def survey_lines(low: Array, high: Array, spacing_m: float, rounds: int = 1) -> Array:
    """(N, 2) waypoints of lines to and fro over a rectangle, east and north [m]; every other round runs across the one before."""
    corners = []
    for number in range(rounds):
        along, across = (0, 1) if number % 2 == 0 else (1, 0)
        count = max(round((high[across] - low[across]) / spacing_m), 1) + 1
        for index, offset in enumerate(np.linspace(low[across], high[across], count)):
            ends = (low[along], high[along]) if index % 2 == 0 else (high[along], low[along])
            for end in ends:
                point = np.empty(2)
                point[along], point[across] = end, offset
                corners.append(point)
    return np.array(corners)
