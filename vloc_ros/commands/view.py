"""``vloc view``: a map, and a run in it, in the viewer Rerun."""

from __future__ import annotations

import argparse
from pathlib import Path

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, progress, rows

_EXAMPLES = """
  vloc view site.vloc
  vloc view site.vloc dusk_run
  vloc view site.vloc dusk_run --out dusk.rrd      (later: rerun dusk.rrd)

It needs rerun-sdk: pip install --no-deps -r requirements/view.txt"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "view", "look at a map and a run in 3D, with its images", _EXAMPLES, run)
    parser.add_argument("map", type=Path, metavar="MAP", help="map file, *.vloc")
    parser.add_argument("run_folder", type=Path, nargs="?", metavar="RUN", help="folder that vloc repeat --out has written")
    parser.add_argument("--out", type=Path, help="write a recording, *.rrd, and open no window")
    parser.add_argument("--no-images", action="store_true", help="without the images of the keyframes")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Show it."""
    from vloc_ros.mapping import MapStore
    from vloc_ros.views import require_rerun, scene_of, write_recording

    require_rerun()
    with MapStore.open(args.map, read_only=True) as store:
        scene = scene_of(store, args.run_folder)
        image_of = None if args.no_images else store.image
        images = write_recording(scene, image_of, args.out, lambda items, total: progress(items, total, "view", "pose"))
    frames = None if scene.run is None else len(scene.run.frames)
    keyframes = sum(len(route.keyframes) for route in scene.routes)
    values = {"out": None if args.out is None else str(args.out), "keyframes": keyframes, "frames": frames, "images": images}
    shown = "the window of Rerun" if args.out is None else str(args.out)
    emit(args, values, rows([("shown in", shown), ("keyframes", keyframes), ("frames", frames or 0), ("images", images)]))
    return 0
