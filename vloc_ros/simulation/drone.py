"""How a drone moves through the air: it holds its speed, turns to a heading, and the wind carries and tilts it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param

Array = NDArray[np.float64]
_STEP_S = 0.02
_TILT_S, _SINK_S = 0.6, 15.0
"""How long the airframe takes to follow what tilts it, and how long a deviation of the height lasts [s]."""


@dataclass(frozen=True)
class DroneSettings:
    """A small survey drone on a day with some wind, unless told otherwise."""

    airspeed: float = param(9.0, "speed through the air", unit="m/s", min=0.5, max=40.0)
    height: float = param(80.0, "flown at, above the mean ground of the world", unit="m", min=20.0, max=300.0)
    height_wander: float = param(1.5, "deviation from that height (one sigma)", unit="m", min=0.0, max=20.0)
    turn_rate: float = param(25.0, "fastest turn", unit="deg/s", min=1.0, max=180.0)
    wind: float = param(3.0, "mean speed of the wind", unit="m/s", min=0.0, max=30.0)
    wind_towards: float = param(65.0, "where the wind blows to, clockwise from north", unit="deg", min=-360.0, max=360.0)
    gusts: float = param(1.2, "of each component of the wind (one sigma)", unit="m/s", min=0.0, max=20.0)
    gust_seconds: float = param(4.0, "how long a gust lasts", unit="s", min=0.1, max=100.0)
    tilt_per_gust: float = param(2.0, "roll and pitch that a gust causes", unit="deg s/m", min=0.0, max=20.0)
    bank_per_turn: float = param(0.5, "roll in a turn", unit="s", min=0.0, max=2.0)


class Drone:
    """Integrates the motion of a drone; deterministic by seed and by the headings that are asked for and their times."""

    def __init__(self, settings: DroneSettings, seed: int) -> None:
        self.settings = settings
        self._rng = np.random.default_rng([seed, 31])
        self._gust = settings.gusts * self._rng.standard_normal(2)
        self._steps = 0
        self.wanted_deg = 0.0
        """Heading that is asked for, clockwise from north [deg]."""
        self.position: Array = np.zeros(2)
        """True, east and north [m]; may be set: the drone is carried."""
        self.heading_deg = 0.0
        """True heading of the nose, clockwise from north [deg]; may be set."""
        self.roll = self.pitch = 0.0
        """True; roll is positive when the right side goes down, pitch when the nose goes up [rad]."""
        self.sunk_m = 0.0
        """How much higher than it should the drone flies [m]."""
        self.velocity: Array = np.zeros(2)
        """True, over the ground, east and north [m/s]."""

    @property
    def time(self) -> float:
        """Since the start [s]."""
        return self._steps * _STEP_S

    @property
    def wind(self) -> Array:
        """(2,) of this moment, gusts and all, east and north [m/s]."""
        made: Array = self.settings.wind * direction(self.settings.wind_towards) + self._gust
        return made

    def advance(self, seconds: float) -> None:
        """Let time pass [s], in steps of 20 ms."""
        for _ in range(max(round(seconds / _STEP_S), 1)):
            self._step()

    def _step(self) -> None:
        settings = self.settings
        self._steps += 1
        self._gust = self._wander(self._gust, settings.gusts, settings.gust_seconds)
        self.sunk_m = float(self._wander(np.array([self.sunk_m]), settings.height_wander, _SINK_S)[0])
        most = settings.turn_rate * _STEP_S
        turned = float(np.clip(0.1 * wrapped_deg(self.wanted_deg - self.heading_deg), -most, most))
        self.heading_deg = wrapped_deg(self.heading_deg + turned)
        nose = direction(self.heading_deg)
        ahead, aside = self._gust @ nose, self._gust @ np.array([nose[1], -nose[0]])
        bank = np.deg2rad(settings.bank_per_turn * turned / _STEP_S)
        share = 1.0 - np.exp(-_STEP_S / _TILT_S)
        self.roll += share * (bank + np.deg2rad(settings.tilt_per_gust * aside) - self.roll)
        self.pitch += share * (np.deg2rad(settings.tilt_per_gust * ahead) - self.pitch)
        self.velocity = settings.airspeed * nose + self.wind
        self.position = self.position + _STEP_S * self.velocity

    def _wander(self, values: Array, spread: float, seconds: float) -> Array:
        """An Ornstein-Uhlenbeck process: it wanders about zero and forgets itself."""
        keep = np.exp(-_STEP_S / seconds)
        made: Array = keep * values + spread * np.sqrt(1.0 - keep**2) * self._rng.standard_normal(len(values))
        return made


def direction(heading_deg: float) -> Array:
    """(2,) unit vector, east and north, of a heading clockwise from north [deg]."""
    angle = np.deg2rad(heading_deg)
    return np.array([np.sin(angle), np.cos(angle)])


def wrapped_deg(angle: float) -> float:
    """The same angle from -180 up to, not including, 180 [deg]."""
    return float((angle + 180.0) % 360.0 - 180.0)


def nadir_rotation(heading_deg: float, roll: float = 0.0, pitch: float = 0.0) -> Array:
    """(3, 3) world_R_camera of a camera fixed to an airframe, which looks down when it is level and has the nose up in its image.

    Args:
        heading_deg: of the nose, clockwise from north [deg].
        roll: positive when the right side goes down [rad].
        pitch: positive when the nose goes up [rad].
    """
    c, s = np.cos(np.deg2rad(heading_deg)), np.sin(np.deg2rad(heading_deg))
    world_R_level = np.array([[s, c, 0.0], [c, -s, 0.0], [0.0, 0.0, -1.0]])  # columns: forward, right, down
    cp, sp, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    pitched = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    rolled = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
    body_R_camera = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    made: Array = world_R_level @ pitched @ rolled @ body_R_camera
    return made
