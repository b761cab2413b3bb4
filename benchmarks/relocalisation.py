#!/usr/bin/env python3
"""Which global descriptor finds a lost robot best: every descriptor that ships, on one simulated site, in one run.

    python benchmarks/relocalisation.py                       taught at noon, lost at noon, dusk and night
    python benchmarks/relocalisation.py --conditions snow --length 120 --json

The robot is put at places along the route, one by one, and searches the whole map from one image. "proposed" is the share of
places where one of the first K proposals was taken within 3 m and 30 degrees of the truth; "found" is the share where geometry
then gave a pose within half a metre; "wrong" is the share of poses that were more than a metre off. The steady sweep along the
route that a lost robot also makes is switched off.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vloc_ros import runs
from vloc_ros.config import replace
from vloc_ros.features.frontend import FrontEnd
from vloc_ros.geometry import se3
from vloc_ros.localization.fix import FixSolver
from vloc_ros.localization.relocalizer import Relocalizer
from vloc_ros.localization.submap import Submap
from vloc_ros.mapping import KeyframeId, MapStore
from vloc_ros.retrieval import View
from vloc_ros.retrieval.of_map import MapDescriptor
from vloc_ros.settings import Settings
from vloc_ros.simulation import SimulatedRun
from vloc_ros.simulation.sites import SITES, Site

DESCRIPTORS = ("vlad", "hog", "thumbnail", "place")


def main() -> int:
    """Teach once, then search from every condition with every descriptor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", choices=[site.name for site in SITES], default=SITES[0].name)
    parser.add_argument("--length", type=float, default=80.0, help="of the route [m] (default: 80)")
    parser.add_argument("--conditions", nargs="+", default=["noon", "dusk", "night"])
    parser.add_argument("--every", type=float, default=1.7, help="distance between the places [m] (default: 1.7)")
    parser.add_argument("--json", action="store_true", help="one JSON object per row")
    args = parser.parse_args()
    site = next(site for site in SITES if site.name == args.site)
    world = Site(site.name, site.seed, args.length, site.shape, site.layout).build()
    settings = replace(Settings(), {"localization.sweep": 0})
    with tempfile.TemporaryDirectory() as folder:
        taught = SimulatedRun(world, condition="noon", step_m=0.3, seed=1)
        path = Path(folder) / "site.vloc"
        with runs.new_map(path, taught, settings) as store:
            for result in runs.teach(taught, store, settings):
                if result.reason is not None:
                    raise SystemExit(f"teaching failed at {result.stamp_ns} ns: {result.reason.value}")
        for condition in args.conditions:
            live = SimulatedRun(
                world, condition=condition, step_m=args.every, start_m=0.8, stop_m=args.length + 0.8, lateral_wander_m=0.3, seed=2
            )
            for row in search(path, settings, taught, live, condition):
                show(row, args.json)
    return 0


def search(path: Path, settings: Settings, taught: SimulatedRun, live: SimulatedRun, condition: str) -> Iterator[dict[str, object]]:
    """One row per descriptor."""
    frontend = FrontEnd(live.camera, settings.features, settings.stereo)
    views = [frontend.observe(live.frame(index)) for index in range(len(live))]
    features = [view.features for view in views]  # found now, or the first descriptor would be charged for it
    index_of = {int(stamp): index for index, stamp in enumerate(taught.stamps_ns)}
    with MapStore.open(path, read_only=True) as store:
        keyframes = store.keyframes()
        truth = {keyframe.id: taught.world_T_base[index_of[keyframe.stamp_ns]] for keyframe in keyframes}
        for name in DESCRIPTORS:
            start = time.perf_counter()
            describer = MapDescriptor.of(store, name)
            index = describer.index(store, list(truth))
            prepared = time.perf_counter() - start
            submap = Submap(store, settings.pnp)
            solver = FixSolver(live.camera, frontend.extractor.metric, settings.matching, settings.pnp)
            finder = Relocalizer(submap, describer.descriptor, index, solver, settings.localization)
            ranks, errors, seconds = [], [], []
            describer.descriptor.describe(View(views[0].grey, features[0]))  # what is loaded with the first image is not timed
            for view, found_features, world_T_base in zip(views, features, live.world_T_base, strict=True):
                start = time.perf_counter()
                vector = describer.descriptor.describe(View(view.grey, found_features))
                found = index.search(vector, len(index)).ids
                seconds.append(time.perf_counter() - start)
                ranks.append(first_right(found, truth, world_T_base))
                fix = finder.search(view.grey, found_features)
                if fix.map_T_camera is not None:
                    base = nearest_frame(fix.map_T_camera @ se3.inverse(live.base_T_camera), truth, keyframes)
                    errors.append(float(np.linalg.norm(base[:3, 3] - world_T_base[:3, 3])))
            rank, error = np.array(ranks), np.array(errors)
            yield {
                "condition": condition,
                "descriptor": name,
                "places": len(views),
                "proposed_1": float(np.mean(rank < 1)),
                "proposed_6": float(np.mean(rank < 6)),
                "found": float(np.sum(error < 0.5)) / len(views),
                "wrong": float(np.sum(error > 1.0)) / len(views),
                "ms": 1e3 * float(np.median(seconds)),
                "prepare_s": prepared,
                "bytes": 4 * describer.descriptor.card.dimension,
            }


def first_right(found: list[KeyframeId], truth: dict[KeyframeId, np.ndarray], world_T_base: np.ndarray) -> int:
    """Place of the first right keyframe in a ranking."""
    for rank, id in enumerate(found):
        step = se3.between(world_T_base, truth[id])
        if se3.translation_norm(step) < 3.0 and se3.rotation_angle(step) < np.pi / 6.0:
            return rank
    return len(truth)


def nearest_frame(map_T_base: np.ndarray, truth: dict[KeyframeId, np.ndarray], keyframes: list) -> np.ndarray:
    """The pose in the world, by the keyframe of the map that is nearest: the drift of the map does not count."""
    near = min(keyframes, key=lambda keyframe: float(np.linalg.norm(keyframe.map_T_base[:3, 3] - map_T_base[:3, 3])))
    return truth[near.id] @ se3.between(near.map_T_base, map_T_base)


def show(row: dict[str, object], as_json: bool) -> None:
    """Print one row."""
    if as_json:
        sys.stdout.write(json.dumps(row) + "\n")
    else:
        sys.stdout.write(
            "{condition:<8} {descriptor:<10} proposed@1 {proposed_1:4.2f} @6 {proposed_6:4.2f}  found {found:4.2f}  "
            "wrong {wrong:4.2f}  {ms:6.1f} ms, {prepare_s:5.2f} s to prepare, {bytes} bytes\n".format(**row)
        )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
