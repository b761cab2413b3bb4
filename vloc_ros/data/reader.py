"""The contract of a data set reader, and its registry by format name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import StereoFrame
from vloc_ros.errors import DataError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import BASE_T_OPTICAL


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Poses over time.

    Attributes:
        stamps_ns: (N,) int64, strictly increasing [ns].
        poses: (N, 4, 4) float64 transforms, for example world_T_camera.
    """

    stamps_ns: NDArray[np.int64]
    poses: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.poses.shape != (len(self.stamps_ns), 4, 4):
            raise DataError(f"{len(self.stamps_ns)} stamps do not fit poses of shape {self.poses.shape}")

    def __len__(self) -> int:
        return len(self.stamps_ns)


class DatasetReader(ABC):
    """Random access to the frames of one recording; images are read (and rectified) only when asked for.

    ``ground_truth`` is for judging only: nothing that estimates may look at it.
    """

    name: ClassVar[str]
    """Format name, as in ``--format``."""

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Whether ``path`` looks like this format; never raises, reads no image."""

    @abstractmethod
    def __init__(self, path: Path) -> None:
        """Open a recording.

        Raises:
            DataError: it is not of this format, or a file is missing or damaged; the text names the file.
            CalibrationError: the calibration is missing or inconsistent.
        """

    @property
    @abstractmethod
    def camera(self) -> StereoCamera:
        """The rectified camera that the frames are of."""

    @property
    def base_T_camera(self) -> NDArray[np.float64]:
        """(4, 4) pose of the left optical frame in the robot's base frame (REP-103)."""
        return BASE_T_OPTICAL

    @property
    @abstractmethod
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) time stamps [ns], as recorded: possibly not increasing."""

    @abstractmethod
    def frame(self, index: int) -> StereoFrame:
        """Read one frame.

        Raises:
            DataError: its images are missing or damaged; the text names the file.
        """

    @property
    def ground_truth(self) -> Trajectory | None:
        """world_T_camera of the left optical frame, where known; stamps need not be those of the frames."""
        return None

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def __iter__(self) -> Iterator[StereoFrame]:
        return (self.frame(index) for index in range(len(self)))


_READERS: dict[str, type[DatasetReader]] = {}


def register(reader: type[DatasetReader]) -> type[DatasetReader]:
    """Class decorator that makes a reader known by its ``name``."""
    _READERS[reader.name] = reader
    return reader


def formats() -> list[str]:
    """Names of the registered formats, in the order in which they are tried."""
    return list(_READERS)


def open_recording(path: Path, format: str | None = None) -> DatasetReader:
    """Open a recording whose format is named, or else recognised.

    Raises:
        DataError: there is nothing at ``path``, or no format (or more than one) fits it.
        CalibrationError: the calibration is missing or inconsistent.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"there is no recording at {path}")
    if format is not None:
        if format not in _READERS:
            raise DataError(f"unknown format '{format}'; known: {', '.join(_READERS)}")
        return _READERS[format](path)
    if path.is_dir() and not any(path.iterdir()):
        raise DataError(f"the folder {path} is empty")
    fitting = [name for name, reader in _READERS.items() if reader.recognises(path)]
    if len(fitting) == 1:
        return _READERS[fitting[0]](path)
    known = ", ".join(_READERS)
    if not fitting:
        raise DataError(f"the format of {path} is not recognised; name it with --format ({known})")
    raise DataError(f"{path} fits several formats ({', '.join(fitting)}); name one with --format")
