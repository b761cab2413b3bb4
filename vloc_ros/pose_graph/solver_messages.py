"""What the solver's process is asked, and what it answers, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from vloc_ros.config import from_dict, to_dict
from vloc_ros.pose_graph.gnc import GncSettings, GncSolution
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict
from vloc_ros.pose_graph.wire import Message

_START, _SOLUTION = "start_", "solution_"
_LABELS, _REASONS = tuple(Label), tuple(LabelReason)
_NONE = -1


@dataclass(frozen=True, slots=True)
class SolveRequest:
    """A graph to solve and label.

    Attributes:
        graph: it.
        settings: of the solver.
        start: the last solution of a graph like it, to start from; None: start from ``graph.poses``.
        revision: number that the verdicts shall bear.
    """

    graph: PoseGraph
    settings: GncSettings
    start: GncSolution | None = None
    revision: int = 0


@dataclass(frozen=True, slots=True)
class SolveAnswer:
    """A solution and the verdict on each edge (None for trusted ones)."""

    solution: GncSolution
    verdicts: list[Verdict | None]


def request_to_message(request: SolveRequest) -> Message:
    """For the way to the solver."""
    arrays = {field.name: getattr(request.graph, field.name) for field in fields(PoseGraph)}
    meta = {"settings": to_dict(request.settings), "revision": request.revision, "start": None}
    if request.start is not None:
        meta["start"], of_start = _solution_parts(request.start, _START)
        arrays |= of_start
    return Message(meta, arrays)


def request_from_message(message: Message) -> SolveRequest:
    """Inverse of :func:`request_to_message`.

    Raises:
        DataError: the graph is not one.
        ConfigError: a setting is wrong.
    """
    graph = PoseGraph(**{field.name: message.arrays[field.name] for field in fields(PoseGraph)})
    start = None if message.meta["start"] is None else _solution(message.meta["start"], message, _START)
    return SolveRequest(graph, from_dict(GncSettings, message.meta["settings"]), start, int(message.meta["revision"]))


def answer_to_message(answer: SolveAnswer) -> Message:
    """For the way back."""
    numbers, arrays = _solution_parts(answer.solution, _SOLUTION)
    given = answer.verdicts
    arrays["label"] = np.array([_NONE if v is None else _LABELS.index(v.label) for v in given], dtype=np.int8)
    arrays["reason"] = np.array([_NONE if v is None else _REASONS.index(v.reason) for v in given], dtype=np.int8)
    pairs = [(0.0, 0.0, 0) if v is None else (v.weight, v.chi2, v.revision) for v in given]
    arrays["verdict"] = np.array(pairs, dtype=np.float64).reshape(-1, 3)
    return Message({"solution": numbers}, arrays)


def answer_from_message(message: Message) -> SolveAnswer:
    """Inverse of :func:`answer_to_message`."""
    columns = (message.arrays[name].tolist() for name in ("label", "reason", "verdict"))
    verdicts = [
        None if label == _NONE else Verdict(_LABELS[label], weight, chi2, int(revision), _REASONS[reason])
        for label, reason, (weight, chi2, revision) in zip(*columns, strict=True)
    ]
    return SolveAnswer(_solution(message.meta["solution"], message, _SOLUTION), verdicts)


def _solution_parts(solution: GncSolution, prefix: str) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    values = {field.name: getattr(solution, field.name) for field in fields(GncSolution)}
    arrays = {prefix + name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    return {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}, arrays


def _solution(numbers: dict[str, float], message: Message, prefix: str) -> GncSolution:
    arrays = {name.removeprefix(prefix): value for name, value in message.arrays.items() if name.startswith(prefix)}
    return GncSolution(**numbers, **arrays)  # type: ignore[arg-type]
