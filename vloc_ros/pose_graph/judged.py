"""A solved graph with its verdicts, as tables."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.pose_graph.gnc import GncSolution, solve_gnc
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.labelling import label_closures
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict
from vloc_ros.pose_graph.settings import PoseGraphSettings

LABEL_COLUMNS = ("id_a", "id_b", "label", "weight", "chi2", "reason")


@dataclass(frozen=True, slots=True)
class JudgedGraph:
    """A graph, its robust solution, and what that says of the closures.

    Attributes:
        graph: what was solved.
        solution: of it.
        verdicts: (M,) one for each edge, None for trusted ones.
    """

    graph: PoseGraph
    solution: GncSolution
    verdicts: list[Verdict | None]

    @property
    def optimised(self) -> PoseGraph:
        """The graph with the solved poses and without the closures that were labelled outliers."""
        keep = np.array([verdict is None or verdict.label is not Label.OUTLIER for verdict in self.verdicts], dtype=bool)
        graph = self.graph
        return replace(
            graph,
            poses=self.solution.poses,
            a=graph.a[keep],
            b=graph.b[keep],
            a_T_b=graph.a_T_b[keep],
            information=graph.information[keep],
            trusted=graph.trusted[keep],
        )

    def labels(self) -> NDArray[np.object_]:
        """(M,) label of each edge, None for trusted ones."""
        return np.array([None if verdict is None else verdict.label for verdict in self.verdicts], dtype=object)

    def counts(self) -> dict[Label, int]:
        """How many closures have each label."""
        found = Counter(verdict.label for verdict in self.verdicts if verdict is not None)
        return {label: found[label] for label in Label}

    def reasons(self) -> dict[LabelReason, int]:
        """How many closures have each reason; reasons that do not occur are left out."""
        found = Counter(verdict.reason for verdict in self.verdicts if verdict is not None)
        return {reason: found[reason] for reason in LabelReason if found[reason]}

    def rows(self) -> Iterator[tuple[int, int, str, str, str, str]]:
        """The closures as rows of :data:`LABEL_COLUMNS`, in the order of the graph."""
        for edge, verdict in enumerate(self.verdicts):
            if verdict is not None:
                a, b = int(self.graph.ids[self.graph.a[edge]]), int(self.graph.ids[self.graph.b[edge]])
                yield a, b, verdict.label.value, f"{verdict.weight:.6g}", f"{verdict.chi2:.6g}", verdict.reason.name.lower()

    def csv(self) -> str:
        """The rows as CSV with a header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(LABEL_COLUMNS)
        writer.writerows(self.rows())
        return text.getvalue()

    def summary(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        return {
            "poses": len(self.graph.ids),
            "odometry_edges": int(self.graph.trusted.sum()),
            "closures": int((~self.graph.trusted).sum()),
            **{f"{label.value}s" if label is not Label.UNDECIDED else label.value: n for label, n in self.counts().items()},
            "reasons": {reason.name.lower(): count for reason, count in self.reasons().items()},
            "max_odometry_chi2": float(self.solution.chi2[self.graph.trusted].max(initial=0.0)),
            "iterations": self.solution.iterations,
            "converged": self.solution.converged,
            "seconds": self.solution.seconds,
        }


def judge_graph(graph: PoseGraph, settings: PoseGraphSettings, revision: int = 1) -> JudgedGraph:
    """Solve a graph from its odometry and label its closures.

    Raises:
        DataError: the graph cannot be solved.
    """
    solution = solve_gnc(graph, settings.gnc)
    return JudgedGraph(graph, solution, label_closures(graph, solution, settings.labels, revision))
