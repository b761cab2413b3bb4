"""What the solver's process is asked, and what it answers, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import from_dict, to_dict
from vloc_ros.pose_graph.gnc import GncSolution
from vloc_ros.pose_graph.graph import PoseGraph
from vloc_ros.pose_graph.labels import Label, LabelReason, Verdict
from vloc_ros.pose_graph.settings import PoseGraphSettings
from vloc_ros.pose_graph.solving import LabelledSolution
from vloc_ros.pose_graph.wire import Message

Array = NDArray[np.float64]
_START, _SOLUTION = "start", "solution_"
_LABELS, _REASONS = tuple(Label), tuple(LabelReason)
_NONE = -1


@dataclass(frozen=True, slots=True)
class SolveRequest:
    """A graph to solve and label.

    Attributes:
        graph: it.
        settings: of the solver and the labels.
        start: (N, d + 1, d + 1) poses to start from; None: the solver integrates the odometry.
        revision: number that the verdicts shall bear.
    """

    graph: PoseGraph
    settings: PoseGraphSettings
    start: Array | None = None
    revision: int = 0


def request_to_message(request: SolveRequest) -> Message:
    """For the way to the solver."""
    arrays = {field.name: getattr(request.graph, field.name) for field in fields(PoseGraph)}
    meta = {"settings": to_dict(request.settings), "revision": request.revision}
    if request.start is not None:
        arrays[_START] = request.start
    return Message(meta, arrays)


def request_from_message(message: Message) -> SolveRequest:
    """Inverse of :func:`request_to_message`.

    Raises:
        DataError: the graph is not one.
        ConfigError: a setting is wrong.
    """
    graph = PoseGraph(**{field.name: message.arrays[field.name] for field in fields(PoseGraph)})
    settings, revision = from_dict(PoseGraphSettings, message.meta["settings"]), int(message.meta["revision"])
    return SolveRequest(graph, settings, message.arrays.get(_START), revision)


def answer_to_message(answer: LabelledSolution) -> Message:
    """For the way back."""
    values = {field.name: getattr(answer.solution, field.name) for field in fields(GncSolution)}
    arrays = {_SOLUTION + name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    numbers = {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}
    given = answer.verdicts
    arrays["label"] = np.array([_NONE if v is None else _LABELS.index(v.label) for v in given], dtype=np.int8)
    arrays["reason"] = np.array([_NONE if v is None else _REASONS.index(v.reason) for v in given], dtype=np.int8)
    pairs = [(0.0, 0.0, 0) if v is None else (v.weight, v.chi2, v.revision) for v in given]
    arrays["verdict"] = np.array(pairs, dtype=np.float64).reshape(-1, 3)
    return Message({"solution": numbers}, arrays)


def answer_from_message(message: Message) -> LabelledSolution:
    """Inverse of :func:`answer_to_message`."""
    columns = (message.arrays[name].tolist() for name in ("label", "reason", "verdict"))
    verdicts = [
        None if label == _NONE else Verdict(_LABELS[label], weight, chi2, int(revision), _REASONS[reason])
        for label, reason, (weight, chi2, revision) in zip(*columns, strict=True)
    ]
    arrays = {name.removeprefix(_SOLUTION): value for name, value in message.arrays.items() if name.startswith(_SOLUTION)}
    parts: dict[str, Any] = {**message.meta["solution"], **arrays}
    return LabelledSolution(GncSolution(**parts), verdicts)
