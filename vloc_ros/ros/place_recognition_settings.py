"""Parameters of the node ``place_recognition``. Imports no ROS."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import param, section
from vloc_ros.features.matching import MatchSettings
from vloc_ros.geometry.pnp import PnpSettings
from vloc_ros.loop_closure import LoopSettings


@dataclass(frozen=True, slots=True)
class RecognitionNodeSettings:
    """Parameters of the node itself, and of what it searches and verifies with."""

    map: str = param("", "map file, *.vloc, in which the keyframes are; it may come into being later")
    begin_with: int = param(
        30, "keyframes that a map must hold before the search begins: a vocabulary is learned from them", min=1, max=100000
    )
    backlog: int = param(1000, "keyframes that may wait; beyond, the oldest is left out", min=1, max=1000000, live=True)
    attempts: int = param(3, "tries of a keyframe that cannot be read or written, before it is left out", min=1, max=100, live=True)
    redescribe_at_once: int = param(
        4, "keyframes described with a new model version after each search, and at once while none waits", min=1, max=1000
    )
    niceness: int = param(5, "how far this process gives way to others, 0 to 19", min=0, max=19)
    autostart: bool = param(True, "configure and activate at start; false leaves it to a lifecycle manager", fixed=True)
    loops: LoopSettings = section(LoopSettings)
    matching: MatchSettings = section(MatchSettings)
    pnp: PnpSettings = section(PnpSettings)
