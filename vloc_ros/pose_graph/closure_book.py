"""The loop closures of a growing graph with their verdicts, and which of them the next solution has to weigh."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vloc_ros.geometry.uncertainty import CHI2_6DOF_999, mahalanobis
from vloc_ros.pose_graph.chain import sandwich
from vloc_ros.pose_graph.intake import Candidate, Intake, Rejection
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict
from vloc_ros.pose_graph.manifold import adjoint, inverse, log
from vloc_ros.pose_graph.tracks import Tracks

Array = NDArray[np.float64]
_NOT_YET = Verdict(Label.UNDECIDED, 0.0, 0.0, 0, LabelReason.NOT_YET)
_MOST_FLIPS = 1000


@dataclass(slots=True)
class Closure:
    """A candidate that is in the graph.

    Attributes:
        number: its place in the book.
        measured: it.
        verdict: the last one.
        solutions: how many solutions have weighed this measurement.
    """

    number: int
    measured: Candidate
    verdict: Verdict = _NOT_YET
    solutions: int = 0


@dataclass(frozen=True, slots=True)
class Flip:
    """A closure whose label changed after it had been decided."""

    closure: int
    before: Verdict
    after: Verdict


@dataclass(slots=True)
class ClosureBook:
    """All closures by number, and by the pair that they join."""

    most_of_pair: int
    all: list[Closure] = field(default_factory=list)
    flips: deque[Flip] = field(default_factory=lambda: deque(maxlen=_MOST_FLIPS))
    flip_count: int = 0
    _pairs: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def add(self, candidate: Candidate) -> tuple[Intake, Rejection | None, int | None]:
        """Take a candidate of two known keyframes; what became of it, why not, and the number of its closure."""
        pair = min(candidate.a, candidate.b), max(candidate.a, candidate.b)
        of_pair = self._pairs.setdefault(pair, [])
        for number in of_pair:
            known = self.all[number].measured
            same = candidate if candidate.a == known.a else candidate.reversed()
            if _difference(known, same) > CHI2_6DOF_999:
                continue
            if np.linalg.slogdet(same.covariance)[1] >= np.linalg.slogdet(known.covariance)[1] - 1e-9:
                return Intake.REJECTED, Rejection.DUPLICATE, number
            self.all[number].measured, self.all[number].solutions = same, 0
            return Intake.REPLACED, None, number
        if len(of_pair) >= self.most_of_pair:
            return Intake.REJECTED, Rejection.TOO_MANY_OF_PAIR, None
        self.all.append(Closure(len(self.all), candidate))
        of_pair.append(len(self.all) - 1)
        return Intake.ADDED, None, len(self.all) - 1

    def judge(self, number: int, verdict: Verdict) -> bool:
        """Note a verdict; whether the label is another than before, or the first."""
        closure = self.all[number]
        before, closure.verdict = closure.verdict, verdict
        closure.solutions += 1
        if before.reason is LabelReason.NOT_YET:
            return True
        if before.label is verdict.label:
            return False
        self.flip_count += 1
        self.flips.append(Flip(number, before, verdict))
        return True

    @property
    def unweighed(self) -> bool:
        """Whether a closure has not been part of a solution yet."""
        return any(closure.solutions == 0 for closure in self.all)

    def counts(self) -> dict[Label, int]:
        """How many have each label."""
        return {label: sum(closure.verdict.label is label for closure in self.all) for label in Label}

    def distances(self, tracks: Tracks) -> Array:
        """(M,) squared Mahalanobis distance of each closure from where its keyframes are now believed to be."""
        measured = [closure.measured for closure in self.all]
        if not measured:
            return np.zeros(0)
        a, cov_a = tracks.at([tracks.places[c.a] for c in measured])
        b, cov_b = tracks.at([tracks.places[c.b] for c in measured])
        a_T_b = inverse(a) @ b
        total = np.array([c.covariance for c in measured]) + cov_b + sandwich(adjoint(inverse(a_T_b)), cov_a)
        xi = log(inverse(np.array([c.a_T_b for c in measured])) @ a_T_b)
        return np.asarray(np.einsum("mi,mi->m", xi, np.linalg.solve(total, xi[:, :, None])[:, :, 0]))

    def choose(self, tracks: Tracks, most: int, trials: int) -> list[int]:
        """The closures that the next solution weighs: all, or ``most`` of them.

        When there are too many: first those never weighed (the newest first), then undecided ones, then those whose label no
        longer fits where their keyframes are now, then those decided fewer than ``trials`` times; and accepted ones spread over
        the route, for which a quarter of the places is kept: they hold the map together.

        Args:
            tracks: where the keyframes are.
            most: how many.
            trials: how many solutions a decided closure takes part in before it may be left out.
        """
        if len(self.all) <= most:
            return list(range(len(self.all)))
        label = np.array([closure.verdict.label is Label.INLIER for closure in self.all])
        undecided = np.array([closure.verdict.label is Label.UNDECIDED for closure in self.all])
        solutions = np.array([closure.solutions for closure in self.all])
        misfit = (self.distances(tracks) > CHI2_6DOF_999) == label
        rank = np.select([solutions == 0, undecided, misfit, solutions < trials], [0, 1, 2, 3], default=4)
        newest_first = np.lexsort((-np.arange(len(rank)), rank))
        urgent = newest_first[rank[newest_first] < 4][:most].tolist()
        anchors = self._spread(tracks, np.flatnonzero(label & (rank == 4)), max(most - len(urgent), most // 4))
        return sorted(urgent[: most - len(anchors)] + anchors)

    def _spread(self, tracks: Tracks, numbers: NDArray[np.int64], most: int) -> list[int]:
        """At most so many of some closures, spread evenly over the pairs of places that they join."""
        pairs = [(self.all[n].measured.a, self.all[n].measured.b) for n in numbers.tolist()]
        ends = np.array([[*tracks.places[a], *tracks.places[b]] for a, b in pairs], dtype=np.int64).reshape(-1, 4)
        width, first = 1, np.arange(len(numbers))
        while len(first) > most:
            width *= 2
            cells = ends // np.array([1, width, 1, width])
            first = np.unique(cells, axis=0, return_index=True)[1]
        return [int(n) for n in numbers[first]]


def _difference(one: Candidate, other: Candidate) -> float:
    return mahalanobis(one.a_T_b, one.covariance, other.a_T_b, other.covariance)
