#!/usr/bin/env python3
"""What a calibration brings: place recognition before and after, at simulated sites that no weights know, judged by the truth.

    python benchmarks/calibration.py --out calibration                   five sites, each driven at noon and twice in other light
    python benchmarks/calibration.py --out calibration --sites 1 --base models/place.safetensors --json
    python benchmarks/calibration.py --out calibration --map desk.vloc --small        a map of yours, with its truth beside it

At each site a route is taught at noon and driven again under two other conditions; place recognition finds the loops, the robust
graph labels them, and `vloc calibrate` tunes the network with these labels alone. Then the held-out stretches are asked again, and
only now is the truth looked at: what was taken within 3 m and 30 degrees of the query shows its place, beyond 8 m or 120 degrees it
does not, and what is between may not answer. Every site has its own seed, which is also that of the training. The base, what the
map used before, and hog stand beside the calibrated version. A site that was interrupted goes on. `--poison` calls all inliers
outliers and the other way round before the calibration: nothing may be promoted then.

`vloc teach` of a recording with truth and `vloc loops` make a map for `--map`; its closures must be labelled.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from vloc_ros import runs
from vloc_ros.calibration.held_out import HeldOutPlaces, held_out_places
from vloc_ros.calibration.judging import Answered, JudgingSettings, answer, describe_keyframes
from vloc_ros.calibration.layout import Layout
from vloc_ros.calibration.run import Calibrated, calibrate
from vloc_ros.calibration.settings import CalibrationSettings, default_settings
from vloc_ros.calibration.stage import Stage
from vloc_ros.calibration.stretches import split_route
from vloc_ros.config import parse_assignments, replace
from vloc_ros.data.trajectory import interpolate, read_tum
from vloc_ros.evaluation.confidence_metrics import summarise_confidence
from vloc_ros.evaluation.retrieval_metrics import summarise
from vloc_ros.loop_closure import store_judgement
from vloc_ros.loop_closure.search import find_loops
from vloc_ros.loop_closure.settings import LoopClosureSettings
from vloc_ros.mapping import MapStore
from vloc_ros.mapping.closures import closures_of, replace_closures
from vloc_ros.mapping.images import keyframes_with_image
from vloc_ros.mapping.model_versions import weights_of
from vloc_ros.mapping.training_tuples import tuples_of
from vloc_ros.pose_graph import Label
from vloc_ros.retrieval.contract import GlobalDescriptor, create_descriptor
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.retrieval.weights_file import descriptor_of
from vloc_ros.settings import Settings
from vloc_ros.simulation import SimulatedRun
from vloc_ros.simulation.sites import Site, sites

Array = NDArray[np.float64]
SHORT: dict[str, Any] = {
    "stretches": {"length": 12.0, "every": 2, "gap": 3.0, "radius": 3.0},
    "mining": {"exclusion": {"path": 10.0, "distance": 10.0}},
    "promotion": {"stretch": 5},
}
"""Settings for routes of a few hundred metres, in place of those for kilometres."""
SMALL: dict[str, Any] = {
    "stretches": {"length": 0.4, "every": 2, "gap": 0.05, "radius": 0.05},
    "mining": {"exclusion": {"path": 0.6, "distance": 0.4}},
    "held_out": {
        "near": 0.3,
        "near_angle": math.radians(20.0),
        "far": 0.6,
        "far_angle": math.radians(60.0),
        "gap_path": 0.6,
    },
    "promotion": {"stretch": 3, "min_queries": 10, "min_stretches": 3},
}
"""And for the top of a desk."""
SHOWN = ("recall_at_1", "recall_at_5", "average_precision", "ece_similarity", "ece", "auroc")


def main() -> int:
    """Calibrate each site, judge, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for maps, work and reports")
    parser.add_argument("--sites", type=int, default=5, help="(default: 5)")
    parser.add_argument("--first-seed", type=int, default=301, help="of the sites (default: 301)")
    parser.add_argument("--length", type=float, default=120.0, help="of the routes [m] (default: 120)")
    parser.add_argument("--step", type=float, default=0.5, help="between frames [m] (default: 0.5)")
    parser.add_argument("--conditions", nargs="+", default=["night", "snow"], help="of later drives (default: night snow)")
    parser.add_argument("--base", type=Path, help="weights to begin with (default: those that are shipped)")
    parser.add_argument("--map", type=Path, action="append", default=[], help="instead of sites; it is copied, can be repeated")
    parser.add_argument("--small", action="store_true", help="settings for a map of a few metres")
    parser.add_argument("--poison", action="store_true", help="swap the labels of inliers and outliers")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in `vloc calibrate`")
    parser.add_argument("--json", action="store_true", help="one JSON object per row, too")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    table: dict[str, list[dict[str, float]]] = {}
    scale = SMALL if args.small else SHORT
    for seed, map_path in maps(args):
        settings = replace(replace(default_settings(), scale), {"training.seed": seed} | parse_assignments(args.set))
        outcome = calibrated(args, map_path, settings)
        for model, row in judged(args, map_path, settings, outcome):
            table.setdefault(model, []).append(row)
            if args.json:
                sys.stdout.write(json.dumps({"map": map_path.stem, "model": model, **row}) + "\n")
    show(table)
    return 0


def maps(args: argparse.Namespace) -> Iterator[tuple[int, Path]]:
    """Seeds and maps with labelled loops, the truth beside them."""
    if not args.map:
        for site in sites(args.sites, args.first_seed):
            yield site.seed, taught(args, changed(site, length_m=args.length))
    for number, path in enumerate(args.map, start=1):
        copy = args.out / path.name
        if not copy.exists():
            copy.write_bytes(path.read_bytes())
            runs.truth_file(copy).write_bytes(runs.truth_file(path).read_bytes())
        yield number, copy


def taught(args: argparse.Namespace, site: Site) -> Path:
    """The map of a site, with labelled loops; made once."""
    path = args.out / f"{site.name}.vloc"
    done = path.with_suffix(".done")
    if done.exists():
        return path
    path.unlink(missing_ok=True)
    runs.truth_file(path).unlink(missing_ok=True)
    world, settings = site.build(), Settings()
    store = None
    for session, condition in enumerate(["noon", *args.conditions], start=1):
        wander = 0.3 * (session > 1)
        drive = SimulatedRun(world, condition=condition, step_m=args.step, lateral_wander_m=wander, seed=session, detail="fast")
        store = store or runs.new_map(path, drive, settings)
        bar = tqdm(runs.teach(drive, store, settings), total=len(drive), desc=f"{site.name} {condition}", file=sys.stderr)
        for _ in bar:
            pass
        runs.save_keyframe_truth(drive, path)
    assert store is not None
    proposing = {} if args.base is None else {"loops.descriptor": str(args.base)}
    settings_of_loops = replace(LoopClosureSettings(), proposing)
    loops = find_loops(store, settings_of_loops, progress=lambda all: tqdm(all, desc=f"{site.name} loops", file=sys.stderr))
    store_judgement(store, loops.judgement)
    store.close()
    done.write_text(json.dumps(loops.labels) + "\n", encoding="utf-8")
    return path


def calibrated(args: argparse.Namespace, path: Path, settings: CalibrationSettings) -> Calibrated:
    """What `vloc calibrate` makes of the map."""
    if args.poison:
        poisoned = path.with_name(f"{path.stem}_poisoned.vloc")
        flip_labels(path, poisoned)
        path = poisoned
    with tqdm(total=100, desc=f"{path.stem} calibrate", file=sys.stderr) as bar:

        def told(stage: Stage, share: float, _: dict[str, Any]) -> None:
            bar.set_postfix_str(stage.value)
            bar.update(round(100 * share) - bar.n)

        outcome = calibrate(path, args.out / f"{path.stem}_work", args.base, settings, told)
    sys.stderr.write(f"{path.stem}: {outcome.refusal or outcome.decision}\n")
    return outcome


def flip_labels(path: Path, to: Path) -> None:
    """A copy of a map whose inliers are called outliers, and the other way round."""
    if not to.exists():
        to.write_bytes(path.read_bytes())
        with MapStore.open(to) as store:
            other = {Label.INLIER: Label.OUTLIER, Label.OUTLIER: Label.INLIER, Label.UNDECIDED: Label.UNDECIDED}
            replace_closures(
                store,
                [
                    changed(
                        closure,
                        verdict=changed(closure.verdict, label=other[closure.verdict.label], weight=1.0 - closure.verdict.weight),
                    )
                    for closure in closures_of(store)
                ],
            )


def judged(
    args: argparse.Namespace, path: Path, settings: CalibrationSettings, outcome: Calibrated
) -> Iterator[tuple[str, dict[str, float]]]:
    """Numbers of each model, by the truth."""
    if args.poison:
        path = path.with_name(f"{path.stem}_poisoned.vloc")
    with MapStore.open(path, read_only=True) as store:
        layout = Layout.of(store, settings.gnc)
        split = split_route(layout, settings.stretches)
        true = true_poses(store, runs.truth_file(path.with_name(path.name.replace("_poisoned", ""))), layout)
        truth = changed(layout, positions=true[:, :3, 3].copy(), rotations=true[:, :3, :3].copy())
        learned = split.training_tuples(tuples_of(store)).keyframes
        places = held_out_places(truth, split, keyframes_with_image(store), settings.held_out, settings.promotion.stretch, learned)
        for name, descriptor in models(args, store, outcome):
            yield name, numbers(store, descriptor, places, settings)


def true_poses(store: MapStore, file: Path, layout: Layout) -> Array:
    """(N, 4, 4) true poses of the keyframes of a layout."""
    stamps = {keyframe.id: keyframe.stamp_ns for keyframe in store.keyframes()}
    poses = interpolate(read_tum(file), np.array([stamps[id] for id in layout.ids], dtype=np.int64))
    if not np.isfinite(poses).all():
        sys.exit(f"{file} does not know the poses of all keyframes of {store.path}: teach it anew from recordings with truth")
    return poses


def models(args: argparse.Namespace, store: MapStore, outcome: Calibrated) -> Iterable[tuple[str, GlobalDescriptor]]:
    """What is compared."""
    yield "hog", create_descriptor("hog")
    yield "in use", MapDescriptor.of(store, "auto").descriptor
    if args.base is not None:
        yield "base", create_descriptor(str(args.base))
    if outcome.version is not None:
        yield "calibrated", descriptor_of(weights_of(store, outcome.version.number), outcome.version.card)


def numbers(
    store: MapStore, descriptor: GlobalDescriptor, places: HeldOutPlaces, settings: CalibrationSettings
) -> dict[str, float]:
    """Of one model at one site. The learned confidence of a match comes from other stretches than its own."""
    judging = JudgingSettings(settings.held_out, settings.probability, settings.promotion, settings.training.seed)
    return figures(answer(places, *describe_keyframes(store, descriptor, places.database), judging))


def figures(found: Answered) -> dict[str, float]:
    """What is shown of the answers of a model."""
    answers, scores, nan = found.queries.answers(), found.queries.scores(), float("nan")
    right = answers.first_right == 0
    plain = summarise_confidence(found.similarity, right)
    learned = None if found.fitted.confidence is None else summarise_confidence(found.fitted.confidence, right)
    recall = summarise(answers).to_dict()
    return {
        "queries": len(answers),
        "known": int(scores.known.sum()),
        "recall_at_1": recall["recall_at_1"],
        "recall_at_5": recall["recall_at_5"],
        "average_precision": float(scores.average_precision[scores.known].mean()),
        "ece_similarity": plain.ece,
        "ece": nan if learned is None else learned.ece,
        "auroc": nan if learned is None or learned.auroc is None else learned.auroc,
    }


def show(table: dict[str, list[dict[str, float]]]) -> None:
    """Mean and standard deviation over the sites, and whether the calibration gains over each other model."""
    sys.stdout.write(f"{'model':<12}" + "".join(f"{name:>22}" for name in SHOWN) + "\n")
    for model, rows in table.items():
        cells = []
        for name in SHOWN:
            values = np.array([row[name] for row in rows], dtype=np.float64)
            spread = float(np.nanstd(values, ddof=1)) if len(values) > 1 else 0.0
            cells.append(f"{np.nanmean(values):>14.3f} ± {spread:.3f}")
        sys.stdout.write(f"{model:<12}" + "".join(cells) + "\n")
    after = table.get("calibrated", [])
    for model, rows in table.items():
        if model != "calibrated" and len(rows) == len(after) > 1:
            gains = [new["average_precision"] - old["average_precision"] for new, old in zip(after, rows, strict=True)]
            p = float(stats.ttest_1samp(gains, 0.0, alternative="greater").pvalue)
            sys.stdout.write(f"gain in average precision over {model}: {np.mean(gains):+.3f}, p = {p:.4f} ({len(gains)} sites)\n")


if __name__ == "__main__":
    sys.exit(main())
