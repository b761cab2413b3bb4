"""Geometric verification: whether two keyframes show one place, and where one was taken as seen from the other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.features import Features
from vloc_ros.geometry import se3
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.geometry.uncertainty import isotropic
from vloc_ros.mapping import KeyframeId, MapStore, MatchView
from vloc_ros.mapping.registration import Registrar, Registration

Array = NDArray[np.float64]
_KEPT = 64


@dataclass(frozen=True)
class VerificationSettings:
    """When two keyframes are taken for one place."""

    min_inliers: int = param(20, "fewest matches that agree on the relative pose", min=6, max=10000, live=True)
    min_ratio: float = param(0.25, "smallest share of the matches that agree", min=0.0, max=1.0, live=True)
    window_px: float = param(
        80.0,
        "search window for a second try, around the position in the other keyframe, where matching without one fails",
        unit="px",
        min=2.0,
        max=1000.0,
        live=True,
    )
    attempts: int = param(5, "so many of the most similar keyframes are tried until one is verified", min=1, max=1000, live=True)
    max_distance: float = param(30.0, "a relative pose longer than this is not believed", unit="m", min=0.1, max=1000.0, live=True)
    sigma_m: float = param(
        0.02,
        "position uncertainty of a verified pose, at least (landmarks and calibration)",
        unit="m",
        min=0.0,
        max=10.0,
        live=True,
    )
    sigma_rad: float = param(0.003, "rotation uncertainty of a verified pose, at least", unit="rad", min=0.0, max=1.0, live=True)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two keyframes that geometry says show one place: a loop closure that the pose graph has yet to judge.

    Attributes:
        a: the keyframe that the search found.
        b: the keyframe that it was searched for.
        score: similarity of their global descriptors.
        a_T_b: (4, 4) pose of base b in the frame of base a.
        covariance: (6, 6) of its right perturbation, translation first.
        inliers: how many matches agree.
        matches: how many there were.
        probability: that the two are one place, by similarity and variance before anything was verified; None where it is unknown.
    """

    a: KeyframeId
    b: KeyframeId
    score: float
    a_T_b: Array
    covariance: Array
    inliers: int
    matches: int
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Two keyframes that resemble each other but were not verified.

    Attributes:
        a: the keyframe that the search found.
        b: the keyframe that it was searched for.
        score: similarity of their global descriptors.
        reason: why not.
        inliers: how many matches agreed.
        matches: how many there were.
        probability: that the two are one place, by similarity and variance before anything was verified; None where it is unknown.
    """

    a: KeyframeId
    b: KeyframeId
    score: float
    reason: RejectReason
    inliers: int
    matches: int
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What the candidates of one keyframe came to: at most one was verified, those before it were rejected."""

    candidate: Candidate | None
    rejections: tuple[Rejection, ...]


class LoopVerifier:
    """Verifies pairs of keyframes of a map; keeps the features that it read last, so memory does not grow with the map."""

    def __init__(self, store: MapStore, registrar: Registrar, settings: VerificationSettings) -> None:
        self._store = store
        self._registrar = registrar
        self._settings = settings
        self._base_T_camera = store.base_T_camera
        self._features: OrderedDict[KeyframeId, Features] = OrderedDict()

    def tune(self, registrar: Registrar, settings: VerificationSettings) -> None:
        """Verify with other thresholds from now on."""
        self._registrar, self._settings = registrar, settings

    def first_verified(self, b: KeyframeId, found: Iterable[tuple[KeyframeId, float]]) -> Verified:
        """Try keyframes that resemble b, the most similar first: when one fails, the next best is tried, up to the budget.

        Args:
            b: the keyframe that was searched for.
            found: keyframes with their scores; read only as far as needed.

        Raises:
            MapError: the features of a keyframe cannot be read.
        """
        rejections: list[Rejection] = []
        for a, score in found:
            outcome = self.verify(a, b, score)
            if isinstance(outcome, Candidate):
                return Verified(outcome, tuple(rejections))
            rejections.append(outcome)
            if len(rejections) >= self._settings.attempts:
                break
        return Verified(None, tuple(rejections))

    def verify(self, a: KeyframeId, b: KeyframeId, score: float) -> Candidate | Rejection:
        """The relative pose of two keyframes, or why it is not believed.

        Raises:
            MapError: the features of one cannot be read.
        """
        best, reason = self._register(self.features(a), self.features(b))
        if reason is not None:
            return Rejection(a, b, score, reason, best.support, len(best.pairs))
        a_T_b, covariance = best.of_bases(self._base_T_camera)
        covariance = covariance + isotropic(self._settings.sigma_m, self._settings.sigma_rad)
        return Candidate(a, b, score, a_T_b, 0.5 * (covariance + covariance.T), best.support, len(best.pairs))

    def match_view(self, a: KeyframeId, b: KeyframeId) -> MatchView:
        """The inlier correspondences of two keyframes for drawing: b is the live image, a that of the map; empty on failure.

        Raises:
            MapError: the features of one cannot be read.
        """
        of_a, of_b = self.features(a), self.features(b)
        best, _ = self._register(of_a, of_b)
        rows = best.pairs[best.inliers]
        return MatchView(a, of_b.keypoints[rows[:, 1]], of_a.keypoints[rows[:, 0]])

    def features(self, id: KeyframeId) -> Features:
        """Features of a keyframe.

        Raises:
            MapError: they cannot be read.
        """
        if id in self._features:
            self._features.move_to_end(id)
            return self._features[id]
        features = self._features[id] = self._store.features(id)
        if len(self._features) > _KEPT:
            self._features.popitem(last=False)
        return features

    def _register(self, a: Features, b: Features) -> tuple[Registration, RejectReason | None]:
        """The better of two tries, matching anywhere and as seen from about the same pose, and why it is not good enough."""
        best: Registration | None = None
        reason: RejectReason | None = None
        for registration in self._tries(a, b):
            if best is None or registration.support > best.support:
                best, reason = registration, self._doubt(registration)
            if reason is None:
                break
        assert best is not None
        return best, reason

    def _tries(self, a: Features, b: Features) -> Iterator[Registration]:
        yield self._registrar.register(a, b)
        yield self._registrar.register(a, b, self._settings.window_px)

    def _doubt(self, registration: Registration) -> RejectReason | None:
        if registration.a_T_b is None:
            return registration.reason or RejectReason.TOO_FEW_INLIERS
        if registration.support < self._settings.min_inliers:
            return RejectReason.TOO_FEW_INLIERS
        if registration.support < self._settings.min_ratio * len(registration.pairs):
            return RejectReason.LOW_INLIER_RATIO
        if se3.translation_norm(registration.a_T_b) > self._settings.max_distance:
            return RejectReason.MOTION_TOO_LARGE
        return None
