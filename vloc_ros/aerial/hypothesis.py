"""Places where a photo may have been taken, the choice among them, and what follows from the chosen one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.contract import GroundMap
from vloc_ros.aerial.fix import AerialFix, AerialReject
from vloc_ros.aerial.georeference import LatLon
from vloc_ros.aerial.homography import GroundHomography
from vloc_ros.aerial.locator_settings import LocatorSettings
from vloc_ros.aerial.matching import Region
from vloc_ros.aerial.nadir import NadirView, corners_of
from vloc_ros.aerial.photo import Photo
from vloc_ros.aerial.validation import Expected, scale_at, turn_of

Array = NDArray[np.float64]
_STAGES = (
    AerialReject.TOO_FEW_FEATURES,
    AerialReject.TOO_FEW_MATCHES,
    AerialReject.TOO_FEW_INLIERS,
    AerialReject.NOT_A_VIEW,
    AerialReject.CLUSTERED,
)
"""Why a region is no place, those that got farther last."""
_LARGEST_SIGMA = np.deg2rad(45.0)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A region, and the view of it that matches propose.

    Attributes:
        region: of the map.
        view: of the photo.
        expected: of it.
        matches: how many there are.
        found: their homography, None where there is none.
        reason: why it is no view of the ground; None when it is one.
    """

    region: Region
    view: NadirView
    expected: Expected
    matches: int
    found: GroundHomography | None
    reason: AerialReject | None

    @property
    def inliers(self) -> int:
        """How many matches agree."""
        return 0 if self.found is None else self.found.count


def most_telling(hypotheses: Sequence[Hypothesis]) -> Hypothesis:
    """The refused one that got farthest; of equal ones that with most inliers, then matches, then the first."""
    return max(
        hypotheses, key=lambda item: (_STAGES.index(item.reason) if item.reason in _STAGES else -1, item.inliers, item.matches)
    )


def strongest(hypotheses: Sequence[Hypothesis]) -> Hypothesis | None:
    """The one with most inliers of those that are views of the ground, the first of equal ones; None where none is."""
    views = [item for item in hypotheses if item.reason is None]
    return max(views, key=lambda item: item.inliers) if views else None


def rival_of(best: Hypothesis, hypotheses: Sequence[Hypothesis], share: float) -> Hypothesis | None:
    """A place elsewhere, by more than a quarter of the photo, that has at least a share of the inliers of the best; else None."""
    if best.found is None:
        return None
    place = best.found.ground(best.expected.nadir)[0]
    apart = 0.25 * best.expected.short_side * scale_at(best.found, best.expected.nadir)
    for other in hypotheses:
        if other.found is None or other.reason is not None or other.inliers < share * best.inliers:
            continue
        if np.linalg.norm(other.found.ground(other.expected.nadir)[0] - place) > apart:
            return other
    return None


def height_of(best: Hypothesis, found: GroundHomography, focal: float) -> float:
    """Height above the ground that the size of the photo on the map says [m]."""
    return scale_at(found, best.expected.nadir) * best.view.scale * focal


def position_covariance(
    best: Hypothesis, found: GroundHomography, photo: Photo, accuracy_m: float, settings: LocatorSettings
) -> Array:
    """(2, 2) covariance of the point below the drone [m^2].

    The sum of what the matches leave open, of where the camera looks when its tilt is not known exactly, and of the map itself.
    """
    # Without a lens the field of view is taken to be 53 degrees along the long side.
    focal = float(max(photo.image.shape[:2])) if photo.lens is None else photo.lens.focal
    if photo.tilt is None or photo.lens is None:
        sigma = np.deg2rad(settings.unknown_tilt_sigma)
    else:
        sigma = np.hypot(np.deg2rad(settings.tilt_sigma), photo.tilt.sigma)
    tilted = height_of(best, found, focal) * np.tan(min(float(sigma), _LARGEST_SIGMA))
    made: Array = found.covariance(best.expected.nadir) + (tilted**2 + accuracy_m**2) * np.eye(2)
    return made


def fix_of(best: Hypothesis, found: GroundHomography, photo: Photo, ground: GroundMap, covariance: Array) -> AerialFix:
    """The fix that a hypothesis says."""
    metres = found.ground(best.expected.nadir)[0]
    height, width = photo.image.shape[:2]
    return AerialFix(
        position=LatLon.of(*(float(value) for value in ground.frame.latlon(metres)[0])),
        metres=metres,
        covariance=covariance,
        height_m=None if photo.lens is None else height_of(best, found, photo.lens.focal),
        heading_deg=(best.view.turned_deg + turn_of(found.jacobian(best.expected.nadir))) % 360.0,
        footprint=ground.frame.latlon(found.ground(best.view.of_photo(corners_of(width, height)))),
        inliers=found.count,
        matches=best.matches,
        tile=ground.tiles.names[best.region.tile],
        reason=None,
    )
