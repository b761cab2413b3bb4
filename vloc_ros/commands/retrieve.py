"""``vloc retrieve``: which images of a database look like those of a query folder."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, progress, rows
from vloc_ros.commands.fine import add_condition, add_fine, fine_stages
from vloc_ros.commands.places import add_assets, add_extractor, assets_of, extractor_of
from vloc_ros.commands.reranking import add_rerank, stages_of
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.evaluation.rerank_run import RerankStage

_EXAMPLES = """
  vloc retrieve queries/ --database site/ --out found
  vloc retrieve queries/ --database site/ --descriptor vlad --features orb --top 10 --out found
  vloc retrieve queries/ --database site/ --map site.vloc --descriptor site --out found
  vloc retrieve queries/ --database site/ --descriptor place --rerank ransac --set rerank.min_inliers=30 --out found
  vloc retrieve night/ --database noon/ --descriptor disam --fine disam_fine --out found"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "retrieve", "find the images of a database that look like some queries", _EXAMPLES, run)
    parser.add_argument("queries", type=Path, metavar="QUERIES", help="folder of images to find the places of")
    parser.add_argument("--database", type=Path, required=True, help="folder of images of known places")
    parser.add_argument("--descriptor", default="hog", help="hog (default), thumbnail, vlad, ..., or site, site-2 of a map")
    parser.add_argument("--map", type=Path, help="map whose own model describes, for --descriptor site")
    parser.add_argument("--top", type=int, default=5, help="how many images for each query (default: 5)")
    parser.add_argument("--out", type=Path, required=True, help="folder for retrieved.csv and report.html, the page of pairs")
    add_fine(parser)
    add_rerank(parser, several=False)
    add_condition(parser, "condition in which the queries were taken, where a descriptor knows conditions: inferred without it")
    add_extractor(parser)
    add_assets(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Describe both folders, search, and write a table and a page of pairs."""
    from vloc_ros.data.vpr_folder import pictures_of
    from vloc_ros.evaluation.retrieved import retrieve, write_retrieved
    from vloc_ros.evaluation.retrieved_reranked import accepted_queries, rerank_found, write_reranked

    if args.top < 1:
        raise ConfigError(f"--top {args.top} asks for nothing; give 1 or more")
    stage = _stage(args)
    _require_condition(args, stage)
    queries = [replace(picture, condition=args.condition or "") for picture in pictures_of(args.queries)]
    database = pictures_of(args.database)
    assets = assets_of(args).get(args.descriptor)
    depth = max(args.top, 0 if stage is None else stage.depth)
    found, painter = retrieve(queries, database, args.descriptor, extractor_of(args), assets, depth, _with_bar, args.map)
    values: dict[str, Any] = {"queries": len(queries), "database": len(database), "answered": sum(len(one) > 0 for one in found)}
    if stage is not None:
        answers = rerank_found(queries, database, found, stage, _with_bar)
        write_reranked(args.out, queries, database, found, answers, stage, args.top)
        values["accepted"] = accepted_queries(answers)
    else:
        write_retrieved(args.out, queries, database, found, painter)
    values |= {"csv": str(args.out / "retrieved.csv"), "report": str(args.out / "report.html")}
    emit(args, values, rows(list(values.items())))
    return 0


def _stage(args: argparse.Namespace) -> RerankStage | None:
    """What --fine and --rerank make of the answers, one after the other; None without either.

    Raises:
        ConfigError: one of them names several or what is unknown, or a value is out of range.
        WeightsError: a file of weights is missing or damaged.
    """
    from vloc_ros.evaluation.rerank_run import RerankStage, stage_of
    from vloc_ros.retrieval.coarse_to_fine import fine_stage

    fine, geometric = fine_stages(args), stages_of(args)
    for option, name, found in (("--fine", args.fine, fine), ("--rerank", args.rerank, geometric)):
        if len(found) > 1:
            raise ConfigError(f"{option} {name} names several; give one here, vloc evaluate retrieval compares them")
    stage = None
    for settings in fine:
        reranker = fine_stage(settings)
        stage = None if reranker is None else RerankStage(reranker, settings.ranking)
    return stage if not geometric else stage_of(geometric[0].settings, stage)


def _require_condition(args: argparse.Namespace, stage: RerankStage | None) -> None:
    """Make sure that the descriptor, or a stage after it, knows the condition of the queries.

    Raises:
        ConfigError: none does.
    """
    if args.condition is None:
        return
    from vloc_ros.retrieval import create_descriptor
    from vloc_ros.retrieval.conditions import known_conditions, require_known
    from vloc_ros.retrieval.of_map import depends_on_map

    stages = [] if stage is None else [one.reranker for one in (stage.after, stage) if one is not None]
    own = () if depends_on_map(args.descriptor) else create_descriptor(args.descriptor).conditions
    known = known_conditions(own, *(one.conditions for one in stages))
    require_known(args.condition, known, [args.descriptor, *(one.title for one in stages)])


def _with_bar(pictures: Sequence[Any], label: str) -> Iterable[Any]:
    return progress(pictures, len(pictures), label)
