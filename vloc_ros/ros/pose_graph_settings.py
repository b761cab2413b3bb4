"""Parameters of the node ``pose_graph``, beside those of the graph, the solver and the odometry. Imports no ROS."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import param, section
from vloc_ros.mapping.odometry import OdometrySettings
from vloc_ros.pose_graph.gnc_settings import GncSettings
from vloc_ros.pose_graph.growing import GrowthSettings
from vloc_ros.pose_graph.labelling import LabelSettings


@dataclass(frozen=True, slots=True)
class SolverSettings:
    """When the graph is solved, and how long that may take."""

    deadline: float = param(60.0, "longest time for one attempt; the solver is restarted then", unit="s", min=0.1, max=3600.0)
    period: float = param(1.0, "shortest time between the starts of two solutions", unit="s", min=0.0, max=3600.0, live=True)
    niceness: int = param(5, "how far the solver's process gives way to others, 0 to 19", min=0, max=19)


@dataclass(frozen=True, slots=True)
class GraphNodeSettings:
    """Parameters of the node itself."""

    map: str = param("", "map file, *.vloc, with the odometry of its keyframes; empty: odometry from the poses on keyframes")
    write_closures: bool = param(True, "write closures and their verdicts into the map")
    map_frame: str = param("map", "frame of the path and the markers")
    max_path_poses: int = param(2000, "most poses of the published path; beyond, every n-th", min=2)
    max_markers: int = param(5000, "most lines of one colour in the markers; odometry is thinned, closures are the newest", min=2)
    latched_closures: int = param(2000, "how many labelled closures a subscriber that comes later is given at once", min=1)
    apply_quiet: float = param(
        10.0,
        "the map is not moved while it is taught: so long after the last new keyframe",
        unit="s",
        min=0.0,
        max=3600.0,
        live=True,
    )
    heartbeat_rate: float = param(0.0, "rate of ~/heartbeat; 0: none", unit="Hz", min=0.0, max=1000.0)
    autostart: bool = param(True, "configure and activate at start; false leaves it to a lifecycle manager", fixed=True)
    solver: SolverSettings = section(SolverSettings)
    growth: GrowthSettings = section(GrowthSettings)
    gnc: GncSettings = section(GncSettings)
    labels: LabelSettings = section(LabelSettings)
    odometry: OdometrySettings = section(OdometrySettings)
