"""How near the pose that a query is given comes to its true one, by the thresholds of the long-term benchmark.

The query receives the pose of the best picture of the database. Thresholds as in Sattler et al., "Benchmarking 6DOF Outdoor Visual
Localization in Changing Conditions", CVPR 2018: shares of the queries within 0.25 m and 2 deg, 0.5 m and 5 deg, 5 m and 10 deg.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.places import PlaceDataset
from vloc_ros.errors import ConfigError
from vloc_ros.geometry.se3 import between, rotation_angle


@dataclass(frozen=True, slots=True)
class PoseThreshold:
    """Both must hold for a query to count.

    Attributes:
        metres: largest distance of the position.
        degrees: largest angle of the rotation.
    """

    metres: float
    degrees: float

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.metres:g} m {self.degrees:g}°"

    @property
    def key(self) -> str:
        """For JSON and CSV."""
        return f"within_{self.metres:g}m_{self.degrees:g}deg"


PUBLISHED = (PoseThreshold(0.25, 2.0), PoseThreshold(0.5, 5.0), PoseThreshold(5.0, 10.0))


def thresholds_of(text: str) -> tuple[PoseThreshold, ...]:
    """``0.25:2,0.5:5`` as thresholds [m:deg].

    Raises:
        ConfigError: the text is of another form, a number is not positive, or one pair is given twice.
    """
    found = []
    for part in text.split(","):
        try:
            metres, degrees = (float(number) for number in part.split(":"))
        except ValueError:
            metres = degrees = math.nan
        if not (0.0 < metres < math.inf and 0.0 < degrees <= 180.0):
            raise ConfigError(f"'{part}' is no threshold of metres and degrees: give them as 0.25:2,0.5:5,5:10")
        found.append(PoseThreshold(metres, degrees))
    if len(set(found)) < len(found):
        raise ConfigError(f"'{text}' has a threshold twice: give each once")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class PoseErrorsOfAnswers:
    """Of the poses that queries were given.

    Attributes:
        metres: (Q,) float64 distance to the true position, infinite where there is no answer, NaN where the truth is secret.
        degrees: (Q,) float64 angle to the true rotation, likewise.
    """

    metres: NDArray[np.float64]
    degrees: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.metres)

    @property
    def judged(self) -> NDArray[np.bool_]:
        """(Q,) whose truth is known."""
        return ~np.isnan(self.metres)

    def within(self, threshold: PoseThreshold) -> NDArray[np.bool_]:
        """(Q,) which are as near as that; a failure is not, nor one whose truth is secret."""
        return np.asarray((self.metres <= threshold.metres) & (self.degrees <= threshold.degrees))

    def share(self, threshold: PoseThreshold, chosen: NDArray[np.bool_] | None = None) -> float | None:
        """Share as near as that among all queries, or some, whose truth is known; failures count. None without any."""
        counted = self.judged if chosen is None else self.judged & chosen
        return float(np.mean(self.within(threshold)[counted])) if counted.any() else None

    @classmethod
    def pooled(cls, parts: Sequence[PoseErrorsOfAnswers]) -> PoseErrorsOfAnswers:
        """Those of several data sets as one."""
        return cls(np.concatenate([part.metres for part in parts]), np.concatenate([part.degrees for part in parts]))


def errors_of_answers(rows: Sequence[NDArray[np.int64]], data: PlaceDataset) -> PoseErrorsOfAnswers:
    """Judge the best answers by the poses of a data set; all are NaN where it has none.

    Args:
        rows: for each query the rows of the database that were answered, best first; none when the query failed.
        data: the data set.
    """
    errors = np.full((len(data.queries), 2), np.nan)
    if data.poses is not None:
        for query, (found, truth) in enumerate(zip(rows, data.poses.queries, strict=True)):
            if truth is not None:
                errors[query] = _error(truth, data.poses.database[int(found[0])]) if len(found) else np.inf
    return PoseErrorsOfAnswers(errors[:, 0], errors[:, 1])


def _error(truth: NDArray[np.float64], given: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.linalg.norm(truth[:3, 3] - given[:3, 3])), math.degrees(rotation_angle(between(truth, given)))
