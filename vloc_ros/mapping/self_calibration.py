"""Self-calibration: measure what is left of a stereo pair's rectification error from its own images, and correct it if it matters.

The estimate needs nothing but pairs of frames between which the camera moved. It is judged on pairs that it was not made from, and
only a clear gain there makes it significant; well-rectified images are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.reader import DatasetReader
from vloc_ros.data.rectified import RectifiedReader
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.features import create_extractor
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.rectification import RectificationCorrection
from vloc_ros.geometry.rectification_fit import (
    RectificationFit,
    StereoTracks,
    fit_rectification,
    fit_rows,
    row_errors,
    temporal_errors,
)
from vloc_ros.mapping.rectification_tracks import PairFeatures, describe_pair, parallax_px, track

_log = logging.getLogger(__name__)
_CAP_PX = 5.0
_GAPS = (1, 3, 9)
"""Frames between the two of a pair, tried in turn until the camera has moved enough."""
_IDENTITY = RectificationCorrection()


@dataclass(frozen=True)
class SelfCalibrationSettings:
    """Rectification refinement."""

    features: str = param("sift_fast", "local features that are matched")
    max_features: int = param(1000, "at most so many key points per image", min=100, max=20000)
    pairs: int = param(12, "pairs of frames, spread over the recording", min=4, max=100)
    min_pairs: int = param(4, "fewer usable pairs of frames decide nothing", min=2, max=100)
    min_matches: int = param(30, "a pair of frames with fewer points seen in all four images is not used", min=12, max=10000)
    min_parallax_px: float = param(
        1.5, "a pair of frames with a smaller median image motion beyond rotation is not used", unit="px", min=0.1, max=100.0
    )
    max_row_px: float = param(12.0, "largest vertical disagreement that a left-right match can have", unit="px", min=1.0, max=100.0)
    max_sigma_px: float = param(
        0.8, "larger uncertainty of the correction of a disparity decides nothing", unit="px", min=0.01, max=10.0
    )
    min_gain: float = param(0.1, "smallest relative gain on pairs of frames held out", min=0.0, max=1.0)
    min_gain_px: float = param(0.03, "smallest gain on pairs of frames held out", unit="px", min=0.0, max=10.0)


@unique
class UndecidedReason(Enum):
    """Why the rectification error of a recording cannot be told."""

    NOT_STEREO = "the frames have a depth image instead of a right image"
    TOO_FEW_FRAMES = "there are too few pairs of frames; record more"
    TOO_FEW_MATCHES = "too few points are seen in both images of two frames"
    TOO_LITTLE_MOTION = "the camera hardly moves between the frames; drive a few metres past things near and far"
    NOT_OBSERVABLE = "the motion and the scene do not determine the error of the disparities; drive past things near and far"


@unique
class RectificationMode(Enum):
    """Whether the rectification of a recording is refined."""

    OFF = "off"
    AUTO = "auto"
    """Estimate the error, and correct it when that is significant."""


@dataclass(frozen=True, slots=True)
class RectificationReport:
    """What was found; the residuals are of pairs of frames that the correction was *not* estimated from.

    Attributes:
        correction: the estimate from all pairs; the identity when undecided.
        significant: whether it should be applied.
        reason: why nothing can be said, else None.
        pairs: pairs of frames that were used.
        points: points seen in all four images, over all pairs.
        row_before_px, row_after_px: median vertical disagreement of left-right matches [px]; NaN when undecided.
        temporal_before_px, temporal_after_px: median distance between where the landmarks of one frame are expected in the other
            and where they are seen [px]; NaN when undecided.
        sigma_px: largest standard deviation of the correction of a disparity over the image [px]; NaN when undecided.
        max_shift_px: longest displacement of the correction over the image [px].
    """

    correction: RectificationCorrection
    significant: bool
    reason: UndecidedReason | None
    pairs: int
    points: int
    row_before_px: float = float("nan")
    row_after_px: float = float("nan")
    temporal_before_px: float = float("nan")
    temporal_after_px: float = float("nan")
    sigma_px: float = float("nan")
    max_shift_px: float = 0.0

    @property
    def applied(self) -> RectificationCorrection:
        """What to apply: the estimate if it is significant, else the identity."""
        return self.correction if self.significant else _IDENTITY

    def __str__(self) -> str:
        if self.reason is not None:
            return f"rectification error unknown: {self.reason.value}"
        verdict = f"correct it by up to {self.max_shift_px:.1f} px" if self.significant else "leave it alone"
        return (
            f"rectification: {verdict}; rows disagree by {self.row_before_px:.2f} px, corrected {self.row_after_px:.2f} px; "
            f"temporal residual {self.temporal_before_px:.2f} px, corrected {self.temporal_after_px:.2f} px "
            f"({self.pairs} pairs of frames, judged on those held out)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a residual that is unknown is None."""
        names = ("row_before_px", "row_after_px", "temporal_before_px", "temporal_after_px", "sigma_px", "max_shift_px")
        values = {name: float(getattr(self, name)) for name in names}
        return {
            "significant": self.significant,
            "reason": None if self.reason is None else self.reason.name,
            "pairs": self.pairs,
            "points": self.points,
            **{name: value if np.isfinite(value) else None for name, value in values.items()},
            "correction": self.correction.to_dict(),
        }


def estimate_rectification(
    camera: StereoCamera,
    frames: Sequence[tuple[StereoFrame, StereoFrame]],
    settings: SelfCalibrationSettings | None = None,
) -> RectificationReport:
    """Estimate the rectification error from pairs of frames of a moving camera; deterministic.

    Args:
        camera: the camera as calibrated.
        frames: pairs of frames some of whose scene is in both, best spread over a recording; about a dozen is enough.
        settings: thresholds.

    Raises:
        CalibrationError: the images are not of the camera's size.
        ConfigError: the local features are not known.
    """
    settings = settings or SelfCalibrationSettings()
    if any(frame.right is None for pair in frames for frame in pair):
        return _undecided(UndecidedReason.NOT_STEREO)
    extractor = create_extractor(settings.features, settings.max_features)
    tracks = []
    for before, after in frames:
        _check_size(camera, before)
        _check_size(camera, after)
        described = [describe_pair(frame, extractor, settings.max_row_px) for frame in (before, after)]
        tracks.append(track(described[0], described[1], extractor))
    return estimate_from_tracks(camera, tracks, settings)


def refine_rectification(
    reader: DatasetReader, mode: RectificationMode, settings: SelfCalibrationSettings | None = None
) -> tuple[DatasetReader, RectificationReport | None]:
    """The recording with its rectification error corrected, if there is a significant one, and what was found (OFF: None).

    Raises:
        CalibrationError: the images are not of the camera's size.
        ConfigError: the local features are not known.
    """
    if mode is RectificationMode.OFF:
        return reader, None
    settings = settings or SelfCalibrationSettings()
    report = _estimate_of_recording(reader, settings)
    _log.info("%s", report)
    return (RectifiedReader(reader, report.correction) if report.significant else reader), report


def estimate_from_tracks(
    camera: StereoCamera, tracks: Sequence[StereoTracks], settings: SelfCalibrationSettings
) -> RectificationReport:
    """As :func:`estimate_rectification`, from points that were tracked already."""
    usable, reason = _usable(camera, tracks, settings)
    if reason is not None:
        return _undecided(reason)
    fit = _fit(camera, usable)
    folds = [(_fit(camera, usable[1 - k :: 2]), usable[k::2]) for k in (0, 1)]
    if fit is None or any(trained is None for trained, _ in folds):
        return _undecided(UndecidedReason.NOT_OBSERVABLE)
    sigma = fit.disparity_sigma_px(camera)
    if sigma > settings.max_sigma_px:
        return _undecided(UndecidedReason.NOT_OBSERVABLE)
    row, temporal = _judge(camera, [(trained.correction, held) for trained, held in folds if trained is not None])
    return RectificationReport(
        correction=fit.correction,
        significant=_is_significant(row, temporal, settings),
        reason=None,
        pairs=len(usable),
        points=sum(len(t) for t in usable),
        row_before_px=row[0],
        row_after_px=row[1],
        temporal_before_px=temporal[0],
        temporal_after_px=temporal[1],
        sigma_px=sigma,
        max_shift_px=fit.correction.max_shift_px(camera),
    )


def _usable(
    camera: StereoCamera, tracks: Sequence[StereoTracks], settings: SelfCalibrationSettings
) -> tuple[list[StereoTracks], UndecidedReason | None]:
    """The pairs of frames to use, or why there are too few."""
    if len(tracks) < settings.min_pairs:
        return [], UndecidedReason.TOO_FEW_FRAMES
    matched = [t for t in tracks if len(t) >= settings.min_matches]
    if len(matched) < settings.min_pairs:
        return [], UndecidedReason.TOO_FEW_MATCHES
    moved = [t for t in matched if parallax_px(camera, t) >= settings.min_parallax_px]
    if len(moved) < settings.min_pairs:
        return [], UndecidedReason.TOO_LITTLE_MOTION
    return moved, None


def _fit(camera: StereoCamera, tracks: Sequence[StereoTracks]) -> RectificationFit | None:
    return fit_rectification(camera, tracks, fit_rows(camera, tracks))


def _judge(
    camera: StereoCamera, folds: Sequence[tuple[RectificationCorrection, Sequence[StereoTracks]]]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Median (before, after) of the rows and of the temporal residual, each pair of frames under a correction not made from it."""
    row: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    temporal: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    for correction, held_out in folds:
        for t in held_out:
            errors, near = zip(*(temporal_errors(camera, t, c, _CAP_PX) for c in (_IDENTITY, correction)), strict=True)
            both = near[0] & near[1]  # the same points are judged before and after
            for k, c in enumerate((_IDENTITY, correction)):
                temporal[k].append(errors[k][both])
                row[k].append(np.abs(row_errors(camera, t, c)))
    return (_median(row[0]), _median(row[1])), (_median(temporal[0]), _median(temporal[1]))


def _median(parts: Sequence[NDArray[np.float64]]) -> float:
    values = np.concatenate(parts)
    return float(np.median(values)) if len(values) else _CAP_PX


def _is_significant(row: tuple[float, float], temporal: tuple[float, float], settings: SelfCalibrationSettings) -> bool:
    """Whether one of the two residuals (before, after) falls clearly and the other does not rise."""

    def falls(values: tuple[float, float]) -> bool:
        gain = values[0] - values[1]
        return gain >= settings.min_gain * values[0] and gain >= settings.min_gain_px

    def rises(values: tuple[float, float]) -> bool:
        return values[1] - values[0] > settings.min_gain_px

    return (falls(row) or falls(temporal)) and not (rises(row) or rises(temporal))


def _estimate_of_recording(reader: DatasetReader, settings: SelfCalibrationSettings) -> RectificationReport:
    if len(reader) <= settings.min_pairs:
        return _undecided(UndecidedReason.TOO_FEW_FRAMES)
    starts = np.unique(np.linspace(0, len(reader) - 2, settings.pairs).astype(np.int64))
    recording = _Recording(reader, settings)
    tracks = [t for start in starts for t in recording.tracks_from(int(start))]
    if recording.is_not_stereo:
        return _undecided(UndecidedReason.NOT_STEREO)
    return estimate_from_tracks(reader.camera, tracks, settings)


class _Recording:
    """Finds pairs of frames between which the camera moved."""

    def __init__(self, reader: DatasetReader, settings: SelfCalibrationSettings) -> None:
        self._reader, self._settings = reader, settings
        self._extractor = create_extractor(settings.features, settings.max_features)
        self.is_not_stereo = False

    def tracks_from(self, start: int) -> Iterator[StereoTracks]:
        """At most one: tracks from a frame to the nearest one with enough parallax, or to the last one tried."""
        before = self._describe(start)
        found = None
        for gap in _GAPS:
            # At the end of the recording the other frame is an earlier one; which is first makes no difference.
            other = start + gap if start + gap < len(self._reader) else start - gap
            after = self._describe(other) if before is not None else None
            if before is None or after is None:
                continue
            candidate = track(before, after, self._extractor)
            if found is not None and len(candidate) < self._settings.min_matches:
                break  # the views have parted; more distance does not help
            found = candidate
            if parallax_px(self._reader.camera, found) >= self._settings.min_parallax_px:
                break
        if found is not None:
            yield found

    def _describe(self, index: int) -> PairFeatures | None:
        """Features of one frame; None before the start, where the images are damaged, and of a depth camera."""
        if self.is_not_stereo or index < 0:
            return None
        try:
            frame = self._reader.frame(index)
        except DataError as error:
            _log.warning("frame %d is not used for self-calibration: %s", index, error)
            return None
        if frame.right is None:
            self.is_not_stereo = True
            return None
        _check_size(self._reader.camera, frame)
        return describe_pair(frame, self._extractor, self._settings.max_row_px)


def _check_size(camera: StereoCamera, frame: StereoFrame) -> None:
    if frame.size != (camera.width, camera.height):
        raise CalibrationError(
            f"the images are {frame.size[0]}x{frame.size[1]} px but the calibration is of {camera.width}x{camera.height} px; "
            "use the calibration of this resolution"
        )


def _undecided(reason: UndecidedReason) -> RectificationReport:
    return RectificationReport(_IDENTITY, False, reason, 0, 0)
