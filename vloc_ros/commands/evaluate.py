"""``vloc evaluate``: methods side by side on data with known truth."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, progress
from vloc_ros.commands.evaluate_features import register_features
from vloc_ros.commands.places import add_assets, add_extractor, add_places, assets_of, extractor_of, places_of
from vloc_ros.commands.reranking import add_rerank, stages_of
from vloc_ros.errors import ConfigError

_EXAMPLES = """
  vloc evaluate retrieval winter/ --database summer/ --layout aligned --tolerance 2
  vloc evaluate retrieval pitts30k/ --layout tree --descriptors thumbnail,hog,vlad --out pitts
  vloc evaluate retrieval kitti/sequences/00 --layout poses --radius 5 --sequence none,bayes --json
  vloc evaluate retrieval winter/ --database summer/ --layout aligned --map site.vloc --descriptors hog,site-1,site-2
  vloc evaluate retrieval pitts30k/ --layout tree --descriptors place --rerank ransac,homography --set rerank.min_inliers=30"""


def register(subparsers: Subparsers) -> None:
    """Describe the command; what can be evaluated are commands below it."""
    parser = add_command(subparsers, "evaluate", "compare methods on data with known truth", _EXAMPLES, None)
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="retrieval|features")
    _register_retrieval(subjects)
    register_features(subjects)


def _register_retrieval(subjects: Subparsers) -> None:
    parser = add_command(subjects, "retrieval", "place recognition: recall, precision, time and size", _EXAMPLES, _retrieval)
    add_places(parser)
    parser.add_argument(
        "--descriptors", default="thumbnail,hog,vlad", help="names separated by commas, the baseline first (default: %(default)s)"
    )
    parser.add_argument("--map", type=Path, help="map whose own models describe, for the descriptors site and site-2")
    parser.add_argument(
        "--sequence", default="none", help="none, trajectory, bayes, or several of them separated by commas (default: none)"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="images of the database per query, for sequences (default: 1)")
    add_rerank(parser, several=True)
    add_extractor(parser)
    add_assets(parser)
    parser.add_argument("--out", type=Path, help="folder for the report and its JSON, with --rerank a CSV too")
    add_json(parser)


def _retrieval(args: argparse.Namespace) -> int:
    from vloc_ros.evaluation import rerank_table
    from vloc_ros.evaluation.rerank_run import evaluate_reranking
    from vloc_ros.evaluation.retrieval_report import write_retrieval_report
    from vloc_ros.evaluation.retrieval_table import text_table

    names, methods, stages = args.descriptors.split(","), _methods(args.sequence), stages_of(args)
    data, extractor, assets = places_of(args), extractor_of(args), assets_of(args)
    evaluated = [
        result
        for name in names
        for result in evaluate_reranking(
            [data], name, extractor, stages, assets.get(name), methods, args.speed, _with_bar, args.map
        )
    ]
    results = [before for before, _ in evaluated]
    text = f"{data.name}\n\n{text_table(results)}"
    values: dict[str, Any] = {"dataset": data.name, "results": [result.to_dict() for result in results]}
    if stages:
        text += f"\n\n{rerank_table.text_table(evaluated)}"
        values["reranked"] = [result.to_dict() for _, after in evaluated for result in after]
    if args.out is not None:
        report = args.out / "report.html"
        write_retrieval_report(report, f"Retrieval, {data.name}", [data], results, evaluated if stages else ())
        values["report"] = str(report)
        text += f"\nreport  {report}"
    emit(args, values, text)
    return 0


def _methods(text: str) -> list[Any]:
    from vloc_ros.evaluation.retrieval_run import SequenceMethod

    known = [method.value for method in SequenceMethod]
    for name in text.split(","):
        if name not in known:
            raise ConfigError(f"--sequence '{name}' is unknown; known: {', '.join(known)}")
    return [SequenceMethod(name) for name in text.split(",")]


def _with_bar(pictures: Sequence[Any], label: str) -> Iterable[Any]:
    return progress(pictures, len(pictures), label)
