"""The pose graph: robust optimisation that labels loop closures, in a process of its own."""

from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict

__all__ = ["Label", "LabelReason", "PoseGraph", "Verdict"]
