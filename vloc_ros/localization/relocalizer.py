"""Relocalisation: finding the robot in the whole map without a prior, and not believing a weak answer at once."""

from __future__ import annotations

from vloc_ros.features import Features
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.localization.fix import Fix, FixSolver
from vloc_ros.localization.parameters import LocalizationSettings
from vloc_ros.localization.places import PlaceIndex
from vloc_ros.localization.submap import Submap


class Relocalizer:
    """Tries the keyframes that look like the image, and keeps the pose that most matches agree on."""

    def __init__(self, submap: Submap, places: PlaceIndex, solver: FixSolver, settings: LocalizationSettings) -> None:
        self._submap = submap
        self._places = places
        self._solver = solver
        self._settings = settings

    def search(self, live: Features) -> Fix:
        """The best-supported pose in the map, or the reason why none is good enough."""
        best = Fix.failure(RejectReason.NO_CANDIDATE)
        for id in self._places.search(live, self._settings.candidates):
            fix = self._solver.solve(live, [self._submap.view(self._submap.by_id(id))])
            if fix.inliers > best.inliers:
                best = fix
            if best.inliers >= 2 * self._settings.relocalise_sure_inliers:
                break
        if best.map_T_camera is None:
            return best
        enough = best.inliers >= self._settings.relocalise_min_inliers
        if not enough or best.inliers < self._settings.relocalise_min_ratio * best.matches:
            return Fix.failure(RejectReason.TOO_FEW_INLIERS, best.matches)
        return best

    def is_sure(self, fix: Fix) -> bool:
        """Whether the support is so large that no further frame needs to confirm it."""
        return fix.inliers >= self._settings.relocalise_sure_inliers
