"""A pose graph that grows with the map while its closures are labelled; the cost of a solution stays bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.pose_graph.closure_book import Closure, ClosureBook
from vloc_ros.pose_graph.condensed import Condensed, condense
from vloc_ros.pose_graph.gnc import GncSolution
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.intake import Candidate, Intake, Rejection, Rejections, WaitingRoom, fault
from vloc_ros.pose_graph.joining import align, fits, unchecked
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict
from vloc_ros.pose_graph.links import Link
from vloc_ros.pose_graph.tracks import Tracks

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GrowthSettings:
    """Bounds of a growing pose graph."""

    max_closures: int = param(
        200, "closures that one solution weighs: all while there are no more, then new, doubtful and well spread ones", min=4
    )
    trials: int = param(3, "solutions that a decided closure takes part in before it may be left out of the next ones", min=1)
    max_span: int = param(50, "longest chain of odometry that is taken as one edge, in keyframes", min=1)
    max_of_pair: int = param(5, "measurements of one pair of keyframes that contradict each other and are all kept", min=1)
    max_waiting: int = param(1000, "candidates that may wait for keyframes which have not come yet", min=0)
    max_wait: float = param(60.0, "how long they may wait", unit="s", min=0.0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one solution is about.

    Attributes:
        revision: of the graph, and of the verdicts that come of it.
        condensed: the graph to solve, with the current estimate as its start.
        measured: the candidates that it weighs, in the order of ``condensed.closures``.
    """

    revision: int
    condensed: Condensed
    measured: list[Candidate]

    @property
    def graph(self) -> PoseGraph:
        """The graph to solve."""
        return self.condensed.graph


class GrowingGraph:
    """Keyframes with odometry and candidates go in; small graphs to solve come out; their solutions are taken back.

    The first keyframe of all holds the world, once: no prior is ever added. Use it from one thread.
    """

    def __init__(self, settings: GrowthSettings | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """An empty graph; ``clock`` tells the time [s] by which waiting candidates grow old."""
        self._settings, self._clock = settings or GrowthSettings(), clock
        self._tracks, self._links = Tracks(), list[Link]()
        self._book = ClosureBook(self._settings.max_of_pair)
        self._waiting = WaitingRoom(self._settings.max_waiting, self._settings.max_wait)
        self.rejections = Rejections()
        self.duplicates_replaced = 0
        self.revision = 0
        self._changed = False

    def __len__(self) -> int:
        """Number of keyframes."""
        return len(self._tracks.places)

    @property
    def closures(self) -> Sequence[Closure]:
        """All closures with their verdicts, by number."""
        return self._book.all

    @property
    def book(self) -> ClosureBook:
        """The closures, with the record of flips."""
        return self._book

    @property
    def waiting(self) -> int:
        """Candidates that wait for a keyframe."""
        return len(self._waiting)

    @property
    def needs_solving(self) -> bool:
        """Whether there are closures that the last solution did not know."""
        return self._changed

    def failed(self) -> None:
        """The last snapshot found no solution: what it knew is to be solved again."""
        self._changed = True

    def add_keyframe(self, id: int, world_T_keyframe: Array, odometry: Candidate | None = None) -> Rejection | None:
        """Add a keyframe.

        Args:
            id: its name.
            world_T_keyframe: (4, 4) a first guess of its pose; it only counts for the first keyframe of a session.
            odometry: the measured motion from a known keyframe (a) to this one (b); None for the first of a session.

        Returns:
            Why it was not taken; None when it was.
        """
        reason = self._keyframe_fault(id, world_T_keyframe, odometry)
        if reason is not None:
            self.rejections.add(reason, id, id)
            return reason
        if odometry is None:
            self._tracks.begin(id, world_T_keyframe)
        else:
            self._follow(id, odometry)
        for candidate in self._waiting.take(id):
            self.add_candidate(candidate)
        return None

    def _keyframe_fault(self, id: int, pose: Array, odometry: Candidate | None) -> Rejection | None:
        if id in self._tracks.places:
            return Rejection.KEYFRAME_KNOWN
        if odometry is None:
            return fault(pose, None)
        if odometry.a == odometry.b:
            return Rejection.SELF_LOOP
        if odometry.a not in self._tracks.places:
            return Rejection.UNKNOWN_KEYFRAME
        return fault(odometry.a_T_b, odometry.covariance)

    def _follow(self, id: int, odometry: Candidate) -> None:
        place = self._tracks.places[odometry.a]
        if place.row == len(self._tracks.all[place.chain].ids) - 1:
            self._tracks.extend(place.chain, id, odometry.a_T_b, odometry.covariance)
            return
        poses, _ = self._tracks.at([place])
        self._tracks.begin(id, poses[0] @ odometry.a_T_b)
        self._links.append(Link(place, self._tracks.places[id], odometry.a_T_b, odometry.covariance))

    def add_candidate(self, candidate: Candidate) -> Intake:
        """Add a candidate for a loop closure; ``rejections`` tells why one was rejected."""
        reason = Rejection.SELF_LOOP if candidate.a == candidate.b else fault(candidate.a_T_b, candidate.covariance)
        if reason is None and not {candidate.a, candidate.b} <= self._tracks.places.keys():
            if self._waiting.put(candidate, self._clock()):
                return Intake.WAITING
            reason = Rejection.TOO_MANY_WAITING
        if reason is not None:
            self.rejections.add(reason, candidate.a, candidate.b)
            return Intake.REJECTED
        intake, reason, _ = self._book.add(candidate)
        if reason is not None:
            self.rejections.add(reason, candidate.a, candidate.b)
        else:
            self._changed = True
            self.duplicates_replaced += intake is Intake.REPLACED
        return intake

    def drop_expired(self) -> None:
        """Reject the candidates that have waited too long for their keyframes."""
        for candidate in self._waiting.expired(self._clock()):
            self.rejections.add(Rejection.UNKNOWN_KEYFRAME, candidate.a, candidate.b)

    def snapshot(self) -> Snapshot:
        """The graph to solve now. Its cost does not grow with the number of closures once there are ``max_closures``.

        Raises:
            IndexError: there is no keyframe.
        """
        align(self._tracks, self._links, self._book.all)
        numbers = self._book.choose(self._tracks, self._settings.max_closures, self._settings.trials)
        measured = [self._book.all[number].measured for number in numbers]
        weighed = list(zip(numbers, measured, strict=True))
        self.revision += 1
        self._changed = False
        return Snapshot(self.revision, condense(self._tracks, self._links, weighed, self._settings.max_span), measured)

    def accept(self, snapshot: Snapshot, solution: GncSolution, verdicts: Sequence[Verdict | None]) -> list[int]:
        """Take a solution back.

        Args:
            snapshot: what was solved.
            solution: of its graph.
            verdicts: on its edges, None for trusted ones.

        Returns:
            Numbers of the closures whose label is new, or another than before.
        """
        condensed = snapshot.condensed
        for track, rows, first in zip(self._tracks.all, condensed.rows, condensed.first, strict=False):
            track.rows, track.poses = rows, solution.poses[first : first + len(rows)].copy()
        of_closures = verdicts[len(verdicts) - len(condensed.closures) :]
        proposed = [
            Closure(number, measured, verdict)
            for number, measured, verdict in zip(condensed.closures, snapshot.measured, of_closures, strict=True)
            if verdict is not None
        ]
        alone = unchecked(self._tracks, self._links, [*proposed, *self._left_out({c.number for c in proposed})])
        changed = []
        for closure in proposed:
            if self._book.all[closure.number].measured is not closure.measured:
                continue  # replaced while the solver was at it
            verdict = closure.verdict
            if closure.number in alone:
                verdict = replace(verdict, label=Label.UNDECIDED, reason=LabelReason.UNCHECKED)
            elif fits(verdict):  # also where only closures that this solution left out could have contradicted it
                verdict = replace(verdict, label=Label.INLIER, reason=LabelReason.AGREES)
            if self._book.judge(closure.number, verdict):
                changed.append(closure.number)
        self._changed = self._changed or self._book.unweighed
        return changed

    def _left_out(self, weighed: set[int]) -> list[Closure]:
        return [closure for closure in self._book.all if closure.number not in weighed]

    def poses(self, ids: Sequence[int]) -> Array:
        """(M, 4, 4) best poses of known keyframes in the world."""
        return self._tracks.at([self._tracks.places[id] for id in ids])[0]

    def chains(self) -> list[list[int]]:
        """Names of the keyframes of each chain of odometry, in order."""
        return [track.ids for track in self._tracks.all]
