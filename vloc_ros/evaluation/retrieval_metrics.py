"""How good a list of retrieved images is: recall at N, and precision and recall of the best match over its score.

Definitions as in Zaffar et al., "VPR-Bench", IJCV 2021: a query is answered right when its best match shows its place; recall
is over the queries whose place is in the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RANKS = (1, 5, 10, 20)
NOT_FOUND = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Answers:
    """What a search answered, judged by the truth.

    Attributes:
        first_right: (Q,) int64 rank, from 0, of the best right answer, NOT_FOUND when there is none among those asked for.
        best_score: (Q,) float64 score of the best answer, -inf where there is none.
        known: (Q,) bool: the database has the place.
        failed: (Q,) bool: the query could not be read or described.
        hidden: (Q,) bool: nobody here knows the truth, so the answer is neither right nor wrong; None where all is known.
    """

    first_right: NDArray[np.int64]
    best_score: NDArray[np.float64]
    known: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    hidden: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.first_right)

    @property
    def judged(self) -> NDArray[np.bool_]:
        """(Q,) queries whose truth is known; that the database does not have the place is a truth, too."""
        return np.ones(len(self), dtype=bool) if self.hidden is None else ~self.hidden

    def of(self, chosen: NDArray[np.bool_]) -> Answers:
        """Those to some of the queries."""
        hidden = None if self.hidden is None else self.hidden[chosen]
        return Answers(self.first_right[chosen], self.best_score[chosen], self.known[chosen], self.failed[chosen], hidden)


def judge(
    rows: Sequence[NDArray[np.int64]],
    scores: Sequence[NDArray[Any]],
    truth: Sequence[NDArray[np.int64]],
    hidden: NDArray[np.bool_] | None = None,
) -> Answers:
    """Judge answers.

    Args:
        rows: for each query the rows of the database that were answered, best first; none when the query failed.
        scores: of those rows.
        truth: for each query the rows that show its place.
        hidden: (Q,) queries whose truth nobody knows, and for which ``truth`` has nothing.
    """
    first = np.full(len(rows), NOT_FOUND, dtype=np.int64)
    for query, (answered, right) in enumerate(zip(rows, truth, strict=True)):
        hits = np.flatnonzero(np.isin(answered, right))
        if len(hits):
            first[query] = hits[0]
    best = [float(found[0]) if len(found) else -np.inf for found in scores]
    known = [len(right) > 0 for right in truth]
    failed = [len(answered) == 0 for answered in rows]
    return Answers(first, np.array(best, dtype=np.float64), np.array(known, dtype=bool), np.array(failed, dtype=bool), hidden)


def pool(parts: Sequence[Answers]) -> Answers:
    """Answers of several data sets as one."""
    return Answers(
        np.concatenate([part.first_right for part in parts]),
        np.concatenate([part.best_score for part in parts]),
        np.concatenate([part.known for part in parts]),
        np.concatenate([part.failed for part in parts]),
        np.concatenate([~part.judged for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Precision (None when nothing is believed), recall and F1 at one threshold."""

    precision: float | None
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Precision and recall of the best match when only scores of at least a threshold are believed.

    Attributes:
        thresholds: (T,) float64, decreasing; all answers of one score are believed together.
        precision: (T,) right ones among those believed.
        recall: (T,) right ones among all queries whose place is in the database.
    """

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    @property
    def average_precision(self) -> float:
        """Sum of the precision times the steps of recall, without interpolation."""
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    @property
    def f1(self) -> NDArray[np.float64]:
        """(T,) harmonic mean of precision and recall, 0 where both are."""
        total = self.precision + self.recall
        return np.asarray(2.0 * self.precision * self.recall / np.where(total > 0.0, total, 1.0), dtype=np.float64)

    def at(self, threshold: float) -> OperatingPoint:
        """Precision, recall and F1 when scores of at least ``threshold`` are believed."""
        believed = int(np.count_nonzero(self.thresholds >= threshold))
        if believed == 0:
            return OperatingPoint(None, 0.0, 0.0)
        last = believed - 1
        return OperatingPoint(float(self.precision[last]), float(self.recall[last]), float(self.f1[last]))

    @property
    def recall_at_full_precision(self) -> float:
        """Largest recall without any wrong answer, 0 when the surest answer is wrong."""
        return float(self.recall[self.precision == 1.0].max(initial=0.0))


def precision_recall(answers: Answers) -> PrecisionRecall | None:
    """The curve, None when no query has its place in the database or none was answered."""
    answered = np.isfinite(answers.best_score) & answers.judged
    total = int(answers.known.sum())
    if total == 0 or not answered.any():
        return None
    order = np.argsort(-answers.best_score[answered], kind="stable")
    scores = answers.best_score[answered][order]
    right = np.cumsum(answers.first_right[answered][order] == 0)
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    return PrecisionRecall(scores[last], right[last] / (last + 1.0), right[last] / total)


@dataclass(frozen=True, slots=True)
class RetrievalSummary:
    """The numbers of one method; None where the data say nothing.

    Attributes:
        queries: all of them.
        unknown: those whose place the database does not have; every answer to them is wrong.
        hidden: those whose truth nobody knows; they count nowhere else.
        failed: those that could not be described.
        recall: share of the known queries with a right answer among the first N, by N.
        average_precision: area under the precision-recall curve of the best match.
        max_f1: its best F1.
        best_threshold: the score at which that is.
        recall_at_full_precision: recall before the first wrong answer.
    """

    queries: int
    unknown: int
    hidden: int
    failed: int
    recall: dict[int, float | None]
    average_precision: float | None
    max_f1: float | None
    best_threshold: float | None
    recall_at_full_precision: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "recall"}
        return values | {f"recall_at_{rank}": share for rank, share in self.recall.items()}


def summarise(answers: Answers) -> RetrievalSummary:
    """All numbers of some answers."""
    known, curve = answers.first_right[answers.known], precision_recall(answers)
    peak = None if curve is None else int(np.argmax(curve.f1))
    return RetrievalSummary(
        queries=len(answers),
        unknown=int(answers.judged.sum()) - len(known),
        hidden=int(np.count_nonzero(~answers.judged)),
        failed=int(answers.failed.sum()),
        recall={rank: float(np.mean(known < rank)) if len(known) else None for rank in RANKS},
        average_precision=None if curve is None else curve.average_precision,
        max_f1=None if curve is None else float(curve.f1.max()),
        best_threshold=None if curve is None or peak is None else float(curve.thresholds[peak]),
        recall_at_full_precision=None if curve is None else curve.recall_at_full_precision,
    )
