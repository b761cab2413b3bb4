#!/usr/bin/env python3
"""Every descriptor, alone and with sequences, on four sets of the development data, the baseline first.

    python benchmarks/retrieval.py --data ../shared/data
    python benchmarks/retrieval.py --data ../shared/data --sets nordland,grief --descriptors thumbnail,hog --json

- **nordland**: winter finds its place in summer, frames at most 2 apart are the same place, dark frames (tunnels) left out.
- **corridor** (rtabmap_loop_samples): the second walk finds its place in the first; by eye, see ``truth/``.
- **office** (line_nav_route): one traverse that never comes back, so its second half shows places that the first does not have.
  Every 8th frame of the first half is the database, every other frame of the whole route a query; frames at most 4 apart are the
  same place. Recall says how well the first half is found, precision whether the second half is told to be unknown.
- **grief** (grief_michigan): the 5 places of each month in each other month, named ``<month><place>``; all pairs of months as one.
  Neighbours there are no route, so sequences are not tried.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vloc_ros.data.places import PlaceDataset
from vloc_ros.data.vpr_folder import PlaceTruth, open_aligned, open_pairs, open_route, pictures_of
from vloc_ros.evaluation.retrieval_report import write_retrieval_report
from vloc_ros.evaluation.retrieval_run import RetrievalResult, SequenceMethod, evaluate_retrieval
from vloc_ros.evaluation.retrieval_table import text_table
from vloc_ros.features import create_extractor

TRUTH = Path(__file__).parent / "truth"
OFFICE_EVERY = 8
SETS = ("nordland", "corridor", "office", "grief")


def months(folder: Path) -> list[PlaceDataset]:
    """Each month against each other month."""
    by_month: dict[str, list[Any]] = {}
    for picture in pictures_of(folder):
        by_month.setdefault(picture.name[:2], []).append(picture)

    def place(picture: Any) -> str:
        return str(picture.name[2:4])

    return [
        PlaceDataset(
            f"month {a} in {b}",
            tuple(asked),
            tuple(based),
            tuple(
                np.array([row for row, base in enumerate(based) if place(base) == place(query)], dtype=np.int64) for query in asked
            ),
        )
        for a, asked in by_month.items()
        for b, based in by_month.items()
        if a != b
    ]


def open_set(name: str, data: Path) -> tuple[list[PlaceDataset], Sequence[SequenceMethod], float]:
    """Data sets judged as one, what sequences to try on them, and rows of the database per query."""
    everything = list(SequenceMethod)
    if name == "nordland":
        folder, truth = data / "nordland_64x32", PlaceTruth(tolerance=2, min_brightness=15.0)
        return [open_aligned(folder / "winter", folder / "summer", truth)], everything, 1.0
    if name == "corridor":
        folder = data / "rtabmap_loop_samples"
        return [open_pairs(folder, folder, TRUTH / "rtabmap_loop_samples.csv")], everything, 1.0
    if name == "office":
        truth = PlaceTruth(tolerance=OFFICE_EVERY // 2)
        return [open_route(data / "line_nav_route", OFFICE_EVERY, 0.5, truth)], everything, 1.0 / (OFFICE_EVERY - 1)
    return months(data / "grief_michigan" / "images"), [SequenceMethod.NONE], 1.0


def main() -> int:
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the development data")
    parser.add_argument("--sets", default=",".join(SETS), help="default: %(default)s")
    parser.add_argument("--descriptors", default="thumbnail,hog,vlad", help="default: %(default)s")
    parser.add_argument("--features", default="sift_fast", help="local features of vlad (default: sift_fast)")
    parser.add_argument("--max-features", type=int, default=600)
    parser.add_argument("--out", type=Path, help="folder for a report of each set")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    extractor = create_extractor(args.features, args.max_features)
    values = {}
    for name in args.sets.split(","):
        datasets, methods, speed = open_set(name, args.data)
        results: list[RetrievalResult] = []
        for descriptor in args.descriptors.split(","):
            results += evaluate_retrieval(datasets, descriptor, extractor, None, methods, speed)
        values[name] = [result.to_dict() for result in results]
        if args.out is not None:
            write_retrieval_report(args.out / f"{name}.html", f"Retrieval, {name}", datasets, results)
        if not args.json:
            sys.stdout.write(f"== {name}\n{text_table(results)}\n\n")
            sys.stdout.flush()
    if args.json:
        sys.stdout.write(json.dumps(values, allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
