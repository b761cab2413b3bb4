"""What one more loop closure costs as the map grows: the growing graph against a solution of everything, in one run.

python benchmarks/growth.py                    1000, 5000 and 20000 keyframes
python benchmarks/growth.py --sizes 1000 2000  (others)

Two laps of a synthetic circuit with one true closure for every ten keyframes and one false for every twenty, which come in
batches of 150, each of which is then solved and labelled. When all are in, five more come one by one: the table has the medians
of these, of the whole turn and of its parts, and the time of one warm solution of the graph with all its closures. All times are
processor time of this process (set OMP_NUM_THREADS=1), so that they can be had on a busy machine too. "path" is the
time to have the poses of 2000 keyframes, as many as the node publishes. Labels are compared with the truth at the end.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from vloc_ros.pose_graph import Label, PoseGraph
from vloc_ros.pose_graph.growing import GrowingGraph
from vloc_ros.pose_graph.intake import Candidate
from vloc_ros.pose_graph.settings import PoseGraphSettings
from vloc_ros.pose_graph.solving import solve_and_label
from vloc_ros.pose_graph.synthetic import two_laps

BATCH, EXTRA, PATH = 150, 5, 2000
SETTINGS = PoseGraphSettings()


@dataclass(frozen=True)
class Turn:
    """Seconds of processor time that one turn of the growing graph took, and how big its small graph was."""

    snapshot: float
    solve: float
    accept: float
    poses: int
    closures: int

    @property
    def total(self) -> float:
        return self.snapshot + self.solve + self.accept


def turn(growing: GrowingGraph) -> Turn:
    """Solve and label once, in this process."""
    times = [time.process_time()]
    snapshot = growing.snapshot()
    times.append(time.process_time())
    labelled = solve_and_label(snapshot.graph, SETTINGS, snapshot.graph.poses, snapshot.revision)
    times.append(time.process_time())
    growing.accept(snapshot, labelled.solution, labelled.verdicts)
    times.append(time.process_time())
    return Turn(*np.diff(times).tolist(), len(snapshot.graph.ids), len(snapshot.measured))


def candidates(graph: PoseGraph) -> list[Candidate]:
    """All edges of a graph, odometry first."""
    covariances = np.linalg.inv(graph.information)
    rows = zip(graph.a.tolist(), graph.b.tolist(), graph.a_T_b, covariances, strict=True)
    return [Candidate(a, b, pose, 0.5 * (c + c.T)) for a, b, pose, c in rows]


def row(size: int, seed: int, whole: bool) -> str:
    """One row of the table."""
    graph, _, is_true = two_laps(size, size // 10, size // 20, seed)
    edges = candidates(graph)
    growing = GrowingGraph()
    growing.add_keyframe(0, graph.poses[0])
    begun = time.process_time()
    for edge in edges[: size - 1]:
        growing.add_keyframe(edge.b, np.eye(4), edge)
    intake = (time.process_time() - begun) / size
    closures, true = edges[size - 1 :], is_true[size - 1 :]
    turns, most = [], 0.0
    for begin in tqdm(range(0, len(closures) - EXTRA, BATCH), desc=f"{size} keyframes", file=sys.stderr):
        for closure in closures[begin : min(begin + BATCH, len(closures) - EXTRA)]:
            growing.add_candidate(closure)
        most = max(most, turn(growing).total)
    for closure in closures[-EXTRA:]:
        growing.add_candidate(closure)
        turns.append(turn(growing))
    begun = time.process_time()
    poses = growing.poses(np.linspace(0, size - 1, min(PATH, size)).astype(int).tolist())
    path = time.process_time() - begun
    seconds = "not measured"
    if whole:
        start = growing.poses(range(size))
        begun = time.process_time()
        solve_and_label(graph, SETTINGS, start, 0)
        seconds = f"{time.process_time() - begun:.2f}"
    inlier = np.array([closure.verdict.label is Label.INLIER for closure in growing.closures])
    median = {name: float(np.median([getattr(t, name) for t in turns])) for name in ("total", "snapshot", "solve", "accept")}
    cells = [
        f"{size}",
        f"{len(closures)}",
        f"{turns[-1].poses} / {turns[-1].closures}",
        f"{median['total']:.2f}",
        f"{median['snapshot']:.2f} / {median['solve']:.2f} / {median['accept']:.2f}",
        f"{most:.2f}",
        seconds,
        f"{1e3 * intake:.2f}",
        f"{1e3 * path:.0f}",
        f"{np.mean(true[inlier]):.3f} / {np.mean(inlier[true]):.3f}",
    ]
    assert np.isfinite(poses).all()
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 5000, 20000], help="numbers of keyframes")
    parser.add_argument("--seed", type=int, default=1, help="of the graphs (default: 1)")
    parser.add_argument("--without-whole", action="store_true", help="leave out the solution of everything")
    options = parser.parse_args()
    head = (
        "keyframes",
        "closures",
        "solved: poses / closures",
        "one more closure [s]",
        "snapshot / solve / accept [s]",
        "slowest batch of 150 [s]",
        "everything, warm [s]",
        "keyframe taken in [ms]",
        "path [ms]",
        "precision / recall",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [row(size, options.seed, not options.without_whole) for size in options.sizes]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
