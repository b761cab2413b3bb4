"""Where a photo was taken, or why nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.georeference import LatLon

Array = NDArray[np.float64]


@unique
class AerialReject(Enum):
    """Why a photo has no position. Each refusal carries one."""

    BLANK_IMAGE = "the image is nearly uniform (covered lens, cloud, open water, black or overexposed)"
    TOO_FEW_FEATURES = "too few key points were found in the image"
    OUTSIDE_SCALES = "at this height the camera sees the ground larger or smaller than any level of the map"
    NO_CANDIDATE = "no tile of the map resembles this image"
    TOO_FEW_MATCHES = "too few matches to any tile"
    TOO_FEW_INLIERS = "too few matches agree on one homography"
    CLUSTERED = "the matches that agree lie in a small part of the image, from which the rest does not follow"
    NOT_A_VIEW = "the homography is no view of level ground (folded, mirrored, or seen too obliquely)"
    WRONG_SCALE = "the homography says another height than was given"
    WRONG_HEADING = "the homography says another heading than was given"
    AMBIGUOUS = "two places of the map fit about equally well"
    LARGE_COVARIANCE = "the position is too uncertain"
    TOO_OBLIQUE = "the camera does not look down"
    FAILED_GATE = "the position is farther from the last one than the drone can have flown"
    UNCONFIRMED = "a position after a loss awaits confirmation by a second photo"
    STAMP_NOT_NEWER = "the time stamp is not newer than the last one"


@dataclass(frozen=True, slots=True)
class AerialFix:
    """Where a photo was taken.

    Attributes:
        position: of the drone, None on failure (never the last one, never 0, 0).
        metres: (2,) the same, east and north in the frame of the map [m]; None on failure.
        covariance: (2, 2) of that, east and north [m^2]; None on failure.
        height_m: above the ground as the size of the photo on the map says [m]; None on failure, or without a lens.
        heading_deg: of the direction that is up in the image, clockwise from north [deg]; None on failure.
        footprint: (4, 2) latitudes and longitudes [deg] of the corners of the image, from top left clockwise; None on failure.
        inliers: matches that agree.
        matches: how many there were.
        tile: name of the best tile, as the map carries it; empty where none was looked at.
        reason: None on success.
        seconds: that it took.
    """

    position: LatLon | None
    metres: Array | None
    covariance: Array | None
    height_m: float | None
    heading_deg: float | None
    footprint: Array | None
    inliers: int
    matches: int
    tile: str
    reason: AerialReject | None
    seconds: float = 0.0

    @property
    def success(self) -> bool:
        """Whether the position is believed."""
        return self.reason is None

    @classmethod
    def failure(cls, reason: AerialReject, matches: int = 0, inliers: int = 0, tile: str = "", seconds: float = 0.0) -> AerialFix:
        """No position."""
        return cls(None, None, None, None, None, None, inliers, matches, tile, reason, seconds)
