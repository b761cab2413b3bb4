"""Where the features of one view are seen in another, whichever way they are matched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.features.contract import Features, Metric
from vloc_ros.features.matching import Matcher, MatchSettings, match, similarity

_MIN_KNOWN = 0.5  # share of what is expected that must have a disparity for it to have one


@dataclass(frozen=True, slots=True)
class Sightings:
    """Features of view a that are seen in view b.

    Attributes:
        pairs: (N, 2) int64 rows (in a, in b); of b it is the match itself, or the feature most alike for a soft one.
        keypoints: (N, 2) float32 where in b [px].
        disparity: (N,) float32 there [px], NaN where unknown.
        weights: (N,) float32, at least 0: how much to believe it.
    """

    pairs: NDArray[np.int64]
    keypoints: NDArray[np.float32]
    disparity: NDArray[np.float32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pairs)


def sight(
    a: Features,
    b: Features,
    metric: Metric,
    settings: MatchSettings,
    predicted: NDArray[np.floating[Any]] | None = None,
    radius_px: float = np.inf,
) -> Sightings:
    """Matches of a in b by the chosen matcher; the arguments are those of :func:`vloc_ros.features.matching.match`."""
    if settings.matcher is Matcher.SOFT:
        return soft_sightings(a, b, metric, settings.temperature, predicted, radius_px)
    matches = match(a, b, metric, settings, predicted, radius_px)
    of_b = matches.indices[:, 1]
    return Sightings(matches.indices, b.keypoints[of_b], b.disparity[of_b], matches.similarity)


def soft_sightings(
    a: Features,
    b: Features,
    metric: Metric,
    temperature: float,
    predicted: NDArray[np.floating[Any]] | None = None,
    radius_px: float = np.inf,
) -> Sightings:
    """The positions in b that are expected for the features of a under a softmax of their similarities to all of b.

    After Gridseth and Barfoot (2022), section III-C, with the features of b for targets: there is no mutual check and no test of
    a ratio, every feature of a is seen somewhere. Disparity, similarity and score of a position between features are expected
    values too (published: read at that position from a disparity image and from the maps of the network). The weight is
    0.5 (similarity + 1) times both scores.
    """
    rows = np.arange(len(a) if len(b) else 0)
    window: NDArray[np.bool_] | None = None
    if predicted is not None:
        near = np.asarray(predicted, dtype=np.float32)[rows, None] - b.keypoints[None]
        window = (np.abs(near) <= radius_px).all(axis=2)  # False for NaN
        rows = rows[window[rows].any(axis=1)]
    if len(rows) == 0:
        return Sightings(np.zeros((0, 2), np.int64), np.zeros((0, 2), np.float32), *(np.zeros(0, np.float32) for _ in range(2)))
    size = a.descriptors.shape[1]
    alike = similarity(a.descriptors[rows], b.descriptors, metric) * np.float32((size - 1) / size)
    exponent = alike / np.float32(temperature)
    if window is not None:
        exponent[~window[rows]] = -np.inf
    best = exponent.argmax(axis=1)
    exponent -= exponent[np.arange(len(rows)), best, None]
    share = np.exp(exponent, out=exponent)
    share /= share.sum(axis=1, keepdims=True)
    known = np.isfinite(b.disparity)
    columns = np.column_stack([b.keypoints, np.maximum(b.scores, 0.0), np.where(known, b.disparity, 0.0), known])
    expected = share @ columns.astype(np.float32)
    likeness = np.einsum("nm,nm->n", share, alike)
    deep = expected[:, 4]
    disparity = np.where(deep >= _MIN_KNOWN, expected[:, 3] / np.maximum(deep, _MIN_KNOWN), np.nan)
    weights = 0.5 * (likeness + 1.0) * np.maximum(a.scores[rows], 0.0) * expected[:, 2]
    pairs = np.stack([rows, best], axis=1).astype(np.int64)
    return Sightings(pairs, expected[:, :2], disparity.astype(np.float32), weights.astype(np.float32))
