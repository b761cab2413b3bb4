"""When and in what weather a drive takes place."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vloc_ros.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Condition:
    """A time of day and a weather.

    Attributes:
        name: what it is called in tables.
        hour: solar time [h], 0 to 24.
        cloud_cover: share of the sky under cloud, 0 to 1; at 1 the sun throws no shadows.
        haze_per_m: extinction of the air [1/m].
        exposure_ev: exposure compensation of the camera [EV].
        seed: which clouds.
        leaves: whether broad-leaved trees and bushes carry leaves.
        parked_cars: which cars stand on which parking spots.

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

    def __post_init__(self) -> None:
        if not 0.0 <= self.hour <= 24.0:
            raise ConfigError(f"hour = {self.hour} of condition '{self.name}' must lie between 0 and 24")
        if not 0.0 <= self.cloud_cover <= 1.0:
            raise ConfigError(f"cloud_cover = {self.cloud_cover} of condition '{self.name}' must lie between 0 and 1")
        if not 0.0 <= self.haze_per_m < 1.0:
            raise ConfigError(f"haze_per_m = {self.haze_per_m} of condition '{self.name}' must lie between 0 and 1")

    def at(self, hour: float) -> Condition:
        """The same weather at another hour [h].

        Raises:
            ConfigError: the hour is out of range.
        """
        return replace(self, hour=hour)


CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        Condition("noon", hour=12.5, cloud_cover=0.3, seed=11),
        Condition("late_afternoon", hour=18.2, cloud_cover=0.22, haze_per_m=0.0012, exposure_ev=-0.25, seed=23),
        Condition("overcast", hour=14.0, cloud_cover=1.0, haze_per_m=0.0016, seed=37),
    )
}


def named_condition(name: str) -> Condition:
    """A condition by name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in CONDITIONS:
        raise ConfigError(f"unknown condition '{name}'; known: {', '.join(CONDITIONS)}")
    return CONDITIONS[name]
