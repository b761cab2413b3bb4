"""What the pose_graph node does between its topics: keeps the growing graph, has it solved, writes the map. Imports no ROS."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.diagnosis import Level
from vloc_ros.diagnosis.packages import GTSAM, check_package
from vloc_ros.errors import MapError, VlocError
from vloc_ros.geometry import se3
from vloc_ros.geometry.uncertainty import isotropic
from vloc_ros.mapping import Edge, EdgeKind, KeyframeId, MapStore
from vloc_ros.pose_graph.closure_book import Closure
from vloc_ros.pose_graph.growing import GrowingGraph, Snapshot
from vloc_ros.pose_graph.intake import Candidate, Intake, Rejection
from vloc_ros.pose_graph.settings import PoseGraphSettings
from vloc_ros.pose_graph.solver_process import SolveFailure, SolveOutcome, SolverProcess
from vloc_ros.ros import pose_graph_map
from vloc_ros.ros.pose_graph_map import as_candidate, keyframe_of, number_of
from vloc_ros.ros.pose_graph_settings import GraphNodeSettings
from vloc_ros.ros.problems import Problem, Problems

Array = NDArray[np.float64]

_LONGEST_WAIT_S = 300.0


@dataclass(frozen=True, slots=True)
class SolveStatistics:
    """Of the solutions so far."""

    solved: int = 0
    failed: int = 0
    last_seconds: float = 0.0
    longest_seconds: float = 0.0
    poses: int = 0
    closures: int = 0


class GraphKeeper:
    """The graph of the node. Every method runs in one thread, the worker's."""

    def __init__(self, settings: GraphNodeSettings, problems: Problems, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the solver's process, and read the map where there is one.

        Raises:
            MapError: the map exists, but cannot be read.
        """
        self._settings, self._problems, self._clock = settings, problems, clock
        self._path = Path(settings.map) if settings.map else None
        self.graph = GrowingGraph(settings.growth, clock)
        self.stamps: dict[int, int] = {}
        self.statistics = SolveStatistics()
        self.odometry_sources: Counter[str] = Counter()
        self._last: dict[int, tuple[int, Array]] = {}
        self._in_flight: Snapshot | None = None
        self._started = self._keyframe_at = -np.inf
        self._failures = 0
        self._forced = self._unwritten = False
        self._store: MapStore | None = None
        self._read: set[KeyframeId] = set()
        self.solver = SolverProcess(settings.solver.deadline, settings.solver.niceness)
        try:
            self._read_map()
        except VlocError:
            self.close()
            raise

    def tune(self, settings: GraphNodeSettings) -> None:
        """Take over the live ones of other settings; closures are judged anew where that may come out otherwise now."""
        judged = (settings.gnc, settings.labels) != (self._settings.gnc, self._settings.labels)
        self._forced, self._settings = self._forced or judged, settings

    def _read_map(self) -> None:
        if self._path is None or not self._path.exists():
            return
        self._store = MapStore.open(self._path, read_only=True)
        edges = self._store.edges()
        odometry = {edge.b: edge for edge in edges if edge.kind is EdgeKind.ODOMETRY}
        for keyframe in self._store.keyframes():
            self._add(keyframe.id, keyframe.stamp_ns, keyframe.map_T_base, odometry.get(keyframe.id))
            self._read.add(keyframe.id)
        for candidate in pose_graph_map.candidates_of(edges):
            self.graph.add_candidate(candidate)

    def keyframe(self, id: KeyframeId, stamp_ns: int, map_T_base: Array) -> Rejection | None:
        """A keyframe that has just been taught; why it was not taken."""
        self._keyframe_at = self._clock()
        if id in self._read:  # The topic repeats to late subscribers what the map has told already.
            self._read.remove(id)
            return None
        edge = self._odometry_in_map(id) or self._odometry_of_poses(id, map_T_base)
        return self._add(id, stamp_ns, map_T_base, edge)

    def _odometry_in_map(self, id: KeyframeId) -> Edge | None:
        if self._path is None:
            return None
        try:
            if self._store is not None and not self._store.in_place:  # removed or replaced: what has the name now is the map
                self._store.close()
                self._store = None
            if self._store is None and self._path.exists():
                self._store = MapStore.open(self._path, read_only=True)
            edge = None if self._store is None else pose_graph_map.odometry_to(self._store, id)
        except MapError as error:
            self._problems.report(Problem.MAP, str(error))
            return None
        if edge is not None:
            self.odometry_sources["map"] += 1
        return edge

    def _odometry_of_poses(self, id: KeyframeId, map_T_base: Array) -> Edge | None:
        """Motion from the last keyframe of the session by their poses, as sure as odometry is over that distance."""
        last = self._last.get(id.session)
        if last is None or last[0] >= id.keyframe:
            return None
        a_T_b = se3.between(last[1], map_T_base)
        drift = self._settings.odometry.drift_between(se3.translation_norm(a_T_b), se3.rotation_angle(a_T_b))
        covariance = drift + isotropic(1e-3, 1e-4)
        self.odometry_sources["poses"] += 1
        return Edge(KeyframeId(id.session, last[0]), id, EdgeKind.ODOMETRY, a_T_b, covariance)

    def _add(self, id: KeyframeId, stamp_ns: int, map_T_base: Array, edge: Edge | None) -> Rejection | None:
        reason = self.graph.add_keyframe(number_of(id), map_T_base, None if edge is None else as_candidate(edge))
        if reason is None:
            self.stamps[number_of(id)] = stamp_ns
            self._last[id.session] = id.keyframe, map_T_base
        return reason

    def candidate(self, a: KeyframeId, b: KeyframeId, a_T_b: Array, covariance: Array) -> Intake:
        """A candidate for a loop closure."""
        return self.graph.add_candidate(Candidate(number_of(a), number_of(b), a_T_b, covariance))

    def solve_now(self) -> str:
        """Have the graph solved at the next turn, whether or not it changed; what will happen, in a sentence.

        Raises:
            VlocError: there is nothing to solve.
        """
        if not self.graph.closures:
            raise VlocError("there is no loop closure in the graph yet; nothing to solve")
        self._forced = True
        after = "after the solution that is being computed" if self.solver.busy else "now"
        return f"the graph of {len(self.graph)} keyframes and {len(self.graph.closures)} closures is solved {after}"

    def turn(self) -> list[Closure] | None:
        """Take a finished solution and start the next one if it is time; never waits.

        Returns:
            The closures whose label is new or has changed; None when there is no new solution.
        """
        self.graph.drop_expired()
        outcome = self.solver.poll()
        changed = None if outcome is None else self._take(outcome)
        wanted = self._forced or (self.graph.needs_solving and self._clock() - self._started >= self._wait_s)
        if wanted and self.graph.closures and not self.solver.busy:
            self._forced, self._started = False, self._clock()
            self._in_flight = self.graph.snapshot()
            graph, settings = self._in_flight.graph, PoseGraphSettings(self._settings.gnc, self._settings.labels)
            self.solver.submit(graph, settings, graph.poses, self._in_flight.revision)
        return changed

    @property
    def _wait_s(self) -> float:
        """From the start of one solution to that of the next [s]; after failures ever longer, as they may fail again."""
        period = self._settings.solver.period
        return max(period, min(_LONGEST_WAIT_S, period * 2.0 ** min(self._failures, 30)))

    def _take(self, outcome: SolveOutcome) -> list[Closure] | None:
        snapshot, self._in_flight, old = self._in_flight, None, self.statistics
        if outcome.solution is None or snapshot is None:
            self._failures += 1
            self.graph.failed()
            self._problems.report(Problem.SOLVER, f"revision {outcome.revision} of the graph was not solved: {_cause(outcome)}")
            self.statistics = SolveStatistics(
                old.solved, old.failed + 1, old.last_seconds, old.longest_seconds, old.poses, old.closures
            )
            return None
        self._failures = 0
        self._problems.clear(Problem.SOLVER)
        numbers = self.graph.accept(snapshot, outcome.solution, outcome.verdicts)
        self.statistics = SolveStatistics(
            old.solved + 1,
            old.failed,
            outcome.seconds,
            max(old.longest_seconds, outcome.seconds),
            len(snapshot.graph.ids),
            len(snapshot.measured),
        )
        self._unwritten = True
        self.write_verdicts()
        return [self.graph.closures[number] for number in numbers]

    def write_verdicts(self) -> None:
        """Write measurements and verdicts into the map, unless they are there; what fails is reported and tried again."""
        if not self._unwritten or self._path is None or not self._settings.write_closures or not self._path.exists():
            return
        try:
            strange = pose_graph_map.write_verdicts(self._path, self.graph.closures)
        except MapError as error:
            self._problems.report(Problem.MAP, f"the verdicts were not written: {error}")
            return
        self._unwritten = False
        if strange:
            text = f"{strange} closures were not written: the map {self._path} does not hold their keyframes"
            self._problems.report(Problem.MAP, text)
        else:
            self._problems.clear(Problem.MAP)

    def apply(self, teaching: bool) -> str:
        """Write the optimised poses into the map; how many, in a sentence.

        Raises:
            VlocError: there is no map or no solution, or the map is being taught.
        """
        if self._path is None:
            raise VlocError("there is no map to write to: set the parameter 'map'")
        if teaching or self._clock() - self._keyframe_at < self._settings.apply_quiet:
            raise VlocError("the map is being taught; finish that first, as its poses follow each other")
        if not self.statistics.solved:
            raise VlocError("the graph has not been solved yet; there are no optimised poses")
        ids = [number for chain in self.graph.chains() for number in chain]
        poses = [se3.normalised(pose) for pose in self.graph.poses(ids)]
        pose_graph_map.write_poses(self._path, dict(zip(map(keyframe_of, ids), poses, strict=True)))
        return f"{len(ids)} poses of revision {self.graph.revision} were written to {self._path}"

    def close(self) -> None:
        """End the solver's process and close the map."""
        self.write_verdicts()
        self.solver.close()
        if self._store is not None:
            self._store.close()


def _cause(outcome: SolveOutcome) -> str:
    """Why there is no solution; a child that died may have died of a gtsam that does not fit NumPy."""
    if outcome.failure not in (SolveFailure.DIED, SolveFailure.NOT_STARTED):
        return outcome.text
    found = check_package(GTSAM)
    return outcome.text if found.level is Level.OK else f"{outcome.text}; {found.text}"
