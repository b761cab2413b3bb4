"""What features are trained for, measured on held-out pairs with the path of the run time: extract, match, find the pose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param, section
from vloc_ros.errors import ConfigError
from vloc_ros.features.contract import FeatureExtractor, Features
from vloc_ros.features.matching import MatchSettings, match
from vloc_ros.features.stereo import StereoSettings
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.pnp import Landmarks, PnpSettings, estimate_pose
from vloc_ros.localization.parameters import LocalizationSettings
from vloc_ros.training.pairs import PairSource, StereoTruth, TrainingPair
from vloc_ros.training.sources.warp import positions_at

N = TypeVar("N")
_SCHEME = 91
"""Keeps the random numbers of this file apart from others of the same seed."""


@dataclass(frozen=True)
class ValidationSettings:
    """When a pair counts as solved."""

    pairs: int = param(120, "so many pairs of each source are judged", min=1)
    seed: int = param(1, "which pairs", min=0)
    max_error_m: float = param(0.25, "largest error of the position of a localised image", unit="m", min=0.001)
    max_error_deg: float = param(2.0, "largest error of its rotation", unit="deg", min=0.01)
    right_px: float = param(3.0, "a match this close to the truth is right", unit="px", min=0.1)
    min_right: int = param(15, "so many right matches solve a pair without stereo truth", min=1)
    doublings: int = param(4, "the task is also judged with the matches that are asked for doubled, up to so often", min=0, max=10)
    stereo: StereoSettings = section(StereoSettings)
    matching: MatchSettings = section(MatchSettings)
    pnp: PnpSettings = section(PnpSettings)
    localization: LocalizationSettings = section(LocalizationSettings)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How features did on one pair.

    Attributes:
        tag: of the pair.
        solved: whether its image b was localised, or enough matches were right.
        margin: how many times as many inliers, or right matches, it had as are asked for; below 1 when it is not solved.
        matches: how many there were.
        right: how many of them are within the limit of the true warp; those whose truth is unknown are not.
        inliers: of the pose; 0 when there is none, None without stereo truth.
        error_m: of the position [m]; None without a pose.
        error_rad: of the rotation [rad]; likewise.
    """

    tag: str
    solved: bool
    margin: float
    matches: int
    right: int
    inliers: int | None = None
    error_m: float | None = None
    error_rad: float | None = None

    @property
    def group(self) -> str:
        """What it is counted under: the kind of its source, and its conditions if it names any."""
        kind, *rest = self.tag.split(":")
        return f"{kind}:{rest[-1]}" if rest and ">" in rest[-1] else kind


class Validation:
    """Judges extractors on the same pairs each time, which are read anew to keep memory small."""

    def __init__(self, sources: Sequence[PairSource], settings: ValidationSettings | None = None) -> None:
        """Choose the pairs.

        Args:
            sources: of pairs that nothing is trained on; each counts by its groups.
            settings: how many pairs, and when one is solved.

        Raises:
            ConfigError: there are no sources.
        """
        if not sources:
            raise ConfigError("a validation needs at least one source of held-out pairs")
        self._sources, self._settings = tuple(sources), settings or ValidationSettings()

    def __call__(self, extractor: FeatureExtractor) -> dict[str, float]:
        """Figures of an extractor: ``task``, and figures of each group.

        ``<group>/solved`` is its share of solved pairs, ``<group>/right`` and ``<group>/inliers`` are medians. ``task`` is the
        share of solved pairs, averaged over the groups and over asking for once, twice, four times ... as many matches: the plain
        share soon says the same of all networks that are any good.

        Raises:
            DataError: an image is missing or damaged; the text names it.
        """
        return summary(self.judge(extractor), self._settings.doublings)

    def judge(self, extractor: FeatureExtractor) -> list[Verdict]:
        """A verdict for each pair.

        Raises:
            DataError: an image is missing or damaged; the text names it.
        """
        return [judge_pair(self._pair(source, k), extractor, self._settings) for source, k in self._chosen()]

    def _chosen(self) -> list[tuple[int, int]]:
        return [(source, k) for source in range(len(self._sources)) for k in range(self._settings.pairs)]

    def _pair(self, number: int, k: int) -> TrainingPair:
        """The k-th pair of a source: evenly spread over it, and over again with other partners."""
        source, settings = self._sources[number], self._settings
        index = k * len(source) // settings.pairs if settings.pairs <= len(source) else k % len(source)
        return source.pair(index, np.random.default_rng([settings.seed, _SCHEME, number, k]))


def for_networks(validation: Validation, extractor_of: Callable[[N], FeatureExtractor]) -> Callable[[N], dict[str, float]]:
    """The validator of a training loop: judges the extractor that is made of a network as it stands."""
    return lambda network: validation(extractor_of(network))


def judge_pair(pair: TrainingPair, extractor: FeatureExtractor, settings: ValidationSettings) -> Verdict:
    """Features of both images, matches, and the pose where there is stereo truth.

    Image a is what was taught: only its key points with a disparity in the range of stereo are matched then.
    """
    a, b = extractor.extract(pair.image_a), extractor.extract(pair.image_b)
    stereo = pair.stereo
    if stereo is not None:
        a = a.select(np.isfinite(_disparity(stereo.disparity_a, a, stereo.camera, settings.stereo)))
    pairs = match(a, b, extractor.metric, settings.matching).indices
    a, b = a.select(pairs[:, 0]), b.select(pairs[:, 1])
    error = np.linalg.norm(positions_at(pair.warp, a.keypoints) - b.keypoints, axis=1)
    right = int(np.count_nonzero(error <= settings.right_px))
    if stereo is None:
        return Verdict(pair.tag, right >= settings.min_right, right / settings.min_right, len(pairs), right)
    return _localised(pair.tag, stereo, a, b, right, settings)


def _localised(tag: str, stereo: StereoTruth, a: Features, b: Features, right: int, settings: ValidationSettings) -> Verdict:
    """Whether matched features give the true pose, as a fix on a keyframe does."""
    camera = stereo.camera
    of_a, of_b = (
        _disparity(dense, features, camera, settings.stereo)
        for dense, features in ((stereo.disparity_a, a), (stereo.disparity_b, b))
    )
    landmarks = Landmarks.triangulate(camera, a.keypoints.astype(np.float64), of_a, settings.pnp)
    estimate = estimate_pose(camera, landmarks, b.keypoints.astype(np.float64), of_b, settings.pnp)
    if estimate.a_T_b is None:
        return Verdict(tag, False, 0.0, len(a), right, 0)
    difference = se3.between(estimate.a_T_b, stereo.b_T_a)
    error_m, error_rad = se3.translation_norm(difference), se3.rotation_angle(difference)
    inliers = int(np.count_nonzero(estimate.inliers))
    close = error_m <= settings.max_error_m and error_rad <= math.radians(settings.max_error_deg)
    margin = inliers / settings.localization.min_inliers if close else 0.0
    return Verdict(tag, margin >= 1.0, margin, len(a), right, inliers, error_m, error_rad)


def _disparity(
    dense: NDArray[np.float32], features: Features, camera: StereoCamera, settings: StereoSettings
) -> NDArray[np.float64]:
    """(N,) true disparities [px] at the pixels nearest to key points; NaN where unknown or beyond the range of stereo."""
    height, width = dense.shape
    columns = np.clip(np.rint(features.keypoints[:, 0]), 0, width - 1).astype(np.intp)
    rows = np.clip(np.rint(features.keypoints[:, 1]), 0, height - 1).astype(np.intp)
    found = dense[rows, columns].astype(np.float64)
    focal_baseline = camera.fx * camera.baseline
    usable = (found >= focal_baseline / settings.max_depth) & (found <= focal_baseline / settings.min_depth)
    return np.asarray(np.where(usable, found, np.nan))


def summary(verdicts: Sequence[Verdict], doublings: int = 0) -> dict[str, float]:
    """Figures of some verdicts, as :class:`Validation` gives them.

    Raises:
        ConfigError: there are none.
    """
    if not verdicts:
        raise ConfigError("there are no verdicts to summarise")
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.group, []).append(verdict)
    figures: dict[str, float] = {}
    shares = [
        sum(verdict.margin >= 2.0**step for verdict in members) / len(members)
        for members in groups.values()
        for step in range(doublings + 1)
    ]
    for name, members in sorted(groups.items()):
        figures[f"{name}/solved"] = sum(verdict.solved for verdict in members) / len(members)
        figures[f"{name}/right"] = float(median(verdict.right for verdict in members))
        inliers = [verdict.inliers for verdict in members if verdict.inliers is not None]
        if inliers:
            figures[f"{name}/inliers"] = float(median(inliers))
    return {"task": sum(shares) / len(shares), **figures}
