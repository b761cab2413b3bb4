#!/usr/bin/env python3
"""What re-ranking by trained weights costs, and what RANSAC on SIFT does for the same Recall@1.

    python benchmarks/rerank_accuracy.py --weights models/cct.safetensors PLACES --layout tree
    python benchmarks/rerank_accuracy.py --weights FILE QUERIES --database FOLDER --layout aligned --queries-at-most 100

All re-rank the same lists, the best 32 that the global descriptor of the weights finds. SIFT is tried with more and more key
points: the row with the fewest that is as good as the homography is what it costs at equal accuracy. Time is that of a query: what
the re-ranker makes of its image (the network has seen it already, when it searched), and the comparison with all candidates.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.commands.places import add_places, places_of
from vloc_ros.data.places import Picture, PlaceDataset
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import View
from vloc_ros.retrieval.pair_engine import PairEngine, pair_engine
from vloc_ros.retrieval.rerank import Reranker, RerankSettings, create_reranker
from vloc_ros.retrieval.rerank_homography import load_patches
from vloc_ros.retrieval.rerank_ransac import RansacReranker
from vloc_ros.retrieval.reranking import rerank

SIFT = (100, 200, 400, 800, 1600)
_BATCH = 8


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="of both stages")
    add_places(parser)
    parser.add_argument("--queries-at-most", type=int, default=200, help="spread over all (default: 200)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    dataset = places_of(args)
    queries = asked(dataset, args.queries_at_most)
    lists = searched(pair_engine(args.weights), dataset, queries)
    before = float(np.mean([ids[0] in dataset.positives[query] for query, ids in zip(queries, lists, strict=True)]))
    shown("global descriptor alone", before, 0.0, 0, args.json)
    for name, reranker, settings in ways(args.weights):
        shown(name, *measured(reranker, settings, dataset, queries, lists), args.json)
    return 0


def ways(weights: Path) -> Iterator[tuple[str, Reranker, RerankSettings]]:
    """Name, re-ranker and settings of each row."""
    plain = RerankSettings()
    yield "homography", create_reranker(str(weights), plain), plain
    for name, settings in (("integers", RerankSettings(integers=True)), ("certain=1", RerankSettings(certain=1))):
        yield f"homography, {name}", create_reranker(str(weights), settings), settings
    yield "RANSAC on the same patches", load_patches(weights, plain), plain
    for number in SIFT:
        yield f"RANSAC on {number} SIFT", RansacReranker(create_extractor("sift", number)), plain


def asked(dataset: PlaceDataset, most: int) -> list[int]:
    """Queries that have an answer, spread over all that have one."""
    able = [query for query, rows in enumerate(dataset.positives) if len(rows)]
    return [able[index] for index in np.unique(np.linspace(0, len(able) - 1, min(most, len(able))).astype(int))]


def searched(engine: PairEngine, dataset: PlaceDataset, queries: list[int]) -> list[list[int]]:
    """The best candidates of each query by the global descriptor."""

    def means(pictures: Sequence[Picture]) -> NDArray[np.float32]:
        return engine.look([picture.read() for picture in pictures])[0]

    parts = range(0, len(dataset.database), _BATCH)
    base = np.concatenate([means(dataset.database[start : start + _BATCH]) for start in parts])
    found = [base @ means([dataset.queries[query]])[0] for query in queries]
    return [[int(row) for row in np.argsort(-score, kind="stable")[: RerankSettings().candidates]] for score in found]


def measured(
    reranker: Reranker, settings: RerankSettings, dataset: PlaceDataset, queries: list[int], lists: list[list[int]]
) -> tuple[float, float, int]:
    """Recall@1, median time of a query [ms], and mean bytes of a picture of the database."""
    needed = sorted({row for ids in lists for row in ids})
    kept = {row: reranker.to_bytes(reranker.prepare([View(dataset.database[row].read())])[0]) for row in needed}
    right, times = [], []
    first = reranker.from_bytes(kept[lists[0][0]])
    reranker.verify(first, [first])  # what is loaded with the first pair is not timed
    for query, ids in zip(queries, lists, strict=True):
        image = dataset.queries[query].read()
        reranker.prepare([View(image)])  # a network has seen the image when it searched, and remembers; others gain nothing
        began = time.perf_counter()
        asked_for = reranker.prepare([View(image)])[0]
        answer = rerank(reranker, asked_for, ids, lambda row: reranker.from_bytes(kept[row]), settings)
        times.append(1e3 * (time.perf_counter() - began))
        right.append(answer.ids[0] in dataset.positives[query])
    return float(np.mean(right)), float(np.median(times)), int(np.mean([len(content) for content in kept.values()]))


def shown(name: str, recall: float, ms: float, size: int, as_json: bool) -> None:
    """One row, when it is known."""
    if as_json:
        sys.stdout.write(json.dumps({"row": name, "recall_at_1": recall, "ms_per_query": ms, "bytes_per_image": size}) + "\n")
    else:
        sys.stdout.write(f"{name:<30}Recall@1 {recall:>6.1%}{ms:>9.0f} ms/query{size:>9} bytes/image\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
