"""``vloc teach``: a recording becomes a map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vloc_ros.commands.common import (
    Subparsers,
    add_command,
    add_json,
    add_out,
    add_settings,
    add_source,
    emit,
    load_settings,
    number,
    open_source,
    progress,
    rows,
)

if TYPE_CHECKING:
    from vloc_ros.mapping import MapStore
    from vloc_ros.retrieval import RerankSettings

_EXAMPLES = """
  vloc teach drive/ --map site.vloc
  vloc teach kitti/sequences/00 --map site.vloc --stop 500 --features orb
  vloc teach second_route.mcap --map site.vloc --append"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "teach", "record a route into a map", _EXAMPLES, run)
    add_source(parser)
    parser.add_argument("--map", type=Path, required=True, help="map file to make, *.vloc")
    parser.add_argument("--append", action="store_true", help="add a session to a map that exists")
    add_out(parser)
    add_settings(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Teach, and say what was learned."""
    from vloc_ros import runs
    from vloc_ros.commands.record import recorded, write_reports
    from vloc_ros.mapping import MapStore, State

    settings, reader = load_settings(args), open_source(args)
    frames = runs.chosen_frames(reader, args.start, args.stop, args.step)
    store = MapStore.open(args.map) if args.append else runs.new_map(args.map, reader, settings)
    with store:
        results = runs.teach(reader, store, settings, frames, str(args.source))
        done = list(recorded(progress(results, len(frames), "teach"), args.out, settings, args.source))
        keyframes = [frame for frame in done if frame.keyframe is not None]
        poses = [frame.map_T_base for frame in keyframes if frame.map_T_base is not None]
        _describe(store, settings.localization.descriptor)
        _prepare(store, settings.localization.rerank)
    runs.save_keyframe_truth(reader, args.map)
    if args.out is not None:
        write_reports(args.out, f"Teach {args.source.name}", [runs.Judged("teach", args.out, reader, args.map)])
    interrupted = sum(frame.state is State.LOST for frame in done)
    length = runs.route_length(poses)
    values = {
        "map": str(args.map),
        "frames": len(done),
        "keyframes": len(keyframes),
        "route_length_m": length,
        "interrupted_frames": interrupted,
    }
    text = rows(
        [
            ("map", args.map),
            ("frames", len(done)),
            ("keyframes", len(keyframes)),
            ("route", number(length, "m", 1)),
            ("interrupted", f"{interrupted} frames"),
        ]
    )
    emit(args, values, text)
    return 0 if keyframes else 1


def _describe(store: MapStore, name: str) -> None:
    """Describe the keyframes by a network now: left to the localisation, it would take seconds at each of its starts."""
    from vloc_ros.retrieval.disam import Disam
    from vloc_ros.retrieval.network import NetworkDescriptor
    from vloc_ros.retrieval.of_map import MapDescriptor
    from vloc_ros.retrieval.redescribe import redescribe

    describer = MapDescriptor.of(store, name)
    if isinstance(describer.descriptor, NetworkDescriptor | Disam):
        redescribe(store, describer, progress=lambda ids: progress(ids, len(ids), "describe", "keyframe"))


def _prepare(store: MapStore, settings: RerankSettings) -> None:
    """Make what a re-ranker needs of the keyframes now: a localisation cannot store it."""
    from vloc_ros.retrieval.redescribe import prepare_patches
    from vloc_ros.retrieval.reranker_of_map import chosen_reranker

    reranker = chosen_reranker(settings)
    if reranker is not None:
        prepare_patches(store, reranker, lambda ids: progress(ids, len(ids), "patches", "keyframe"))
