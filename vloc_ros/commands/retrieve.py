"""``vloc retrieve``: which images of a database look like those of a query folder."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, progress, rows
from vloc_ros.commands.places import add_assets, add_extractor, assets_of, extractor_of
from vloc_ros.commands.reranking import add_rerank, stages_of
from vloc_ros.errors import ConfigError

_EXAMPLES = """
  vloc retrieve queries/ --database site/ --out found
  vloc retrieve queries/ --database site/ --descriptor vlad --features orb --top 10 --out found
  vloc retrieve queries/ --database site/ --map site.vloc --descriptor site --out found
  vloc retrieve queries/ --database site/ --descriptor place --rerank ransac --set rerank.min_inliers=30 --out found"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "retrieve", "find the images of a database that look like some queries", _EXAMPLES, run)
    parser.add_argument("queries", type=Path, metavar="QUERIES", help="folder of images to find the places of")
    parser.add_argument("--database", type=Path, required=True, help="folder of images of known places")
    parser.add_argument("--descriptor", default="hog", help="hog (default), thumbnail, vlad, ..., or site, site-2 of a map")
    parser.add_argument("--map", type=Path, help="map whose own model describes, for --descriptor site")
    parser.add_argument("--top", type=int, default=5, help="how many images for each query (default: 5)")
    parser.add_argument("--out", type=Path, required=True, help="folder for retrieved.csv and report.html, the page of pairs")
    add_rerank(parser, several=False)
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
    stages = stages_of(args)
    if len(stages) > 1:
        raise ConfigError(f"--rerank {args.rerank} names several; give one here, vloc evaluate retrieval compares them")
    queries, database = pictures_of(args.queries), pictures_of(args.database)
    assets = assets_of(args).get(args.descriptor)
    depth = max([args.top, *(stage.settings.candidates for stage in stages)])
    found, painter = retrieve(queries, database, args.descriptor, extractor_of(args), assets, depth, _with_bar, args.map)
    values: dict[str, Any] = {"queries": len(queries), "database": len(database), "answered": sum(len(one) > 0 for one in found)}
    if stages:
        answers = rerank_found(queries, database, found, stages[0], _with_bar)
        write_reranked(args.out, queries, database, found, answers, stages[0], args.top)
        values["accepted"] = accepted_queries(answers)
    else:
        write_retrieved(args.out, queries, database, found, painter)
    values |= {"csv": str(args.out / "retrieved.csv"), "report": str(args.out / "report.html")}
    emit(args, values, rows(list(values.items())))
    return 0


def _with_bar(pictures: Sequence[Any], label: str) -> Iterable[Any]:
    return progress(pictures, len(pictures), label)
