"""How well the features of two images agree with the truth, and means over pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vloc_ros.evaluation.judged_pairs import Points, Truth
from vloc_ros.features import Features, Matches, MatchSettings, Metric, match

TOLERANCE_PX = 3.0
ENOUGH = 15
"""A pair with so many right matches counts as matched."""
NEAREST = MatchSettings(ratio=1.0, min_similarity=0.0)
"""Mutual nearest neighbours and nothing else: what descriptors can do whatever thresholds suit them."""
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PairScore:
    """How one extractor did on one pair.

    Attributes:
        keypoints: their numbers in a and in b.
        visible: key points that the other image shows too, in the image with fewer of them.
        repeated: pairs of key points, each the nearest to the other, that are within the tolerance of the truth; None where
            the truth is horizontal only, and chance would make many.
        matched: (M, 4) float32 pixels (u, v) in a and (u, v) in b of the matches, with the thresholds of localisation.
        errors: (M,) float32 deviation of each from the truth [px], infinite where the truth is not known.
        nearest_errors: likewise, of the mutual nearest neighbours without any threshold.
        failed: whether the extractor refused an image; everything else is zero then.
    """

    keypoints: tuple[int, int]
    visible: int
    repeated: int | None
    matched: NDArray[np.float32]
    errors: NDArray[np.float32]
    nearest_errors: NDArray[np.float32]
    failed: bool = False

    @classmethod
    def failure(cls) -> PairScore:
        """The score of an extractor that refused an image."""
        none = np.zeros(0, dtype=np.float32)
        return cls((0, 0), 0, 0, np.zeros((0, 4), dtype=np.float32), none, none, failed=True)

    @property
    def right(self) -> int:
        """Matches within the tolerance of the truth."""
        return int((self.errors <= TOLERANCE_PX).sum())


def judge(a: Features, b: Features, matches: Matches, sizes: tuple[Size, Size], truth: Truth, metric: Metric) -> PairScore:
    """Score of an extractor on a pair.

    Args:
        a: features of the first image.
        b: of the second.
        matches: between them, with the thresholds of localisation.
        sizes: (width, height) of both images [px].
        truth: between their pixels; used only after matching.
        metric: of the descriptors.
    """
    found = matches.indices
    nearest = match(a, b, metric, NEAREST).indices
    in_b = _inside(truth.b_of_a(a.keypoints), sizes[1])
    in_a = _inside(truth.a_of_b(b.keypoints), sizes[0])
    matched = np.hstack([a.keypoints[found[:, 0]], b.keypoints[found[:, 1]]]).astype(np.float32)
    nearest_errors = truth.errors(a.keypoints[nearest[:, 0]], b.keypoints[nearest[:, 1]])
    return PairScore(
        keypoints=(len(a), len(b)),
        visible=int(min(in_b.sum(), in_a.sum())),
        repeated=_repeated(a.keypoints[in_b], b.keypoints[in_a], truth),
        matched=matched,
        errors=truth.errors(matched[:, :2], matched[:, 2:]).astype(np.float32),
        nearest_errors=nearest_errors.astype(np.float32),
    )


def _inside(points: Points, size: Size) -> NDArray[np.bool_]:
    """Whether points lie in an image, whose pixels reach half a pixel beyond their centres; NaN does not."""
    return np.asarray(((points >= -0.5) & (points <= np.array(size) - 0.5)).all(axis=1))


def _repeated(a: Points, b: Points, truth: Truth) -> int | None:
    if truth.vertical_slack_px > 0.0:
        return None
    if len(a) == 0 or len(b) == 0:
        return 0
    expected = truth.b_of_a(a)
    forth, back = cKDTree(b).query(expected)[1], cKDTree(expected).query(b)[1]
    mutual = np.flatnonzero(back[forth] == np.arange(len(a)))
    return int((truth.errors(a[mutual], b[forth[mutual]]) <= TOLERANCE_PX).sum())


@dataclass(frozen=True, slots=True)
class FeatureSummary:
    """Means over pairs; a pair without matches, or that failed, counts with zeros.

    Attributes:
        pairs: how many.
        failed: of them refused by the extractor.
        keypoints: per image.
        matches: with the thresholds of localisation.
        right: of them within the tolerance of the truth.
        right_share: mean over pairs of right / matches [%].
        matching_score: mean over pairs of right / key points that both images show [%].
        enough_share: pairs with at least 15 right matches [%].
        repeatability: mean over pairs of key points found again / key points that both images show [%]; None where the truth
            is horizontal only.
        nearest_right: right among mutual nearest neighbours without thresholds.
        nearest_share: mean over pairs of their share [%].
        nearest_score: mean over pairs of them / key points that both images show [%].
        nearest_enough_share: pairs with at least 15 of them [%].
    """

    pairs: int
    failed: int
    keypoints: float
    matches: float
    right: float
    right_share: float
    matching_score: float
    enough_share: float
    repeatability: float | None
    nearest_right: float
    nearest_share: float
    nearest_score: float
    nearest_enough_share: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def summarise(scores: Sequence[PairScore]) -> FeatureSummary:
    """Means over at least one pair."""
    right = np.array([score.right for score in scores], dtype=np.float64)
    matches = np.array([len(score.errors) for score in scores], dtype=np.float64)
    nearest = np.array([(score.nearest_errors <= TOLERANCE_PX).sum() for score in scores], dtype=np.float64)
    found = np.array([len(score.nearest_errors) for score in scores], dtype=np.float64)
    visible = np.array([score.visible for score in scores], dtype=np.float64)
    again = [(score.repeated, score.visible) for score in scores if score.repeated is not None]
    return FeatureSummary(
        pairs=len(scores),
        failed=sum(score.failed for score in scores),
        keypoints=float(np.mean([score.keypoints for score in scores])),
        matches=float(matches.mean()),
        right=float(right.mean()),
        right_share=_percent(right, matches),
        matching_score=_percent(right, visible),
        enough_share=100.0 * float((right >= ENOUGH).mean()),
        repeatability=_percent(*np.array(again, dtype=np.float64).T) if again else None,
        nearest_right=float(nearest.mean()),
        nearest_share=_percent(nearest, found),
        nearest_score=_percent(nearest, visible),
        nearest_enough_share=100.0 * float((nearest >= ENOUGH).mean()),
    )


def _percent(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """Mean over pairs of a share, zero where there is nothing to have a share of."""
    return 100.0 * float((part / np.maximum(whole, 1.0)).mean())
