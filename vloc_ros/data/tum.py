"""TUM RGB-D: colour images with registered depth (Sturm et al., A benchmark for the evaluation of RGB-D SLAM systems, 2012)."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.calibration import FILE_NAME, VIRTUAL_BASELINE, read_calibration
from vloc_ros.data.files import IMAGE_SUFFIXES, inside, parse_seconds, read_rows, read_text
from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.loading import check_calibrated_size, depth_frame
from vloc_ros.data.reader import DatasetReader, Trajectory, register
from vloc_ros.data.rectify import RawCamera, UndistortMap, undistort_single
from vloc_ros.data.trajectory import associate, read_tum
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import BASE_T_OPTICAL

_log = logging.getLogger(__name__)
DEPTH_SCALE = 5000.0
"""Steps of the depth images per metre."""
MAX_DIFFERENCE_NS = 20_000_000
THINNED_DIFFERENCE_NS = 70_000_000
_SIZE = (640, 480)
# fx fy cx cy, k1 k2 p1 p2 k3 of the colour cameras, from the data set's page on file formats.
_CAMERAS = {
    "1": ((517.3, 516.5, 318.6, 255.3), (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "2": ((520.9, 521.0, 325.1, 249.7), (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "3": ((535.4, 539.2, 320.1, 247.6), (0.0, 0.0, 0.0, 0.0, 0.0)),
}
_CAMERA_NAME = re.compile(r"(?:freiburg|(?<![a-z])fr)([123])(?![0-9])")


@register
class TumReader(DatasetReader):
    """A folder with ``rgb.txt``, ``depth.txt`` (lines ``stamp file``), the images they list, and maybe ``groundtruth.txt``.

    Listed images that are not there are skipped (of one that is there with another extension, that one is read). Colour and
    depth are paired when their stamps differ by at most ``max_difference_ns``, or, when no two do, by at most half the time between
    colour images (70 ms at the most), with a warning. The camera is that of freiburg1, 2 or 3, by the
    name of a folder or of the recording inside the lists, and its distortion is removed from colour and depth; a
    ``calibration.yaml`` in the folder replaces it and describes undistorted images.
    """

    name = "tum"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether the folder holds the two lists of images."""
        return (path / "rgb.txt").is_file() and (path / "depth.txt").is_file()

    def __init__(self, path: Path, max_difference_ns: int = MAX_DIFFERENCE_NS) -> None:
        """Open a recording.

        Args:
            path: its folder.
            max_difference_ns: largest difference of the stamps of colour and depth of a frame [ns]. In 20 ms a hand-held camera
                turns by a few pixels already, and nothing later can undo that.

        Raises:
            DataError: a list or all images are missing, or no colour image has a depth image near enough in time.
            CalibrationError: the camera is not known.
        """
        self._path = Path(path)
        self._stamps, self._files = _read_pairs(self._path, max_difference_ns)
        self._scale, self._base_T_camera = DEPTH_SCALE, np.asarray(BASE_T_OPTICAL)
        self._map: UndistortMap | None = None
        self._camera = self._read_camera()
        truth = self._path / "groundtruth.txt"
        self._truth = read_tum(truth) if truth.is_file() else None

    @property
    def camera(self) -> StereoCamera:
        """The undistorted camera, with a virtual baseline."""
        return self._camera

    @property
    def base_T_camera(self) -> NDArray[np.float64]:
        """(4, 4) pose of the colour camera, from ``calibration.yaml`` where given."""
        return self._base_T_camera

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) stamps of the colour images [ns]."""
        return self._stamps

    @property
    def ground_truth(self) -> Trajectory | None:
        """Poses of the colour camera, at the rate of the motion capture."""
        return self._truth

    def frame(self, index: int) -> StereoFrame:
        """Read one image and its depth."""
        left, depth = self._files[index]
        frame = depth_frame(int(self._stamps[index]), left, depth, self._scale, self._camera)
        if self._map is None or frame.depth is None:
            return frame
        return StereoFrame(frame.stamp_ns, self._map.image(frame.left), depth=self._map.depth(frame.depth))

    def _read_camera(self) -> StereoCamera:
        path = self._path / FILE_NAME
        if path.is_file():
            calibration = read_calibration(path, needs_baseline=False)
            self._scale = calibration.depth_scale or DEPTH_SCALE
            if calibration.base_T_camera is not None:
                self._base_T_camera = calibration.base_T_camera
            check_calibrated_size(self._files[0][0], calibration.camera, path)
            return calibration.camera
        (fx, fy, cx, cy), coefficients = _CAMERAS[_camera_number(self._path)]
        matrix = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        matrix, self._map = undistort_single(RawCamera(_SIZE, matrix, "radtan", np.array(coefficients)))
        fx, fy, cx, cy = (float(matrix[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
        camera = StereoCamera(*_SIZE, fx, fy, cx, cy, VIRTUAL_BASELINE)
        check_calibrated_size(self._files[0][0], camera, Path("the published calibration of TUM RGB-D"))
        return camera


def _camera_number(path: Path) -> str:
    """Which of the three cameras it is: the nearest folder that says so, else the head of the list of images."""
    folders = [folder.name.lower() for folder in (path.resolve(), *path.resolve().parents)]
    head = read_text(path / "rgb.txt")[:500].lower()
    match = next((match for text in (folders[0], head, *folders[1:]) if (match := _CAMERA_NAME.search(text))), None)
    if match is None:
        raise CalibrationError(
            f"cannot tell the camera of {path}: name its folder after freiburg1, freiburg2 or freiburg3, or add a {FILE_NAME}"
        )
    return match[1]


def _read_pairs(path: Path, max_difference_ns: int) -> tuple[NDArray[np.int64], list[tuple[Path, Path]]]:
    (rgb_ns, rgb), (depth_ns, depth) = (_read_list(path / name) for name in ("rgb.txt", "depth.txt"))
    pairs = associate(rgb_ns, depth_ns, max_difference_ns)
    if len(pairs) == 0 and len(rgb_ns) > 1:
        # A recording whose two streams were thinned apart has no exact partners; half a period is the most that still is one.
        period = min(int(np.median(np.diff(rgb_ns))) // 2, THINNED_DIFFERENCE_NS)
        pairs = associate(rgb_ns, depth_ns, period)
        if len(pairs):
            apart = float(np.median(np.abs(rgb_ns[pairs[:, 0]] - depth_ns[pairs[:, 1]]))) / 1e6
            _log.warning(
                "%s: colour and depth were taken %.0f ms apart (median); depth is misplaced where the camera turned", path, apart
            )
    if len(pairs) == 0:
        nearest = int(np.abs(rgb_ns[:, None] - depth_ns[None, :]).min()) / 1e6
        raise DataError(
            f"{path}: no colour image has a depth image within {max_difference_ns / 1e6:g} ms, the nearest is {nearest:.1f} ms "
            "away; get matching images, or allow more with max_difference_ns if the camera moved slowly"
        )
    unpaired = len(rgb) + len(depth) - 2 * len(pairs)
    if unpaired:
        _log.info("%s: %d frames; %d images have no partner within %g ms", path, len(pairs), unpaired, max_difference_ns / 1e6)
    return rgb_ns[pairs[:, 0]], [(rgb[i], depth[j]) for i, j in pairs]


def _read_list(path: Path) -> tuple[NDArray[np.int64], list[Path]]:
    """Stamps and files of the listed images that are there."""
    stamps, files, listed = [], [], 0
    for line, fields in read_rows(path):
        if len(fields) != 2:
            raise DataError(f"{path} line {line} must hold a stamp and a file name; is the file cut off?")
        listed += 1
        file = _existing(inside(path.parent, fields[1]))
        if file is not None:
            stamps.append(parse_seconds(fields[0], path, line))
            files.append(file)
    if not files:
        raise DataError(f"none of the {listed} images that {path} lists is there; is the folder complete?")
    if len(files) < listed:
        _log.info("%s lists %d images, of which %d are there", path, listed, len(files))
    return np.array(stamps, dtype=np.int64), files


def _existing(file: Path) -> Path | None:
    candidates = (file, *(file.with_name(file.stem + suffix) for suffix in IMAGE_SUFFIXES))
    return next((candidate for candidate in candidates if candidate.is_file()), None)
