"""``vloc doctor``: why nothing works, in one sentence each."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import Subparsers, add_command, add_json, add_remap, add_settings, load_settings, remappings
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vloc_ros.ros.node_settings import LocalizationNodeSettings

_EXAMPLES = """
  vloc doctor                                         (the installation, and the camera on left/image_rect, ...)
  vloc doctor --config config/realsense_stereo.yaml --map site.vloc \\
      --remap left/image_rect:=/camera/camera/infra1/image_rect_raw \\
      --remap right/image_rect:=/camera/camera/infra2/image_rect_raw \\
      --remap left/camera_info:=/camera/camera/infra1/camera_info \\
      --remap right/camera_info:=/camera/camera/infra2/camera_info
  vloc doctor --namespace robot1 --seconds 5          (topics /robot1/left/image_rect, ...)
  vloc doctor --set camera.type=rgbd --sim-time       (a recording of an RGB-D camera, played with its clock)
  vloc doctor --no-live --json                        (the installation alone, for a program)"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "doctor", "look for what is wrong with the installation and the camera", _EXAMPLES, run)
    parser.add_argument("--map", type=Path, help="map file, *.vloc: can it be opened, is there room for it")
    parser.add_argument("--live", action=argparse.BooleanOptionalAction, default=True, help="listen to the topics (default: yes)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        help="how long to listen, 0.5 to 600 (default: 3); three times as long where nobody seems to publish",
    )
    add_remap(parser, "a topic by another name, as for the nodes; repeatable")
    parser.add_argument("--namespace", default="", help="namespace of the nodes")
    parser.add_argument("--sim-time", action="store_true", help="as a node with use_sim_time set")
    add_settings(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Make the checks; 1 when there is an error among them, else 0.

    Raises:
        ConfigError: an option, the configuration or a setting is wrong.
    """
    if not 0.5 <= args.seconds <= 600.0:
        raise ConfigError(f"--seconds must lie between 0.5 and 600, not {args.seconds:g}")
    from vloc_ros.diagnosis import Level
    from vloc_ros.diagnosis.machine import examine_machine
    from vloc_ros.diagnosis.report import as_json, as_table, worst

    values = _file_values(args)
    node, mount = _node_settings(args, values)
    renamed = remappings(args.remap)
    args.set = [assignment for assignment in args.set if not _is_of_node(assignment)]
    findings = examine_machine(load_settings(args), args.map, os.environ)
    missed = []
    if args.live:
        from vloc_ros.ros.doctor import examine_live, unseen

        sim_time = args.sim_time or values.get("use_sim_time") is True
        live = examine_live(node, mount, args.seconds, remappings=renamed, namespace=args.namespace, use_sim_time=sim_time)
        findings, missed = findings + live, unseen(live)
    text = json.dumps(as_json(findings, missed), indent=1) if args.json else as_table(findings, missed)
    sys.stdout.write(text + "\n")
    return 1 if worst(findings) is Level.ERROR else 0


def _file_values(args: argparse.Namespace) -> dict[str, Any]:
    from vloc_ros.config import load_yaml

    return {} if args.config is None else load_yaml(args.config)


def _is_of_node(assignment: str) -> bool:
    """Whether an assignment sets a key that only nodes have."""
    from vloc_ros.config import keys
    from vloc_ros.ros.node_settings import LocalizationNodeSettings

    return assignment.partition("=")[0].strip() in {key.name for key in keys(LocalizationNodeSettings())}


def _node_settings(args: argparse.Namespace, values: dict[str, Any]) -> tuple[LocalizationNodeSettings, NDArray[np.float64] | None]:
    """What the localization node would be started with: its settings, and where its camera is when that is configured.

    Raises:
        ConfigError: a key is of the wrong type or out of range.
    """
    from dataclasses import fields

    import numpy as np

    from vloc_ros.config import from_dict, parse_assignments, replace
    from vloc_ros.geometry.se3 import BASE_T_OPTICAL
    from vloc_ros.ros.node_settings import LocalizationNodeSettings, base_T_camera_from_numbers

    own = {field.name for field in fields(LocalizationNodeSettings)}
    try:
        node = from_dict(LocalizationNodeSettings, {name: value for name, value in values.items() if name.partition(".")[0] in own})
        mount = base_T_camera_from_numbers(list(values.get("base_T_camera", [])))
    except ConfigError as error:
        raise ConfigError(f"{args.config}: {error}") from error
    node = replace(node, parse_assignments([assignment for assignment in args.set if _is_of_node(assignment)]))
    return node, None if np.allclose(mount, BASE_T_OPTICAL) else mount
