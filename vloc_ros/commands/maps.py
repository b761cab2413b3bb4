"""``vloc map``: look at a map, check it, export it, thin it, describe its keyframes; build one of the ground."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vloc_ros.commands import aerial_map
from vloc_ros.commands.common import Subparsers, add_command, add_json, add_rerank, emit, progress, rows
from vloc_ros.commands.fine import add_condition, add_fine

if TYPE_CHECKING:
    from vloc_ros.mapping import KeyframeId
    from vloc_ros.retrieval.redescribe import Progress
    from vloc_ros.retrieval.stages import Stages

_EXAMPLES = """
  vloc map info site.vloc
  vloc map check site.vloc
  vloc map export site.vloc --to g2o --out site.g2o
  vloc map prune site.vloc --distance 2
  vloc map redescribe site.vloc --descriptor place     a map of an older release, whose auto is hog until then
  vloc map redescribe site.vloc --rerank homography    also what a re-ranker needs, so that a lost robot need not make it
  vloc map redescribe site.vloc --descriptor disam --fine disam_fine
  vloc map build-aerial ortho.tif --map area.vloc      of the ground, for vloc locate; info and check take it, too"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(
        subparsers, "map", "look at a map, check, export, thin or describe it; build one of the ground", _EXAMPLES, None
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="info|check|export|prune|redescribe|build-aerial")
    for name, summary, action in (
        ("info", "what the map holds", _info),
        ("check", "look for damage; exit code 1 when there is some", _check),
        ("export", "write its keyframes as a trajectory, a pose graph or images", _export),
        ("prune", "remove keyframes that lie closer than a distance", _prune),
        ("redescribe", "describe the keyframes that have no descriptor of a model yet; goes on after an interruption", _redescribe),
    ):
        sub = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        sub.add_argument("map", type=Path, metavar="MAP", help="map file, *.vloc")
        add_json(sub)
        sub.set_defaults(run=action)
        if name == "export":
            sub.add_argument("--to", required=True, choices=["tum", "kitti", "g2o", "images"], help="what to write")
            sub.add_argument("--out", type=Path, required=True, help="file, or folder of images, to make")
            sub.add_argument("--session", type=int, help="only this session (default: all)")
        if name == "prune":
            sub.add_argument("--distance", type=float, required=True, help="smallest distance between keyframes [m]")
            sub.add_argument("--angle", type=float, default=10.0, help="a larger turn is kept whatever its distance [deg]")
        if name == "redescribe":
            sub.add_argument(
                "--descriptor", default="auto", help="auto (default), place, hog, vlad, site, site-2, or a file of weights"
            )
            add_fine(sub, top=False)
            add_rerank(sub)
            add_condition(sub, "condition in which all keyframes that are described now were taken: inferred from each without it")
    summary = "build a map of the ground from a geo-referenced image"
    aerial_map.add_build(actions.add_parser("build-aerial", help=summary, description=aerial_map.DESCRIPTION))


def _info(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from vloc_ros.aerial.map_file import is_aerial

    if is_aerial(args.map):
        return aerial_map.info(args)
    from vloc_ros.mapping.inspection import inspect_map

    info = inspect_map(args.map)
    camera = info.camera
    values = {
        "map": str(info.path),
        "size_bytes": info.size_bytes,
        "schema": info.schema,
        "created": info.created,
        "features": info.feature_name,
        "camera": {name: getattr(camera, name) for name in camera.__slots__},
        "sessions": len(info.sessions),
        "keyframes": info.keyframes,
        "odometry_edges": info.odometry_edges,
        "spatial_edges": info.spatial_edges,
        "closures": info.closures,
        "training": asdict(info.training),
        "models": [card.name for card in info.models],
        "patches": [{"reranker": kept.name, "keyframes": kept.keyframes, "size_bytes": kept.size_bytes} for kept in info.patches],
        "versions": asdict(info.versions),
        "route_length_m": info.route_length_m,
        "bytes_per_keyframe": info.bytes_per_keyframe,
    }
    sessions = [
        (f"session {s.session.id}", f"{s.session.kind.value} of {s.session.source or '?'}, {s.session.started}, {s.length_m:.1f} m")
        for s in info.sessions
    ]
    parts = ", ".join(f"{name} {size / 1024:.1f}" for name, size in info.bytes_per_keyframe.items())
    text = rows(
        [
            ("map", f"{info.path} (schema {info.schema}, made {info.created})"),
            ("size", f"{info.size_bytes / 1e6:.2f} MB"),
            ("camera", f"{camera.width}x{camera.height}, f {camera.fx:.2f} px, baseline {camera.baseline:.4f} m"),
            ("features", f"{info.feature_name}, {info.features:.0f} per keyframe"),
            ("keyframes", f"{info.keyframes} over {info.route_length_m:.1f} m"),
            *sessions,
            ("loop closures", f"{info.spatial_edges} measured, {info.closures} judged"),
            ("training tuples", str(info.training)),
            ("described by", ", ".join(card.name for card in info.models) or "nothing yet"),
            ("models", str(info.versions)),
            ("patches", ", ".join(map(str, info.patches)) or "none"),
            ("kB per keyframe", parts),
        ]
    )
    emit(args, values, text)
    return 0


def _check(args: argparse.Namespace) -> int:
    from vloc_ros.aerial.map_file import is_aerial

    if is_aerial(args.map):
        return aerial_map.check(args)
    from vloc_ros.mapping import MapStore
    from vloc_ros.mapping.integrity import check_map
    from vloc_ros.mapping.model_state import model_state

    problems, unfinished = check_map(args.map), None
    text = "\n".join(str(problem) for problem in problems)
    if not problems:
        with MapStore.open(args.map, read_only=True) as store:
            unfinished = model_state(store).unfinished
        text = f"{args.map} is healthy" + ("" if unfinished is None else f"; {unfinished}")
    values = {"map": str(args.map), "healthy": not problems, "problems": [str(p) for p in problems], "unfinished": unfinished}
    emit(args, values, text)
    return 1 if problems else 0


def _export(args: argparse.Namespace) -> int:
    from vloc_ros.mapping.export import export_map

    result = export_map(args.map, args.out, args.to, args.session)
    values = {"out": str(result.path), "keyframes": result.keyframes, "edges": result.edges}
    emit(args, values, f"wrote {result.keyframes} keyframes to {result.path}")
    return 0


def _prune(args: argparse.Namespace) -> int:
    import math

    from vloc_ros.mapping.pruning import prune_map

    result = prune_map(args.map, args.distance, min_angle_rad=math.radians(args.angle))
    values = {"kept": result.kept, "removed": result.removed, "bytes_saved": result.bytes_saved}
    emit(args, values, f"kept {result.kept} keyframes, removed {result.removed}, saved {result.bytes_saved / 1e6:.2f} MB")
    return 0


def _redescribe(args: argparse.Namespace) -> int:
    from vloc_ros.mapping import MapStore
    from vloc_ros.retrieval.conditions import known_conditions, require_known
    from vloc_ros.retrieval.of_map import MapDescriptor
    from vloc_ros.retrieval.redescribe import prepare_stages, redescribe

    stages = _stages(args)

    def told(id: KeyframeId) -> str:
        return args.condition or ""

    with MapStore.open(args.map) as store:
        describer = MapDescriptor.of(store, args.descriptor)
        known, name = known_conditions(describer.descriptor.conditions, stages.conditions), describer.descriptor.card.name
        require_known(args.condition or "", known, [name, *stages.titles])
        left = redescribe(store, describer, progress=_shown("describe"), condition_of=told)
        without, count = prepare_stages(store, stages, _shown("prepare"), told), len(store.keyframes())
    values = {"map": str(args.map), "model": name, "keyframes": count, "left": left}
    text = f"{count - left} of {count} keyframes of {args.map} are described by {name}"
    for what, stage in stages.by_name.items():
        values |= {what: stage.title, f"without_{stage.keeps.replace(' ', '_')}": without[what]}
        text += f", {count - without[what]} prepared for {stage.title}"
    emit(args, values, text)
    return 0


def _stages(args: argparse.Namespace) -> Stages:
    """What --fine and --rerank name.

    Raises:
        ConfigError: a name is unknown, or what it needs is not installed or not shipped.
        WeightsError: a file of weights, or its card, is missing, damaged or of another network.
    """
    from vloc_ros.retrieval.coarse_to_fine import CoarseToFineSettings, fine_stage
    from vloc_ros.retrieval.rerank import RerankSettings
    from vloc_ros.retrieval.reranker_of_map import NONE, chosen_reranker
    from vloc_ros.retrieval.stages import Stages

    fine = CoarseToFineSettings(fine=args.fine or NONE)
    return Stages(fine_stage(fine), chosen_reranker(RerankSettings(reranker=args.rerank or NONE)))


def _shown(label: str) -> Progress:
    return lambda ids: progress(ids, len(ids), label, "keyframe")
