"""What neighbouring photos of a survey have in common: matches that agree on one homography, as two views of level ground do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.features import FeatureExtractor, Features, MatchSettings, match

Array = NDArray[np.float64]
_NEIGHBOURS = 8
"""Of a photo, by the distance between positions."""
_MIN_INLIERS = 25
_RANSAC_PX = 3.0
_KEPT = 60
"""Matches of a pair that take part in the placement; more of them cost time and say the same."""
_MOST_UNEVEN = 2.0
"""How much larger ground may appear in one corner than in another before a pair is no pair of photos from above."""
_SETTINGS = MatchSettings(ratio=0.85)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photos that see the same ground.

    Attributes:
        one, other: their numbers.
        points: (N, 4) (u, v) in one and (u, v) in the other, from their centres [px of the full photo].
        inliers: how many agreed.
    """

    one: int
    other: int
    points: Array
    inliers: int


@dataclass(frozen=True, slots=True)
class Matched:
    """All pairs, and what was seen of photos that have none.

    Attributes:
        pairs: that agree.
        oblique: numbers of photos with pairs in which the scale of the ground changes too much across the image.
    """

    pairs: list[Pair]
    oblique: set[int]


def extract(image: Image, extractor: FeatureExtractor, longest: int) -> tuple[Features, Array]:
    """Features of a photo no larger than so many pixels, and their (N, 2) points from its centre, in pixels of the full photo."""
    height, width = image.shape[:2]
    factor = min(1.0, longest / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = image if factor == 1.0 else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    found = extractor.extract(small)
    points = (found.keypoints.astype(np.float64) + 0.5) * [width / size[0], height / size[1]] - [width / 2.0, height / 2.0]
    return found, points


def match_neighbours(
    positions: Array,
    sizes: Sequence[tuple[int, int]],
    features: Sequence[tuple[Features, Array]],
    extractor: FeatureExtractor,
    on_pair: Callable[[], None],
) -> Matched:
    """Match each photo with those taken nearest to it.

    Args:
        positions: (N, 2) east and north where they were taken [m].
        sizes: (width, height) of each [px].
        features: of each, as :func:`extract` gives them.
        extractor: that they are of.
        on_pair: called after each pair.
    """
    pairs, oblique = [], set()
    for one, other in neighbours(positions):
        found = match(features[one][0], features[other][0], extractor.metric, _SETTINGS)
        a, b = features[one][1][found.indices[:, 0]], features[other][1][found.indices[:, 1]]
        inside, uneven = _agreeing(a, b, sizes[one])
        if inside is not None and uneven > _MOST_UNEVEN:
            oblique |= {one, other}
        elif inside is not None:
            rows = np.flatnonzero(inside)
            chosen = rows[np.unique(np.linspace(0, len(rows) - 1, _KEPT).round().astype(int))]
            pairs.append(Pair(one, other, np.hstack([a[chosen], b[chosen]]), len(rows)))
        on_pair()
    placed = {number for pair in pairs for number in (pair.one, pair.other)}
    return Matched(pairs, oblique - placed)


def neighbours(positions: Array) -> list[tuple[int, int]]:
    """Pairs of photos of which one is among those nearest to the other."""
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    near = np.argsort(apart, axis=1, kind="stable")[:, 1 : _NEIGHBOURS + 1]
    return sorted({(min(i, int(j)), max(i, int(j))) for i, row in enumerate(near) for j in row if i != int(j)})


def _agreeing(a: Array, b: Array, size: tuple[int, int]) -> tuple[NDArray[np.bool_] | None, float]:
    """Which matches agree on one homography, None where too few do, and how uneven the scale of that is across the photo."""
    if len(a) < _MIN_INLIERS:
        return None, 0.0
    scale = max(size) / 1000.0
    H, mask = cv2.findHomography(a, b, cv2.USAC_MAGSAC, _RANSAC_PX * scale, maxIters=5000, confidence=0.999)
    if H is None or mask is None or int(mask.sum()) < _MIN_INLIERS:
        return None, 0.0
    inside = mask.ravel() > 0
    # The area that a small square is mapped to is det(H) / w^3; it is looked at where there are matches.
    w = a[inside] @ H[2, :2] + H[2, 2]
    low, high = np.percentile(w, [2.0, 98.0])
    if low * high <= 0.0 or np.linalg.det(H) / low**3 <= 0.0:
        return None, 0.0
    ratio = abs(high / low)
    return inside, float(max(ratio, 1.0 / ratio) ** 1.5)
