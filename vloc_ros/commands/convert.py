"""``vloc convert`` and ``vloc simulate``: write a recording, from another one or from the simulated world."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vloc_ros.commands.common import Subparsers, add_command, add_json, add_source, emit, open_source

if TYPE_CHECKING:
    from vloc_ros.data import DatasetReader

_FORMATS = ["kitti", "utias", "euroc", "tum", "images", "mcap"]
_CONVERT_EXAMPLES = """
  vloc convert kitti/sequences/00 --to mcap --out kitti_00_bag
  vloc convert drive.mcap --to images --out drive_images --step 2"""
_SIMULATE_EXAMPLES = """
  vloc simulate --out noon --length 60
  vloc simulate --out dusk --length 60 --condition late_afternoon --wander 0.3 --offset 2
  vloc simulate --out bag --format mcap --seed 3"""


def register(subparsers: Subparsers) -> None:
    """Describe both commands."""
    parser = add_command(
        subparsers, "convert", "write a recording in another format, for example as a ROS 2 bag", _CONVERT_EXAMPLES, _convert
    )
    add_source(parser)
    parser.set_defaults(rectification="off")
    parser.add_argument("--to", required=True, choices=_FORMATS, help="format to write")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    add_json(parser)

    parser = add_command(
        subparsers, "simulate", "render a stereo drive through a simulated world, with exact truth", _SIMULATE_EXAMPLES, _simulate
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--format", choices=_FORMATS, default="images", help="format to write (default: images)")
    parser.add_argument("--seed", type=int, default=7, help="which world (default: 7)")
    parser.add_argument("--length", type=float, default=60.0, help="length of the route [m] (default: 60)")
    parser.add_argument("--condition", default="noon", help="light and weather: noon (default), dusk, night, fog, rain, snow, ...")
    parser.add_argument("--step", type=float, default=0.5, help="distance between frames [m] (default: 0.5)")
    parser.add_argument("--offset", type=float, default=0.0, help="where on the route to start [m] (default: 0)")
    parser.add_argument("--distance", type=float, help="how far to drive [m] (default: once around)")
    parser.add_argument("--wander", type=float, default=0.0, help="largest deviation from the route [m] (default: 0)")
    parser.add_argument("--drive-seed", type=int, default=0, help="of the deviation and of the sensor noise (default: 0)")
    add_json(parser)


def _convert(args: argparse.Namespace) -> int:
    reader = open_source(args)
    return _write(args, reader, args.to, args.start, args.stop, args.step)


def _simulate(args: argparse.Namespace) -> int:
    from vloc_ros.simulation import SimulatedRun, World

    world = World.generate(args.seed, args.length)
    reader = SimulatedRun(
        world,
        condition=args.condition,
        step_m=args.step,
        start_m=args.offset,
        stop_m=None if args.distance is None else args.offset + args.distance,
        lateral_wander_m=args.wander,
        seed=args.drive_seed,
    )
    return _write(args, reader, args.format, 0, None, 1)


def _write(args: argparse.Namespace, reader: DatasetReader, format: str, start: int, stop: int | None, step: int) -> int:
    from vloc_ros.data import write_recording

    with progress_bar("write") as advance:
        path = write_recording(reader, args.out, format, start, stop, step, advance)
    emit(args, {"out": str(path), "format": format}, f"wrote {path} as {format}")
    return 0


class progress_bar:  # noqa: N801 - used like a function
    """Context manager that gives a callback ``(done, total)`` which draws a bar on stderr."""

    def __init__(self, label: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=label, unit="frame", file=sys.stderr, disable=None)

    def __enter__(self) -> Callable[[int, int], None]:
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _advance(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)
