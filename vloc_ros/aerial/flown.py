"""How well a flight was followed: what was said of each photo, judged by the truth that a simulation knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image

Array = NDArray[np.float64]
FALSE_M = 25.0
"""A position farther from the truth is false."""
_TRUTH, _FIX, _FALSE, _COVERED, _BELIEVED = (255, 255, 255), (40, 200, 60), (230, 30, 30), (250, 160, 20), (60, 130, 255)


@dataclass(frozen=True, slots=True)
class FlownPhoto:
    """One photo of a flight.

    Attributes:
        seconds: since the start.
        truth: (2,) where the drone was, east and north [m].
        believed: (2,) where its autopilot took it to be before the photo was answered [m].
        fix: (2,) what was said of the photo [m]; None where it was refused.
        covariance: (2, 2) of the fix [m^2]; None without one.
        covered: whether the lens was covered.
        wall_s: from the publication of the photo to the answer [s]; None when there was no answer.
    """

    seconds: float
    truth: Array
    believed: Array
    fix: Array | None
    covariance: Array | None
    covered: bool
    wall_s: float | None

    @property
    def error_m(self) -> float | None:
        """Distance of the fix from the truth [m]."""
        return None if self.fix is None else float(np.linalg.norm(self.fix - self.truth))


@dataclass(frozen=True, slots=True)
class FlightFigures:
    """The figures of a flight; None where there is nothing to judge.

    Attributes:
        photos: how many were taken.
        flown_m: length of the true track [m].
        fixes: photos with a position.
        share_fixed: of the photos of an uncovered lens, those with a position.
        rms_m: of the errors of all positions, false ones included [m].
        median_m: of these errors [m].
        largest_m: of these errors [m].
        false_fixes: positions farther than 25 m from the truth.
        within_two_sigma: share of the positions whose error is within the ellipse that 86 % should be in.
        longest_without_s: longest time between positions, the covered lens included [s].
        covered_s: how long the lens was covered [s].
        recovery_s: longest time from the end of a cover to the next position [s]; None when one never came, or nothing was covered.
        autopilot_rms_m: of where the autopilot took itself to be [m].
        autopilot_largest_m: the largest such error [m].
        answer_ms: median from the publication of a photo to its answer [ms].
        unanswered: photos of which nothing was said.
    """

    photos: int
    flown_m: float
    fixes: int
    share_fixed: float | None
    rms_m: float | None
    median_m: float | None
    largest_m: float | None
    false_fixes: int
    within_two_sigma: float | None
    longest_without_s: float
    covered_s: float
    recovery_s: float | None
    autopilot_rms_m: float
    autopilot_largest_m: float
    answer_ms: float | None
    unanswered: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def judge_flight(photos: Sequence[FlownPhoto]) -> FlightFigures:
    """The figures of a flight of at least one photo."""
    errors = np.array([photo.error_m for photo in photos if photo.error_m is not None])
    clear = [photo for photo in photos if not photo.covered]
    off = np.array([np.linalg.norm(photo.believed - photo.truth) for photo in photos])
    walls = [photo.wall_s for photo in photos if photo.wall_s is not None]
    track = np.array([photo.truth for photo in photos])
    known = len(errors) > 0
    return FlightFigures(
        photos=len(photos),
        flown_m=float(np.linalg.norm(np.diff(track, axis=0), axis=1).sum()),
        fixes=len(errors),
        share_fixed=sum(photo.fix is not None for photo in clear) / len(clear) if clear else None,
        rms_m=float(np.sqrt(np.mean(errors**2))) if known else None,
        median_m=float(np.median(errors)) if known else None,
        largest_m=float(errors.max()) if known else None,
        false_fixes=int((errors > FALSE_M).sum()),
        within_two_sigma=_consistent(photos),
        longest_without_s=_longest_without(photos),
        covered_s=_covered(photos),
        recovery_s=_recovery(photos),
        autopilot_rms_m=float(np.sqrt(np.mean(off**2))),
        autopilot_largest_m=float(off.max()),
        answer_ms=1e3 * float(np.median(walls)) if walls else None,
        unanswered=len(photos) - len(walls),
    )


def _consistent(photos: Sequence[FlownPhoto]) -> float | None:
    squares = [
        float((photo.fix - photo.truth) @ np.linalg.solve(photo.covariance, photo.fix - photo.truth))
        for photo in photos
        if photo.fix is not None and photo.covariance is not None
    ]
    return float(np.mean(np.array(squares) <= 4.0)) if squares else None


def _longest_without(photos: Sequence[FlownPhoto]) -> float:
    times = [photos[0].seconds, *(photo.seconds for photo in photos if photo.fix is not None), photos[-1].seconds]
    return float(np.diff(times).max())


def _covered(photos: Sequence[FlownPhoto]) -> float:
    return float(sum(after.seconds - before.seconds for before, after in pairwise(photos) if before.covered))


def _recovery(photos: Sequence[FlownPhoto]) -> float | None:
    longest: float | None = None
    for index in range(1, len(photos)):
        if photos[index - 1].covered and not photos[index].covered:
            found = next((photo.seconds for photo in photos[index:] if photo.fix is not None), None)
            if found is None:
                return None
            longest = max(longest or 0.0, found - photos[index].seconds)
    return longest


def draw_track(ground: Image, pixels_of: Any, photos: Sequence[FlownPhoto], waypoints: Array) -> Image:
    """The track over a map: truth white (orange while covered), the autopilot's own idea blue, positions green, false ones red.

    Args:
        ground: (H, W, 3) RGB, north up.
        pixels_of: makes (N, 2) pixels of (N, 2) points east and north [m].
        photos: of the flight, in order.
        waypoints: (N, 2) that were to be flown over [m].
    """
    picture = np.ascontiguousarray(ground).copy()
    for place in np.rint(pixels_of(waypoints)).astype(int).tolist():
        cv2.drawMarker(picture, place, _TRUTH, cv2.MARKER_TILTED_CROSS, 14, 2)
    truth = np.rint(pixels_of(np.array([photo.truth for photo in photos]))).astype(int).tolist()
    believed = np.rint(pixels_of(np.array([photo.believed for photo in photos]))).astype(int).tolist()
    for index in range(1, len(photos)):
        cv2.line(picture, believed[index - 1], believed[index], _BELIEVED, 2, cv2.LINE_AA)
        colour = _COVERED if photos[index].covered else _TRUTH
        cv2.line(picture, truth[index - 1], truth[index], colour, 3, cv2.LINE_AA)
    for photo in photos:
        if photo.fix is not None:
            place = np.rint(pixels_of(photo.fix[None])).astype(int)[0].tolist()
            false = (photo.error_m or 0.0) > FALSE_M
            cv2.circle(picture, place, 5, _FALSE if false else _FIX, -1, cv2.LINE_AA)
    return picture
