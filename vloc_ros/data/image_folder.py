"""A folder of images with a calibration file: the plainest way to bring own pictures."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.calibration import FILE_NAME, Calibration, read_calibration, read_ros_calibration
from vloc_ros.data.files import paired_images, parse_seconds, read_rows, regular_stamps
from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.loading import check_calibrated_size, depth_frame, stereo_frame
from vloc_ros.data.reader import DatasetReader, Trajectory, register
from vloc_ros.data.trajectory import read_tum
from vloc_ros.errors import DataError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import BASE_T_OPTICAL

_log = logging.getLogger(__name__)
DEPTH_SCALE = 1000.0
"""Steps of the depth images per metre, unless ``calibration.yaml`` gives a ``depth_scale``."""


@register
class ImageFolderReader(DatasetReader):
    """A folder with ``calibration.yaml`` (see :mod:`vloc_ros.data.calibration`), ``left/`` and ``right/`` or ``depth/``.

    Images are rectified, and paired by file name without extension. Instead of ``calibration.yaml`` a stereo pair may have
    ``left.yaml`` and ``right.yaml`` of ROS camera_calibration. Optional are ``stamps.txt``, one stamp [s] per image in the
    order of the names (else 10 Hz), and ``poses.txt``, world_T_camera as TUM trajectory.
    """

    name = "images"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether the folder holds a calibration and the sub-folders of images."""
        calibrated = (path / FILE_NAME).is_file() or all((path / f"{side}.yaml").is_file() for side in ("left", "right"))
        return calibrated and (path / "left").is_dir() and ((path / "right").is_dir() or (path / "depth").is_dir())

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        others = [name for name in ("right", "depth") if (self._path / name).is_dir()]
        if not (self._path / "left").is_dir() or not others:
            raise DataError(f"{path} is no image folder: it needs the sub-folders left and right, or left and depth")
        if len(others) > 1:
            raise DataError(f"{path} holds both right and depth; remove or rename one, so that it is clear which to use")
        self._has_depth = others[0] == "depth"
        self._files = paired_images(self._path / "left", self._path / others[0])
        calibration = self._read_calibration()
        self._camera = calibration.camera
        self._base_T_camera = BASE_T_OPTICAL if calibration.base_T_camera is None else calibration.base_T_camera
        self._scale = calibration.depth_scale or DEPTH_SCALE
        self._stamps = self._read_stamps()
        poses = self._path / "poses.txt"
        self._truth = read_tum(poses) if poses.is_file() else None

    @property
    def camera(self) -> StereoCamera:
        """The rectified camera."""
        return self._camera

    @property
    def base_T_camera(self) -> NDArray[np.float64]:
        """(4, 4) pose of the left camera, from ``calibration.yaml`` where given."""
        return self._base_T_camera

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) stamps [ns]."""
        return self._stamps

    @property
    def ground_truth(self) -> Trajectory | None:
        """Poses of the left camera."""
        return self._truth

    def frame(self, index: int) -> StereoFrame:
        """Read one pair, or one image with its depth."""
        left, other = self._files[index]
        stamp = int(self._stamps[index])
        if self._has_depth:
            return depth_frame(stamp, left, other, self._scale, self._camera)
        return stereo_frame(stamp, left, other, self._camera)

    def _read_calibration(self) -> Calibration:
        path, ros = self._path / FILE_NAME, (self._path / "left.yaml", self._path / "right.yaml")
        if not path.is_file() and not self._has_depth and all(file.is_file() for file in ros):
            path, calibration = ros[0], Calibration(read_ros_calibration(*ros))
        else:
            calibration = read_calibration(path, needs_baseline=not self._has_depth)
        check_calibrated_size(self._files[0][0], calibration.camera, path)
        return calibration

    def _read_stamps(self) -> NDArray[np.int64]:
        path = self._path / "stamps.txt"
        if not path.is_file():
            _log.info("%s has no stamps.txt: its frames get stamps at 10 Hz", self._path)
            return regular_stamps(len(self._files))
        stamps = [parse_seconds(fields[0], path, line) for line, fields in read_rows(path)]
        if len(stamps) != len(self._files):
            raise DataError(f"{path} has {len(stamps)} stamps for {len(self._files)} images; it needs one per image")
        return np.array(stamps, dtype=np.int64)
