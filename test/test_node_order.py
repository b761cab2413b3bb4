"""The order in which the nodes are activated does not matter: what one must know of another is latched, or in the map."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import ros_samples as samples
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from node_graph import NodeGraph
from std_msgs.msg import Header
from tiny_robot import value

MS = 1_000_000
POSES = samples.walk(10, step=0.1)
NODES = ("localization", "place_recognition", "pose_graph")


VALUES = {
    "localization": {"mode": "teach", **samples.MAP_SETTINGS, "keyframes.distance": 0.05, "qos.reliability": "reliable"},
    "place_recognition": {"begin_with": 4, "loops.descriptor": "hog"},
    "pose_graph": {},
}


@pytest.mark.slow
def test_whoever_comes_last_is_told_what_was_before(tmp_path):
    """Once in the order in which data goes, with the keyframes made before anybody listens; once against it."""
    environment = samples.ros_environment()
    with ExitStack() as stack:
        probe = stack.enter_context(samples.probe(environment))
        diagnostics = probe.listen(DiagnosticArray, "/diagnostics")
        graphs = {}
        for name in NODES:
            stack.enter_context(samples.node(name, VALUES[name] | {"autostart": False}, tmp_path, environment))
            graphs[name] = NodeGraph(probe, name, "/")
        assert [graph.state for graph in graphs.values()] == ["unconfigured"] * 3

        def lead(*names: str) -> None:
            for name in names:
                graphs[name].lead("configure", "activate")

        def all_have_come(node: str, key: str) -> None:
            probe.wait(lambda: newest(diagnostics, node, key) == str(len(POSES)), f"all {key} of {node}", 60.0)

        for order in (NODES, NODES[::-1]):
            for graph in graphs.values():
                graph.set({"map": str(tmp_path / f"{order[0]}.vloc")})
            late = order[1:] if order[0] == "localization" else ()
            lead(*(name for name in order if name not in late))
            teach(probe)
            lead(*late)
            all_have_come("place_recognition", "keyframes_searched")
            all_have_come("pose_graph", "keyframes")
            for graph in graphs.values():
                graph.lead("deactivate", "cleanup")
            diagnostics.clear()


def newest(messages: list[DiagnosticArray], node: str, key: str) -> str:
    found = [value(status, key) for array in messages for status in array.status if node in status.name]
    return found[-1] if found else ""


def teach(probe: samples.Probe) -> None:
    """Drive once; every frame becomes a keyframe."""
    processed = probe.listen(Header, "processed")
    keyframes = probe.listen(Odometry, "keyframes", latched=True)
    probe.calibrate()
    for index, pose in enumerate(POSES):
        probe.show((1000 + 100 * index) * MS, *samples.pair(pose))
        probe.wait(lambda count=index + 1: len(processed) >= count, "a frame", 60.0)
    probe.wait(lambda: len(keyframes) == len(POSES), "the keyframes", 60.0)
