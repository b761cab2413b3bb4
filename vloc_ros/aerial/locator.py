"""Where on a map a photo was taken: tiles that resemble it, matches to them, and a homography that must stand every test."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence

import numpy as np

from vloc_ros.aerial.contract import GroundMap
from vloc_ros.aerial.fix import AerialFix, AerialReject
from vloc_ros.aerial.homography import GroundHomography, estimate
from vloc_ros.aerial.hypothesis import Hypothesis, fix_of, most_telling, position_covariance, rival_of, strongest
from vloc_ros.aerial.locator_settings import LocatorSettings
from vloc_ros.aerial.looks import Looks
from vloc_ros.aerial.matching import Region, by_heading, match_ground
from vloc_ros.aerial.nadir import NadirView, corners_of
from vloc_ros.aerial.photo import Photo
from vloc_ros.aerial.proposing import Plan, Prior, Proposer
from vloc_ros.aerial.validation import Expected, refuse_form, refuse_sensors
from vloc_ros.data.frame import to_grey
from vloc_ros.features import FeatureExtractor, MatchSettings
from vloc_ros.features.learned import LearnedFeatures
from vloc_ros.retrieval import GlobalDescriptor

_NOWHERE = {AerialReject.NO_CANDIDATE, AerialReject.TOO_FEW_MATCHES, AerialReject.TOO_FEW_INLIERS, AerialReject.NOT_A_VIEW}
"""Why a photo may be refused of which only the heading is wrong, by features that mind how it is turned."""


class Locator:
    """Locates photos on a map. Keeps nothing from one photo to the next, and is deterministic but for the seconds it tells."""

    def __init__(
        self,
        ground: GroundMap,
        extractor: FeatureExtractor,
        descriptor: GlobalDescriptor,
        settings: LocatorSettings | None = None,
    ) -> None:
        """Get ready for a map.

        Args:
            ground: the map.
            extractor: of the local features that the map was made with.
            descriptor: the global descriptor that the map was made with.
            settings: thresholds.

        Raises:
            ConfigError: the map was described by another global descriptor, or the descriptor needs local features.
        """
        self.ground = ground
        self.settings = settings or LocatorSettings()
        self._extractor = extractor
        self._proposer = Proposer(ground, descriptor, self.settings)
        self._matching = MatchSettings(ratio=_ratio(self.settings.ratio, extractor), min_similarity=self.settings.min_similarity)

    def locate(self, photo: Photo, prior: Prior | None = None) -> AerialFix:
        """Where a photo was taken.

        Args:
            photo: and what is known of how it was taken.
            prior: where it should have been taken; a position outside its gate is refused. Without it the whole map is searched.

        Returns:
            A position, or none with its reason.
        """
        start = time.perf_counter()
        found = self._locate(photo, prior)
        return dataclasses.replace(found, seconds=time.perf_counter() - start)

    def doubt(self, photo: Photo, found: AerialFix) -> AerialFix:
        """What :meth:`locate` has found; but a photo that fits nowhere by its heading is looked for by any other, too.

        Features that mind how a photo is turned do not find it by a wrong heading, so that only this can tell why. It takes some
        times as long as a search of the whole map by a heading that is known.

        Returns:
            What was found; in place of a refusal that the heading is wrong, where another one fits. No position comes of that.
        """
        if found.reason not in _NOWHERE or photo.heading_deg is None:
            return found
        other = self.locate(dataclasses.replace(photo, heading_deg=None))
        seconds = found.seconds + other.seconds
        turned = 0.0 if other.heading_deg is None else (other.heading_deg - photo.heading_deg + 180.0) % 360.0 - 180.0
        if abs(turned) <= self.settings.validation.heading_tolerance:  # nothing was found, or that the heading is right
            return dataclasses.replace(found, seconds=seconds)
        return AerialFix.failure(AerialReject.WRONG_HEADING, other.matches, other.inliers, other.tile, seconds)

    def _locate(self, photo: Photo, prior: Prior | None) -> AerialFix:
        if float(np.std(to_grey(photo.image))) < self.settings.min_contrast:
            return AerialFix.failure(AerialReject.BLANK_IMAGE)
        plans = self._proposer.plans(photo)
        if not plans:
            return AerialFix.failure(AerialReject.OUTSIDE_SCALES)
        tile = max(plan.level.tile_m / plan.level.ground_per_pixel for plan in plans)
        looks = Looks(photo, self._extractor, self.settings.max_tilt, round(self.settings.part * tile))
        regions = self._proposer.propose(looks, plans, prior)
        if isinstance(regions, AerialReject):
            return AerialFix.failure(regions)
        hypotheses = self._hypotheses(looks, regions, {plan.level.index: plan for plan in plans})
        if not hypotheses:
            return AerialFix.failure(AerialReject.TOO_OBLIQUE)
        best = strongest(hypotheses)
        if best is None or best.found is None:
            return self._refusal(most_telling(hypotheses))
        return self._believed(best, best.found, hypotheses, photo, prior)

    def _hypotheses(self, looks: Looks, regions: Sequence[Region], plans: Mapping[int, Plan]) -> list[Hypothesis]:
        """Those of all regions; once a view is certain, the photo is not turned and scaled in other ways any more."""
        found: list[Hypothesis] = []
        for group in by_heading(regions):
            tried = [self._try(looks, region, plans[region.level]) for region in group]
            found += [item for item in tried if isinstance(item, Hypothesis)]
            best = strongest(found)
            if best is not None and 0 < self.settings.certain <= best.inliers:
                break
        return found

    def _try(self, looks: Looks, region: Region, plan: Plan) -> Hypothesis | AerialReject:
        """Match a photo to a region."""
        view = looks.view(plan.scale, region.heading_deg)
        if isinstance(view, AerialReject):
            return view
        expected = _expected(looks, view, plan)
        features = looks.features(view)
        fewest = self.settings.validation.min_inliers
        if len(features) < fewest:
            return Hypothesis(region, view, expected, 0, None, AerialReject.TOO_FEW_FEATURES)
        matches = match_ground(features, self.ground.features_in(region.level, region.low, region.high), self._matching)
        if len(matches) < fewest:
            return Hypothesis(region, view, expected, len(matches), None, AerialReject.TOO_FEW_MATCHES)
        found = estimate(matches.pixels, matches.metres, self.settings.threshold_px * plan.level.ground_per_pixel)
        if not isinstance(found, GroundHomography):
            return Hypothesis(region, view, expected, len(matches), None, AerialReject.TOO_FEW_INLIERS)
        reason = refuse_form(found, matches.pixels, expected, self.settings.validation)
        return Hypothesis(region, view, expected, len(matches), found, reason)

    def _believed(
        self, best: Hypothesis, found: GroundHomography, hypotheses: list[Hypothesis], photo: Photo, prior: Prior | None
    ) -> AerialFix:
        """The fix of the strongest hypothesis, if nothing speaks against it.

        A weaker one is never taken in its place: that it is contradicted does not make another true.
        """
        reason = refuse_sensors(found, best.expected, self.settings.validation)
        if reason is None and rival_of(best, hypotheses, self.settings.uniqueness) is not None:
            reason = AerialReject.AMBIGUOUS
        if reason is not None:
            return self._refusal(best, reason)
        covariance = position_covariance(best, found, photo, self.ground.accuracy_m, self.settings)
        if not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance)[-1] > self.settings.max_sigma**2:
            return self._refusal(best, AerialReject.LARGE_COVARIANCE)
        fix = fix_of(best, found, photo, self.ground, covariance)
        if prior is not None and fix.metres is not None:
            off = fix.metres - prior.metres
            if off @ np.linalg.solve(prior.covariance + covariance, off) > self.settings.gate_sigmas**2:
                return self._refusal(best, AerialReject.FAILED_GATE)
        return fix

    def _refusal(self, hypothesis: Hypothesis, reason: AerialReject | None = None) -> AerialFix:
        why = reason or hypothesis.reason or AerialReject.NOT_A_VIEW
        name = self.ground.tiles.names[hypothesis.region.tile]
        return AerialFix.failure(why, hypothesis.matches, hypothesis.inliers, name)


def _ratio(wanted: float, extractor: FeatureExtractor) -> float:
    """That of the ratio test. Across seasons descriptors of networks stand out less, and SIFT at that ratio finds fewer photos."""
    if wanted > 0.0:
        return wanted
    return 0.96 if isinstance(extractor, LearnedFeatures) else 0.9


def _expected(looks: Looks, view: NadirView, plan: Plan) -> Expected:
    photo = looks.photo
    height, width = photo.image.shape[:2]
    # What is compared: matches of the middle do not say where the corners of a larger photo lie.
    corners = corners_of(width, height)
    compared = corners.mean(axis=0) + (corners - corners.mean(axis=0)) * min(
        1.0, looks.max_side / (view.scale * max(width, height))
    )
    return Expected(
        corners=view.of_photo(compared),
        nadir=view.nadir,
        short_side=min(looks.max_side, view.scale * min(height, width)),
        ground_per_pixel=plan.level.ground_per_pixel,
        height_known=photo.ground_per_pixel is not None,
        heading_known=photo.heading_deg is not None,
    )
