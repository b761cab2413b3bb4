"""Conditions of pictures in an evaluation: whether what searches is told them, and how well it finds them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, unique
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.places import Picture, PlaceDataset
from vloc_ros.networks.disam_form import DisamForm


@unique
class Conditions(Enum):
    """Whether what searches is told in which conditions pictures were taken."""

    INFERRED = "inferred"
    """It is not told, as on a robot: a descriptor that knows conditions finds them out."""
    GIVEN = "given"
    """It is, for the queries and for the database."""


@runtime_checkable
class InfersConditions(Protocol):
    """A descriptor that finds out in which of its conditions an image was taken."""

    @property
    def form(self) -> DisamForm:
        """Says which conditions it knows."""

    def infer(self, images: Sequence[Image]) -> list[str]:
        """The condition of each image."""


def told(datasets: Sequence[PlaceDataset], conditions: Conditions) -> list[PlaceDataset]:
    """The data sets as what searches may see them: without the conditions of the pictures, where it has to infer them."""
    if conditions is Conditions.GIVEN:
        return list(datasets)

    def without(pictures: Sequence[Picture]) -> tuple[Picture, ...]:
        return tuple(replace(picture, condition="") for picture in pictures)

    return [replace(data, queries=without(data.queries), database=without(data.database)) for data in datasets]


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a descriptor took the conditions of queries for.

    Attributes:
        labels: the conditions in which queries were taken, one for each row.
        names: what they were taken for, one for each column.
        counts: (L, N) int64 queries.
        known: conditions that the descriptor knows; it cannot be right about others.
    """

    labels: tuple[str, ...]
    names: tuple[str, ...]
    counts: NDArray[np.int64]
    known: tuple[str, ...]

    @property
    def right(self) -> float | None:
        """Share of the queries in a condition that the descriptor knows which it found out; None without any."""
        rows = [k for k, label in enumerate(self.labels) if label in self.known]
        total = int(self.counts[rows].sum())
        hits = sum(int(self.counts[k, self.names.index(self.labels[k])]) for k in rows if self.labels[k] in self.names)
        return hits / total if total else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "right": self.right,
            "counts": {
                label: dict(zip(self.names, row.tolist(), strict=True)) for label, row in zip(self.labels, self.counts, strict=True)
            },
        }


def confusion(labels: Sequence[str], inferred: Sequence[str], known: Sequence[str]) -> Inferred | None:
    """Count what was inferred; None where no query has a label and was looked at.

    Args:
        labels: in which condition each query was taken, empty where nobody says.
        inferred: what was inferred of each, empty where it could not be read.
        known: conditions that the descriptor knows.
    """
    pairs = [(label, name) for label, name in zip(labels, inferred, strict=True) if label and name]
    rows = list(dict.fromkeys(label for label, _ in pairs))
    columns = [*(name for name in rows if name in known), *(name for name in known if name not in rows)]
    counts = np.zeros((len(rows), len(columns)), dtype=np.int64)
    for label, name in pairs:
        counts[rows.index(label), columns.index(name)] += 1
    return Inferred(tuple(rows), tuple(columns), counts, tuple(known)) if pairs else None
