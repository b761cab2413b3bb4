#!/usr/bin/env python3
"""Recall@1 of descriptors alone and with each re-ranker, on held-out places, in one run.

    python benchmarks/rerank_recall.py --held-out simulated:sim_held_out --descriptors place,hog --rerank ransac
    python benchmarks/rerank_recall.py --held-out simulated:sim_held_out --held-out static:webcams --set 'static.held_out=tilde_*' \
        --descriptors cct --rerank homography,patches,ransac
    python benchmarks/rerank_recall.py --vpr 'winter/ --database summer/ --layout aligned' --descriptors place --rerank ransac

The questions of --held-out are those of `vloc train places` and benchmarks/place_recall.py: each image of one condition is looked
for among those of another; what is from the very same pose or shows a place near its own is left out. --vpr takes what
`vloc evaluate retrieval` takes. Sites of look-alike houses are a row of their own. `patches` is RANSAC on the patches that
`homography` compares (`patches:FILE` on those of FILE), `ransac` is RANSAC on SIFT. Times are per question: to prepare the query
and to compare it (median).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from vloc_ros.commands.places import add_places, places_of
from vloc_ros.config import from_dict, parse_assignments, replace
from vloc_ros.data.frame import Image
from vloc_ros.errors import VlocError
from vloc_ros.evaluation.rerank_run import RerankResult, RerankStage, evaluate_reranking, stage_of
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import Describer, RerankSettings, describer_for
from vloc_ros.training.place_registry import PLACE_SOURCES, default_settings, open_places
from vloc_ros.training.place_reranking import RerankedQuestion, rerank_places
from vloc_ros.training.place_validation import PlaceValidation
from vloc_ros.training.registry import DataSpec

LOOKALIKE = "lookalike"
Row = dict[str, Any]


def main() -> int:
    """Print a table for each descriptor."""
    args = _arguments().parse_args()
    stages, found = _stages(args), {}
    for name in args.descriptors.split(","):
        found[name] = [*_on_places(args, name, stages), *(_on_dataset(args, text, name, stages) for text in args.vpr)]
        if not args.json:
            sys.stdout.write(_text(name, found[name], [stage.name for stage in stages]) + "\n\n")
            sys.stdout.flush()
    if args.json:
        sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", action="append", default=[], metavar="KIND:PATH", help="as in `vloc train places`")
    parser.add_argument("--vpr", action="append", default=[], metavar="ARGUMENTS", help="as of `vloc evaluate retrieval`, quoted")
    parser.add_argument("--descriptors", default="place,hog", help="default: %(default)s")
    parser.add_argument("--rerank", default="ransac", help="re-rankers: names or files of weights (default: %(default)s)")
    parser.add_argument("--rerank-top", type=int, default=32, help="candidates that are compared (default: 32)")
    parser.add_argument("--questions", type=int, help="look for so many images of each source at most, evenly chosen")
    parser.add_argument("--features", default="sift_fast", help="local features of vlad (default: sift_fast)")
    parser.add_argument("--max-features", type=int, default=600)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as `vloc train places`, and rerank.*")
    parser.add_argument("--json", action="store_true")
    return parser


def _stages(args: argparse.Namespace) -> list[RerankStage]:
    values = {key[len("rerank.") :]: value for key, value in parse_assignments(args.set).items() if key.startswith("rerank.")}
    chosen = [
        from_dict(RerankSettings, {"candidates": args.rerank_top, **values, "reranker": name}) for name in args.rerank.split(",")
    ]
    return [stage_of(settings) for settings in chosen]


def _on_places(args: argparse.Namespace, name: str, stages: Sequence[RerankStage]) -> list[Row]:
    """Rows of each kind of source, of look-alike sites and of the others, of each site, and of each pair of conditions."""
    if not args.held_out:
        return []
    values = {key: value for key, value in parse_assignments(args.set).items() if not key.startswith("rerank.")}
    settings = replace(default_settings(), values)
    sources = [open_places(DataSpec.parse(text, PLACE_SOURCES), settings, held_out=True) for text in args.held_out]
    validation = PlaceValidation(sources, settings.validation)
    extractor = create_extractor(args.features, args.max_features)
    describer = describer_for(name, extractor, None, validation.database())

    def describe(pictures: Sequence[Image], describer: Describer = describer) -> NDArray[np.float32]:
        return describer.descriptor.describe_many([describer.view(picture) for picture in pictures])

    answers = rerank_places(validation, describe, stages, args.questions)
    groups: dict[str, Callable[[RerankedQuestion], bool]] = {}
    for kind in dict.fromkeys(_kind(one) for one in answers):
        groups[f"{kind}, all"] = lambda one, kind=kind: _kind(one) == kind  # type: ignore[misc]
    if any(LOOKALIKE in one.site for one in answers):
        with_them = {_kind(one) for one in answers if LOOKALIKE in one.site}
        groups["look-alike sites"] = lambda one: LOOKALIKE in one.site
        groups["other sites"] = lambda one: _kind(one) in with_them and LOOKALIKE not in one.site
    for site in sorted({one.site for one in answers}):
        groups[site] = lambda one, site=site: one.site == site  # type: ignore[misc]
    for group in sorted({one.group for one in answers}):
        groups[group] = lambda one, group=group: one.group == group  # type: ignore[misc]
    return [_row(group, [one for one in answers if belongs(one)]) for group, belongs in groups.items()]


def _kind(one: RerankedQuestion) -> str:
    return one.site.partition(":")[0]


def _row(group: str, answers: Sequence[RerankedQuestion]) -> Row:
    right = np.array([one.right for one in answers])
    alone = right[:, :1]
    won, lost = (right[:, 1:] & ~alone).sum(axis=0), (alone & ~right[:, 1:]).sum(axis=0)
    return {
        "group": group,
        "questions": len(answers),
        "recall_at_1": right.mean(axis=0).tolist(),
        "reachable": np.array([one.reachable for one in answers]).mean(axis=0).tolist(),
        "won": won.tolist(),
        "lost": lost.tolist(),
        "p_value": [float(binomtest(int(w), int(w + v)).pvalue) if w + v else 1.0 for w, v in zip(won, lost, strict=True)],
        "milliseconds": np.median([one.milliseconds for one in answers], axis=0).tolist(),
    }


def _on_dataset(args: argparse.Namespace, text: str, name: str, stages: Sequence[RerankStage]) -> Row:
    parser = argparse.ArgumentParser(prog="--vpr")
    add_places(parser)
    data = places_of(parser.parse_args(shlex.split(text)))
    [(before, after)] = evaluate_reranking([data], name, create_extractor(args.features, args.max_features), stages)
    known = before.summary.queries - before.summary.unknown
    return {
        "group": data.name,
        "questions": known,
        "recall_at_1": [before.summary.recall[1], *(one.summary.recall[1] for one in after)],
        "reachable": [_reachable(one) for one in after],
        "won": [one.change.won for one in after],
        "lost": [one.change.lost for one in after],
        "p_value": [one.change.p_value for one in after],
        "milliseconds": [(one.prepare_ms or 0.0) + (one.compare_ms or 0.0) for one in after],
    }


def _reachable(result: RerankResult) -> float:
    """Share of the known queries with a right image among those that were compared."""
    answers = result.before.answers
    return float(np.mean(answers.first_right[answers.known] < result.settings.candidates)) if answers.known.any() else 0.0


def _text(name: str, table: Sequence[Row], stages: Sequence[str]) -> str:
    head = ["Recall@1", "questions", f"{_short(name)} alone"]
    for stage in stages:
        head += [f"+ {_short(stage)}", "right/wrong by it", "p", "ms"]
    rows = [head]
    for row in table:
        line = [row["group"], str(row["questions"]), f"{row['recall_at_1'][0]:.3f}"]
        for k in range(len(stages)):
            line += [f"{row['recall_at_1'][k + 1]:.3f}", f"+{row['won'][k]} -{row['lost'][k]}"]
            line += [f"{row['p_value'][k]:.2g}", f"{row['milliseconds'][k]:.0f}"]
        rows.append(line)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]) for row in rows
    )


def _short(name: str) -> str:
    """A file without its folders."""
    kind, separator, file = name.rpartition(":")
    return kind + separator + file.rpartition("/")[2]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VlocError as error:
        sys.exit(f"{error}")
