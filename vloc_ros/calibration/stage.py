"""How far a calibration is."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, unique
from typing import Any


@unique
class Stage(Enum):
    """What a calibration does, in this order."""

    MINING = "mining"
    TRAINING = "training"
    EVALUATING = "evaluating"
    STORING = "storing"


Progress = Callable[[Stage, float, dict[str, Any]], None]
"""Told of a stage, the share of it that is done (0 to 1), and more that JSON can hold; see :mod:`vloc_ros.calibration.child`.

``{"writing": True}`` comes before the map is written, and ``{"writing": False}`` when that is over: whoever stops the process
in between (SIGSTOP) makes everybody wait who writes to the map.
"""


def untold(stage: Stage, share: float, more: dict[str, Any]) -> None:
    """For callers who do not ask."""
