"""Descriptor matching: mutual nearest neighbours with a ratio test, from one matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.features.contract import Features, Matches, Metric


@unique
class Matcher(Enum):
    """How views are matched and their relative pose is solved."""

    NEAREST = "nearest"
    """Mutual nearest neighbours; the pose from reprojection errors."""
    SOFT = "soft"
    """As U: the position expected under a softmax of all similarities; the pose from the alignment of points."""


@dataclass(frozen=True)
class MatchSettings:
    """Descriptor matching."""

    matcher: Matcher = param(Matcher.NEAREST, "nearest (mutual nearest neighbours, then PnP) or soft (as published for U)")
    temperature: float = param(0.01, "of the softmax over all similarities (soft)", min=0.0001, max=10.0)
    ratio: float = param(
        0.9, "largest ratio of the best to the second-best descriptor distance (nearest)", min=0.1, max=1.0, live=True
    )
    window_ratio: float = param(
        0.97, "the same where only a window around a predicted position is searched", min=0.1, max=1.0, live=True
    )
    min_similarity: float = param(0.5, "smallest similarity of two descriptors, 1 = equal (nearest)", min=0.0, max=1.0, live=True)


def similarity(a: NDArray[Any], b: NDArray[Any], metric: Metric) -> NDArray[np.float32]:
    """(N, M) similarities in [-1, 1]: the cosine, or one minus twice the share of differing bits."""
    if metric is Metric.HAMMING:
        a, b = _signs(a), _signs(b)
        return np.asarray(a @ b.T, dtype=np.float32) / np.float32(a.shape[1])
    return np.asarray(a @ b.T, dtype=np.float32)


def match(
    a: Features,
    b: Features,
    metric: Metric,
    settings: MatchSettings,
    predicted: NDArray[np.floating[Any]] | None = None,
    radius_px: float = np.inf,
) -> Matches:
    """Mutual nearest neighbours of a in b that pass the ratio and similarity tests.

    Args:
        a: N features.
        b: M features.
        metric: how descriptors compare.
        settings: thresholds.
        predicted: (N, 2) where the features of a should appear in b's image [px]; a NaN row matches nothing.
        radius_px: only features of b within this distance of the prediction are considered.
    """
    if len(a) == 0 or len(b) == 0:
        return Matches(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.float32))
    if predicted is not None:
        return _match_near(a, b, metric, settings, np.asarray(predicted, dtype=np.float32), radius_px)
    return _mutual(similarity(a.descriptors, b.descriptors, metric), settings.ratio, settings.min_similarity)


def _match_near(
    a: Features, b: Features, metric: Metric, settings: MatchSettings, predicted: NDArray[np.float32], radius_px: float
) -> Matches:
    """Only the features of a that are predicted where b has any are compared, and only with those of b in their windows."""
    low, high = b.keypoints.min(axis=0) - radius_px, b.keypoints.max(axis=0) + radius_px
    rows = np.flatnonzero(((predicted >= low) & (predicted <= high)).all(axis=1))
    near = predicted[rows]
    window = np.abs(near[:, 0, None] - b.keypoints[None, :, 0]) <= radius_px
    window &= np.abs(near[:, 1, None] - b.keypoints[None, :, 1]) <= radius_px
    score = similarity(a.descriptors[rows], b.descriptors, metric)
    matches = _mutual(np.where(window, score, np.float32(-1.0)), settings.window_ratio, settings.min_similarity)
    indices = np.stack([rows[matches.indices[:, 0]], matches.indices[:, 1]], axis=1)
    return Matches(indices.astype(np.int64), matches.similarity)


def _mutual(score: NDArray[np.float32], ratio: float, min_similarity: float) -> Matches:
    """Mutual nearest neighbours of an (N, M) score matrix, which is used up."""
    if score.size == 0:
        return Matches(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.float32))
    rows = np.arange(len(score))
    best = score.argmax(axis=1)
    best_score = score[rows, best].copy()
    mutual = score.argmax(axis=0)[best] == rows
    score[rows, best] = -2.0
    second = score.max(axis=1)
    good = mutual & (best_score >= min_similarity)
    good &= _distance(best_score) < ratio * _distance(second)
    kept = np.flatnonzero(good)
    return Matches(np.stack([kept, best[kept]], axis=1).astype(np.int64), best_score[kept])


def _distance(score: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.maximum(2.0 - 2.0 * score, 0.0)), dtype=np.float32)


def _signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.unpackbits(packed, axis=1).astype(np.float32) * 2.0 - 1.0
