"""What a report shows of one place recognition model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.evaluation.place_queries import PlaceQueries
from vloc_ros.evaluation.retrieval_metrics import Answers

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ModelEvidence:
    """What is shown of one model.

    Attributes:
        name: of the model.
        queries: held-out similarities, and what they are judged by.
        answers: of these queries.
        confidences: (Q,) claimed probabilities that the best match is right, by the name of the way that they are made; the
            baseline first.
    """

    name: str
    queries: PlaceQueries
    answers: Answers
    confidences: Mapping[str, Array]

    @classmethod
    def of(cls, name: str, queries: PlaceQueries, confidences: Mapping[str, Array]) -> ModelEvidence:
        """With the answers worked out."""
        return cls(name, queries, queries.answers(), confidences)

    @property
    def usable(self) -> dict[str, Array]:
        """The confidences that are probabilities for all queries; those of a broken model may not be, and it must be shown, too."""
        return {way: values for way, values in self.confidences.items() if np.all((values >= 0.0) & (values <= 1.0))}

    @property
    def right(self) -> NDArray[np.bool_]:
        """(Q,) bool: the best match is right."""
        return np.asarray(self.answers.first_right == 0, dtype=bool)
