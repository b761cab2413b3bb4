"""The launch file: its cameras have configuration files, and its remappings are of topics that the node has."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

from vloc_ros.config import load_yaml
from vloc_ros.ros.camera_input import topics
from vloc_ros.ros.node_settings import CameraSettings, CameraType, LocalizationNodeSettings

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "launch" / "teach_repeat.launch.py"
needs_launch = pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="launch_ros is not installed here")


def load():
    spec = importlib.util.spec_from_file_location("teach_repeat_launch", LAUNCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_camera_has_its_configuration_and_each_configuration_a_camera():
    calls = [node for node in ast.walk(ast.parse(LAUNCH.read_text())) if isinstance(node, ast.Call)]
    named = {call.args[0].value for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Camera"}
    assert named == {file.stem for file in (ROOT / "config").glob("*.yaml")}


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
def test_every_argument_is_described():
    for argument in load().ARGUMENTS:
        assert len(argument.description) > 10
        assert argument.choices is None or argument.default_value is not None
