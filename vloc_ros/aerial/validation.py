"""Whether a homography can be a view of level ground by this camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.fix import AerialReject
from vloc_ros.aerial.homography import GroundHomography
from vloc_ros.config import param

Array = NDArray[np.float64]
_NORTH_UP = np.diag([1.0, -1.0])
"""From steps to the right and down in a view with north up to steps east and north."""


@dataclass(frozen=True)
class ValidationSettings:
    """What a homography must be like to be believed."""

    min_inliers: int = param(11, "fewest matches that agree on a homography (published: more than 10)", min=5)
    min_share: float = param(0.08, "smallest share of the matches that agree", min=0.0, max=1.0)
    min_spread: float = param(
        0.06, "smallest standard deviation of the inliers along their narrowest direction, of the short side", min=0.0, max=0.5
    )
    max_stretch: float = param(1.35, "largest ratio of the scales along two directions at the middle", min=1.0, max=5.0)
    max_perspective: float = param(0.25, "largest relative change of distance from the middle to a corner", min=0.0, max=1.0)
    max_condition: float = param(8.0, "largest condition number in normalised coordinates, 1 for a similarity", min=1.0)
    scale_tolerance: float = param(0.3, "largest relative difference of the scale from what the height says", min=0.0, max=1.0)
    free_scale: float = param(2.5, "largest factor between the scale and that of the map where no height is known", min=1.0)
    heading_tolerance: float = param(25.0, "largest difference from the heading that was given", unit="deg", min=0.0, max=180.0)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of a view before it is matched.

    Attributes:
        corners: (4, 2) of what is compared of the photo, in pixels of the view, from top left clockwise.
        nadir: (2,) pixel of the view straight below the camera.
        short_side: of that [px of the view].
        ground_per_pixel: metres that a pixel of the view sees.
        height_known: whether that follows from the height; else it is a guess.
        heading_known: whether north is up in the view; else it is a guess.
    """

    corners: Array
    nadir: Array
    short_side: float
    ground_per_pixel: float
    height_known: bool
    heading_known: bool


def refuse_form(found: GroundHomography, points: Array, expected: Expected, settings: ValidationSettings) -> AerialReject | None:
    """Why a homography is no view of level ground, whatever height and heading are; None when it is one.

    Args:
        found: the homography.
        points: (N, 2) pixels of all matches.
        expected: of the view.
        settings: thresholds.
    """
    if found.count < max(settings.min_inliers, settings.min_share * len(points)):
        return AerialReject.TOO_FEW_INLIERS
    if not _is_convex(found, expected.corners) or found.condition > settings.max_condition:
        return AerialReject.NOT_A_VIEW
    scales = np.linalg.svd(found.jacobian(expected.corners.mean(axis=0)), compute_uv=False)
    if scales[0] > settings.max_stretch * scales[1] or _perspective(found, expected.corners) > settings.max_perspective:
        return AerialReject.NOT_A_VIEW
    factor = scale_at(found, expected.nadir) / expected.ground_per_pixel
    if not expected.height_known and not 1.0 / settings.free_scale <= factor <= settings.free_scale:
        return AerialReject.NOT_A_VIEW
    if _spread(points[found.inliers]) < settings.min_spread * expected.short_side:
        return AerialReject.CLUSTERED
    return None


def refuse_sensors(found: GroundHomography, expected: Expected, settings: ValidationSettings) -> AerialReject | None:
    """Which sensor contradicts a homography; None when none does."""
    factor = scale_at(found, expected.nadir) / expected.ground_per_pixel
    tolerance = 1.0 + settings.scale_tolerance
    if expected.height_known and not 1.0 / tolerance <= factor <= tolerance:
        return AerialReject.WRONG_SCALE
    if expected.heading_known and abs(turn_of(found.jacobian(expected.nadir))) > settings.heading_tolerance:
        return AerialReject.WRONG_HEADING
    return None


def scale_at(found: GroundHomography, pixel: Array) -> float:
    """Metres that a pixel sees there."""
    return float(np.sqrt(abs(np.linalg.det(found.jacobian(pixel)))))


def turn_of(jacobian: Array) -> float:
    """Clockwise angle from north of the direction that is up, -180 to 180 [deg], for a (2, 2) derivative of metres by pixels."""
    # The rotation next to the derivative: what stretches it says nothing of its heading.
    left, _, right = np.linalg.svd(jacobian @ _NORTH_UP)
    rotation = left @ right
    return float(np.rad2deg(np.arctan2(rotation[0, 1], rotation[1, 1])))


def _is_convex(found: GroundHomography, corners: Array) -> bool:
    """Whether the footprint is in front, convex and not mirrored: clockwise as seen from above, where north is up."""
    if (found.depths(corners) <= 0.0).any():
        return False
    sides = np.roll(found.ground(corners), -1, axis=0) - found.ground(corners)
    following = np.roll(sides, -1, axis=0)
    return bool((sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0] < 0.0).all())


def _perspective(found: GroundHomography, corners: Array) -> float:
    depths = found.depths(corners)
    return float((depths.max() - depths.min()) / (depths.max() + depths.min()))


def _spread(points: Array) -> float:
    """Standard deviation along the narrowest direction."""
    return float(np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[-1] / np.sqrt(len(points)))
