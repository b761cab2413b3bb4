"""The pose graph: robust optimisation that labels loop closures, in a process of its own."""

from vloc_ros.pose_graph.gnc import GncMethod, GncSettings, GncSolution, Optimizer, chi2_threshold, solve_gnc
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.labelling import LabelSettings, label_closures
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict

__all__ = [
    "GncMethod",
    "GncSettings",
    "GncSolution",
    "Label",
    "LabelReason",
    "LabelSettings",
    "Optimizer",
    "PoseGraph",
    "Verdict",
    "chi2_threshold",
    "label_closures",
    "solve_gnc",
]
