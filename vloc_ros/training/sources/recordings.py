"""Pairs from stereo or RGB-D recordings with poses: frames that look at the same things."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.images import read_depth
from vloc_ros.data.output import write_image
from vloc_ros.data.reader import DatasetReader
from vloc_ros.data.trajectory import interpolate
from vloc_ros.errors import DataError
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.training.pairs import PairSource, StereoTruth, TrainingPair
from vloc_ros.training.sources.warp import there_and_back, warp_by_depth

Array = NDArray[np.float64]
Map = NDArray[np.float32]
_TRIES = 3
_CACHE_STEPS = 16.0
"""Steps per pixel of a disparity in a file, which are those of the matcher."""


@dataclass(frozen=True)
class RecordingSettings:
    """Which frames make a pair, and what of their disparity is believed."""

    max_distance_m: float = param(2.0, "two frames this far apart or less make a pair", unit="m", min=0.0)
    max_angle_deg: float = param(20.0, "and turned by this much or less", unit="deg", min=0.0, max=180.0)
    min_depth: float = param(1.5, "nearest depth that a stereo pair is searched for", unit="m", min=0.05)
    max_depth: float = param(40.0, "farthest depth that is believed", unit="m", min=1.0)
    left_right_px: int = param(1, "disparities of the left and the right image agree within this", unit="px", min=1)
    depth_px: float = param(1.0, "disparities of the two frames of a pair agree within this", unit="px", min=0.01)
    there_and_back_px: float = param(1.5, "a pixel taken to b and back comes home within this", unit="px", min=0.1)
    cache: str = param("", "folder in which disparities are kept, since finding one takes a while; empty: they are not kept")
    min_known: float = param(0.1, "share of a that b should show; other frames are tried where it is less", min=0.0, max=1.0)


class RecordingPairs(PairSource):
    """Pairs of frames of recordings whose poses are in one frame of reference.

    The disparity is that of the depth image, or found by semi-global matching that agrees from both sides.
    """

    def __init__(
        self,
        open_readers: Callable[[], Sequence[DatasetReader]],
        name: str,
        settings: RecordingSettings | None = None,
    ) -> None:
        """Find the frames that can be paired.

        Args:
            open_readers: opens one recording, or several of the same camera whose poses are in one frame of reference. Called
                again in every process, as an open file cannot be read by two.
            name: what the tags call them: ``recording:<name>``.
            settings: which frames make pairs, and where disparities are kept.

        Raises:
            DataError: a recording has no poses or another camera, or no two frames are close enough.
        """
        self._open, self._process, readers = open_readers, os.getpid(), tuple(open_readers())
        if not readers:
            raise DataError(f"'{name}' names no recording; give at least one")
        self._name, self._settings, self._readers = name, settings or RecordingSettings(), readers
        self._camera, self._base_T_camera = readers[0].camera, readers[0].base_T_camera
        self._frames: list[tuple[int, int]] = []
        poses: list[Array] = []
        for number, reader in enumerate(readers):
            if reader.camera != self._camera:
                raise DataError(f"the recordings of '{name}' are of different cameras; make one source of each")
            known, found = _poses(reader, name)
            self._frames += [(number, int(index)) for index in known]
            poses += list(found)
        self._poses = np.array(poses).reshape(-1, 4, 4)
        self._partners = self._find_partners()
        self._usable = [k for k, partners in enumerate(self._partners) if len(partners) > 0]
        # Files of other settings or of another recording of this name are not taken for those of this one.
        how = replace(self._settings, cache="")
        signature = f"{name} {how} {self._camera} {[len(reader) for reader in readers]} {self._poses.sum():.9e}"
        folder = self._settings.cache
        self._cache = Path(folder) / hashlib.sha256(signature.encode()).hexdigest()[:16] if folder else None
        if not self._usable:
            limit = f"{self._settings.max_distance_m:g} m and {self._settings.max_angle_deg:g} deg"
            raise DataError(f"no two of the {len(self._frames)} frames with a pose in '{name}' are within {limit}")

    def _find_partners(self) -> list[NDArray[np.intp]]:
        """For each frame, the others that are near it and look the same way."""
        settings = self._settings
        positions, rotations = self._poses[:, :3, 3], self._poses[:, :3, :3]
        # The trace of R_a^T R_b is 1 + 2 cos(angle).
        least_trace = 1.0 + 2.0 * np.cos(np.deg2rad(settings.max_angle_deg)) - 1e-9
        partners = []
        for k in range(len(self._poses)):
            near = np.linalg.norm(positions - positions[k], axis=1) <= settings.max_distance_m
            near &= np.einsum("ij,nij->n", rotations[k], rotations) >= least_trace
            near[k] = False
            partners.append(np.flatnonzero(near))
        return partners

    def __len__(self) -> int:
        """Frames that can be the first of a pair."""
        return len(self._usable)

    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        """The frame of the index and another one close to it.

        Raises:
            DataError: an image is missing or damaged; the text names it.
        """
        a = self._usable[index]
        best, most = None, -1.0
        for b in rng.permutation(self._partners[a])[:_TRIES]:
            pair = self._pair(a, int(b))
            known = float(np.isfinite(pair.warp[..., 0]).mean())
            if best is None or known > most:
                best, most = pair, known
            if known >= self._settings.min_known:
                break
        assert best is not None  # a usable frame has partners
        return best

    def _pair(self, a: int, b: int) -> TrainingPair:
        frames = [self._frame(a), self._frame(b)]
        disparities = [self._disparity(k, frame) for k, frame in zip((a, b), frames, strict=True)]
        b_T_a = se3.between(self._poses[b], self._poses[a])
        camera = self._camera
        scale = np.float32(camera.fx * camera.baseline)
        inverse_a, inverse_b = (disparity / scale for disparity in disparities)
        slack = self._settings.depth_px / float(scale)
        warp = there_and_back(
            warp_by_depth(camera, inverse_a, inverse_b, b_T_a, slack),
            warp_by_depth(camera, inverse_b, inverse_a, se3.inverse(b_T_a), slack),
            self._settings.there_and_back_px,
        )
        stereo = StereoTruth(camera, disparities[0], disparities[1], b_T_a, self._base_T_camera)
        return TrainingPair(frames[0].left, frames[1].left, warp, stereo, f"recording:{self._name}")

    def _frame(self, number: int) -> StereoFrame:
        if os.getpid() != self._process:  # of a worker that was forked
            self._readers, self._process = tuple(self._open()), os.getpid()
        reader, index = self._frames[number]
        return self._readers[reader].frame(index)

    def _disparity(self, number: int, frame: StereoFrame) -> Map:
        """Of a frame, from the cache if it is there."""
        if self._cache is None or frame.depth is not None:
            return true_disparity(frame, self._camera, self._settings)
        file = self._cache / f"{number}.png"
        if not file.exists():
            found = true_disparity(frame, self._camera, self._settings)
            write_image(file, np.rint(np.nan_to_num(found) * _CACHE_STEPS).astype(np.uint16))
            return found
        steps = read_depth(file, _CACHE_STEPS)
        return np.where(steps > 0.0, steps, np.float32(np.nan)).astype(np.float32)


def true_disparity(frame: StereoFrame, camera: StereoCamera, settings: RecordingSettings) -> Map:
    """(H, W) disparities of a frame [px] that can be believed; NaN elsewhere."""
    scale = camera.fx * camera.baseline
    if frame.depth is None:
        dense = _matched(frame, scale / settings.min_depth, settings.left_right_px)
    else:
        dense = camera.disparity_of_depth(frame.depth.astype(np.float64)).astype(np.float32)
    return np.where(dense >= scale / settings.max_depth, dense, np.float32(np.nan)).astype(np.float32)


def _matched(frame: StereoFrame, largest: float, left_right_px: int) -> Map:
    """(H, W) disparities of a stereo frame by semi-global matching [px], searched for up to the largest; below 0 where unknown."""
    count = int(np.clip(np.ceil(largest / 16.0) * 16, 16, frame.size[0] // 16 * 16))
    matcher = cv2.StereoSGBM_create(
        minDisparity=0,
        numDisparities=count,
        blockSize=5,
        P1=8 * 25,
        P2=32 * 25,
        disp12MaxDiff=left_right_px,
        preFilterCap=31,
        uniquenessRatio=10,
        speckleWindowSize=100,
        speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )
    # Without a margin nothing is found in the first columns.
    padded = [cv2.copyMakeBorder(image, 0, 0, count, 0, cv2.BORDER_REPLICATE) for image in (frame.left_grey, frame.right_grey)]
    return np.asarray(matcher.compute(*padded)[:, count:].astype(np.float32) / np.float32(16.0))


def _poses(reader: DatasetReader, name: str) -> tuple[NDArray[np.intp], Array]:
    """Indices of the frames whose pose is known, and the poses (N, 4, 4)."""
    truth = reader.ground_truth
    if truth is None:
        raise DataError(f"a recording of '{name}' has no poses, so nobody can say which of its frames show the same things")
    found = interpolate(truth, reader.stamps_ns)
    known = np.flatnonzero(np.isfinite(found).all(axis=(1, 2)))
    return known, found[known]
