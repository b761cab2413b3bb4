"""The reference of the nodes' parameters, from the dataclasses that they are declared from."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from vloc_ros.calibration.settings import default_settings
from vloc_ros.closed_loop.settings import DriveSettings
from vloc_ros.config import UNCONFIGURED, Key, keys
from vloc_ros.path_following import FollowerSettings
from vloc_ros.ros.aerial_settings import AerialNodeSettings
from vloc_ros.ros.calibration_settings import CalibrationNodeSettings
from vloc_ros.ros.node_settings import FollowerNodeSettings, LocalizationNodeSettings, PlayerNodeSettings
from vloc_ros.ros.place_recognition_settings import RecognitionNodeSettings
from vloc_ros.ros.pose_graph_settings import GraphNodeSettings
from vloc_ros.ros.simulator_settings import SimulatorNodeSettings
from vloc_ros.settings import Settings

PARAMETERS: dict[str, tuple[Any, ...]] = {
    "localization": (LocalizationNodeSettings(), Settings()),
    "path_follower": (FollowerNodeSettings(), FollowerSettings()),
    "place_recognition": (RecognitionNodeSettings(),),
    "pose_graph": (GraphNodeSettings(),),
    "calibration": (CalibrationNodeSettings(), default_settings()),
    "aerial": (AerialNodeSettings(),),
    "simulator": (SimulatorNodeSettings(), DriveSettings()),
    "player": (PlayerNodeSettings(),),
}
"""The configurations whose keys are the parameters of each node. A test compares them with what the nodes declare."""
ARRAYS = {"localization": {"base_T_camera": "pose of the left optical frame in the base frame: x y z qx qy qz qw, or a 4x4 matrix"}}
"""Parameters that are lists of numbers."""
_HEAD = """# Parameters of the nodes

Made by `make docs` from the dataclasses that the nodes declare their parameters from; `ros2 param describe` says the same.

A parameter is given to a node at its start (a YAML file, `-p name:=value`, the launch file), or changed later with
`ros2 param set /NODE NAME VALUE`:
- *running*: at any time. The node takes it over between two frames (keyframes, commands), and all that one request changes at once.
- *unconfigured*: after `ros2 lifecycle set /NODE deactivate`, then `cleanup`; then `configure` and `activate`.
- *never*: it counts at the start only (read-only).

Several changes in one request (the service `set_parameters_atomically`) are taken together or not at all; a value of the wrong type
or outside its range, and one that cannot be changed now, are refused with the reason. `ros2 param get` says what is effective, and
where the localization writes a record (`out`), its `config.yaml` notes each change. `use_sim_time` is rclpy's own.
"""
_COLUMNS = "| parameter | default | range | unit | change | meaning |\n|---|---|---|---|---|---|"


def parameters_of(node: str) -> Iterator[Key]:
    """The parameters of a node but for the arrays, in the order of their declaration."""
    for config in PARAMETERS[node]:
        yield from keys(config)


def reference() -> str:
    """The reference of all nodes as Markdown."""
    return "\n".join([_HEAD, *(_section(node) for node in PARAMETERS)])


def _section(node: str) -> str:
    rows = [_row(key) for key in parameters_of(node)]
    rows += [
        f"| `{name}` | | 7 or 16 numbers | m | {_changeable(UNCONFIGURED)} | {_cell(doc)} |"
        for name, doc in ARRAYS.get(node, {}).items()
    ]
    return "\n".join([f"## {node}", "", _COLUMNS, *rows, ""])


def _row(key: Key) -> str:
    cells = (f"`{key.name}`", _value(key.value), _range(key), key.unit or "", _changeable(key.changeable), _cell(key.doc))
    return f"| {' | '.join(cells)} |"


def _changeable(when: str) -> str:
    return when.removeprefix("while ")


def _value(value: Any) -> str:
    plain = value.value if isinstance(value, Enum) else value
    if plain is None or plain == "":
        return "none" if plain is None else "empty"
    return f"`{str(plain).lower() if isinstance(plain, bool) else plain}`"


def _range(key: Key) -> str:
    if isinstance(key.value, Enum):
        return ", ".join(str(member.value) for member in type(key.value))
    if isinstance(key.value, bool):
        return "true, false"
    if key.min is None and key.max is None:
        return {int: "integer", float: "number", str: "text"}.get(type(key.value), "")
    low, high = (None if limit is None else f"{limit:g}" for limit in (key.min, key.max))
    if low is None or high is None:
        return f"at least {low}" if high is None else f"at most {high}"
    return f"{low} to {high}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
