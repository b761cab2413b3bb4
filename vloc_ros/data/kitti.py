"""KITTI odometry: rectified stereo pairs with camera poses (Geiger et al., Are we ready for autonomous driving?, 2012)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.files import indices_by_name, naming, numbers, paired_images, parse_seconds, read_rows, regular_stamps
from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.images import read_image
from vloc_ros.data.loading import stereo_frame
from vloc_ros.data.reader import DatasetReader, Trajectory, register
from vloc_ros.data.trajectory import increasing, read_kitti_poses
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import from_rotation_translation

_log = logging.getLogger(__name__)
# Grey before colour (the poses are those of camera 0, a grey one), the short names of excerpts last; with their P matrices.
_PAIRS = (("image_0", "image_1", 0, 1), ("image_2", "image_3", 2, 3), ("image_l", "image_r", 0, 1))
_STAMPS = "times.txt"


@register
class KittiReader(DatasetReader):
    """A sequence folder with ``calib.txt`` and ``image_0``/``image_1`` (grey), ``image_2``/``image_3`` (colour) or
    ``image_l``/``image_r``; grey images are taken when both kinds are there.

    Optional are ``times.txt`` [s] (else 10 Hz) and the poses of camera 0: ``poses.txt`` inside, or ``../../poses/NN.txt`` as in
    the official layout. ``calib.txt`` holds lines ``P0: ...`` to ``P3: ...``, or two bare rows of 12 numbers, left and right.
    """

    name = "kitti"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether the folder holds ``calib.txt`` and one of the pairs of image folders."""
        return (path / "calib.txt").is_file() and _pair(path) is not None

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        pair = _pair(self._path)
        if pair is None:
            names = ", ".join(f"{left}/{right}" for left, right, *_ in _PAIRS)
            raise DataError(f"{path} is no KITTI sequence: it holds none of the image folders {names}")
        left, right, left_row, right_row = pair
        self._files = paired_images(self._path / left, self._path / right)
        left_P, right_P = _read_calibration(self._path / "calib.txt", left_row, right_row)
        height, width = read_image(self._files[0][0]).shape[:2]
        with naming(self._path / "calib.txt"):
            self._camera = StereoCamera.from_projection_matrices(left_P, right_P, width, height)
        # P = K [I | t] maps points of camera 0, so that K^-1 p is the position of camera 0 in this camera.
        self._camera0_T_left = from_rotation_translation(
            np.eye(3), np.asarray(-np.linalg.solve(left_P[:, :3], left_P[:, 3]), dtype=np.float64)
        )
        self._stamps = self._read_stamps()
        self._truth = self._read_truth()

    @property
    def camera(self) -> StereoCamera:
        """The rectified camera."""
        return self._camera

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) stamps since the start of the sequence [ns]."""
        return self._stamps

    @property
    def ground_truth(self) -> Trajectory | None:
        """Poses of the left camera in the frame of the first pose of camera 0."""
        return self._truth

    def frame(self, index: int) -> StereoFrame:
        """Read one pair."""
        left, right = self._files[index]
        return stereo_frame(int(self._stamps[index]), left, right, self._camera)

    def _read_stamps(self) -> NDArray[np.int64]:
        path = self._path / _STAMPS
        if not path.is_file():
            _log.info("%s has no %s: its frames get stamps at 10 Hz", self._path, _STAMPS)
            return regular_stamps(len(self._files))
        rows = [parse_seconds(fields[0], path, line) for line, fields in read_rows(path)]
        chosen = indices_by_name((left for left, _ in self._files), len(rows), path)
        return np.array(rows, dtype=np.int64)[chosen]

    def _read_truth(self) -> Trajectory | None:
        path = next((candidate for candidate in _pose_files(self._path) if candidate.is_file()), None)
        if path is None:
            return None
        poses = read_kitti_poses(path)
        chosen = indices_by_name((left for left, _ in self._files), len(poses), path)
        return increasing(self._stamps, poses[chosen] @ self._camera0_T_left)


def _pair(path: Path) -> tuple[str, str, int, int] | None:
    return next((pair for pair in _PAIRS if (path / pair[0]).is_dir() and (path / pair[1]).is_dir()), None)


def _pose_files(path: Path) -> list[Path]:
    folder = path.resolve()
    official = [folder.parent.parent / "poses" / f"{folder.name}.txt"] if folder.parent.name == "sequences" else []
    return [path / "poses.txt", *official]


def _read_calibration(path: Path, left: int, right: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3, 4) projection matrices of two cameras."""
    if not path.is_file():
        raise CalibrationError(f"the calibration {path} is missing; a KITTI sequence needs its projection matrices")
    matrices: dict[str, NDArray[np.float64]] = {}
    for line, fields in read_rows(path):
        name = fields.pop(0).rstrip(":") if fields[0].endswith(":") else f"P{len(matrices)}"
        if len(fields) == 12:
            matrices[name] = numbers(fields, path, line).reshape(3, 4)
        elif name.startswith("P"):
            raise CalibrationError(f"{path} line {line}: {name} has {len(fields)} numbers instead of 12")
    if set(matrices) == {"P0", "P1"}:
        left, right = 0, 1
    missing = [f"P{number}" for number in (left, right) if f"P{number}" not in matrices]
    if missing:
        raise CalibrationError(f"{path} lacks {' and '.join(missing)}, the projection matrices of these images")
    for number in (left, right):
        if abs(np.linalg.det(matrices[f"P{number}"][:, :3])) < 1e-9:
            raise CalibrationError(f"{path}: P{number} is not a projection matrix; its intrinsics are singular")
    return matrices[f"P{left}"], matrices[f"P{right}"]
