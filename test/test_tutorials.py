"""The commands of the tutorials are understood: by the command line, the launch files, and the nodes' services and topics."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ros_samples import walk, write_recording

from vloc_ros.cli import build_parser
from vloc_ros.config import from_dict, keys
from vloc_ros.config import replace as changed
from vloc_ros.interfaces import NODES, SERVICES, TOPICS
from vloc_ros.interfaces.parameters import parameters_of
from vloc_ros.ros.node_settings import FrameSettings, LocalizationNodeSettings, base_T_camera_from_numbers
from vloc_ros.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "tutorials.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in re.sub(r"```.*?```", "", TEXT, flags=re.S).splitlines() if line.startswith("    ")]
OF_OTHERS = {"realsense2_camera"}
"""Packages whose launch files are not here to be asked."""


def commands(*beginning: str) -> list[list[str]]:
    found = [shlex.split(command) for command in COMMANDS]
    return [words for words in found if words[: len(beginning)] == list(beginning)]


def test_every_command_is_of_a_kind_that_is_checked():
    param = [("ros2", "param", "describe"), ("ros2", "param", "set")]
    kinds = [("vloc",), ("ros2", "launch"), ("ros2", "service", "call"), ("ros2", "topic", "echo"), *param]
    assert len(COMMANDS) > 20
    assert sum(len(commands(*kind)) for kind in kinds) == len(COMMANDS)
    assert all(commands(*kind) for kind in kinds)


@pytest.mark.parametrize("words", commands("vloc"), ids=" ".join)
def test_the_command_line_takes_it(words):
    args = build_parser().parse_args(words[1:])
    for assignment in getattr(args, "set", []):
        name, _, value = assignment.partition("=")
        changed(Settings(), {name: yaml.safe_load(value)})


def test_a_wrong_command_is_refused():
    with pytest.raises(SystemExit):
        build_parser().parse_args(["teach", "noon/", "--mpa", "site.vloc"])


def launch_arguments(name: str) -> dict[str, list[str] | None]:
    """Arguments that a launch file declares, with their choices where these are written out; read without launch."""
    tree = ast.parse((ROOT / "launch" / name).read_text(encoding="utf-8"))
    cameras = [
        [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and ast.unparse(node.targets[0]) == "CAMERAS"
    ]
    found: dict[str, list[str] | None] = {}
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "DeclareLaunchArgument":
            choices = next((keyword.value for keyword in call.keywords if keyword.arg == "choices"), None)
            named = [str(item.value) for item in choices.elts] if isinstance(choices, ast.List) else None
            found[call.args[0].value] = cameras[0] if choices is not None and ast.unparse(choices) == "list(CAMERAS)" else named
    return found


@pytest.mark.parametrize("words", commands("ros2", "launch"), ids=" ".join)
def test_the_launch_file_takes_it(words):
    package, file, *given = words[2:]
    if package in OF_OTHERS:
        assert all(re.fullmatch(r"[\w.]+:=\S+", each) for each in given)
        return
    declared = launch_arguments(file)
    assert package == "vloc_ros" and {"mode", "map"} <= declared.keys()
    for each in given:
        name, _, value = each.partition(":=")
        assert name in declared and value, each
        assert declared[name] is None or value in declared[name], each


@pytest.mark.parametrize("words", commands("ros2", "service", "call"), ids=" ".join)
def test_the_service_is_served(words):
    name, kind, *request = words[3:]
    assert SERVICES[name.removeprefix("/")].type == kind
    assert (kind == "std_srvs/srv/SetBool") == bool(request)
    assert not request or isinstance(yaml.safe_load(request[0])["data"], bool)


def test_the_topics_and_parameters_are_there():
    for words in commands("ros2", "topic", "echo"):
        assert words[3].removeprefix("/") in TOPICS
    for words in commands("ros2", "param", "describe"):
        assert words[4] in {key.name for key in parameters_of(words[3].removeprefix("/"))}
    for words in commands("ros2", "param", "set"):
        (key,) = [key for key in parameters_of(words[3].removeprefix("/")) if key.name == words[4]]
        assert key.live and key.min <= float(words[5]) <= key.max


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.S)


def test_the_mount_is_as_it_is_described():
    text = blocks("yaml")[0]
    base_T_camera = base_T_camera_from_numbers(yaml.safe_load(text)["/**"]["ros__parameters"]["base_T_camera"])
    assert base_T_camera[:3, 3].tolist() == [0.3, 0.0, 0.5]
    assert base_T_camera[:3, 2].round(9).tolist() == [1.0, 0.0, 0.0], "the optical axis looks forward"
    assert base_T_camera[:3, 1].round(9).tolist() == [0.0, 0.0, -1.0], "down in the image is down"


def test_the_manager_and_the_frames_of_a_robot_are_as_the_nodes_know_them():
    _, manager, frames = (yaml.safe_load(text) for text in blocks("yaml"))
    values = manager["lifecycle_manager"]["ros__parameters"]
    assert set(values["node_names"]) <= set(NODES) and values["bond_timeout"] == 0.0
    settings = from_dict(LocalizationNodeSettings, frames["/**"]["ros__parameters"])
    assert settings.frames == FrameSettings("robot1/map", "robot1/odom", "robot1/base_link")


def test_the_files_it_names_are_there():
    for name in re.findall(r"`((?:docs|config|vloc_ros)/[\w/.]+)`", TEXT):
        assert (ROOT / name).exists() or name == "vloc_ros/features/akaze.py", name


def test_the_extractor_works(tmp_path):
    (code,) = blocks("python")
    (tmp_path / "akaze.py").write_text(code, encoding="utf-8")
    recording = write_recording(tmp_path / "drive", walk(4))
    command = [sys.executable, "akaze.py", str(recording), "akaze.vloc"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    found = re.fullmatch(r"(\d+) of 4 frames have odometry\n", result.stdout)
    assert found is not None and int(found[1]) >= 3
    assert (tmp_path / "akaze.vloc").is_file()


def test_the_setting_of_the_tutorial_exists():
    assert "localization.min_inliers" in {key.name for key in keys(from_dict(Settings, {}))}
