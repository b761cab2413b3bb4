"""Candidate pieces of a map, and the matches of a photo to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.contract import GroundFeatures
from vloc_ros.aerial.nadir import NadirView
from vloc_ros.features import FeatureExtractor, Features, MatchSettings, match

Array = NDArray[np.float64]
_MARGIN_PX = 8
"""Key points this near to what the photo does not show are described by what was made up there [px]."""


@dataclass(frozen=True, slots=True)
class Region:
    """A piece of the map where a photo may have been taken.

    Attributes:
        tile: row of the best tile in it.
        level: index.
        heading_deg: of the direction that is taken to be up in the photo, clockwise from north.
        centre: (2,) where the photo looks at, east and north [m].
        half_m: half of its side [m].
    """

    tile: int
    level: int
    heading_deg: float
    centre: Array
    half_m: float

    @property
    def low(self) -> Array:
        """(2,) west-south corner [m]."""
        made: Array = self.centre - self.half_m
        return made

    @property
    def high(self) -> Array:
        """(2,) east-north corner [m]."""
        made: Array = self.centre + self.half_m
        return made


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


def merged(regions: Sequence[Region], within_m: float) -> list[Region]:
    """The regions without those whose middle is near that of an earlier one of the same level and heading.

    Overlapping tiles show the same ground, and a region reaches far enough beyond its tile for all of them.
    """
    kept: list[Region] = []
    for region in regions:
        near = (
            other
            for other in kept
            if (other.level, other.heading_deg) == (region.level, region.heading_deg)
            and np.abs(other.centre - region.centre).max() <= within_m
        )
        if next(near, None) is None:
            kept.append(region)
    return kept


def features_of(view: NadirView, extractor: FeatureExtractor) -> Features:
    """Features of a view, of what the photo shows alone."""
    found = extractor.extract(view.image)
    if len(found) == 0 or view.valid.all():
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
