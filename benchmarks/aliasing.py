#!/usr/bin/env python3
"""Perceptual aliasing, honestly come by: two laps past rows of identical houses, and what false loops do to the path.

    python benchmarks/aliasing.py --out aliasing              lookalike_loop_5, about ten minutes on two cores
    python benchmarks/aliasing.py --out aliasing --keep site.vloc    taught once, then only searched again

The robot drives two laps of a site that repeats itself on purpose and is taught a map. Candidates come from our own detector, once
as it is and once with the temporal gap and the verification relaxed (as the table says), because as it is it lets hardly any false
one through. The map is then judged three ways on the same candidates: odometry alone, plain least squares (every candidate
believed), and GNC. The truth is looked at only afterwards: to count false candidates (a relative pose wrong by more than a metre or
10 degrees) and for the absolute trajectory errors.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from vloc_ros import config, runs
from vloc_ros.commands.common import progress
from vloc_ros.data.trajectory import read_tum
from vloc_ros.evaluation import Alignment, absolute_trajectory_error, align, plot_style
from vloc_ros.evaluation.output import make_folder
from vloc_ros.evaluation.trajectories import poses_at, travelled
from vloc_ros.geometry import se3
from vloc_ros.loop_closure.picture import LABEL_COLOURS, write_picture
from vloc_ros.loop_closure.search import LoopRun, find_loops
from vloc_ros.loop_closure.settings import LoopClosureSettings
from vloc_ros.mapping import MapStore
from vloc_ros.pose_graph import GncSettings, Label, solve_gnc
from vloc_ros.simulation import SimulatedRun
from vloc_ros.simulation.sites import SITES, Site

RELAXED = {
    "loops.gates.gap.keyframes": 4,
    "loops.gates.gap.seconds": 2.5,
    "loops.verification.min_inliers": 12,
    "loops.verification.min_ratio": 0.1,
}
FALSE_M, FALSE_RAD = 1.0, np.deg2rad(10.0)


@dataclass(frozen=True)
class Outcome:
    """The same candidates judged three ways: (N, 4, 4) poses, and whether each closure is false."""

    run: LoopRun
    truth: np.ndarray
    least_squares: np.ndarray
    false: np.ndarray

    @property
    def paths(self) -> dict[str, np.ndarray]:
        """Poses by name."""
        return {"odometry alone": self.run.odometry, "least squares": self.least_squares, "GNC": self.run.judgement.poses}

    def errors(self) -> dict[str, float]:
        """Absolute trajectory error of each path [m]."""
        return {name: absolute_trajectory_error(poses, self.truth).translation.rmse for name, poses in self.paths.items()}

    def labels(self, false: bool) -> dict[str, int]:
        """Labels of the false or of the true candidates."""
        closures = self.run.judgement.closures
        return dict(Counter(c.verdict.label.value for c, wrong in zip(closures, self.false, strict=True) if wrong == false))


def main() -> int:
    """Teach, search twice, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the figure")
    parser.add_argument("--site", choices=[site.name for site in SITES if "lookalike" in site.name], default="lookalike_loop_5")
    parser.add_argument("--length", type=float, default=120.0, help="of a lap [m] (default: 120)")
    parser.add_argument("--keep", type=Path, help="map to keep; when it exists already it is not taught again")
    parser.add_argument("--descriptor", default="auto", help="global descriptor (default: auto)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the relaxed search")
    parser.add_argument("--json", action="store_true", help="one JSON object per row")
    args = parser.parse_args()
    make_folder(args.out)
    with tempfile.TemporaryDirectory() as folder:
        path = args.keep or Path(folder) / "site.vloc"
        if not path.exists():
            teach(path, args.site, args.length)
        plain = config.replace(LoopClosureSettings(), {"loops.descriptor": args.descriptor})
        relaxed = config.replace(plain, RELAXED | config.parse_assignments(args.set))
        outcomes = {"as it is": examine(path, plain), "relaxed": examine(path, relaxed)}
    for name, outcome in outcomes.items():
        show(name, outcome, args.json)
    draw(args.out / "aliasing.png", outcomes["relaxed"])
    return 0


def teach(path: Path, name: str, length_m: float) -> None:
    """Two laps of a site."""
    site = next(site for site in SITES if site.name == name)
    world = Site(site.name, site.seed, length_m, site.shape, site.layout).build()
    drive = SimulatedRun(world, step_m=0.4, stop_m=2.0 * length_m, lateral_wander_m=0.25, seed=3, detail="fast")
    settings = LoopClosureSettings()
    with runs.new_map(path, drive, settings) as store:
        for result in progress(runs.teach(drive, store, settings), len(drive), "teach"):
            if result.reason is not None:
                raise SystemExit(f"teaching failed at {result.stamp_ns} ns: {result.reason.value}")
    runs.save_keyframe_truth(drive, path)


def examine(path: Path, settings: LoopClosureSettings) -> Outcome:
    """Find the loops of a map and judge them; the map keeps nothing but descriptors."""
    with MapStore.open(path) as store:
        run = find_loops(store, settings, progress=lambda keyframes: progress(keyframes, len(keyframes), "loops"))
    graph = run.judgement.of.graph
    believed = replace(graph, trusted=np.ones(len(graph.a), dtype=bool))
    least_squares = solve_gnc(believed, GncSettings(), start=run.odometry).poses
    stamps = np.array([keyframe.stamp_ns for keyframe in run.keyframes], dtype=np.int64)
    truth, known = poses_at(read_tum(runs.truth_file(path)), stamps, 0.001)
    if not known.all():
        raise SystemExit("the truth of some keyframes is unknown: delete the kept map")
    closures = slice(run.judgement.of.first_closure, None)
    ends = zip(graph.a[closures], graph.b[closures], graph.a_T_b[closures], strict=True)
    wrong = [se3.between(se3.between(truth[a], truth[b]), a_T_b) for a, b, a_T_b in ends]
    false = np.array([se3.translation_norm(e) > FALSE_M or se3.rotation_angle(e) > FALSE_RAD for e in wrong], dtype=bool)
    return Outcome(run, truth, least_squares, false)


def show(name: str, outcome: Outcome, as_json: bool) -> None:
    """One row: what was found, how it was labelled, and the errors."""
    errors = outcome.errors()
    row = {
        "search": name,
        "descriptor": outcome.run.descriptor,
        "keyframes": len(outcome.run.keyframes),
        "candidates": len(outcome.false),
        "false": int(outcome.false.sum()),
        "rejected": outcome.run.rejected,
        "labels_of_true": outcome.labels(False),
        "labels_of_false": outcome.labels(True),
        "ate_m": errors,
    }
    if as_json:
        sys.stdout.write(json.dumps(row) + "\n")
        return
    sys.stdout.write(
        f"{name}: {row['candidates']} candidates of {row['keyframes']} keyframes, {row['false']} of them false\n"
        f"  rejected pairs   {row['rejected']}\n"
        f"  labels of true   {row['labels_of_true']}\n  labels of false  {row['labels_of_false']}\n"
        + "".join(f"  ATE {path:<15} {error:.3f} m\n" for path, error in errors.items())
    )


def draw(path: Path, outcome: Outcome) -> None:
    """The three paths over the truth, the candidates by their label, and the errors along the way."""
    with plot_style.style():
        made = plot_style.figure(9.0)
        grid = made.add_gridspec(2, 2, height_ratios=(2.2, 1.0))
        left, right, below = made.add_subplot(grid[0, 0]), made.add_subplot(grid[0, 1]), made.add_subplot(grid[1, :])
        draw_paths(left, below, outcome)
        draw_candidates(right, outcome)
        for axes in (left, right):
            axes.plot(*outcome.truth[:, :2, 3].T, color=plot_style.PALE, linewidth=5.0, zorder=0, label="truth")
            axes.set_aspect("equal", adjustable="datalim")
            axes.set_xlabel("x [m]")
            axes.set_ylabel("y [m]")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncol=2)
    write_picture(path, made)


def draw_paths(above: Axes, below: Axes, outcome: Outcome) -> None:
    """Paths from above, and how far each is from the truth along the way."""
    errors, along = outcome.errors(), travelled(outcome.truth)
    for (name, poses), colour in zip(outcome.paths.items(), (plot_style.BLUE, plot_style.VERMILION, plot_style.GREEN), strict=True):
        aligned = align(poses, outcome.truth, Alignment.SE3).apply(poses)
        above.plot(*aligned[:, :2, 3].T, color=colour, linewidth=1.3, label=f"{name}: ATE {errors[name]:.3f} m")
        below.semilogy(along, np.linalg.norm((aligned - outcome.truth)[:, :3, 3], axis=1), color=colour, linewidth=1.3)
    above.set_title("Two laps past identical houses")
    below.set_title("Distance from the truth, each path aligned to it as a whole")
    below.set_xlabel("driven [m]")
    below.set_ylabel("[m]")


def draw_candidates(axes: Axes, outcome: Outcome) -> None:
    """Lines between the true places of the keyframes of each candidate."""
    graph, first = outcome.run.judgement.of.graph, outcome.run.judgement.of.first_closure
    labels = np.array([closure.verdict.label.value for closure in outcome.run.judgement.closures])
    for label in (Label.OUTLIER, Label.UNDECIDED, Label.INLIER):
        for false, line in ((True, "dashed"), (False, "solid")):
            which = first + np.flatnonzero((labels == label.value) & (outcome.false == false))
            if len(which):
                ends = outcome.truth[np.stack([graph.a[which], graph.b[which]], axis=1)][:, :, :2, 3]
                text = f"{len(which)} {'false' if false else 'true'}, labelled {label.value}"
                colour = LABEL_COLOURS[label]
                axes.add_collection(LineCollection(list(ends), colors=colour, linestyles=line, linewidths=1.1, label=text))
    axes.set_title("Candidates between the true places, by label")


if __name__ == "__main__":
    sys.exit(main())
