"""Methods of retrieval side by side by condition and area: the numbers behind the tables of long-term benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum, unique
from fnmatch import fnmatch
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.places import PlaceDataset
from vloc_ros.errors import ConfigError
from vloc_ros.evaluation.pose_thresholds import PUBLISHED, PoseErrorsOfAnswers, PoseThreshold, errors_of_answers
from vloc_ros.evaluation.rerank_metrics import Change, change, change_of
from vloc_ros.evaluation.retrieval_metrics import Answers, summarise


class Result(Protocol):
    """What a method answered, judged: with re-ranking or without."""

    @property
    def name(self) -> str:
        """Of the method."""

    @property
    def answers(self) -> Answers:
        """Over all data sets."""

    @property
    def ranked(self) -> list[list[NDArray[np.int64]]]:
        """By data set and query the rows of the database, best first; none for a failed query."""


@unique
class GroupKind(Enum):
    """What the queries of a column share."""

    AREA = "area"
    CONDITION = "condition"
    CHOSEN = "chosen"
    """A condition of several that the user named."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Group:
    """Queries that share a column.

    Attributes:
        name: of the condition, of the area, or what the user calls it.
        kind: which of these.
        members: (Q,) bool over the queries of all data sets.
    """

    name: str
    kind: GroupKind
    members: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class GroupNumbers:
    """How a method did on a group; None where the data say nothing.

    Attributes:
        queries: in the group.
        judged: those whose truth is known; all shares are of them.
        failed: those of all that could not be read or described. They count as wrong.
        recall: share of those whose place is in the database that have a right answer among the first N, by N.
        within: share that is given a pose so near to the true one; empty where the data have no poses.
        recall_change: best answers against those of the first method; None for that itself.
        within_change: queries that are so near against those of the first method; empty for that itself.
    """

    queries: int
    judged: int
    failed: int
    recall: dict[int, float | None]
    within: dict[PoseThreshold, float | None]
    recall_change: Change | None
    within_change: dict[PoseThreshold, Change]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and CSV."""
        values: dict[str, Any] = {"queries": self.queries, "judged": self.judged, "failed": self.failed}
        values |= {threshold.key: share for threshold, share in self.within.items()}
        values |= {f"recall_at_{rank}": share for rank, share in self.recall.items()}
        changes = {threshold.key: one for threshold, one in self.within_change.items()}
        if self.recall_change is not None:
            changes["recall_at_1"] = self.recall_change
        return values | {f"{key}.{name}": value for key, one in changes.items() for name, value in asdict(one).items()}


@dataclass(frozen=True, slots=True)
class ByCondition:
    """All methods on all groups.

    Attributes:
        groups: the columns.
        thresholds: of poses; empty where the data have none.
        numbers: by the name of each method, the first one first, for each group.
    """

    groups: tuple[Group, ...]
    thresholds: tuple[PoseThreshold, ...]
    numbers: dict[str, tuple[GroupNumbers, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "thresholds": [asdict(threshold) for threshold in self.thresholds],
            "groups": [{"name": group.name, "kind": group.kind.value} for group in self.groups],
            "methods": [{"method": name, "groups": [numbers.to_dict() for numbers in row]} for name, row in self.numbers.items()],
        }


def groups_of(datasets: Sequence[PlaceDataset], chosen: Mapping[str, Sequence[str]] | None = None) -> tuple[Group, ...]:
    """Areas and conditions, where there are several of them, what the user asks for, and all queries.

    Args:
        datasets: what was evaluated on.
        chosen: for each further group the patterns of the conditions in it, as in ``*foliage*``; capital letters do not matter.

    Raises:
        ConfigError: no condition fits a pattern.
    """
    areas = np.array([data.area for data in datasets for _ in data.queries])
    conditions = np.array([query.condition for data in datasets for query in data.queries])
    groups = []
    for kind, labels in ((GroupKind.AREA, areas), (GroupKind.CONDITION, conditions)):
        names = list(dict.fromkeys(labels.tolist()))
        groups += [Group(name or "not said", kind, labels == name) for name in names] if len(names) > 1 else []
    for name, patterns in (chosen or {}).items():
        fitting = [_fitting(pattern, conditions) for pattern in patterns]
        groups.append(Group(name, GroupKind.CHOSEN, np.any(fitting, axis=0)))
    return (*groups, Group("all", GroupKind.ALL, np.ones(len(conditions), dtype=bool)))


def by_condition(
    datasets: Sequence[PlaceDataset],
    results: Sequence[Result],
    groups: Sequence[Group],
    thresholds: Sequence[PoseThreshold] = PUBLISHED,
) -> ByCondition:
    """Judge results on groups; the first is what the others are compared with.

    Args:
        datasets: what was evaluated on, with the truth.
        results: one for each row.
        groups: of :func:`groups_of` the same data sets.
        thresholds: of poses, where the data have any.
    """
    limits = tuple(thresholds) if any(data.poses is not None for data in datasets) else ()
    errors = [_errors(result, datasets) for result in results]
    numbers = {
        result.name: tuple(_numbers(group, limits, (result, error), (results[0], errors[0])) for group in groups)
        for result, error in zip(results, errors, strict=True)
    }
    return ByCondition(tuple(groups), limits, numbers)


Judged = tuple[Result, PoseErrorsOfAnswers]


def _numbers(group: Group, thresholds: Sequence[PoseThreshold], judged: Judged, first: Judged) -> GroupNumbers:
    (result, errors), members = judged, group.members
    answers, other = result.answers.of(members), first[0].answers.of(members)
    counted = members & errors.judged
    is_first = result is first[0]
    return GroupNumbers(
        queries=len(answers),
        judged=int(answers.judged.sum()),
        failed=int(answers.failed.sum()),
        recall=summarise(answers).recall,
        within={threshold: errors.share(threshold, members) for threshold in thresholds},
        recall_change=None if is_first else change(other, answers),
        within_change={}
        if is_first
        else {limit: change_of(first[1].within(limit)[counted], errors.within(limit)[counted]) for limit in thresholds},
    )


def _errors(result: Result, datasets: Sequence[PlaceDataset]) -> PoseErrorsOfAnswers:
    parts = [errors_of_answers(rows, data) for rows, data in zip(result.ranked, datasets, strict=True)]
    return PoseErrorsOfAnswers.pooled(parts)


def _fitting(pattern: str, conditions: NDArray[np.str_]) -> NDArray[np.bool_]:
    found = np.array([fnmatch(name.lower(), pattern.lower()) for name in conditions.tolist()], dtype=bool)
    if not found.any():
        known = ", ".join(dict.fromkeys(conditions.tolist()))
        raise ConfigError(f"no query was taken in the condition '{pattern}'; there are: {known or 'none'}")
    return found
