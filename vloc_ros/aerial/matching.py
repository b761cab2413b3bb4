"""Candidate pieces of a map, and the matches of a photo to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.contract import GroundFeatures
from vloc_ros.aerial.nadir import NadirView
from vloc_ros.features import FeatureExtractor, Features, MatchSettings, match

Array = NDArray[np.float64]
_MARGIN_PX = 8
"""Key points this near to what the photo does not show are described by what was made up there [px]."""
_WASTE, _LARGEST = 1.1, 4.0
"""Ground of a joined region at most, in that of its two parts, and in that of a single one."""


@dataclass(frozen=True, slots=True)
class Region:
    """A piece of the map where a photo may have been taken.

    Attributes:
        tile: row of the best tile in it.
        level: index.
        heading_deg: of the direction that is taken to be up in the photo, clockwise from north.
        low: (2,) west-south corner of the ground that the photo may show [m].
        high: (2,) east-north corner [m].
    """

    tile: int
    level: int
    heading_deg: float
    low: Array
    high: Array

    @classmethod
    def around(cls, tile: int, level: int, heading_deg: float, centre: Array, half_m: float) -> Region:
        """A square around a (2,) place [m]."""
        return cls(tile, level, heading_deg, centre - half_m, centre + half_m)

    @property
    def area(self) -> float:
        """Of its ground [m^2]."""
        return float(np.prod(self.high - self.low))

    def with_ground_of(self, other: Region) -> Region:
        """The smallest that holds both."""
        return replace(self, low=np.minimum(self.low, other.low), high=np.maximum(self.high, other.high))


@dataclass(frozen=True, slots=True)
class GroundMatches:
    """Correspondences of a view and the ground.

    Attributes:
        pixels: (N, 2) of the view.
        metres: (N, 2) east and north in the frame of the map.
    """

    pixels: Array
    metres: Array

    def __len__(self) -> int:
        return len(self.pixels)


def merged(regions: Sequence[Region]) -> list[Region]:
    """The regions, those that overlap joined where that leaves less ground to compare; in the order of the first of each.

    They grow no larger than some single ones: in more ground, fewer matches stand out.
    """
    kept: list[Region] = []
    for region in regions:
        for place, other in enumerate(kept):
            if (other.level, other.heading_deg) != (region.level, region.heading_deg):
                continue
            both = other.with_ground_of(region)
            if both.area <= min(_WASTE * (other.area + region.area), _LARGEST * region.area):
                kept[place] = both
                break
        else:
            kept.append(region)
    return kept


def by_heading(regions: Sequence[Region]) -> list[list[Region]]:
    """Regions that are compared with one view of the photo, that with the best region first."""
    groups: dict[tuple[int, float], list[Region]] = {}
    for region in regions:
        groups.setdefault((region.level, region.heading_deg), []).append(region)
    return list(groups.values())


def features_of(view: NadirView, extractor: FeatureExtractor) -> Features:
    """Features of a view, of what the photo shows alone."""
    if view.valid.all():
        return extractor.extract(view.image)
    # Flat where the photo shows nothing, so that key points are not spent there.
    flat = view.image.copy()
    flat[~view.valid] = np.round(view.image[view.valid].mean(axis=0)).astype(np.uint8) if view.valid.any() else 0
    found = extractor.extract(flat)
    if len(found) == 0:
        return found
    # A border of zeros: what lies outside the view is not shown, either.
    padded = np.pad(view.valid.astype(np.uint8), _MARGIN_PX)
    inside = cv2.erode(padded, np.ones((2 * _MARGIN_PX + 1,) * 2, np.uint8))[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX]
    height, width = inside.shape
    columns, rows = np.clip(np.round(found.keypoints).astype(int), 0, [width - 1, height - 1]).T
    return found.select(inside[rows, columns] > 0)


def match_ground(features: Features, ground: GroundFeatures, settings: MatchSettings) -> GroundMatches:
    """Mutual nearest neighbours that pass the ratio test."""
    count = len(ground)
    if len(features) == 0 or count == 0:
        return GroundMatches(np.zeros((0, 2)), np.zeros((0, 2)))
    nothing = np.zeros(count, dtype=np.float32)
    there = Features(np.zeros((count, 2), dtype=np.float32), nothing, nothing, ground.descriptors, nothing)
    rows, columns = match(features, there, features.metric, settings).indices.T
    return GroundMatches(features.keypoints[rows].astype(np.float64), ground.points[columns])
