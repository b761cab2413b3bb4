"""What changes between visits to a place: leaves fall, and cars come and go."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.errors import ConfigError
from vloc_ros.simulation.conditions import Condition


@dataclass(frozen=True, slots=True)
class Season:
    """The state of everything in a world that does not stay.

    Attributes:
        leaves: broad-leaved trees and bushes carry leaves; without, their twigs are bare and the grass is pale.
        parked_cars: which cars stand on which parking spots; another number, other cars on other spots.

    Raises:
        ConfigError: the number of the parked cars is negative.
    """

    leaves: bool = True
    parked_cars: int = 0

    def __post_init__(self) -> None:
        if self.parked_cars < 0:
            raise ConfigError(f"parked_cars = {self.parked_cars} must not be negative; it only tells arrangements apart")


def season_of(condition: Condition) -> Season:
    """The season in which a condition takes place.

    Raises:
        ConfigError: the number of the parked cars is negative.
    """
    return Season(condition.leaves, condition.parked_cars)
