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
    add_search,
    add_settings,
    add_source,
    emit,
    load_settings,
    number,
    open_source,
    progress,
    rows,
    with_search,
)
from vloc_ros.commands.fine import add_condition, with_condition

if TYPE_CHECKING:
    from vloc_ros.localization.parameters import LocalizationSettings
    from vloc_ros.mapping import MapStore
    from vloc_ros.retrieval.stages import Stages

_EXAMPLES = """
  vloc teach drive/ --map site.vloc
  vloc teach kitti/sequences/00 --map site.vloc --stop 500 --features orb
  vloc teach second_route.mcap --map site.vloc --append
  vloc teach noon/ --map site.vloc --descriptor disam --fine disam_fine --condition noon     for vloc repeat with the same"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "teach", "record a route into a map", _EXAMPLES, run)
    add_source(parser)
    parser.add_argument("--map", type=Path, required=True, help="map file to make, *.vloc")
    parser.add_argument("--append", action="store_true", help="add a session to a map that exists")
    add_out(parser)
    add_search(parser)
    add_condition(parser)
    add_settings(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Teach, and say what was learned."""
    from vloc_ros import runs
    from vloc_ros.commands.record import recorded, write_reports
    from vloc_ros.mapping import MapStore, State
    from vloc_ros.retrieval.stages import Stages

    settings = with_condition(with_search(load_settings(args), args, "localization"), args, "localization")
    stages, reader = Stages.chosen(settings.localization), open_source(args)
    frames = runs.chosen_frames(reader, args.start, args.stop, args.step)
    if not args.append:
        _require_condition(None, settings.localization, stages)
    store = MapStore.open(args.map) if args.append else runs.new_map(args.map, reader, settings)
    with store:
        _require_condition(store, settings.localization, stages)
        results = runs.teach(reader, store, settings, frames, str(args.source))
        done = list(recorded(progress(results, len(frames), "teach"), args.out, settings, args.source))
        keyframes = [frame for frame in done if frame.keyframe is not None]
        poses = [frame.map_T_base for frame in keyframes if frame.map_T_base is not None]
        _describe(store, settings.localization, stages)
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


def _require_condition(store: MapStore | None, settings: LocalizationSettings, stages: Stages) -> None:
    """Make sure that somebody knows the condition that was given; without a map, of what a new one is described by.

    Raises:
        ConfigError: nobody does.
    """
    from vloc_ros.retrieval.conditions import known_conditions, require_known
    from vloc_ros.retrieval.contract import takes_assets
    from vloc_ros.retrieval.of_map import MapDescriptor, depends_on_map

    name = settings.descriptor
    if not settings.condition or (store is None and not depends_on_map(name)):
        return
    known: tuple[str, ...] = ()
    if store is not None and not takes_assets(name):
        describer = MapDescriptor.of(store, name).descriptor
        known, name = describer.conditions, describer.card.name
    require_known(settings.condition, known_conditions(known, stages.conditions), [name, *stages.titles])


def _describe(store: MapStore, settings: LocalizationSettings, stages: Stages) -> None:
    """Describe the keyframes by a network, and make what the stages after a search need of them, now.

    Left to the localisation, the first would take seconds at each of its starts, and it could not store the second.
    """
    from vloc_ros.retrieval.conditions import of_session
    from vloc_ros.retrieval.contract import Needs
    from vloc_ros.retrieval.of_map import MapDescriptor
    from vloc_ros.retrieval.redescribe import prepare_stages, redescribe

    describer = MapDescriptor.of(store, settings.descriptor)
    sessions = store.sessions()
    # What was taught before has seen other light.
    condition_of = of_session(sessions[-1].id if sessions else 0, settings.condition)
    if describer.descriptor.needs is Needs.IMAGE and describer.descriptor.card.sha256:
        redescribe(
            store, describer, progress=lambda ids: progress(ids, len(ids), "describe", "keyframe"), condition_of=condition_of
        )
    prepare_stages(store, stages, lambda ids: progress(ids, len(ids), "prepare", "keyframe"), condition_of)
