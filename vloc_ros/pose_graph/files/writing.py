"""Pose graphs and their poses as files that other programs read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vloc_ros.data import Trajectory, g2o, trajectory
from vloc_ros.data.files import NS_PER_S
from vloc_ros.data.output import write_text
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.manifold import lifted


def write_g2o(path: Path, graph: PoseGraph) -> None:
    """Write poses and edges (all of them, trusted or not) as g2o; numbers read back as they were.

    Raises:
        DataError: the file cannot be written.
    """
    lines = [g2o.vertex_line(int(name), pose) for name, pose in zip(graph.ids, graph.poses, strict=True)]
    edges = zip(graph.ids[graph.a], graph.ids[graph.b], graph.a_T_b, graph.information, strict=True)
    lines += [g2o.edge_line(int(a), int(b), a_T_b, information) for a, b, a_T_b, information in edges]
    write_text(path, "".join(line + "\n" for line in lines))


def write_tum(path: Path, graph: PoseGraph) -> None:
    """Write the poses as a TUM trajectory. A graph has no stamps: pose n of it is written at n seconds.

    Raises:
        DataError: the file cannot be written.
    """
    stamps = np.arange(len(graph.ids), dtype=np.int64) * NS_PER_S
    trajectory.write_tum(path, Trajectory(stamps, lifted(graph.poses)))


def write_kitti(path: Path, graph: PoseGraph) -> None:
    """Write the poses as a KITTI pose file, one row for each pose.

    Raises:
        DataError: the file cannot be written.
    """
    trajectory.write_kitti_poses(path, lifted(graph.poses))
