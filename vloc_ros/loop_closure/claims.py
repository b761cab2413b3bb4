"""What a model claimed of the best match of each keyframe, and whether geometry and the pose graph agree."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.evaluation.confidence_metrics import ConfidenceSummary, summarise_confidence
from vloc_ros.loop_closure.detector import Detection
from vloc_ros.mapping import KeyframeId
from vloc_ros.mapping.closures import Closure
from vloc_ros.pose_graph import Label

Array = NDArray[np.float64]
Labels = Mapping[frozenset[KeyframeId], Label]


@dataclass(frozen=True, slots=True)
class Claim:
    """The most similar keyframe that geometry was asked about, for one keyframe that was searched for.

    Attributes:
        a: the keyframe that the search found.
        b: the keyframe that it was searched for.
        score: similarity of their global descriptors.
        probability: that they are one place, as the model says; None where it is unknown.
        verified: geometry agrees.
    """

    a: KeyframeId
    b: KeyframeId
    score: float
    probability: float | None
    verified: bool

    @classmethod
    def of(cls, detection: Detection) -> Claim | None:
        """None where geometry was asked about no keyframe: nothing was found, or the gates refused it."""
        if detection.rejections:
            best = detection.rejections[0]
            return cls(best.a, best.b, best.score, best.probability, False)
        found = detection.candidate
        return None if found is None else cls(found.a, found.b, found.score, found.probability, True)


@dataclass(frozen=True, slots=True)
class JudgedClaims:
    """Claims of known probability, and what became of them.

    Attributes:
        similarity: (N,) cut to 0..1: the baseline.
        probability: (N,) as claimed.
        right: (N,) what the pose graph says; where it says nothing or is undecided, what geometry says.
    """

    similarity: Array
    probability: Array
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, claims: Iterable[Claim], labels: Labels) -> JudgedClaims:
        """Judge claims by the labels of their pairs; those without a probability are left out."""
        known = [(claim, claim.probability) for claim in claims if claim.probability is not None]
        similarity = np.clip(np.array([claim.score for claim, _ in known], dtype=np.float64), 0.0, 1.0)
        right = np.array([_is_right(claim, labels) for claim, _ in known], dtype=bool)
        return cls(similarity, np.array([value for _, value in known], dtype=np.float64), right)

    def __len__(self) -> int:
        return len(self.right)

    @property
    def ways(self) -> dict[str, Array]:
        """The confidences side by side, the baseline first."""
        return {"similarity": self.similarity, "match probability": self.probability}

    def summaries(self) -> dict[str, ConfidenceSummary]:
        """The numbers of each way."""
        return {way: summarise_confidence(values, self.right) for way, values in self.ways.items()}


class ClaimBook:
    """The newest claims of one model."""

    def __init__(self, most: int = 200) -> None:
        """Keep so many of them."""
        self._claims: deque[Claim] = deque(maxlen=most)

    def add(self, detection: Detection) -> None:
        """Note what was claimed of a keyframe, if anything was."""
        claim = Claim.of(detection)
        if claim is not None:
            self._claims.append(claim)

    def clear(self) -> None:
        """Another model claims from now on."""
        self._claims.clear()

    def judged(self, labels: Labels) -> JudgedClaims:
        """What became of them so far."""
        return JudgedClaims.of(self._claims, labels)


def labels_of(closures: Iterable[Closure]) -> dict[frozenset[KeyframeId], Label]:
    """The labels by their pair, whichever way round."""
    return {frozenset((closure.a, closure.b)): closure.verdict.label for closure in closures}


def _is_right(claim: Claim, labels: Labels) -> bool:
    label = labels.get(frozenset((claim.a, claim.b)), Label.UNDECIDED)
    return claim.verified if label is Label.UNDECIDED else label is Label.INLIER
