#!/usr/bin/env python3
"""Learns the probability of a match, and the code book of product quantisation, for weights, from places whose truth is known.

    python benchmarks/rerank_calibration.py --weights models/cct.safetensors PLACES --layout tree
    python benchmarks/rerank_calibration.py --weights FILE PLACES --layout tree --save --codebook

Each query is compared with the best that the global descriptor finds; each pair of them is a verdict. The line says how the
probability holds on queries that it was not learned from: halves of the route teach each other. With ``--save`` it is written
beside the weights (``<name>_match.json``), and any re-ranking with these uses it; with ``--codebook`` so is ``<name>.codebook``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from rerank_accuracy import asked, searched

from vloc_ros.calibration.match_fit import JudgedMatches, fit_match_model, held_out_summary
from vloc_ros.calibration.probability import FitRefusal
from vloc_ros.commands.places import add_places, places_of
from vloc_ros.data.places import PlaceDataset
from vloc_ros.retrieval import View
from vloc_ros.retrieval.match_model import save_match_model
from vloc_ros.retrieval.pair_engine import pair_engine
from vloc_ros.retrieval.patch_codebook import PatchCodebook, save_codebook
from vloc_ros.retrieval.rerank import Reranker, RerankSettings, create_reranker

_IMAGES = 300
"""Enough for a code book: 50 000 patches and more."""


def main() -> int:
    """Print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="of both stages")
    add_places(parser)
    parser.add_argument("--queries-at-most", type=int, default=300, help="spread over all (default: 300)")
    parser.add_argument("--candidates", type=int, default=RerankSettings().candidates, help="of each query (default: 32)")
    parser.add_argument("--save", action="store_true", help="write the probability beside the weights")
    parser.add_argument("--codebook", action="store_true", help="learn a code book and write it beside the weights")
    args = parser.parse_args()
    dataset = places_of(args)
    if args.codebook:
        sys.stdout.write(json.dumps(codebook(args.weights, dataset)) + "\n")
    judged = judge(args.weights, dataset, args.queries_at_most, args.candidates)
    sha256 = pair_engine(args.weights).card.sha256
    summary = held_out_summary(judged)
    model = fit_match_model(judged, "homography", sha256, f"{len(judged.right)} candidates of {dataset.name}")
    if isinstance(summary, FitRefusal) or isinstance(model, FitRefusal):
        refusal = summary if isinstance(summary, FitRefusal) else model
        sys.stderr.write(f"no probability can be learned: {refusal.value if isinstance(refusal, FitRefusal) else refusal}\n")
        return 1
    if args.save:
        save_match_model(args.weights, model)
    sys.stdout.write(json.dumps({"held_out": summary.to_dict(), "right": model.right, "wrong": model.wrong}) + "\n")
    return 0


def judge(weights: Path, dataset: PlaceDataset, most: int, candidates: int) -> JudgedMatches:
    """Verdicts on the candidates of some queries, in the order of the route."""
    reranker: Reranker = create_reranker(str(weights))
    queries = asked(dataset, most)
    rows: list[tuple[float, float, bool, int]] = []
    for query, ids in zip(queries, searched(pair_engine(weights), dataset, queries), strict=True):
        kept = reranker.prepare(
            [View(picture.read()) for picture in (dataset.queries[query], *(dataset.database[id] for id in ids))]
        )
        found = reranker.verify(kept[0], kept[1 : candidates + 1])
        rows += [
            (float(one.inliers), one.share, id in dataset.positives[query], query)
            for id, one in zip(ids, found, strict=False)
            if one.homography is not None
        ]
    inliers, share, right, group = (np.array(column) for column in zip(*rows, strict=True))
    return JudgedMatches(inliers, share, right.astype(bool), group.astype(np.int64))


def codebook(weights: Path, dataset: PlaceDataset) -> dict[str, int]:
    """Learn it from pictures spread over the database, and write it."""
    engine = pair_engine(weights)
    chosen = np.unique(np.linspace(0, len(dataset.database) - 1, min(_IMAGES, len(dataset.database))).astype(int))
    rows = np.concatenate([engine.look([dataset.database[row].read()])[1][0] for row in chosen])
    save_codebook(weights, PatchCodebook.learn(rows, engine.card.sha256))
    return {"images": len(chosen), "patches": len(rows)}


if __name__ == "__main__":
    sys.exit(main())
