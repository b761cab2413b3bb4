#!/usr/bin/env python3
"""What a calibration brings to real images that have neither poses nor calibration: place recognition before and after.

    python benchmarks/calibration_images.py --data ../shared/data
    python benchmarks/calibration_images.py --data ../shared/data --sets office --seeds 3 --json

- **corridor** (rtabmap_loop_samples): the second walk finds its place in the first; judged by eye, see ``truth/``.
- **office** (line_nav_route): one traverse; every 8th frame is the database, every other one of the rest a query; judged by order.

There is no pose graph here, so two-view geometry alone gives the labels: of the images most similar to a query the first that
agrees with it on a fundamental matrix is its positive, and those that do not are its negatives. The route is halved by order: the
network learns in one half and is judged in the other, then the other way round, and the answers of both are taken together. The
last third of the database of each half is left out of the judgement, so that some queries show a place that nobody has seen. The
truth is looked at only to judge.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from calibration import figures, show
from numpy.typing import NDArray
from tqdm import tqdm

from vloc_ros.calibration.held_out import HeldOutPlaces
from vloc_ros.calibration.judging import Answered, JudgingSettings, answer
from vloc_ros.calibration.settings import CalibrationSettings, default_settings
from vloc_ros.calibration.tuples import TrainingTuple, TupleSet
from vloc_ros.config import parse_assignments, replace
from vloc_ros.data.frame import Image
from vloc_ros.data.places import Picture
from vloc_ros.data.vpr_folder import PlaceTruth, open_pairs, open_route
from vloc_ros.features import create_extractor
from vloc_ros.features.contract import FeatureExtractor, Features
from vloc_ros.features.matching import MatchSettings, match
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.retrieval.contract import GlobalDescriptor, View, create_descriptor
from vloc_ros.training.run_folder import BEST_NAME
from vloc_ros.training.tuple_training import TupleJob, tune

TRUTH = Path(__file__).parent / "truth"
DATABASE, QUERIES = 1, 2
MIN_INLIERS, MIN_SHARE = 30, 0.3
"""Of the matches on one fundamental matrix: then two images show one place. With half as many nothing is known."""
NEGATIVES, LOOKED_AT, APART = 10, 30, 3
"""Negatives of a query, candidates that geometry looks at, and how far in order from the positive a negative must be."""
UNSEEN, BLOCK = 1.0 / 3.0, 5


@dataclass(frozen=True, slots=True)
class Walks:
    """Database and queries in order, and (Q, D) bool which show one place."""

    pictures: dict[KeyframeId, Picture]
    same: NDArray[np.bool_]

    def half(self, id: KeyframeId) -> int:
        """The half of the route, 0 or 1, by order."""
        count = self.same.shape[0 if id.session == QUERIES else 1]
        return 2 * id.keyframe // count

    def ids(self, session: int, half: int) -> list[KeyframeId]:
        """Of one half, in order."""
        return [id for id in self.pictures if id.session == session and self.half(id) == half]


def open_walks(name: str, data: Path) -> Walks:
    """A set by name."""
    if name == "corridor":
        folder = data / "rtabmap_loop_samples"
        places = open_pairs(folder, folder, TRUTH / "rtabmap_loop_samples.csv")
        step = 1
    else:
        places = open_route(data / "line_nav_route", 8, 1.0, PlaceTruth(tolerance=4))
        step = 2
    pictures = {KeyframeId(DATABASE, row): picture for row, picture in enumerate(places.database)}
    pictures |= {KeyframeId(QUERIES, row): picture for row, picture in enumerate(places.queries[::step])}
    same = np.zeros((len(places.queries[::step]), len(places.database)), dtype=bool)
    for row, found in enumerate(places.positives[::step]):
        same[row, found] = True
    return Walks(pictures, same)


def mine(walks: Walks, half: int, vectors: dict[KeyframeId, NDArray[np.float32]], agree: Callable[..., float]) -> TupleSet:
    """Tuples of one half, by geometry alone; a query without a verified image gives none."""
    tuples = []
    base = walks.ids(DATABASE, half)
    for query in tqdm(walks.ids(QUERIES, half), desc="mining", file=sys.stderr, leave=False):
        ranked = sorted(base, key=lambda id, query=query: -float(vectors[query] @ vectors[id]))[:LOOKED_AT]  # type: ignore[misc]
        strength = {id: agree(query, id) for id in ranked}
        positive = next((id for id in ranked if strength[id] >= 1.0), None)
        if positive is None:
            continue
        others = [id for id in ranked if strength[id] < 0.5 and abs(id.keyframe - positive.keyframe) > APART]
        if others:
            tuples.append(TrainingTuple(query, positive, tuple(others[:NEGATIVES]), 1.0, 0))
    return TupleSet(tuple(tuples))


def two_view_geometry(walks: Walks, extractor: FeatureExtractor) -> Callable[[KeyframeId, KeyframeId], float]:
    """How well two images agree on a fundamental matrix; from 1 on they are taken to show one place."""

    @cache
    def features(id: KeyframeId) -> Features:
        return extractor.extract(walks.pictures[id].read())

    @cache
    def agree(a: KeyframeId, b: KeyframeId) -> float:
        one, other = features(a), features(b)
        pairs = match(one, other, extractor.metric, MatchSettings()).indices
        if len(pairs) < 8:
            return 0.0
        pixels = one.keypoints[pairs[:, 0]], other.keypoints[pairs[:, 1]]
        cv2.setRNGSeed(0)
        _, inliers = cv2.findFundamentalMat(*pixels, cv2.FM_RANSAC, 1.5, 0.999, 2000)
        count = 0 if inliers is None else int(inliers.sum())
        return min(count / MIN_INLIERS, count / len(pairs) / MIN_SHARE)

    return agree


def described(walks: Walks, descriptor: GlobalDescriptor) -> dict[KeyframeId, NDArray[np.float32]]:
    """The descriptor of every picture."""
    return {id: descriptor.describe(View(image=picture.read())) for id, picture in walks.pictures.items()}


def tuned(walks: Walks, tuples: TupleSet, base: Path, settings: CalibrationSettings, work: Path) -> Path:
    """Weights that have learned from some tuples."""

    def image_of(id: KeyframeId) -> Image:
        return walks.pictures[id].read()

    def site() -> list[Image]:
        return [image_of(id) for id in tuples.keyframes]

    learning = settings.learning
    tune(TupleJob(base, settings.triplet, learning.part, tuples, image_of, settings.training, site, "benchmark"), work)
    return work / BEST_NAME


def judged(walks: Walks, by_half: list[dict[KeyframeId, NDArray[np.float32]]], settings: CalibrationSettings) -> Answered:
    """What models answer, each in its half: ``by_half[h]`` are the descriptors of the one that answers there."""
    database, queries = ([id for id in walks.pictures if id.session == session] for session in (DATABASE, QUERIES))
    asked = np.array([walks.half(id) for id in queries])
    answering = np.array([walks.half(id) for id in database])
    seen = np.concatenate([np.arange(n) < (1.0 - UNSEEN) * n for n in np.bincount(answering)])
    allowed = (asked[:, None] == answering) & seen
    everything = (*database, *queries)
    of_queries = np.zeros((len(queries), len(queries)), dtype=bool)
    places = HeldOutPlaces(
        queries=tuple(queries),
        database=everything,
        relevant=np.hstack([walks.same, of_queries]),
        allowed=np.hstack([allowed, of_queries]),
        blocks=np.arange(len(queries), dtype=np.int64) // BLOCK,
    )
    vectors = np.stack([by_half[walks.half(id)][id] for id in everything])
    judging = JudgingSettings(settings.held_out, settings.probability, settings.promotion, settings.training.seed)
    return answer(places, vectors, None, judging)


def rows(name: str, args: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Each model with its numbers, of one set."""
    walks = open_walks(name, args.data)
    plain = replace(default_settings(), parse_assignments(args.set))
    base = create_descriptor(str(args.base))
    before = described(walks, base)
    hog = described(walks, create_descriptor("hog"))
    agree = two_view_geometry(walks, create_extractor(args.features, 600))
    mined = [mine(walks, half, before, agree) for half in (0, 1)]
    sys.stderr.write(
        f"{name}: {[len(tuples.tuples) for tuples in mined]} tuples, right positives {[right(walks, t) for t in mined]}\n"
    )
    for seed in range(1, args.seeds + 1):
        settings = replace(plain, {"training.seed": seed})
        yield "hog", figures(judged(walks, [hog, hog], settings))
        yield "base", figures(judged(walks, [before, before], settings))
        with tempfile.TemporaryDirectory() as work:
            weights = [tuned(walks, tuples, args.base, settings, Path(work) / str(half)) for half, tuples in enumerate(mined)]
            after = [described(walks, create_descriptor(str(path))) for path in weights]
        yield "calibrated", figures(judged(walks, after[::-1], settings))


def right(walks: Walks, tuples: TupleSet) -> str:
    """How many positives are of the place, by the truth; to be read, nothing depends on it."""
    return f"{sum(bool(walks.same[t.anchor.keyframe, t.positive.keyframe]) for t in tuples.tuples)}/{len(tuples.tuples)}"


def main() -> int:
    """Calibrate each set, judge, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the development data")
    parser.add_argument("--sets", nargs="+", default=["corridor", "office"], choices=["corridor", "office"])
    parser.add_argument("--seeds", type=int, default=1, help="of the training (default: 1)")
    parser.add_argument("--base", type=Path, default=Path("models/place.safetensors"), help="weights to begin with")
    parser.add_argument("--features", default="sift_fast", help="local features of the geometry (default: sift_fast)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in `vloc calibrate`")
    parser.add_argument("--json", action="store_true", help="one JSON object per row, too")
    args = parser.parse_args()
    for name in args.sets:
        table: dict[str, list[dict[str, float]]] = {}
        for model, row in rows(name, args):
            table.setdefault(model, []).append(row)
            if args.json:
                sys.stdout.write(json.dumps({"set": name, "model": model, **row}) + "\n")
        sys.stdout.write(f"== {name}\n")
        show(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
