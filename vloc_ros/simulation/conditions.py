"""When and in what weather a drive takes place."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from vloc_ros.errors import ConfigError

LATITUDE_DEG, DECLINATION_DEG = 44.0, 21.0
"""A place in the middle of Europe or North America, in early summer."""
_LAMPS_BELOW_DEG = -1.5
"""Lamps are switched on when the sun is lower than this."""
_SHARES = ("cloud_cover", "moon", "rain", "snow")


def sun_elevation_deg(hour: float) -> float:
    """Elevation of the sun at a solar time [h], in degrees; negative at night."""
    latitude, declination = math.radians(LATITUDE_DEG), math.radians(DECLINATION_DEG)
    turn = math.radians(15.0 * (hour - 12.0))
    sine = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(turn)
    return math.degrees(math.asin(min(max(sine, -1.0), 1.0)))


@dataclass(frozen=True, slots=True)
class Condition:
    """A time of day, a weather and a season.

    Attributes:
        name: what it is called in tables.
        hour: solar time [h], 0 to 24.
        cloud_cover: share of the sky under cloud, 0 to 1; at 1 the sun throws no shadows.
        haze_per_m: extinction of the air [1/m]; from about 0.1 on it is fog.
        exposure_ev: exposure compensation of the camera [EV].
        seed: which clouds.
        leaves: whether broad-leaved trees and bushes carry leaves.
        parked_cars: which cars stand on which parking spots.
        headlights: whether the robot's own two lamps are on.
        street_lamps: whether the street lamps are on.
        moon: light of the moon, as a share of a full one, 0 to 1.
        rain: 0 to 1; brings drops on the lenses, wet ground, grey light and haze.
        snow: how much of what faces up is covered, 0 to 1.

    Raises:
        ConfigError: a value is out of range.
    """

    name: str
    hour: float
    cloud_cover: float = 0.3
    haze_per_m: float = 0.0006
    exposure_ev: float = 0.0
    seed: int = 0
    leaves: bool = True
    parked_cars: int = 0
    headlights: bool = False
    street_lamps: bool = False
    moon: float = 0.0
    rain: float = 0.0
    snow: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.hour <= 24.0:
            raise ConfigError(f"hour = {self.hour} of condition '{self.name}' must lie between 0 and 24")
        for share in _SHARES:
            if not 0.0 <= getattr(self, share) <= 1.0:
                raise ConfigError(f"{share} = {getattr(self, share)} of condition '{self.name}' must lie between 0 and 1")
        if not 0.0 <= self.haze_per_m < 1.0:
            raise ConfigError(f"haze_per_m = {self.haze_per_m} of condition '{self.name}' must lie between 0 and 1")
        if not abs(self.exposure_ev) <= 10.0:
            raise ConfigError(f"exposure_ev = {self.exposure_ev} of condition '{self.name}' must lie between -10 and 10")
        if self.parked_cars < 0:
            raise ConfigError(f"parked_cars = {self.parked_cars} of condition '{self.name}' must not be negative")

    @property
    def is_dark(self) -> bool:
        """Whether the sun is so far below the horizon that lamps are switched on."""
        return sun_elevation_deg(self.hour) < _LAMPS_BELOW_DEG

    def at(self, hour: float) -> Condition:
        """The same weather at another hour [h].

        From day into dark, headlights and street lamps are switched on; from dark into day, they are switched off. A
        condition that is dark already keeps the lamps it has.

        Raises:
            ConfigError: the hour is out of range.
        """
        moved = replace(self, hour=hour)
        if moved.is_dark == self.is_dark:
            return moved
        return replace(moved, headlights=moved.is_dark, street_lamps=moved.is_dark)


CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        Condition("noon", hour=12.5, cloud_cover=0.3, seed=11),
        Condition("late_afternoon", hour=18.2, cloud_cover=0.22, haze_per_m=0.0012, exposure_ev=-0.25, seed=23),
        Condition("overcast", hour=14.0, cloud_cover=1.0, haze_per_m=0.0016, seed=37),
        Condition("dawn", hour=5.0, cloud_cover=0.25, haze_per_m=0.003, exposure_ev=-0.3, seed=41),
        Condition("dusk", hour=19.75, cloud_cover=0.3, haze_per_m=0.0012, exposure_ev=-1.3, seed=43),
        Condition("night", hour=23.0, headlights=True, street_lamps=True, moon=0.6, seed=47),
        Condition("moonless", hour=1.0, headlights=True, seed=53),
        Condition("fog", hour=9.0, cloud_cover=1.0, haze_per_m=0.15, exposure_ev=0.4, seed=59),
        Condition("rain", hour=15.0, cloud_cover=1.0, haze_per_m=0.003, exposure_ev=-0.15, rain=0.7, seed=61),
        Condition("snow", hour=15.0, cloud_cover=0.25, exposure_ev=0.5, leaves=False, snow=0.85, seed=67),
        Condition("leaves_off", hour=13.0, cloud_cover=0.4, leaves=False, seed=71),
        Condition("moved_cars", hour=12.0, cloud_cover=0.3, parked_cars=1, seed=73),
    )
}


def named_condition(name: str, hour: float | None = None) -> Condition:
    """A condition by name, at its own hour or at another one [h], which its name then tells.

    Raises:
        ConfigError: there is none of that name, or the hour is out of range.
    """
    if name not in CONDITIONS:
        raise ConfigError(f"unknown condition '{name}'; known: {', '.join(CONDITIONS)}")
    condition = CONDITIONS[name]
    return condition if hour is None else replace(condition.at(hour), name=f"{name} at {hour:g} h")
