"""How wrong each frame of a run is, against the taught keyframe it follows and against the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vloc_ros.data.reader import Trajectory
from vloc_ros.evaluation.metrics import Similarity, align
from vloc_ros.evaluation.runlog import Run
from vloc_ros.evaluation.trajectories import (
    Array,
    Mask,
    poses_at,
    relative,
    rotation_angles,
    stack,
    translation_norms,
)
from vloc_ros.mapping.keyframe import Keyframe, KeyframeId

KeyframeTruth = Mapping[KeyframeId, Array] | Trajectory
ALIGNMENT_LEVER_M = 1.0


@unique
class ErrorKind(Enum):
    """What a frame's pose is compared with."""

    RELATIVE = "relative_to_keyframe"
    """Pose of the live base in its taught keyframe: what repeating depends on; drift of the map does not enter."""
    ABSOLUTE = "absolute"
    """Pose in the world, after the map as a whole was aligned with it."""


@dataclass(frozen=True, slots=True)
class FrameErrors:
    """Errors of the F frames of a run.

    An error transform is ``live_T_estimate``: where the estimated base lies seen from the true one (x ahead, y left), so that
    its translation norm and rotation angle are the position and rotation error. It is NaN for a frame that has no believed pose
    or no truth.

    Attributes:
        believed: (F,) frames with a believed map pose.
        truth_known: (F,) frames whose true pose is known.
        absolute: (F, 4, 4) errors in the world.
        relative: (F, 4, 4) errors against the keyframe; None when the truth of the keyframes is not known.
        world_T_map: alignment behind ``absolute``; None when nothing could be aligned.
    """

    believed: Mask
    truth_known: Mask
    absolute: Array
    relative: Array | None
    world_T_map: Similarity | None

    @property
    def kind(self) -> ErrorKind:
        """The errors that count: relative ones where there are any."""
        return ErrorKind.ABSOLUTE if self.relative is None else ErrorKind.RELATIVE

    @property
    def errors(self) -> Array:
        """(F, 4, 4) error transforms of :attr:`kind`."""
        return self.absolute if self.relative is None else self.relative

    @property
    def position_m(self) -> Array:
        """(F,) position error [m], NaN where unknown."""
        return translation_norms(self.errors)

    @property
    def rotation_rad(self) -> Array:
        """(F,) rotation error [rad] in [0, pi], NaN where unknown."""
        return rotation_angles(self.errors)

    @property
    def lateral_m(self) -> Array:
        """(F,) how far the estimate lies left of the truth [m], NaN where unknown."""
        return np.asarray(self.errors[:, 1, 3])

    @property
    def heading_rad(self) -> Array:
        """(F,) how far the estimate is turned left of the truth [rad], NaN where unknown."""
        return np.asarray(np.arctan2(self.errors[:, 1, 0], self.errors[:, 0, 0]))

    @property
    def judged(self) -> Mask:
        """(F,) frames that can be right or wrong: known error, or known truth and no pose (which is wrong)."""
        return np.asarray(np.isfinite(self.position_m) | (self.truth_known & ~self.believed))

    def within_percent(self, position_m: float, rotation_rad: float) -> float | None:
        """Share of the judged frames that are at least so good [%], one without believed pose being bad; None: none judged."""
        judged = int(np.count_nonzero(self.judged))
        good = (self.position_m <= position_m) & (self.rotation_rad <= rotation_rad)
        return 100.0 * int(np.count_nonzero(good)) / judged if judged else None

    def false_poses(self, threshold_m: float) -> int:
        """Number of believed poses that are wrong by more than ``threshold_m``."""
        return int(np.count_nonzero(self.position_m > threshold_m))


def frame_errors(
    run: Run,
    truth: Trajectory,
    keyframes: Sequence[Keyframe] = (),
    keyframe_truth: KeyframeTruth | None = None,
    max_gap_s: float = 0.25,
) -> FrameErrors:
    """Compare the believed poses of a run with the truth.

    The relative error of a frame compares ``keyframe_T_live`` of the estimate, ``inverse(map_T_keyframe) @ map_T_base``, with
    the true one. The keyframe is the one that the frame names as localised against, or else, as while dead reckoning, the
    nearest to the believed pose among those whose truth is known. The absolute error first aligns the map with the world: by
    its keyframes, or, when their truth is not known, by the believed poses themselves; positions and orientations take part.

    Args:
        run: F frames.
        truth: ``world_T_base`` over the time of the run.
        keyframes: those of the map that was repeated.
        keyframe_truth: their ``world_T_base``, by name or over the time of teaching; the world is that of ``truth``.
        max_gap_s: longest gap of a true trajectory that is interpolated [s].
    """
    true_poses, known = poses_at(truth, run.stamps_ns, max_gap_s)
    estimate = _believed(run)
    believed = np.isfinite(estimate[:, 0, 0])
    usable = known & believed
    map_T_keyframe, world_T_keyframe, names = _keyframes_with_truth(keyframes, keyframe_truth, max_gap_s)

    relative_errors = None
    if len(names):
        relative_errors = np.full_like(estimate, np.nan)
        chosen = _followed(run, estimate, usable, map_T_keyframe, names)
        true_motion = relative(world_T_keyframe[chosen], true_poses[usable])
        relative_errors[usable] = relative(true_motion, relative(map_T_keyframe[chosen], estimate[usable]))

    absolute = np.full_like(estimate, np.nan)
    world_T_map = None
    if len(names):
        world_T_map = align(map_T_keyframe, world_T_keyframe, lever_m=ALIGNMENT_LEVER_M)
    elif np.any(usable):
        world_T_map = align(estimate[usable], true_poses[usable], lever_m=ALIGNMENT_LEVER_M)
    if world_T_map is not None:
        absolute[usable] = relative(true_poses[usable], world_T_map.apply(estimate[usable]))
    return FrameErrors(believed, known, absolute, relative_errors, world_T_map)


def _believed(run: Run) -> Array:
    unknown = np.full((4, 4), np.nan)
    return stack([unknown if frame.map_T_base is None else frame.map_T_base for frame in run.frames])


def _keyframes_with_truth(
    keyframes: Sequence[Keyframe], truth: KeyframeTruth | None, max_gap_s: float
) -> tuple[Array, Array, list[KeyframeId]]:
    if truth is None or not keyframes:
        return np.empty((0, 4, 4)), np.empty((0, 4, 4)), []
    if isinstance(truth, Trajectory):
        stamps = np.array([keyframe.stamp_ns for keyframe in keyframes], dtype=np.int64)
        poses, known = poses_at(truth, stamps, max_gap_s)
    else:
        unknown = np.full((4, 4), np.nan)
        poses = stack([truth.get(keyframe.id, unknown) for keyframe in keyframes])
        known = np.array([keyframe.id in truth for keyframe in keyframes])
    kept = [keyframe for keyframe, is_known in zip(keyframes, known, strict=True) if is_known]
    return stack([keyframe.map_T_base for keyframe in kept]), poses[known], [keyframe.id for keyframe in kept]


def _followed(run: Run, estimate: Array, usable: Mask, map_T_keyframe: Array, names: list[KeyframeId]) -> NDArray[np.int64]:
    """Row of the keyframe that each usable frame follows."""
    rows = {name: row for row, name in enumerate(names)}
    _, nearest = cKDTree(map_T_keyframe[:, :3, 3]).query(estimate[usable][:, :3, 3])
    frames = [frame for frame, is_usable in zip(run.frames, usable, strict=True) if is_usable]
    named = [rows.get(frame.keyframe, -1) if frame.fix and frame.keyframe is not None else -1 for frame in frames]
    chosen = np.array(named, dtype=np.int64)
    return np.asarray(np.where(chosen >= 0, chosen, nearest), dtype=np.int64)
