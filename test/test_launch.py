"""The launch file: its cameras have configuration files, and its remappings are of topics that the node has."""

from __future__ import annotations

import ast
import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import ros_samples as samples

from vloc_ros.closed_loop import DriveSettings
from vloc_ros.config import from_dict, load_yaml
from vloc_ros.errors import ConfigError, MapError
from vloc_ros.interfaces import NODES
from vloc_ros.interfaces.policy import enclave_arguments, policy_xml
from vloc_ros.path_following import FollowerSettings
from vloc_ros.processes import NodeSpec, command_of, parameter_files
from vloc_ros.ros import params
from vloc_ros.ros.camera_input import topics
from vloc_ros.ros.closed_loop_nodes import ClosedLoopNodes
from vloc_ros.ros.node_settings import CameraSettings, CameraType, FollowerNodeSettings, LocalizationNodeSettings
from vloc_ros.ros.simulator_settings import SimulatorNodeSettings, check
from vloc_ros.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "launch" / "teach_repeat.launch.py"
CLOSED_LOOP = ROOT / "launch" / "closed_loop.launch.py"
AERIAL = ROOT / "launch" / "aerial.launch.py"
OTHER_CONFIGURATIONS = {"aerial", "calibration", "path_follower", "place_recognition", "pose_graph"}
IN_A_LOOP = {"start", "stop", "step"}
needs_launch = pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="launch_ros is not installed here")


def load(file: Path = LAUNCH):
    spec = importlib.util.spec_from_file_location(file.stem.replace(".", "_"), file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_camera_has_its_configuration_and_each_configuration_a_camera():
    calls = [node for node in ast.walk(ast.parse(LAUNCH.read_text())) if isinstance(node, ast.Call)]
    named = {call.args[0].value for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Camera"}
    assert named == {file.stem for file in (ROOT / "config").glob("*.yaml")} - OTHER_CONFIGURATIONS


@needs_launch
def test_the_remappings_are_those_of_the_node_s_topics():
    module = load()
    for name, camera in module.CAMERAS.items():
        kind = CameraType(load_yaml(ROOT / "config" / f"{camera.config}.yaml")["camera"]["type"])
        images, infos = topics(LocalizationNodeSettings(camera=CameraSettings(type=kind)))
        remapped = [ours for ours, _ in camera.remappings("")]
        assert remapped == [] or sorted(remapped) == sorted([*images, *infos]), name
        assert all(theirs.startswith("/elsewhere/") for _, theirs in camera.remappings("/elsewhere/"))


@needs_launch
@pytest.mark.parametrize("file", [LAUNCH, CLOSED_LOOP, AERIAL], ids=lambda file: file.stem)
def test_every_argument_is_described(file):
    for argument in load(file).ARGUMENTS:
        assert len(argument.description) > 10
        assert argument.choices is None or argument.default_value is not None


@pytest.mark.parametrize("file", [LAUNCH, CLOSED_LOOP, AERIAL], ids=lambda file: file.stem)
def test_what_is_asked_of_the_arguments_is_declared(file):
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]

    def named(function: str) -> set[str]:
        of_function = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == function]
        return {call.args[0].value for call in of_function if isinstance(call.args[0], ast.Constant)}

    assert named("argument") == named("DeclareLaunchArgument") - IN_A_LOOP


@pytest.mark.parametrize("file", [LAUNCH, CLOSED_LOOP, AERIAL], ids=lambda file: file.stem)
def test_each_node_of_ours_can_be_left_to_a_manager_and_runs_in_its_enclave(file):
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    nodes = [{word.arg: word.value for word in call.keywords} for call in calls if ast.unparse(call.func) == "Node"]
    ours = [words for words in nodes if ast.unparse(words["package"]) == "PACKAGE"]
    assert len(ours) == {LAUNCH: 4, CLOSED_LOOP: 1, AERIAL: 1}[file]
    for words in ours:
        name = ast.unparse(words["executable"])
        assert ast.unparse(words["name"]) == name
        assert ast.unparse(words["ros_arguments"]) == f"enclave_arguments({name}, argument('enclaves'))"
    functions = {node.name: node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
    led = {"localization", "path_follower", "loop_closures"} if file == LAUNCH else {"setup"}
    for name in led:
        constants = {node.value for node in ast.walk(functions[name]) if isinstance(node, ast.Constant)}
        assert "autostart" in constants, name


def test_what_the_launch_file_always_sets_leaves_the_configuration_alone():
    """It counts more than any file: a key that is in both could not be changed by a file of one's own."""
    calls = [node for node in ast.walk(ast.parse(AERIAL.read_text())) if isinstance(node, ast.Call)]
    (node,) = (call for call in calls if ast.unparse(call.func) == "Node")
    (given,) = (word.value for word in node.keywords if word.arg == "parameters")
    (values,) = (part for part in given.elts if isinstance(part, ast.Dict))
    always = {key.value for key in values.keys if key is not None}
    assert "map" in always
    configured = load_yaml(ROOT / "config" / "aerial.yaml")
    inner = {f"{name}.{key}" for name, part in configured.items() if isinstance(part, dict) for key in part}
    assert {"camera.transport", "tracker.max_speed"} < inner and not always & {*configured, *inner}


def test_a_file_of_parameters_that_is_not_there_is_an_error(tmp_path):
    there = tmp_path / "drone.yaml"
    there.touch()
    assert parameter_files("") == [] and parameter_files("", str(there)) == [str(there)]
    for missing in (tmp_path / "drome.yaml", tmp_path):
        with pytest.raises(ConfigError, match=f"no file of parameters at {missing}"):
            parameter_files(str(there), str(missing))


def test_an_enclave_is_asked_for_as_ros_asks_for_security(monkeypatch, tmp_path):
    monkeypatch.delenv("ROS_SECURITY_ENABLE", raising=False)
    spec = NodeSpec("here", "path_follower")
    assert enclave_arguments("player") == enclave_arguments("player", "false") == []
    assert "--enclave" not in command_of(spec, tmp_path)
    in_its_own = ["--enclave", "/vloc_ros/path_follower"]
    assert enclave_arguments("path_follower", "true") == in_its_own
    monkeypatch.setenv("ROS_SECURITY_ENABLE", "true")
    assert command_of(spec, tmp_path)[-2:] == enclave_arguments("path_follower") == in_its_own
    assert enclave_arguments("path_follower", "false") == []
    enclaves = {enclave.attrib["path"] for enclave in ElementTree.fromstring(policy_xml()).iter("enclave")}
    assert enclaves == {enclave_arguments(name)[1] for name in NODES}


def test_a_node_looks_for_its_keys_in_its_enclave(monkeypatch, tmp_path):
    """A keystore without keys: the node does not start, and says where they should be."""
    security = {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce", "ROS_SECURITY_KEYSTORE": str(tmp_path)}
    for name, value in security.items():
        monkeypatch.setenv(name, value)
    with samples.node("path_follower", {}, tmp_path, samples.ros_environment()) as node:
        assert node.wait(60.0) == 1
        assert "ROS cannot be started" in node.output
        assert f"{tmp_path}/enclaves/vloc_ros/path_follower" in node.output


def test_the_nodes_of_the_closed_loop_know_all_their_parameters(tmp_path):
    for lockstep in (False, True):
        nodes = ClosedLoopNodes("teach", tmp_path / "x.vloc", simulation={"lockstep": lockstep, "condition": "dusk"})
        parameters = nodes.parameters()
        assert set(parameters) == {"simulator", "localization"}
        known = {
            "simulator": (SimulatorNodeSettings(), DriveSettings()),
            "localization": (LocalizationNodeSettings(), Settings()),
            "path_follower": (FollowerNodeSettings(), FollowerSettings()),
        }
        parameters["path_follower"] = nodes._path_follower()
        for node, values in parameters.items():
            given = {name: value for name, value in values.items() if value is not None and name != "use_sim_time"}
            parts = params.split(given, known[node], ["base_T_camera"])
            for default, part in zip(known[node], parts, strict=True):
                from_dict(type(default), part)
            if node == "simulator":
                check(from_dict(SimulatorNodeSettings, parts[0]), from_dict(DriveSettings, parts[1]))


def test_to_repeat_there_must_be_a_map_of_the_simulated_world(tmp_path):
    with pytest.raises(MapError, match="there is no map"):
        ClosedLoopNodes("repeat", tmp_path / "x.vloc").parameters()
    with pytest.raises(ConfigError, match="'sing' is not one of: teach, repeat"):
        ClosedLoopNodes("sing", tmp_path / "x.vloc").parameters()
