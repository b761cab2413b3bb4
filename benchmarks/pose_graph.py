"""Labels and time of the robust pose graph, beside gtsam and plain baselines, in one run.

    python benchmarks/pose_graph.py                                   # two laps, 1000 keyframes, 10 seeds
    python benchmarks/pose_graph.py --data ../shared/data/posegraphs  # public graphs with injected false closures

Each solve runs in a process of its own and is stopped at ``--limit`` seconds, which counts as a failure. gtsam's times are of its
``optimize()`` alone; ours are of the whole call, initial guess and factors included. Closures of the public files count as true.
Beside the labels, the largest squared Mahalanobis residual of an odometry edge tells whether odometry was bent or given up.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import gtsam
import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import DataError
from vloc_ros.pose_graph import GncMethod, GncSettings, Optimizer, PoseGraph, chi2_threshold, manifold, solve_gnc
from vloc_ros.pose_graph.anchors import odometry_poses
from vloc_ros.pose_graph.bare import bare_solver
from vloc_ros.pose_graph.factors import factor_table, from_values, to_values
from vloc_ros.pose_graph.files import read_graph
from vloc_ros.pose_graph.odometry_gate import odometry_view
from vloc_ros.pose_graph.synthetic import two_laps, with_false_closures

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

FILES = {
    "kitti_07": "sesync/kitti_07.g2o",
    "kitti_09": "sesync/kitti_09.g2o",
    "csail": "risam/experiments/datasets/csail/csail.g2o",
    "intel": "risam/experiments/datasets/intel/intel.g2o",
    "manhattan": "risam/experiments/datasets/manhattan/manhattanOlson3500.g2o",
    "sphere2500": "risam/experiments/datasets/sphere2500/sphere2500.g2o",
    "garage": "risam/experiments/datasets/garage/parking-garage.g2o",
}
SHARES = (0.1, 0.3, 0.5)
NEWTON, DAMPED = Optimizer.GAUSS_NEWTON, Optimizer.LEVENBERG_MARQUARDT


@dataclass(frozen=True)
class Answer:
    """What a method says: (M,) bool edges it believes, (N, d + 1, d + 1) poses, wall time [s]."""

    believed: Bools
    poses: Array
    seconds: float


def ours(graph: PoseGraph, settings: GncSettings) -> Answer:
    """The solver of this package."""
    solution = solve_gnc(graph, settings)
    return Answer(solution.weights > 0.5, solution.poses, solution.seconds)


def bare(graph: PoseGraph, optimizer: Optimizer, known: bool) -> Answer:
    """Gtsam's own GNC, with odometry as known inliers or (its default) with nothing known but the anchors."""
    poses = odometry_poses(graph)
    table = factor_table(graph, poses)
    slots = table.known_inliers(graph.trusted if known else np.zeros_like(graph.trusted))
    solver = bare_solver(table, poses, GncSettings(optimizer=optimizer), slots)
    begun = time.perf_counter()
    solved = from_values(solver.optimize(), graph.dimension)
    seconds = time.perf_counter() - begun
    return Answer(np.asarray(solver.getWeights())[table.slots] > 0.5, solved, seconds)


def least_squares(graph: PoseGraph) -> Answer:
    """Plain Levenberg-Marquardt on all edges; a closure is believed when its residual is below the threshold."""
    poses = odometry_poses(graph)
    table, values = factor_table(graph, poses), to_values(poses)
    begun = time.perf_counter()
    solved = from_values(gtsam.LevenbergMarquardtOptimizer(table.factors, values).optimize(), graph.dimension)
    seconds = time.perf_counter() - begun
    believed = graph.trusted | (residuals(graph, solved) < chi2_threshold(0.99, graph.freedoms))
    return Answer(believed, solved, seconds)


def gate(graph: PoseGraph) -> Answer:
    """No optimisation: a closure is believed when it is within the threshold of the odometry, under the drift's covariance."""
    begun = time.perf_counter()
    believed = odometry_view(graph).chi2 < chi2_threshold(0.99, graph.freedoms)
    return Answer(believed, odometry_poses(graph), time.perf_counter() - begun)


METHODS: dict[str, Callable[[PoseGraph], Answer]] = {
    "ours (reduced, GN)": lambda graph: ours(graph, GncSettings()),
    "ours (reduced, LM)": lambda graph: ours(graph, GncSettings(optimizer=DAMPED)),
    "ours (warm, GN)": lambda graph: ours(graph, GncSettings(method=GncMethod.WARM)),
    "ours, nothing held back": lambda graph: ours(graph, GncSettings(gate=0.0)),
    "gtsam GNC GN, known inliers": lambda graph: bare(graph, NEWTON, True),
    "gtsam GNC LM, known inliers": lambda graph: bare(graph, DAMPED, True),
    "gtsam GNC LM, defaults": lambda graph: bare(graph, DAMPED, False),
    "least squares + threshold": least_squares,
    "odometry gate": gate,
}


def residuals(graph: PoseGraph, poses: Array) -> Array:
    """(M,) squared Mahalanobis residuals."""
    return manifold.squared_mahalanobis(manifold.residuals(poses, graph.a, graph.b, graph.a_T_b), graph.information)


def limited(method: str, graph: PoseGraph, limit_s: float) -> Answer | str:
    """The answer of a method, or why there is none. In a process of its own: gtsam cannot be interrupted."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(method, graph, sender))
    child.start()
    sender.close()
    try:
        if not receiver.poll(limit_s):
            return f"> {limit_s:.0f} s"
        answer: Answer | str = receiver.recv()
        return answer
    except EOFError:
        return "died"
    finally:
        child.kill()
        child.join()


def _send(method: str, graph: PoseGraph, sender: Connection) -> None:
    try:
        sender.send(METHODS[method](graph))
    except (RuntimeError, DataError) as error:
        sender.send(f"failed: {' '.join(str(error).split())[:60]}")


@dataclass
class Row:
    """Sums over the graphs of one line of the table."""

    kept: int = 0
    true_kept: int = 0
    true: int = 0
    dropped: int = 0
    stretch: float = 0.0
    seconds: float = 0.0
    slowest: float = 0.0
    solved: int = 0
    failure: str = ""

    def add(self, graph: PoseGraph, is_true: Bools, answer: Answer | str) -> None:
        """One more graph; a failure counts its true closures as not found."""
        closures = ~graph.trusted
        self.true += int((closures & is_true).sum())
        if isinstance(answer, str):
            self.failure = answer
            return
        self.kept += int((closures & answer.believed).sum())
        self.true_kept += int((closures & answer.believed & is_true).sum())
        self.dropped += int((graph.trusted & ~answer.believed).sum())
        self.stretch = max(self.stretch, float(residuals(graph, answer.poses)[graph.trusted].max()))
        self.seconds += answer.seconds
        self.slowest = max(self.slowest, answer.seconds)
        self.solved += 1

    def text(self, name: str, graphs: int) -> str:
        """The line: precision, recall, odometry dropped, largest chi2 of odometry, mean and largest time, failures."""
        if self.solved == 0:
            return f"| {name} | - | - | - | - | - | - | {graphs} of {graphs} {self.failure} |"
        precision = self.true_kept / self.kept if self.kept else 1.0
        failures = f"{graphs - self.solved} of {graphs} {self.failure}".rstrip() if self.failure else f"0 of {graphs}"
        return (
            f"| {name} | {precision:.4f} | {self.true_kept / max(self.true, 1):.4f} | {self.dropped} | {self.stretch:.1f} "
            f"| {self.seconds / self.solved:.2f} | {self.slowest:.2f} | {failures} |"
        )


COLUMNS = ("method", "precision", "recall", "odometry dropped", "max odometry chi2", "mean s", "max s", "failures")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def compare(title: str, graphs: list[tuple[PoseGraph, Bools]], methods: list[str], limit_s: float) -> None:
    """Print the table of some graphs."""
    print(f"\n{title}\n{HEAD}", flush=True)
    for method in methods:
        row = Row()
        for graph, is_true in graphs:
            row.add(graph, is_true, limited(method, graph, limit_s))
        print(row.text(method, len(graphs)), flush=True)


def public(folder: Path, names: list[str], seed: int) -> Iterator[tuple[str, list[tuple[PoseGraph, Bools]]]]:
    """Public graphs with injected false closures; distant places are so in the least-squares solution of the clean file."""
    for name in names:
        graph = read_graph(folder / FILES[name])
        clean = replace(graph, trusted=np.ones(len(graph.a), dtype=bool))
        places = solve_gnc(clean, GncSettings(optimizer=DAMPED), graph.poses).poses
        size = f"{name}: {len(graph.ids)} poses, {int((~graph.trusted).sum())} closures"
        for share in SHARES:
            yield f"{size} + {share:.0%} false ones", [with_false_closures(graph, places, share, seed)]


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of public graphs")
    parser.add_argument("--graphs", nargs="+", default=list(FILES), choices=list(FILES), metavar="NAME", help="which of them")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="NAME", help="rows")
    parser.add_argument("--seeds", type=int, default=10, help="how many synthetic graphs")
    parser.add_argument("--keyframes", type=int, default=1000, help="a tenth as many closures are true, half of that false")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which a solve is stopped")
    args = parser.parse_args()
    if args.data is None:
        count, true = args.keyframes, args.keyframes // 10
        graphs = [two_laps(count, true, true // 2, seed) for seed in range(args.seeds)]
        title = f"two laps: {count} keyframes, {true} true and {true // 2} false closures, {args.seeds} seeds"
        compare(title, [(graph, is_true) for graph, _, is_true in graphs], args.methods, args.limit)
        return 0
    for title, items in public(args.data, args.graphs, seed=1):
        compare(title, items, args.methods, args.limit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
