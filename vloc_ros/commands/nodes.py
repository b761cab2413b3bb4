"""``vloc play`` and ``vloc up``: the ROS 2 nodes as processes, also where ROS's launch is not installed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import Subparsers, add_command, add_settings, load_settings, load_settings_as

if TYPE_CHECKING:
    from vloc_ros.data import DatasetReader
    from vloc_ros.processes import NodeSpec
    from vloc_ros.settings import Settings

_PLAY_EXAMPLES = """
  vloc play drive/                       (in real time)
  vloc play drive/ --rate 0 --lockstep   (as fast as the localization node goes, nothing dropped)"""
_UP_EXAMPLES = """
  vloc up teach_repeat --mode teach --map site.vloc --data noon/
  vloc up teach_repeat --mode repeat --map site.vloc --data dusk/ --out dusk_run
  vloc up teach_repeat --mode repeat --map site.vloc        (listens to a live camera)
  vloc up teach_repeat --mode teach --map site.vloc --no-loop-closures
  vloc up teach_repeat --mode teach --map site.vloc --data noon/ --calibrate
  vloc up closed_loop --mode teach --map sim.vloc --site 2 --length 80 --lockstep
  vloc up closed_loop --mode repeat --map sim.vloc --condition dusk --lockstep --out dusk_drive
  vloc up aerial --map area.vloc                             (listens to the camera of a drone)
  vloc up aerial --map area.vloc --set instruments.height=pressure --set camera.transport=compressed"""


def register(subparsers: Subparsers) -> None:
    """Describe both commands."""
    parser = add_command(subparsers, "play", "publish a recording as ROS topics with /clock", _PLAY_EXAMPLES, _play)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder or file of a recording")
    _add_playback(parser)

    parser = add_command(subparsers, "up", "start the nodes of a launch file as processes", _UP_EXAMPLES, _up)
    parser.add_argument("what", choices=["teach_repeat", "closed_loop", "aerial"], help="which nodes: as launch/<WHAT>.launch.py")
    parser.add_argument("--mode", choices=["teach", "repeat", "localize"], default="repeat", help="default: repeat")
    parser.add_argument("--map", type=Path, required=True, help="map file, *.vloc; teach makes it")
    parser.add_argument("--data", dest="source", type=Path, help="recording to play (default: a live camera)")
    parser.add_argument("--out", type=Path, help="folder for the trajectory and the log of each frame")
    parser.add_argument(
        "--loop-closures",
        action=argparse.BooleanOptionalAction,
        help="teach_repeat: find and judge loop closures (default: when a route is taught)",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="teach_repeat: tune place recognition to the site meanwhile; finds loop closures too",
    )
    add_settings(parser)
    _add_playback(parser)
    _add_simulation(parser)


def _add_simulation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("closed_loop (the simulated robot; --rate and --lockstep count there too)")
    group.add_argument("--site", type=int, default=1, help="teach: number of the site (default: 1)")
    group.add_argument("--length", type=float, default=80.0, help="teach: length of its route [m], 30 to 2000 (default: 80)")
    group.add_argument("--scale", type=float, default=1.0, help="teach: resolution of the cameras, 1 being 512x384 (default: 1)")
    group.add_argument("--condition", default="noon", metavar="NAME", help="noon (default), dusk, night, fog, snow, ...")
    group.add_argument("--hour", type=float, help="another hour of the day, 0 to 24, in the same weather")
    group.add_argument("--seed", type=int, default=1, help="of slip, odometry errors and noise (default: 1)")
    group.add_argument("--laps", type=int, default=1, help="repeat: how often to drive a closed route (default: 1)")


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
    from vloc_ros.config import to_flat_dict
    from vloc_ros.ros.node_settings import CameraType, numbers_of_base_T_camera

    parameters: dict[str, Any] = to_flat_dict(settings)
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


def loop_closure_nodes(map_path: Path, *, sim_time: bool, calibrate: bool = False) -> list[NodeSpec]:
    """The nodes that find and judge loop closures beside the localization, and the one that learns from them."""
    from vloc_ros.processes import NodeSpec

    parameters = {"map": str(map_path), "use_sim_time": sim_time}
    names = ("place_recognition", "pose_graph", "calibration") if calibrate else ("place_recognition", "pose_graph")
    return [NodeSpec(name, name, parameters) for name in names]


def _play(args: argparse.Namespace) -> int:
    from vloc_ros.processes import NodeSpec, run_nodes

    return run_nodes([NodeSpec("player", "player", player_parameters(args))])


def _up(args: argparse.Namespace) -> int:
    ups = {"closed_loop": _up_closed_loop, "aerial": _up_aerial, "teach_repeat": _up_teach_repeat}
    return ups[args.what](args)


def _up_aerial(args: argparse.Namespace) -> int:
    """Run the node aerial; the settings are its parameters."""
    from vloc_ros.config import from_dict, load_yaml, parse_assignments, replace, to_flat_dict
    from vloc_ros.processes import NodeSpec, run_nodes
    from vloc_ros.ros.aerial_settings import AerialNodeSettings

    settings = AerialNodeSettings() if args.config is None else from_dict(AerialNodeSettings, load_yaml(args.config))
    settings = replace(settings, {**parse_assignments(args.set), "map": str(args.map)})
    if args.features is not None:
        settings = replace(settings, {"features": args.features})
    return run_nodes([NodeSpec("aerial", "aerial", to_flat_dict(settings))])


def _up_closed_loop(args: argparse.Namespace) -> int:
    """Run simulator, localization and path follower; judge a drive that was recorded.

    Raises:
        VlocError: the map or the record cannot be read, or a setting is wrong.
    """
    from vloc_ros.closed_loop import ClosedLoopSettings, judge, keyframe_truth, read_drive
    from vloc_ros.commands.closed_loop import chosen_site
    from vloc_ros.commands.drive import describe
    from vloc_ros.mapping import MapStore
    from vloc_ros.processes import print_line, run_nodes
    from vloc_ros.ros.closed_loop_nodes import ClosedLoopNodes

    simulation = {
        "condition": args.condition,
        "hour": -1.0 if args.hour is None else args.hour,
        "drive_seed": args.seed,
        "laps": args.laps,
        "lockstep": args.lockstep,
        "real_time_factor": args.rate,
    }
    settings, site = load_settings_as(ClosedLoopSettings, args), chosen_site(args.site, args.length)
    nodes = ClosedLoopNodes(args.mode, args.map, site, args.scale, args.out, settings, simulation)
    code = run_nodes(nodes.specs(), until="simulator")
    if code == 0 and args.mode == "repeat" and args.out is not None:
        with MapStore.open(args.map, read_only=True) as store:
            drive = judge(read_drive(args.out), store.keyframes(), keyframe_truth(store))
        print_line(describe(drive.summary, None))
    return code


def _up_teach_repeat(args: argparse.Namespace) -> int:
    from vloc_ros.data import open_recording
    from vloc_ros.processes import NodeSpec, run_nodes

    settings = load_settings(args)
    reader = None if args.source is None else open_recording(args.source, args.format)
    specs = [
        NodeSpec(
            "localization", "localization", localization_parameters(args.mode, args.map, args.out, settings, args.source, reader)
        )
    ]
    if args.calibrate or args.loop_closures or (args.loop_closures is None and args.mode == "teach"):
        specs += loop_closure_nodes(args.map, sim_time=reader is not None, calibrate=args.calibrate)
    if reader is None:
        return run_nodes(specs)
    specs.append(NodeSpec("player", "player", player_parameters(args)))
    return run_nodes(specs, until=None if args.loop else "player")
