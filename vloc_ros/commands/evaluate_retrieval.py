"""``vloc evaluate retrieval``: descriptors, and what re-ranks their answers, side by side on data with known truth."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, progress
from vloc_ros.commands.fine import add_fine, fine_stages
from vloc_ros.commands.places import add_assets, add_extractor, add_places, all_places_of, assets_of, extractor_of
from vloc_ros.commands.reranking import add_rerank, stages_of
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.data.places import PlaceDataset
    from vloc_ros.evaluation.condition_metrics import ByCondition, Result
    from vloc_ros.evaluation.rerank_run import RerankStage
    from vloc_ros.evaluation.retrieval_run import RetrievalResult

EXAMPLES = """
  vloc evaluate retrieval winter/ --database summer/ --layout aligned --tolerance 2
  vloc evaluate retrieval pitts30k/ --layout tree --descriptors thumbnail,hog,vlad --out pitts
  vloc evaluate retrieval kitti/sequences/00 --layout poses --radius 5 --sequence none,bayes --json
  vloc evaluate retrieval winter/ --database summer/ --layout aligned --map site.vloc --descriptors hog,site-1,site-2
  vloc evaluate retrieval pitts30k/ --layout tree --descriptors place --rerank ransac,homography --set rerank.min_inliers=30
  vloc evaluate retrieval park/ urban/ --layout seasons --descriptors vlad,disam,disam_fine --fine disam_fine --fine-top 3 --out cmu
  vloc evaluate retrieval park/ --layout seasons --group "Foliage=*+ foliage" --group "Mixed=*mixed foliage" --thresholds 0.5:5,5:10
  vloc evaluate retrieval robotcar/ --layout seasons --descriptors disam --fine disam_fine --submission robotcar.txt"""


def register_retrieval(subjects: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subjects, "retrieval", "place recognition: recall, poses, precision, time and size", EXAMPLES, _run)
    add_places(parser, several=True)
    parser.add_argument(
        "--descriptors", default="thumbnail,hog,vlad", help="names separated by commas, the baseline first (default: %(default)s)"
    )
    parser.add_argument("--map", type=Path, help="map whose own models describe, for the descriptors site and site-2")
    parser.add_argument(
        "--sequence", default="none", help="none, trajectory, bayes, or several of them separated by commas (default: none)"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="images of the database per query, for sequences (default: 1)")
    add_fine(parser, several=True)
    add_rerank(parser, several=True)
    parser.add_argument(
        "--condition",
        choices=("inferred", "given"),
        default="inferred",
        help="whether descriptors that know conditions find those of images out (default), or are told them by the data set",
    )
    parser.add_argument(
        "--thresholds",
        default="0.25:2,0.5:5,5:10",
        metavar="M:DEG,...",
        help="where there are poses: share of queries that are given one so near to their own [m:deg] (default: %(default)s)",
    )
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME=CONDITION,...",
        help='one more column in the tables by condition, for several of them, in which * stands for anything: "Night=night*"',
    )
    parser.add_argument("--max-queries", type=int, metavar="N", help="at most so many queries of each data set, evenly chosen")
    add_extractor(parser)
    add_assets(parser)
    parser.add_argument("--out", type=Path, help="folder for the report and its JSON, with --rerank and conditions CSV files, too")
    parser.add_argument(
        "--submission",
        type=Path,
        metavar="FILE",
        help="write the poses that queries are given as visuallocalization.net takes them (image qw qx qy qz tx ty tz, camera from "
        "world); of several methods, a file for each",
    )
    add_json(parser)


def _run(args: argparse.Namespace) -> int:
    from vloc_ros.evaluation import rerank_table
    from vloc_ros.evaluation.conditions import Conditions
    from vloc_ros.evaluation.rerank_run import evaluate_reranking
    from vloc_ros.evaluation.retrieval_report import write_retrieval_report
    from vloc_ros.evaluation.retrieval_table import text_table
    from vloc_ros.evaluation.submission import write_submissions

    names, methods, stages = args.descriptors.split(","), _methods(args.sequence), _stages(args)
    datasets, extractor, assets = _datasets(args), extractor_of(args), assets_of(args)
    judging = _judging(args, datasets)
    evaluated = [
        result
        for name in names
        for result in evaluate_reranking(
            *(datasets, name, extractor, stages, assets.get(name), methods, args.speed, _with_bar, args.map),
            conditions=Conditions(args.condition),
        )
    ]
    results = [before for before, _ in evaluated]
    all_results: list[Result] = []
    for before, after in evaluated:
        all_results += [before, *after]
    by = judging(all_results)
    title = _title(datasets)
    text = f"{title}\n\n{text_table(results)}"
    values: dict[str, Any] = {"dataset": title, "results": [result.to_dict() for result in results]}
    if stages:
        text += f"\n\n{rerank_table.text_table(evaluated)}"
        values["reranked"] = [result.to_dict() for _, after in evaluated for result in after]
    text += _by_condition(by, results, values)
    if args.out is not None:
        report = args.out / "report.html"
        write_retrieval_report(report, f"Retrieval, {title}", datasets, results, evaluated if stages else (), by)
        values["report"] = str(report)
        text += f"\nreport  {report}"
    if args.submission is not None:
        files = write_submissions(args.submission, all_results, datasets)
        values["submissions"] = {name: str(file) for name, file in files.items()}
        text += "".join(f"\nsubmission  {file}" for file in files.values())
    emit(args, values, text)
    return 0


def _stages(args: argparse.Namespace) -> list[RerankStage]:
    """Each fine stage, each re-ranker, and each re-ranker after each fine stage, as a map with both has it."""
    from vloc_ros.evaluation.rerank_run import RerankStage, stage_of
    from vloc_ros.retrieval.coarse_to_fine import fine_stage

    asked = [(settings, fine_stage(settings)) for settings in fine_stages(args)]
    fine = [RerankStage(reranker, settings.ranking) for settings, reranker in asked if reranker is not None]
    geometric = stages_of(args)
    return [*fine, *geometric, *(stage_of(later.settings, first) for first in fine for later in geometric)]


def _datasets(args: argparse.Namespace) -> list[PlaceDataset]:
    from vloc_ros.data.places import thinned

    most = args.max_queries
    if most is not None and most < 1:
        raise ConfigError(f"--max-queries {most} leaves no query; give 1 or more")
    found = all_places_of(args)
    return found if most is None else [thinned(data, most) for data in found]


def _judging(args: argparse.Namespace, datasets: Sequence[PlaceDataset]) -> Callable[[Sequence[Result]], ByCondition | None]:
    """What makes the numbers by condition; what is wrong with its options is said before anything is computed."""
    from vloc_ros.evaluation.condition_metrics import by_condition, groups_of
    from vloc_ros.evaluation.pose_thresholds import thresholds_of

    if args.submission is not None and any(data.poses is None for data in datasets):
        raise ConfigError("--submission needs poses of the database: give data with --layout seasons or poses")
    thresholds = thresholds_of(args.thresholds)
    groups = groups_of(datasets, dict(_group(text) for text in args.group))
    if len(groups) == 1 and all(data.poses is None for data in datasets):
        return lambda results: None
    return lambda results: by_condition(datasets, results, groups, thresholds)


def _by_condition(by: ByCondition | None, results: Sequence[RetrievalResult], values: dict[str, Any]) -> str:
    """The tables as text; their numbers are added to those for JSON."""
    from vloc_ros.evaluation import condition_table

    found = [] if by is None else list(condition_table.tables(by))
    if by is not None:
        values["by_condition"] = by.to_dict()
    found += condition_table.inferred_tables({one.name: one.inferred for one in results if one.inferred is not None})
    return f"\n\n{condition_table.text_tables(found)}" if found else ""


def _group(text: str) -> tuple[str, list[str]]:
    name, separator, conditions = text.partition("=")
    if not separator or not name or not conditions:
        raise ConfigError(f'--group {text} is not of the form NAME=CONDITION,...: "Night=night,night rain"')
    return name, conditions.split(",")


def _title(datasets: Sequence[PlaceDataset]) -> str:
    """A name for people, also of many data sets."""
    areas = list(dict.fromkeys(data.area or data.name for data in datasets))
    return datasets[0].name if len(datasets) == 1 else ", ".join(areas[:5]) + (", ..." if len(areas) > 5 else "")


def _methods(text: str) -> list[Any]:
    from vloc_ros.evaluation.retrieval_run import SequenceMethod

    known = [method.value for method in SequenceMethod]
    for name in text.split(","):
        if name not in known:
            raise ConfigError(f"--sequence '{name}' is unknown; known: {', '.join(known)}")
    return [SequenceMethod(name) for name in text.split(",")]


def _with_bar(pictures: Sequence[Any], label: str) -> Iterable[Any]:
    return progress(pictures, len(pictures), label)
