"""``vloc loops``: the loop closures of a recording or a map, found, verified and labelled."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import (
    Subparsers,
    add_command,
    add_json,
    add_search,
    add_settings,
    add_source,
    emit,
    load_settings_as,
    number,
    open_source,
    progress,
    rows,
    with_search,
)
from vloc_ros.commands.fine import add_condition, with_condition
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.loop_closure.search import LoopRun
    from vloc_ros.loop_closure.settings import LoopClosureSettings
    from vloc_ros.mapping import Keyframe, MapStore
    from vloc_ros.retrieval.stages import Stages

_EXAMPLES = """
  vloc loops --map site.vloc --out loops                     the loops of a map; see loops/loops.html
  vloc loops second_drive/ --map site.vloc --out loops       a recording is taught into the map first, as a new session
  vloc loops --map site.vloc --apply                         also move the keyframes to their optimised poses
  vloc loops --map site.vloc --restore                       move them back to where they were taught
  vloc loops --map site.vloc --rerank ransac --set loops.rerank.min_inliers=30
  vloc loops --map site.vloc --descriptor vlad --set loops.verification.min_inliers=40"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "loops", "find, verify and label the loop closures of a map", _EXAMPLES, run)
    add_source(parser, optional=True)
    parser.add_argument("--map", type=Path, required=True, help="map file, *.vloc; made from SOURCE when it does not exist")
    parser.add_argument("--out", type=Path, help="folder for closures.csv, the optimised trajectory, the graph and the page")
    add_search(parser)
    add_condition(
        parser, "condition in which the newest session was taken, where the descriptor knows conditions: inferred without it"
    )
    parser.add_argument("--weights", type=Path, help="file of weights or vocabulary of the descriptor (default: the map's own)")
    parser.add_argument("--again", action="store_true", help="forget the closures that the map has, and find them anew")
    poses = parser.add_mutually_exclusive_group()
    poses.add_argument("--apply", action="store_true", help="move the keyframes of the map to their optimised poses")
    poses.add_argument("--restore", action="store_true", help="only move the keyframes back to where they were taught")
    add_settings(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Find the loops, and say what was found."""
    from vloc_ros.loop_closure.settings import LoopClosureSettings
    from vloc_ros.mapping import MapStore
    from vloc_ros.retrieval.stages import Stages

    settings = with_condition(with_search(load_settings_as(LoopClosureSettings, args), args, "loops"), args, "loops")
    if args.restore:
        with MapStore.open(args.map, exclusive=True) as store:
            restored = store.restore_taught_poses()
        emit(args, {"map": str(args.map), "restored": restored}, f"moved {restored} keyframes back to where they were taught")
        return 0
    stages = Stages.chosen(settings.loops)  # whatever is wrong with them is said before anything is taught
    if args.source is not None:
        _teach(args, settings)
    # Poses are moved only while nobody else teaches into the map or drives by it.
    with MapStore.open(args.map, exclusive=args.apply) as store:
        return _loops(args, settings, store, stages)


def _teach(args: argparse.Namespace, settings: LoopClosureSettings) -> None:
    from vloc_ros import runs
    from vloc_ros.mapping import MapStore

    reader = open_source(args)
    frames = runs.chosen_frames(reader, args.start, args.stop, args.step)
    store = MapStore.open(args.map) if args.map.exists() else runs.new_map(args.map, reader, settings)
    with store:
        for _ in progress(runs.teach(reader, store, settings, frames, str(args.source)), len(frames), "teach"):
            continue
    runs.save_keyframe_truth(reader, args.map)


def _loops(args: argparse.Namespace, settings: LoopClosureSettings, store: MapStore, stages: Stages) -> int:
    from vloc_ros.loop_closure import apply_judgement, store_judgement
    from vloc_ros.loop_closure.search import find_loops
    from vloc_ros.mapping.closures import forget_closures

    if args.again:
        forget_closures(store)

    def shown(keyframes: Sequence[Keyframe]) -> Iterator[Keyframe]:
        return progress(keyframes, len(keyframes), "loops")

    found = find_loops(store, settings, _weights(args.weights), shown, stages)
    store_judgement(store, found.judgement)
    moved = apply_judgement(store, found.judgement) if args.apply else 0
    if args.out is not None:
        _write(args, found, store)
    values = _values(args, found, moved)
    emit(args, values, _text(args, values))
    return 0


def _weights(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the weights {path} cannot be read: {error.strerror or error}") from error


def _write(args: argparse.Namespace, found: LoopRun, store: MapStore) -> None:
    from vloc_ros.loop_closure.output import write_loops
    from vloc_ros.loop_closure.page import write_page
    from vloc_ros.loop_closure.picture import graph_picture, write_picture

    write_loops(args.out, found, store.base_T_camera)
    picture = graph_picture(found)
    write_picture(args.out / "graph.png", picture)
    write_page(args.out / "loops.html", f"Loops of {args.map.name}", found, store, picture)


def _values(args: argparse.Namespace, found: LoopRun, moved: int) -> dict[str, Any]:
    from vloc_ros import runs
    from vloc_ros.loop_closure.accuracy import trajectory_errors

    return {
        "map": str(args.map),
        "descriptor": found.descriptor,
        "fine": found.stages.get("fine"),
        "fine_ms": found.fine_ms,
        "reranker": found.stages.get("reranker"),
        "rerank_ms": found.rerank_ms,
        "confidence": {way: summary.to_dict() for way, summary in found.judged_claims.summaries().items()},
        "keyframes": len(found.keyframes),
        "candidates": found.counts["candidates"],
        "rejected": found.rejected,
        "closures": len(found.judgement.closures),
        "labels": found.labels,
        "revision": found.judgement.revision,
        "solver_s": found.judgement.solution.seconds,
        "moved": moved,
        "ate_m": [error.to_dict() for error in trajectory_errors(found, runs.truth_file(args.map))],
    }


def _text(args: argparse.Namespace, values: dict[str, Any]) -> str:
    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) or "none"

    lines = [
        ("map", args.map),
        ("keyframes", f"{values['keyframes']}, described by {values['descriptor']}"),
        *_ordering(values),
        ("candidates", values["candidates"]),
        ("rejected pairs", listed(values["rejected"])),
        *_confidence(values["confidence"]),
        ("labels", f"{listed(values['labels'])} (revision {values['revision']})"),
        ("solver", number(values["solver_s"], "s", 2)),
    ]
    for error in values["ate_m"]:
        change = f"{error['odometry_m']:.3f} m by odometry alone, {error['optimised_m']:.3f} m optimised"
        lines.append((f"ATE of session {error['session']}", change))
    if args.apply:
        lines.append(("moved", f"{values['moved']} keyframes; vloc loops --restore moves them back"))
    if args.out is not None:
        lines.append(("written to", args.out))
    return rows(lines)


def _ordering(values: dict[str, Any]) -> list[tuple[str, Any]]:
    stages = (("ordered by", values["fine"], values["fine_ms"]), ("re-ranked by", values["reranker"], values["rerank_ms"]))
    return [(how, f"{name}, {number(took, 'ms', 1)} per keyframe (median)") for how, name, took in stages if name is not None]


def _confidence(ways: dict[str, Any]) -> list[tuple[str, Any]]:
    """How far the probabilities can be believed, where the model claims any."""
    claimed = ways["match probability"]
    if not claimed["count"]:
        return []
    errors = f"{claimed['ece']:.3f} by probability, {ways['similarity']['ece']:.3f} by similarity alone"
    return [("calibration error", f"{errors}; best matches of {claimed['count']} keyframes")]
