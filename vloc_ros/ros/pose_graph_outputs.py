"""The topics that the pose_graph node publishes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from vloc_ros.pose_graph import Label
from vloc_ros.pose_graph.closure_book import Closure
from vloc_ros.ros.conversions import header, odometry_to_ros, path_to_ros
from vloc_ros.ros.diagnostics import of_one_status
from vloc_ros.ros.pose_graph_keeper import GraphKeeper
from vloc_ros.ros.pose_graph_map import keyframe_of
from vloc_ros.ros.pose_graph_settings import GraphNodeSettings
from vloc_ros.ros.problems import Problem
from vloc_ros.ros.qos import latched, reliable

Array = NDArray[np.float64]
_TOPICS = {
    Label.INLIER: "loop_closures/inliers",
    Label.OUTLIER: "loop_closures/outliers",
    Label.UNDECIDED: "loop_closures/undecided",
}
_ODOMETRY = "odometry"
_COLOURS = {
    _ODOMETRY: (0.6, 0.6, 0.6),
    Label.INLIER.value: (0.1, 0.7, 0.2),
    Label.OUTLIER.value: (0.85, 0.15, 0.15),
    Label.UNDECIDED.value: (0.95, 0.8, 0.1),
}
_LINE_M = 0.05


class GraphOutputs:
    """Publishes labels, the optimised path and the picture of the graph. The heartbeat may be published from another thread.

    A labelled closure is the candidate as it came, with the time of the verdict as its stamp: of two messages about one
    measurement the later one counts. They are kept for subscribers that come later.
    """

    def __init__(self, node: Node, settings: GraphNodeSettings) -> None:
        self._name, self._settings, self._node = node.get_fully_qualified_name(), settings, node
        kept = latched(settings.latched_closures)
        self._closures = {label: node.create_publisher(Odometry, topic, kept) for label, topic in _TOPICS.items()}
        self._path = node.create_publisher(Path, "pose_graph/path", latched())
        self._markers = node.create_publisher(MarkerArray, "pose_graph/markers", latched())
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", reliable())
        self._heartbeat = node.create_publisher(Header, "~/heartbeat", reliable(100))

    def heartbeat(self, stamp_ns: int) -> None:
        """Publish that the node is alive."""
        self._heartbeat.publish(header(stamp_ns, self._name))

    def labels(self, stamp_ns: int, closures: list[Closure]) -> None:
        """Publish closures on the topics of their labels."""
        for closure in closures:
            measured, (a, b) = closure.measured, (keyframe_of(closure.measured.a), keyframe_of(closure.measured.b))
            message = odometry_to_ros(stamp_ns, str(a), str(b), measured.a_T_b, measured.covariance)
            self._closures[closure.verdict.label].publish(message)

    def picture(self, stamp_ns: int, keeper: GraphKeeper) -> None:
        """Publish the path of the newest session, and the markers of all."""
        chains = keeper.graph.chains()
        if not chains:
            return
        newest = _thinned(chains[-1], self._settings.max_path_poses)
        poses = list(keeper.graph.poses(newest))
        stamps = [keeper.stamps[id] for id in newest]
        self._path.publish(path_to_ros(stamp_ns, self._settings.map_frame, stamps, poses))
        self._markers.publish(MarkerArray(markers=self._lines(stamp_ns, keeper, chains)))

    def _lines(self, stamp_ns: int, keeper: GraphKeeper, chains: list[list[int]]) -> list[Marker]:
        most, total = self._settings.max_markers, sum(map(len, chains))
        ends: dict[str, list[int]] = {name: [] for name in _COLOURS}
        for chain in chains:
            thinned = _thinned(chain, max(2, most * len(chain) // total))
            ends[_ODOMETRY] += [id for pair in pairwise(thinned) for id in pair]
        for closure in keeper.graph.closures:
            ends[closure.verdict.label.value] += [closure.measured.a, closure.measured.b]
        markers = []
        for number, (name, ids) in enumerate(ends.items()):
            positions = keeper.graph.poses(ids[-2 * most :])[:, :3, 3]
            markers.append(_line_list(header(stamp_ns, self._settings.map_frame), number, name, positions))
        return markers

    def diagnostics(self, stamp_ns: int, values: dict[str, str], problems: dict[Problem, str]) -> None:
        """Publish the state of the graph, and what is wrong."""
        self._diagnostics.publish(of_one_status(f"{self._name}: graph", stamp_ns, values, problems, "labelling"))

    def close(self) -> None:
        """Take the topics away."""
        for publisher in (*self._closures.values(), self._path, self._markers, self._diagnostics, self._heartbeat):
            self._node.destroy_publisher(publisher)


def _thinned(ids: list[int], most: int) -> list[int]:
    """At most so many of some names, evenly, the first and the last among them."""
    if len(ids) <= most:
        return ids
    return [ids[row] for row in np.linspace(0, len(ids) - 1, most).round().astype(int).tolist()]


def _line_list(stamped: Header, number: int, name: str, positions: Array) -> Marker:
    red, green, blue = _COLOURS[name]
    return Marker(
        header=stamped,
        ns=name,
        id=number,
        type=Marker.LINE_LIST,
        action=Marker.ADD if len(positions) else Marker.DELETE,
        pose=Pose(orientation=Quaternion(w=1.0)),
        scale=Vector3(x=_LINE_M),
        color=ColorRGBA(r=red, g=green, b=blue, a=1.0),
        points=[Point(x=x, y=y, z=z) for x, y, z in positions.tolist()],
    )
