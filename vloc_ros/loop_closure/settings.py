"""Configuration of finding and judging loops in a map."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import section
from vloc_ros.loop_closure.detector import LoopSettings
from vloc_ros.pose_graph import GncSettings
from vloc_ros.pose_graph.labelling import LabelSettings
from vloc_ros.settings import Settings


@dataclass(frozen=True)
class LoopClosureSettings(Settings):
    """Settings of teaching, with those of loops and of the pose graph."""

    loops: LoopSettings = section(LoopSettings)
    gnc: GncSettings = section(GncSettings)
    labels: LabelSettings = section(LabelSettings)
