"""The table, the policy, the parameter reference and the lifecycle of the real nodes, each in a process of its own.

Everything a node may publish, hear and serve under some setting is in the table, and nothing else is: the nodes are led through
the settings that choose between topics, and what the ROS graph shows is put together and compared with the policy. Then they are
led through their states again and again: what they took, they give back.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import node_graph
import numpy as np
import pytest
import ros_samples as samples
from flight_samples import area_map
from live_samples import other
from node_graph import NodeGraph
from node_lifecycle import leaves_nothing
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters
from rclpy.parameter import parameter_value_to_python
from std_msgs.msg import Header
from test_interfaces import rights

from vloc_ros.interfaces import NODES, TOPICS
from vloc_ros.interfaces.description import resolved
from vloc_ros.interfaces.parameters import ARRAYS, parameters_of
from vloc_ros.interfaces.policy import policy_xml
from vloc_ros.ros.params import descriptor

SPACE = "/robot1"
RIGHTS = {"publishes": "publish", "subscribes": "subscribe", "serves": "reply", "calls": "request"}
OF_RCLPY = {"use_sim_time", "start_type_description_service"}
# Without a package of tf messages, which is not on PyPI, no tf is broadcast.
ABSENT = set() if importlib.util.find_spec("tf2_msgs") else {"/tf"}
IMAGES = samples.pair(samples.walk(1)[0])
WITH_CAMERA = [("rgbd", "raw"), ("rgbd", "compressed"), ("stereo", "compressed")]


def rgbd_recording(folder: Path) -> Path:
    """One frame of a TUM recording."""
    for name, image in (("rgb", np.full((480, 640), 90, np.uint8)), ("depth", np.full((480, 640), 5000, np.uint16))):
        (folder / name).mkdir(parents=True)
        cv2.imwrite(str(folder / name / "1.0.png"), image)
        (folder / f"{name}.txt").write_text(f"1.0 {name}/1.0.png\n")
    return folder


def cases(tmp_path: Path, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """With what to start a node, and what to change in it so that it comes to use every topic it knows."""
    timed, later = {"use_sim_time": True}, str(tmp_path / "later.vloc")
    match name:
        case "localization":
            first = timed | {"mode": "teach", "map": str(tmp_path / "new.vloc"), "use_wheel_odometry": True}
            return first, [{"camera.type": kind, "camera.transport": transport} for kind, transport in WITH_CAMERA]
        case "path_follower":
            return timed, [{"stamped": False}]
        case "place_recognition" | "calibration":
            return timed | {"map": later}, []
        case "pose_graph":
            return timed, []
        case "aerial":
            return timed | {"map": str(area_map(tmp_path / "area.vloc"))}, [{"camera.transport": "compressed"}]
        case "simulator":
            return {"seed": 3, "length": 40.0, "scale": 0.1, "stamped": False}, []
        case "player":
            stereo = samples.write_recording(tmp_path / "stereo", samples.walk(2))
            rgbd = rgbd_recording(tmp_path / "rgbd_dataset_freiburg1_desk")
            return {"source": str(stereo), "wait_for_subscriber": 3600.0}, [{"source": str(rgbd)}]
    raise AssertionError(f"nobody has said how the node {name} is started here")


def with_map(name: str, taught: Path) -> dict[str, Any]:
    """Settings under which a node opens what it can: a map that was taught."""
    match name:
        case "localization":
            camera = {"camera.type": "stereo", "camera.transport": "raw", "qos.reliability": "reliable"}
            return camera | samples.MAP_SETTINGS | {"mode": "localize", "map": str(taught), "use_sim_time": False}
        case "place_recognition" | "pose_graph" | "calibration":
            return {"map": str(taught)}
    return {}


def work(graph: NodeGraph) -> None:
    """Something to do, for the node that does most: frames. The others have threads, children and maps without."""
    if graph.name != "localization":
        return
    processed = graph.probe.listen(Header, f"{SPACE}/processed")
    graph.probe.calibrate(space=SPACE)
    for number in range(3):
        graph.probe.show((1000 + number) * 100_000_000, *IMAGES, space=SPACE)
        graph.probe.wait(lambda count=number + 1: len(processed) >= count, "a frame", 60.0)


def takes_what_is_live(graph: NodeGraph) -> None:
    """While it is active: everything that is live in one request; and nothing, if something in it is not."""
    live = {key.name: other(key.value, key.min, key.max) for key in parameters_of(graph.name) if key.live}
    fixed = next(key for key in parameters_of(graph.name) if not key.live and not key.fixed)
    if not live:
        return
    reason = graph.refused(live | {fixed.name: getattr(fixed.value, "value", fixed.value)})
    assert reason.startswith(f"'{fixed.name}' can be changed only while the node is unconfigured, so nothing was changed")
    request = GetParameters.Request(names=list(live))

    def effective() -> list[Any]:
        answer = graph.probe.call(f"{graph.full_name}/get_parameters", request, GetParameters)
        return [parameter_value_to_python(value) for value in answer.values]

    assert not any(now == wanted for now, wanted in zip(effective(), live.values(), strict=True))
    graph.set(live)
    assert effective() == list(live.values())
    assert graph.state == "active"
    # A map whose descriptor knows no conditions would refuse one.
    graph.set({name: "" for name in live if name.endswith(".condition")})


def refuses_what_cannot_be(graph: NodeGraph, process: samples.NodeProcess) -> None:
    """A transition that fails leaves the node where it was, with the reason in its log; it can be tried again."""
    assert "is not one of: teach, repeat, localize" in graph.refused({"mode": "dance"})
    graph.set({"mode": "teach"})  # into a map that exists
    assert not graph.change("configure")
    assert graph.state == "unconfigured"
    process.wait_for_output("exists already; set append:=true")
    graph.set({"mode": "localize"})


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    return samples.teach_corridor(tmp_path_factory.mktemp("map") / "site.vloc", samples.walk(6, step=0.15))


@pytest.fixture(scope="module")
def ros():
    environment = samples.ros_environment()
    with samples.probe(environment) as probe:
        yield probe, environment


@pytest.mark.parametrize("name", NODES)
def test_a_node_uses_what_the_policy_grants_and_nothing_else_and_gives_it_back(ros, taught, tmp_path, name):
    probe, environment = ros
    parameters, changes = cases(tmp_path, name)
    with samples.node(name, parameters, tmp_path, environment, namespace=SPACE) as process:
        graph = NodeGraph(probe, name, SPACE)
        graph.wait_active()
        seen = [graph.settled()]
        declared_as_documented(graph)
        takes_what_is_live(graph)
        for change in changes:
            graph.reconfigure(change)
            seen.append(graph.settled())
        graph.lead("deactivate", "cleanup")
        graph.set(with_map(name, taught))
        leaves_nothing(graph, process.process.pid, lambda: work(graph))
        if name == "localization":
            refuses_what_cannot_be(graph, process)
        graph.lead("configure", "activate", "shutdown")
        assert process.wait(60.0) == 0
        # It says good-bye: else it haunts the graph until its lease of 20 s runs out.
        probe.wait(lambda: not graph.known, f"the end of {name} in the graph", 10.0)
        assert "Traceback" not in process.output
    used, granted = node_graph.merged(seen), rights(policy_xml(SPACE))[name]
    for kind, right in RIGHTS.items():
        if kind == "calls":
            continue  # the simulator's client lives for a moment; test_interfaces finds it in the code
        assert set(used.get(kind, {})) == granted.get(right, set()) - ABSENT, f"{name} {kind}"
    types_are_those_of_the_table(name, used)


def types_are_those_of_the_table(name: str, used: dict[str, node_graph.Names]) -> None:
    expected = {resolved(topic.name, SPACE, name): set(topic.types) for topic in TOPICS.values()}
    for kind in ("publishes", "subscribes"):
        for topic, types in used[kind].items():
            if topic in expected:
                # of cmd_vel a subscriber was started with one type only
                assert types <= expected[topic] and (kind == "subscribes" or types == expected[topic]), topic


def declared_as_documented(graph: NodeGraph) -> None:
    """The parameters of the node are those of docs/parameters.md, with their ranges."""
    service = f"{graph.full_name}/list_parameters"
    declared = set(graph.probe.call(service, ListParameters.Request(), ListParameters).result.names)
    documented = {key.name: key for key in parameters_of(graph.name)}
    assert declared - OF_RCLPY == documented.keys() | ARRAYS.get(graph.name, {}).keys()
    names = list(documented)
    request = DescribeParameters.Request(names=names)
    answer = graph.probe.call(f"{graph.full_name}/describe_parameters", request, DescribeParameters)
    for name, said in zip(names, answer.descriptors, strict=True):
        expected = descriptor(documented[name])
        assert (said.description, said.read_only) == (expected.description, documented[name].fixed), name
        assert said.additional_constraints.endswith(f"can be changed: {documented[name].changeable}"), name
        assert (said.integer_range, said.floating_point_range) == (expected.integer_range, expected.floating_point_range), name


def test_a_node_says_what_the_table_lacks(ros, tmp_path):
    """A topic that somebody gives a node by another name is seen: the comparison above can fail."""
    probe, environment = ros
    with samples.node("path_follower", {}, tmp_path, environment, namespace="/other", remappings={"cmd_vel": "secret"}):
        graph = NodeGraph(probe, "path_follower", "/other")
        graph.wait_active()
        used = graph.settled()
    granted = rights(policy_xml("/other"))["path_follower"]
    assert set(used["publishes"]) ^ granted["publish"] == {"/other/cmd_vel", "/other/secret"}
