"""Settings of the pose graph: the solver and the labels."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import section
from vloc_ros.pose_graph.gnc_settings import GncSettings
from vloc_ros.pose_graph.labelling import LabelSettings


@dataclass(frozen=True)
class PoseGraphSettings:
    """Configuration of solving and labelling."""

    gnc: GncSettings = section(GncSettings)
    labels: LabelSettings = section(LabelSettings)
