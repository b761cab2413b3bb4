"""What re-ranking is worth, judged by the truth: queries it put right and wrong, and whether its acceptance can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from vloc_ros.errors import DataError
from vloc_ros.evaluation.retrieval_metrics import Answers
from vloc_ros.retrieval import Reranked


@dataclass(frozen=True, slots=True)
class Change:
    """The best answers of the same queries before and after re-ranking.

    Attributes:
        won: queries whose best answer was wrong and is right.
        lost: queries whose best answer was right and is wrong.
        p_value: of a difference at least so large if re-ranking put right and wrong with equal chance: two-sided sign test
            (McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12, 1947, in
            its exact form). It takes queries for independent, which neighbours on a route are not. 1 where nothing changed.
    """

    won: int
    lost: int
    p_value: float


def change(before: Answers, after: Answers) -> Change:
    """Compare answers to the same queries; those whose place is not in the database have no right answer and do not count.

    Raises:
        DataError: they are not of the same queries.
    """
    if len(before) != len(after) or not np.array_equal(before.known, after.known):
        raise DataError(f"answers to {len(before)} queries cannot be compared with answers to {len(after)} others")
    return change_of(*(answers.first_right[answers.known] == 0 for answers in (before, after)))


def change_of(was: NDArray[np.bool_], now: NDArray[np.bool_]) -> Change:
    """Compare which of the same (Q,) queries are right."""
    won, lost = int(np.count_nonzero(~was & now)), int(np.count_nonzero(was & ~now))
    return Change(won, lost, float(binomtest(won, won + lost).pvalue) if won + lost else 1.0)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What is left when only an accepted candidate is an answer; None where the data say nothing.

    Attributes:
        none: share of all queries that are answered "none of them".
        none_unknown: the same of the queries whose place is not in the database, where it is the right answer.
        precision: right answers among those given.
        recall: right answers among the queries whose place is in the database.
    """

    none: float | None
    none_unknown: float | None
    precision: float | None
    recall: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {f"accepted_{name}" if name in ("precision", "recall") else name: value for name, value in asdict(self).items()}


def accepted_answer(answer: Reranked[int] | None) -> int | None:
    """The first accepted candidate in the new order; None for "none of them", and for a query without an answer."""
    if answer is None:
        return None
    return next((id for id, accepted in zip(answer.ids, answer.accepted, strict=False) if accepted), None)


def acceptance(answers: Sequence[Reranked[int] | None], truth: Sequence[NDArray[np.int64]]) -> Acceptance:
    """Judge what was accepted.

    Args:
        answers: for each query; None where it failed, which is no answer, but not "none of them" either.
        truth: for each query the rows of the database that show its place.
    """
    chosen = [accepted_answer(answer) for answer in answers]
    given = [row is not None for row in chosen]
    none = [answer is not None and row is None for answer, row in zip(answers, chosen, strict=True)]
    right = [row is not None and bool(np.isin(row, rows)) for row, rows in zip(chosen, truth, strict=True)]
    known = [len(rows) > 0 for rows in truth]
    unknown_none = [silent for silent, there in zip(none, known, strict=True) if not there]
    return Acceptance(
        none=_share(sum(none), len(answers)),
        none_unknown=_share(sum(unknown_none), len(unknown_none)),
        precision=_share(sum(right), sum(given)),
        recall=_share(sum(right), sum(known)),
    )


def _share(part: int, total: int) -> float | None:
    return part / total if total else None
