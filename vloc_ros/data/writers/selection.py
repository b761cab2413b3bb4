"""The frames of a recording that are to be written, with their truth."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, StereoFrame
from vloc_ros.data.reader import DatasetReader, Trajectory
from vloc_ros.data.trajectory import interpolate
from vloc_ros.errors import DataError
from vloc_ros.geometry.camera import StereoCamera

_log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


class Selection:
    """Some frames of a reader."""

    def __init__(self, reader: DatasetReader, indices: range, progress: Progress | None = None) -> None:
        self._reader = reader
        self._indices = indices
        self._progress = progress

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def camera(self) -> StereoCamera:
        """The rectified camera."""
        return self._reader.camera

    @property
    def base_T_camera(self) -> NDArray[np.float64]:
        """(4, 4) pose of the left camera on the robot."""
        return self._reader.base_T_camera

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) stamps of the chosen frames [ns]."""
        return np.asarray(self._reader.stamps_ns[np.asarray(self._indices)], dtype=np.int64)

    def frames(self) -> Iterator[tuple[int, StereoFrame]]:
        """Number (from 0) and contents of each chosen frame; reports progress."""
        for number, index in enumerate(self._indices):
            yield number, self._reader.frame(index)
            if self._progress is not None:
                self._progress(number + 1, len(self))

    def stereo(self, format: str) -> Iterator[tuple[int, Image, Image]]:
        """Number, left and right image of each chosen frame.

        Raises:
            DataError: the frames have depth instead of a right image.
        """
        for number, frame in self.frames():
            if frame.right is None:
                raise DataError(
                    f"the format {format} needs stereo pairs but the recording is RGB-D; write it as tum, images or mcap"
                )
            yield number, frame.left, frame.right

    def depth(self, number: int, frame: StereoFrame) -> NDArray[np.float32]:
        """(H, W) depth [m] of a chosen frame: its own, or that of the reader's ``depth(index)``.

        Raises:
            DataError: neither is there.
        """
        if frame.depth is not None:
            return frame.depth
        source: Any = getattr(self._reader, "depth", None)
        if not callable(source):
            raise DataError(
                "the format tum needs depth but the recording is stereo; write it as kitti, utias, euroc, images or mcap"
            )
        return np.asarray(source(self._indices[number]), dtype=np.float32)

    def truth(self) -> Trajectory | None:
        """world_T_camera at its own stamps: the part that covers the chosen frames, or None."""
        truth = self._reader.ground_truth
        if truth is None or len(truth) == 0:
            return None
        # One sample more at both ends, so that poses at the first and last frame can still be interpolated.
        first = max(int(np.searchsorted(truth.stamps_ns, self.stamps_ns.min(), side="right")) - 1, 0)
        last = int(np.searchsorted(truth.stamps_ns, self.stamps_ns.max(), side="left")) + 1
        return Trajectory(truth.stamps_ns[first:last], truth.poses[first:last])

    def truth_at_frames(self, what: str) -> NDArray[np.float64] | None:
        """(N, 4, 4) world_T_camera at the chosen frames, or None (with a warning) when it is not known for all of them."""
        truth = self._reader.ground_truth
        if truth is None:
            return None
        poses = interpolate(truth, self.stamps_ns)
        unknown = int(np.isnan(poses[:, 0, 0]).sum())
        if unknown:
            _log.warning("the truth is not known at %d of %d frames; %s is left out", unknown, len(self), what)
            return None
        return poses

    def check_distinct_stamps(self, format: str) -> None:
        """Check that files can be named by stamp.

        Raises:
            DataError: two frames have the same stamp.
        """
        if len(np.unique(self.stamps_ns)) < len(self):
            raise DataError(f"two frames have the same stamp, by which the format {format} names its files; write kitti or images")
