"""Pose graphs as files: g2o and TORO in, g2o, TUM and KITTI out."""

from vloc_ros.pose_graph.files.reading import OdometryEdges, RotationInformation, read_graph
from vloc_ros.pose_graph.files.writing import write_g2o, write_kitti, write_tum

__all__ = ["OdometryEdges", "RotationInformation", "read_graph", "write_g2o", "write_kitti", "write_tum"]
