"""``vloc play`` and ``vloc up``: the ROS 2 nodes as processes, also where ROS's launch is not installed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import Subparsers, add_command, add_settings, load_settings

if TYPE_CHECKING:
    from vloc_ros.data import DatasetReader
    from vloc_ros.settings import Settings

_PLAY_EXAMPLES = """
  vloc play drive/                       (in real time)
  vloc play drive/ --rate 0 --lockstep   (as fast as the localization node goes, nothing dropped)"""
_UP_EXAMPLES = """
  vloc up teach_repeat --mode teach --map site.vloc --data noon/
  vloc up teach_repeat --mode repeat --map site.vloc --data dusk/ --out dusk_run
  vloc up teach_repeat --mode repeat --map site.vloc        (listens to a live camera)"""


def register(subparsers: Subparsers) -> None:
    """Describe both commands."""
    parser = add_command(subparsers, "play", "publish a recording as ROS topics with /clock", _PLAY_EXAMPLES, _play)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder or file of a recording")
    _add_playback(parser)

    parser = add_command(subparsers, "up", "start the nodes of a launch file as processes", _UP_EXAMPLES, _up)
    parser.add_argument("what", choices=["teach_repeat"], help="which nodes: as launch/<WHAT>.launch.py")
    parser.add_argument("--mode", choices=["teach", "repeat", "localize"], default="repeat", help="default: repeat")
    parser.add_argument("--map", type=Path, required=True, help="map file, *.vloc; teach makes it")
    parser.add_argument("--data", dest="source", type=Path, help="recording to play (default: a live camera)")
    parser.add_argument("--out", type=Path, help="folder for the trajectory and the log of each frame")
    add_settings(parser)
    _add_playback(parser)


def _add_playback(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", help="format of the recording, when it is not recognised")
    parser.add_argument("--start", type=int, default=0, help="first frame (default: 0)")
    parser.add_argument("--stop", type=int, default=-1, help="frame to stop before (default: -1, the end)")
    parser.add_argument("--step", type=int, default=1, help="play every n-th frame (default: 1)")
    parser.add_argument("--rate", type=float, default=1.0, help="speed as a multiple of real time; 0: as fast as possible")
    parser.add_argument("--lockstep", action="store_true", help="wait until each frame is processed: nothing is dropped")
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument("--rectification", choices=["auto", "off"], default="auto", help="as in vloc repeat (default: auto)")


def player_parameters(args: argparse.Namespace) -> dict[str, Any]:
    """ROS parameters of the player from the command line."""
    names = ("start", "stop", "step", "rate", "lockstep", "loop", "rectification")
    return {"source": str(args.source), "format": args.format, **{name: getattr(args, name) for name in names}}


def localization_parameters(
    mode: str, map_path: Path, out: Path | None, settings: Settings, source: Path | None, reader: DatasetReader | None
) -> dict[str, Any]:
    """ROS parameters of the localization node; a recording that is played tells the mount and the type of its camera."""
    from vloc_ros.config import keys
    from vloc_ros.ros.node_settings import CameraType, numbers_of_base_T_camera

    parameters: dict[str, Any] = {key.name: getattr(key.value, "value", key.value) for key in keys(settings)}
    parameters |= {"mode": mode, "map": str(map_path), "out": None if out is None else str(out)}
    if reader is not None:
        kind = CameraType.STEREO if reader.frame(0).right is not None else CameraType.RGBD
        parameters |= {
            "use_sim_time": True,
            "source": str(source),
            "base_T_camera": numbers_of_base_T_camera(reader.base_T_camera),
            "camera.type": kind.value,
            "camera.baseline": float(reader.camera.baseline),
        }
    return parameters


def _play(args: argparse.Namespace) -> int:
    from vloc_ros.processes import NodeSpec, run_nodes

    return run_nodes([NodeSpec("player", "player", player_parameters(args))])


def _up(args: argparse.Namespace) -> int:
    from vloc_ros.data import open_recording
    from vloc_ros.processes import NodeSpec, run_nodes

    settings = load_settings(args)
    reader = None if args.source is None else open_recording(args.source, args.format)
    specs = [
        NodeSpec(
            "localization", "localization", localization_parameters(args.mode, args.map, args.out, settings, args.source, reader)
        )
    ]
    if reader is None:
        return run_nodes(specs)
    specs.append(NodeSpec("player", "player", player_parameters(args)))
    return run_nodes(specs, until=None if args.loop else "player")
