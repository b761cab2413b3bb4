"""ROS parameters made from the configuration, and the files that set them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import rclpy
import ros_samples as samples
import yaml
from rclpy.signals import SignalHandlerOptions

from vloc_ros.calibration.settings import default_settings
from vloc_ros.closed_loop import DriveSettings
from vloc_ros.config import keys, load_yaml
from vloc_ros.errors import ConfigError
from vloc_ros.path_following import FollowerSettings
from vloc_ros.ros import params
from vloc_ros.ros.aerial_settings import AerialNodeSettings
from vloc_ros.ros.calibration_settings import CalibrationNodeSettings
from vloc_ros.ros.managed_node import ManagedNode
from vloc_ros.ros.node_settings import FollowerNodeSettings, LocalizationNodeSettings, Mode, PlayerNodeSettings
from vloc_ros.ros.place_recognition_settings import RecognitionNodeSettings
from vloc_ros.ros.pose_graph_settings import GraphNodeSettings
from vloc_ros.ros.runtime import RosUnavailableError, require_rclpy
from vloc_ros.ros.simulator_settings import SimulatorNodeSettings
from vloc_ros.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
DEFAULTS = (LocalizationNodeSettings(), Settings())
FOLLOWER = (FollowerNodeSettings(), FollowerSettings())
CALIBRATION = (CalibrationNodeSettings(), default_settings())
SIMULATOR = (SimulatorNodeSettings(), DriveSettings())


@pytest.fixture
def make_node():
    nodes: list[ManagedNode] = []

    def make(*assignments: str, kind: type[ManagedNode] | None = None) -> ManagedNode:
        arguments = [part for assignment in assignments for part in ("-p", assignment)]
        domain = int(samples.ros_environment()["ROS_DOMAIN_ID"])
        rclpy.init(args=["--ros-args", *arguments], domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        nodes.append(kind() if kind else ManagedNode("test", DEFAULTS, {"numbers": ([1.0], "some numbers")}))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


def test_every_key_is_a_described_parameter_and_comes_back(make_node):
    node = make_node("mode:=teach", "sync.slop:=1", "features.max_features:=321", "numbers:=[1, 2]")
    for default in DEFAULTS:
        for key in keys(default):
            described = node.describe_parameter(key.name)
            assert key.doc in described.description
            if key.min is not None:
                assert [*described.integer_range, *described.floating_point_range][0].from_value == key.min
    settings = node.settings(LocalizationNodeSettings())
    assert (settings.mode, settings.sync.slop) == (Mode.TEACH, 1.0)
    assert node.settings(Settings()).features.max_features == 321
    assert list(node.get_parameter("numbers").value) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("assignment", "text"),
    [
        ("nonsense:=1", "unknown parameter 'nonsense'"),
        ("sync.sloop:=1.0", "did you mean sync.slop"),
        ("sync.slop:=7.0", "above its maximum 1"),
        ("sync.queue:=2.5", "must be of type int"),
        ("mode:=sing", "not one of: teach, repeat, localize"),
        ("numbers:=text", "must be a list of numbers"),
        ("numbers:=[true]", "must hold numbers only|must be a list"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(make_node, assignment, text):
    with pytest.raises(ConfigError, match=text):
        make_node(assignment)


def test_changes_of_one_request_are_taken_all_or_not_at_all(make_node):
    node = make_node()
    Parameter = rclpy.parameter.Parameter
    result = node.set_parameters_atomically([Parameter("mode", value="teach"), Parameter("sync.queue", value=0)])
    assert not result.successful
    assert node.settings(LocalizationNodeSettings()).mode is Mode.REPEAT
    assert node.set_parameters_atomically([Parameter("mode", value="teach"), Parameter("sync.queue", value=9)]).successful
    assert node.settings(LocalizationNodeSettings()).sync.queue == 9


class Tuned(ManagedNode):
    """Notes what it is told to take over."""

    def __init__(self) -> None:
        super().__init__("tuned", DEFAULTS, {"numbers": ([1.0], "some numbers")})
        self.taken: list[tuple[float, int]] = []

    def changed(self) -> None:
        self.taken.append((self.settings(LocalizationNodeSettings()).timeout, self.settings(Settings()).localization.min_inliers))


def test_live_parameters_are_taken_over_together_and_mixed_requests_are_refused_whole(make_node):
    node = make_node(kind=Tuned)

    def change(**values) -> str:
        parameters = [rclpy.parameter.Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        return node.set_parameters_atomically(parameters).reason

    assert change(localization__min_inliers=20, mode="teach") == "" and node.taken == [], "unconfigured: read when it is configured"
    assert "read-only" in change(autostart=False)
    assert node.describe_parameter("autostart").read_only
    later = "can be changed: while unconfigured"
    for name, constraint in (
        ("timeout", "can be changed: while running"),
        ("sync.slop", later),
        ("numbers", later),
        ("mode", f"one of: teach, repeat, localize; {later}"),
        ("autostart", "can be changed: never"),
    ):
        assert node.describe_parameter(name).additional_constraints == constraint
    node.trigger_configure()
    assert change(localization__min_inliers=30, timeout=5.0) == "" and node.taken == [(5.0, 30)]
    for refused, text in (
        (
            {"timeout": 6.0, "sync__queue": 9},
            "'sync.queue' can be changed only while the node is unconfigured, so nothing",
        ),
        ({"timeout": 6.0, "numbers": [2.0]}, "'numbers' can be changed only while"),
        ({"timeout": 6.0, "localization__min_inliers": 5}, "localization.min_inliers"),
        ({"timeout": 6.0, "localization__min_inliers": 20.5}, ""),
        ({"timeout": 6.0, "autostart": False}, "read-only"),
        ({"timeout": 6.0, "use_sim_time": "perhaps"}, ""),
    ):
        reason = change(**refused)
        assert reason and text in reason
        assert (node.get_parameter("timeout").value, node.taken) == (5.0, [(5.0, 30)]), "nothing of it is taken"
    node.trigger_activate()
    assert change(timeout=7.0) == "" and node.taken[-1] == (7.0, 30)
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert change(timeout=8.0, sync__queue=9) == "" and len(node.taken) == 2


def test_no_parameter_belongs_to_two_components():
    for defaults in (DEFAULTS, FOLLOWER, SIMULATOR):
        names = [key.name for default in defaults for key in keys(default)]
        assert len(names) == len(set(names))
    assert {"source", "rate", "lockstep"} <= {key.name for key in keys(PlayerNodeSettings())}


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_configuration_files_hold_known_keys_and_good_values(file):
    flat = dict(flatten(load_yaml(file)))
    defaults = {
        "path_follower": FOLLOWER,
        "pose_graph": (GraphNodeSettings(),),
        "aerial": (AerialNodeSettings(),),
        "place_recognition": (RecognitionNodeSettings(),),
        "calibration": CALIBRATION,
    }.get(file.stem, DEFAULTS)
    parts = params.split(flat, defaults)
    from vloc_ros.config import from_dict

    for default, part in zip(defaults, parts, strict=True):
        from_dict(type(default), part)
    assert flat


def flatten(values: dict, prefix: str = ""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def test_rviz_shows_topics_that_are_published():
    config = yaml.safe_load((ROOT / "rviz" / "teach_repeat.rviz").read_text())
    topics = {display["Topic"]["Value"] for display in config["Visualization Manager"]["Displays"] if "Topic" in display}
    source = "".join(file.read_text() for file in (ROOT / "vloc_ros" / "ros").glob("*.py"))
    of_localization = {"path", "pose", "odometry", "keyframes", "ground_truth/odometry", "matches/image"}
    assert topics == of_localization | {"pose_graph/path", "pose_graph/markers"}
    assert all(f'"{topic}"' in source for topic in topics)


@pytest.mark.parametrize("how", ["-c", "-m", "script", "stdin"])
def test_python_survives_the_restart_of_the_ros_wheels(how, tmp_path):
    """The wheels start Python again to set LD_LIBRARY_PATH; arguments must arrive all the same."""
    code = "import sys, rclpy; rclpy.init(domain_id=3); print('OK', sys.argv[1:]); rclpy.shutdown()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("_ROS_WHEELS", "LD_LIBRARY"))}
    (tmp_path / "some_module.py").write_text(code)
    script = tmp_path / "script"
    script.write_text(f"#!{sys.executable}\n{code}")
    script.chmod(0o755)
    command, text = {
        "-c": ([sys.executable, "-c", code, "a b"], None),
        "-m": ([sys.executable, "-m", "some_module", "a b"], None),
        "script": ([str(script), "a b"], None),
        "stdin": ([sys.executable, "-", "a b"], code),
    }[how]
    result = subprocess.run(command, env=environment, cwd=tmp_path, input=text, capture_output=True, text=True, timeout=60)
    assert "OK ['a b']" in result.stdout, result.stderr


@pytest.mark.parametrize(
    ("variables", "text"),
    [({}, "pip install 'ros-rclpy"), ({"ROS_DISTRO": "jazzy"}, "the rclpy of ROS jazzy")],
)
def test_without_ros_the_advice_is_one_sentence(monkeypatch, variables, text):
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "rclpy", None)
    with pytest.raises(RosUnavailableError, match=text):
        require_rclpy()


def test_a_process_without_ros_ends_with_the_advice_and_not_with_a_traceback(tmp_path):
    (tmp_path / "rclpy").mkdir()
    (tmp_path / "rclpy" / "__init__.py").write_text("raise ImportError('librcl.so: cannot open shared object file')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", "from vloc_ros.ros.runtime import run_node; raise SystemExit(run_node(None))"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "librcl.so" in result.stderr
