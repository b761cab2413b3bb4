"""A recording whose right images are corrected on reading."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.reader import DatasetReader, Trajectory
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.rectification import RectificationCorrection


class RectifiedReader(DatasetReader):
    """Wraps any reader and corrects the rectification of its right images; all else, the name too, is that of the reader."""

    name: ClassVar[str] = "rectified"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Never: it wraps the reader of a recording."""
        return False

    def __init__(self, reader: DatasetReader, correction: RectificationCorrection) -> None:
        """Wrap a reader.

        Args:
            reader: the recording; frames with a depth image pass unchanged.
            correction: where the recorded right images hold what the ideal ones show.
        """
        self.__dict__["name"] = reader.name  # of this instance only; the contract has it as a class variable
        self._reader = reader
        self._correction = correction

    @property
    def correction(self) -> RectificationCorrection:
        """The correction that is applied."""
        return self._correction

    @property
    def camera(self) -> StereoCamera:
        """The camera of the wrapped reader."""
        return self._reader.camera

    @property
    def base_T_camera(self) -> NDArray[np.float64]:
        """That of the wrapped reader."""
        return self._reader.base_T_camera

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """Those of the wrapped reader."""
        return self._reader.stamps_ns

    @property
    def ground_truth(self) -> Trajectory | None:
        """That of the wrapped reader."""
        return self._reader.ground_truth

    def __len__(self) -> int:
        return len(self._reader)

    def frame(self, index: int) -> StereoFrame:
        """Read one frame and correct its right image.

        Raises:
            DataError: its images are missing or damaged.
            CalibrationError: its images are not of the camera's size.
        """
        frame = self._reader.frame(index)
        if frame.right is None:
            return frame
        return StereoFrame(frame.stamp_ns, frame.left, right=self._correction.warp(frame.right, self._reader.camera))
