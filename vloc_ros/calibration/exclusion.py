"""Which keyframes may be negatives: not the neighbours of anchor and positive, nor of what the pose graph ties to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vloc_ros.calibration.layout import Layout, partners_of
from vloc_ros.config import param
from vloc_ros.errors import DataError
from vloc_ros.mapping.keyframe import KeyframeId


@dataclass(frozen=True)
class ExclusionSettings:
    """What is too near to be another place.

    Frames are differences of keyframe numbers, as published. Keyframes are unevenly spaced (every metre on the straight, every few
    degrees in a turn, thinned by pruning), so that metres along the path and in the optimised graph are asked, too.
    """

    frames: int = param(20, "keyframes of one session this many or fewer apart are one place", min=0)
    path: float = param(20.0, "and those this far or less apart along the path; 0: not asked", unit="m", min=0.0)
    distance: float = param(
        10.0, "and those this far or less apart in the optimised graph, or not joined in it; 0: not asked", unit="m", min=0.0
    )
    near_frames: int = param(1, "what an inlier ties to a keyframe this many or fewer from the anchor counts for the anchor", min=0)
    near_path: float = param(2.0, "and to one this far or less from it along the path; 0: not asked", unit="m", min=0.0)


PUBLISHED_EXCLUSION: dict[str, Any] = {"frames": 100, "path": 0.0, "distance": 0.0, "near_frames": 1, "near_path": 0.0}
"""As published (source_systems 2.3): min_tuned_image_distance 100, near is less than 2 frames, metres are not asked."""


class Exclusion:
    """Tells which keyframes cannot be negatives of a pair."""

    def __init__(
        self,
        settings: ExclusionSettings,
        inliers: Iterable[tuple[KeyframeId, KeyframeId]],
        layout: Layout | None = None,
    ) -> None:
        """Take the pairs that the pose graph believes in.

        Args:
            settings: distances.
            inliers: pairs of keyframes that are one place.
            layout: needed when metres are asked.

        Raises:
            DataError: metres are asked without a layout.
        """
        if layout is None and (settings.path or settings.distance or settings.near_path):
            raise DataError(
                "without a map nothing is known of metres: set exclusion.path, exclusion.distance and exclusion.near_path to 0"
            )
        self._settings = settings
        self._partners = partners_of(inliers)
        self._layout = layout

    def around(self, anchor: KeyframeId, positive: KeyframeId) -> frozenset[KeyframeId]:
        """All that is known to be the place of a pair: both, and the partners of what is near either."""
        known = {anchor, positive}
        for near in self._near(anchor) | self._near(positive):
            known |= self._partners.get(near, frozenset())
        return frozenset(known)

    def excludes(self, around: Iterable[KeyframeId], other: KeyframeId) -> bool:
        """Whether a keyframe is too near to any of those in :meth:`around` to be another place."""
        return any(self.are_near(known, other) for known in around)

    def are_near(self, a: KeyframeId, b: KeyframeId) -> bool:
        """Whether two keyframes may show one place, by their numbers, the path and the optimised graph."""
        settings, layout = self._settings, self._layout
        if a.session == b.session and abs(a.keyframe - b.keyframe) <= settings.frames:
            return True
        if layout is None:
            return False
        if settings.path and layout.path_apart(a, b) <= settings.path:
            return True
        # What is not joined has no distance: that is no knowledge that it is far.
        return bool(settings.distance) and not layout.distance(a, b) > settings.distance

    def _near(self, id: KeyframeId) -> set[KeyframeId]:
        reach = self._settings.near_frames
        near = {KeyframeId(id.session, id.keyframe + step) for step in range(-reach, reach + 1)}
        if self._layout is not None and self._settings.near_path:
            near.update(self._layout.within_path(id, self._settings.near_path))
        return near
