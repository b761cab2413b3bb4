#!/usr/bin/env python3
"""What each loss of DISAM is worth: the ablation of Table VI (Hu et al. 2021) as one command and one table.

    python benchmarks/disam_ablation.py --data conditions:nordland_train --test 'winter/ --database summer/ --layout aligned' \
        --set width=64 --set height=32 --set training.epochs=3 --out ablation
    python benchmarks/disam_ablation.py --data seasons:seasons --test 'seasons/ --layout seasons' --out ablation --condition given

First one network learns to translate alone; every row of the table begins with its weights and learns as long with its own losses
and the settings of `vloc train disam`. --test takes what `vloc evaluate retrieval` takes; it must be none of --data, nothing is
chosen by it. The last row searches with the coarse model of all losses, and puts the best in order by the fine one of all, as
`coarse_to_fine` does. A row that is there is not learned again: a command that was interrupted goes on. F: flipped negatives; Hn:
hard ones.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vloc_ros.commands.places import add_places, all_places_of
from vloc_ros.commands.train_run import step_bar
from vloc_ros.config import parse_assignments, replace
from vloc_ros.data.places import PlaceDataset
from vloc_ros.errors import VlocError
from vloc_ros.evaluation.conditions import Conditions
from vloc_ros.evaluation.pose_thresholds import PUBLISHED, PoseErrorsOfAnswers, errors_of_answers
from vloc_ros.evaluation.rerank_run import RerankStage, evaluate_reranking
from vloc_ros.evaluation.retrieval_metrics import RANKS
from vloc_ros.features import create_extractor
from vloc_ros.networks.disam_form import Stage
from vloc_ros.retrieval import RerankSettings, create_descriptor
from vloc_ros.retrieval.coarse_to_fine import CoarseToFineSettings, FineReranker
from vloc_ros.training.disam_objective import Margin
from vloc_ros.training.disam_registry import KINDS, SIZES, settings_of
from vloc_ros.training.disam_training import DisamJob, train_disam
from vloc_ros.training.registry import DataSpec
from vloc_ros.training.run_folder import BEST_NAME

NONE, CONSTANT, ADAPTIVE = (margin.value for margin in (Margin.NONE, Margin.CONSTANT, Margin.ADAPTIVE))


class Row(NamedTuple):
    """A line of the table: which losses are switched on."""

    stage: Stage
    flipped: bool
    hard: bool
    consistency: bool
    triplet: str
    sam: bool
    sam_triplet: str

    @property
    def name(self) -> str:
        """Of its folder."""
        marks = "".join(
            letter for letter, on in zip("FHCS", (self.flipped, self.hard, self.consistency, self.sam), strict=True) if on
        )
        return f"{self.stage.value}_{marks or 'translation'}_{self.triplet}_{self.sam_triplet}"

    def changes(self) -> dict[str, Any]:
        """In settings."""
        images: dict[str, Any] = {"flip": self.flipped} | ({} if self.hard else {"hard_negatives": 0})
        objective: dict[str, Any] = {"triplet": self.triplet, "sam_triplet": self.sam_triplet}
        objective |= ({} if self.consistency else {"latent": 0.0}) | ({} if self.sam else {"sam": 0.0})
        return {"images": images, "objective": objective}

    def cells(self) -> list[str]:
        """As the table says it."""
        marks = ["y" if on else "n" for on in (self.flipped, self.hard, self.consistency)]
        return [self.stage.value, *marks, self.triplet, "y" if self.sam else "n", self.sam_triplet]


COARSE, FINE = Stage.COARSE, Stage.FINE
TRANSLATION = Row(COARSE, False, False, False, NONE, False, NONE)
TABLE = (
    Row(COARSE, True, False, True, ADAPTIVE, False, NONE),
    Row(COARSE, False, True, True, ADAPTIVE, False, NONE),
    Row(COARSE, True, True, False, NONE, False, NONE),
    Row(COARSE, True, True, True, NONE, False, NONE),
    Row(COARSE, True, True, True, CONSTANT, False, NONE),
    Row(COARSE, True, True, True, ADAPTIVE, False, NONE),
    Row(FINE, True, False, True, NONE, True, ADAPTIVE),
    Row(FINE, False, True, True, NONE, True, ADAPTIVE),
    Row(FINE, True, True, True, NONE, False, NONE),
    Row(FINE, True, True, True, NONE, True, CONSTANT),
    Row(FINE, True, True, True, NONE, True, ADAPTIVE),
    Row(FINE, True, True, True, ADAPTIVE, True, ADAPTIVE),
)
WHOLE = {COARSE: TABLE[5], FINE: TABLE[11]}
HEAD = ("stage", "F", "Hn", "FCL", "tripFCL", "SAM", "tripSAM")


def main() -> int:
    """Learn, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="KIND:PATH", help="as of `vloc train disam`")
    parser.add_argument("--test", required=True, metavar="ARGUMENTS", help="as of `vloc evaluate retrieval`, quoted")
    parser.add_argument("--size", choices=sorted(SIZES), default="small", help="of the networks (default: small)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of `vloc train disam`, for all rows")
    parser.add_argument("--conditions", default="", metavar="NAMES", help="that are learned, as of `vloc train disam`")
    parser.add_argument("--condition", choices=[one.value for one in Conditions], default=Conditions.GIVEN.value)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the runs")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        datasets = _datasets(args.test)
        start = _learned(args, TRANSLATION, None)
        rows = [(TRANSLATION.cells(), _judged(args, datasets, start))]
        rows += [(row.cells(), _judged(args, datasets, _learned(args, row, start))) for row in TABLE]
        both = {stage: args.out / row.name / BEST_NAME for stage, row in WHOLE.items()}
        rows.append((["coarse to fine", *WHOLE[FINE].cells()[1:]], _judged(args, datasets, both[COARSE], both[FINE])))
    except VlocError as error:
        print(f"disam_ablation: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps([dict(zip(HEAD, cells, strict=True)) | found for cells, found in rows], indent=2))
        return 0
    _print([[*HEAD, *rows[0][1]], *([*cells, *(_percent(value) for value in found.values())] for cells, found in rows)])
    return 0


def _datasets(text: str) -> list[PlaceDataset]:
    parser = argparse.ArgumentParser(prog="--test")
    add_places(parser, several=True)
    return all_places_of(parser.parse_args(shlex.split(text)))


def _learned(args: argparse.Namespace, row: Row, start: Path | None) -> Path:
    """The weights of a row, learned where they are not there yet."""
    settings = replace(replace(settings_of(args.size, row.stage), parse_assignments(args.set)), row.changes())
    specs = [DataSpec.parse(text, KINDS) for text in args.data]
    conditions = [name for name in args.conditions.split(",") if name]
    folder = args.out / row.name
    print(f"learning {row.name}", file=sys.stderr)
    with step_bar() as on_step:
        train_disam(DisamJob(row.stage, settings, specs, conditions=conditions, start=start), folder, on_step)
    return Path(folder / BEST_NAME)


def _judged(args: argparse.Namespace, datasets: Sequence[PlaceDataset], weights: Path, fine: Path | None = None) -> dict[str, Any]:
    """Recall and, where there are poses, the share within each threshold."""
    stages = []
    if fine is not None:
        settings = CoarseToFineSettings(str(fine))
        reranking = RerankSettings(reranker=str(fine), candidates=settings.candidates)
        stages.append(RerankStage(FineReranker(create_descriptor(settings.fine), settings.search_share), reranking))
    extractor = create_extractor("sift_fast", 100)
    [(before, after)] = evaluate_reranking(datasets, str(weights), extractor, stages, conditions=Conditions(args.condition))
    summary = after[0].summary if after else before.summary
    if after:
        answers = [[_rows(one.ids if one else []) for one in answered] for answered in after[0].reranked]
    else:
        answers = [found.rows for found in before.found]
    errors = PoseErrorsOfAnswers.pooled([errors_of_answers(rows, data) for rows, data in zip(answers, datasets, strict=True)])
    shares = {threshold.label: errors.share(threshold) for threshold in PUBLISHED}
    return {f"R@{rank}": summary.recall[rank] for rank in RANKS[:2]} | {k: v for k, v in shares.items() if v is not None}


def _rows(ids: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(ids, dtype=np.int64)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100.0 * value:.1f}"


def _print(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
