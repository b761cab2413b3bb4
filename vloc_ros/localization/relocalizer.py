"""Relocalisation: finding the robot in the whole map without a prior, and not believing a weak answer at once."""

from __future__ import annotations

from vloc_ros.data.frame import Image
from vloc_ros.features import Features
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.localization.fix import Fix, FixSolver
from vloc_ros.localization.parameters import LocalizationSettings
from vloc_ros.localization.submap import MappedView, Submap
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.retrieval import DescriptorIndex, GlobalDescriptor, View
from vloc_ros.retrieval.stages import StagesOfMap


class Relocalizer:
    """Tries the keyframes that look like the image, and some others in turn, and keeps the pose that most matches agree on."""

    def __init__(
        self,
        submap: Submap,
        descriptor: GlobalDescriptor,
        index: DescriptorIndex[KeyframeId],
        solver: FixSolver,
        settings: LocalizationSettings,
        stages: StagesOfMap | None = None,
    ) -> None:
        """With the descriptor of the index, which holds the keyframes of the map, and what orders the keyframes that it finds."""
        self._submap = submap
        self._descriptor = descriptor
        self._index = index
        self._solver = solver
        self._settings = settings
        self._stages = stages
        self._next = 0
        self.report: dict[str, str] = {} if stages is None else stages.names
        """For the diagnostics: the stages, the condition by which the last image was described, times, and what was prepared.

        Any thread may look at it: each search puts another one in its place.
        """

    def tune(self, solver: FixSolver, settings: LocalizationSettings) -> None:
        """Search with other thresholds from now on; the round through the map goes on."""
        self._solver, self._settings = solver, settings
        if self._stages is not None:
            self._stages.tune(settings)

    def search(self, image: Image, live: Features) -> Fix:
        """The best-supported pose in the map of a (H, W) grey image with its features, or why none is good enough."""
        best = Fix.failure(RejectReason.NO_CANDIDATE)
        for id in self._candidates(View(image, live, condition=self._settings.condition)):
            fix = self._solve(live, self._submap.view(self._submap.by_id(id)))
            if fix.inliers > best.inliers:
                best = fix
            if best.inliers >= 2 * self._settings.relocalise_sure_inliers:
                break
        if best.map_T_camera is None:
            return best
        if not self._is_enough(best):
            return Fix.failure(RejectReason.TOO_FEW_INLIERS, best.matches)
        return best

    def _candidates(self, live: View) -> list[KeyframeId]:
        """The most similar keyframes, and the next few of all: in poor light likeness is no guide, but a robot has time.

        The round begins where the path begins, as robots do.
        """
        similar = self._similar(live)
        keyframes = self._submap.keyframes
        swept = [keyframes[(self._next + i) % len(keyframes)].id for i in range(min(self._settings.sweep, len(keyframes)))]
        self._next = (self._next + self._settings.sweep) % len(keyframes)
        return list(dict.fromkeys([*similar, *swept]))

    def _similar(self, live: View) -> list[KeyframeId]:
        """The most similar keyframes, best first; where stages order them, only those that are believed."""
        vector, most = self._descriptor.describe(live), self._settings.candidates
        [condition] = self._descriptor.conditions_of([live])
        said = {"condition": condition} if condition else {}
        if self._stages is None:
            self.report = said
            return self._index.search(vector, most).ids
        found = self._index.search(vector, max(most, self._stages.depth))
        judged = self._stages.of_view(live, found.ids, dict(found))
        times = {f"{stage}_ms": f"{taken:.1f}" for stage, taken in judged.took.items()}
        self.report = self._stages.names | said | times | {what: str(count) for what, count in self._stages.counts.items()}
        return judged.believed[:most]

    def _solve(self, live: Features, view: MappedView) -> Fix:
        """Match anywhere in the image; if that is not enough, as seen from about where the keyframe was taken."""
        fix = self._solver.solve(live, [view])
        if self._is_enough(fix):
            return fix
        near = self._solver.solve(live, [view], view.map_T_camera, self._settings.relocalise_window_px)
        return near if near.inliers > fix.inliers else fix

    def _is_enough(self, fix: Fix) -> bool:
        enough = fix.inliers >= self._settings.relocalise_min_inliers
        return enough and fix.inliers >= self._settings.relocalise_min_ratio * fix.matches

    def is_sure(self, fix: Fix) -> bool:
        """Whether the support is so large that no further frame needs to confirm it."""
        return fix.inliers >= self._settings.relocalise_sure_inliers
