"""EuRoC MAV (ASL layout): raw, distorted stereo pairs, rectified on reading (Burri et al., The EuRoC MAV datasets, 2016)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.calibration import check_transform, load_mapping, number_matrix, read_number
from vloc_ros.data.files import inside, list_images, naming, numbers, parse_integer, read_rows
from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.images import read_image
from vloc_ros.data.loading import sized
from vloc_ros.data.reader import DatasetReader, Trajectory, register
from vloc_ros.data.rectify import RawCamera, rectify_stereo
from vloc_ros.data.trajectory import associate, increasing, poses_from_quaternions
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import BASE_T_OPTICAL, between, from_rotation_translation, rotation_angle

_log = logging.getLogger(__name__)
_MAX_DIFFERENCE_NS = 1_000_000
_TRUTH = Path("state_groundtruth_estimate0") / "data.csv"


@register
class EurocReader(DatasetReader):
    """A folder ``mav0`` (or the one that holds it) with ``cam0`` (left) and ``cam1`` (right): ``sensor.yaml``, ``data/*.png``
    named by stamp [ns], and ``data.csv``, whose images that are not there are skipped.

    Pairs are rectified on reading, unless the calibration says that they are. The poses of the body (``sensor.yaml``: T_BS) in
    ``state_groundtruth_estimate0/data.csv``, or in a file ``*_GT.txt`` beside ``mav0``, become those of the *rectified* left
    camera. The base frame is the body where that is x forward, z up; the body of EuRoC is an inertial unit that is not, so
    there the base is a frame x forward, z up at the left camera.
    """

    name = "euroc"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether it is or holds a ``mav0`` with the calibrations of two cameras."""
        root = _root(path)
        return all((root / camera / "sensor.yaml").is_file() for camera in ("cam0", "cam1"))

    def __init__(self, path: Path) -> None:
        self._root = _root(Path(path))
        (left, body_T_left), (right, body_T_right) = (_read_sensor(self._root / camera) for camera in ("cam0", "cam1"))
        with naming(self._root):
            self._rectification = rectify_stereo(left, right, between(body_T_left, body_T_right))
        left_T_rectified = from_rotation_translation(self._rectification.rectified_R_left.T, np.zeros(3))
        self._body_T_camera = body_T_left @ left_T_rectified
        self._stamps, self._files = _read_pairs(self._root)

    @property
    def camera(self) -> StereoCamera:
        """The rectified camera."""
        return self._rectification.camera

    @property
    def base_T_camera(self) -> NDArray[np.float64]:
        """(4, 4) pose of the rectified left camera in the body frame if that is x forward, z up, else in one that is."""
        # Nearer than 45 degrees to the frame of REP-103: the body is a robot's base, not an inertial unit mounted any way.
        aligned = rotation_angle(between(BASE_T_OPTICAL, self._body_T_camera)) < np.pi / 4
        return self._body_T_camera if aligned else BASE_T_OPTICAL

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) stamps of the left images [ns]."""
        return self._stamps

    @property
    def ground_truth(self) -> Trajectory | None:
        """Poses of the rectified left camera."""
        candidates = [self._root / _TRUTH, *sorted(self._root.glob("*_GT.txt")), *sorted(self._root.parent.glob("*_GT.txt"))]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            return None
        world_T_body = _read_states(path)
        return Trajectory(world_T_body.stamps_ns, world_T_body.poses @ self._body_T_camera)

    def frame(self, index: int) -> StereoFrame:
        """Read and rectify one pair."""
        camera, maps = self._rectification.camera, (self._rectification.left, self._rectification.right)
        images = [sized(file, read_image(file), (camera.width, camera.height)) for file in self._files[index]]
        left, right = (image if rectify is None else rectify.image(image) for image, rectify in zip(images, maps, strict=True))
        return StereoFrame(int(self._stamps[index]), left, right=right)


def _root(path: Path) -> Path:
    return path / "mav0" if (path / "mav0").is_dir() else path


def _read_sensor(folder: Path) -> tuple[RawCamera, NDArray[np.float64]]:
    """A raw camera and body_T_camera (T_BS) of its ``sensor.yaml``."""
    path = folder / "sensor.yaml"
    values = load_mapping(path)
    pose: Any = values.get("T_BS")
    data = pose.get("data") if isinstance(pose, dict) else None
    body_T_camera = check_transform(path, "T_BS", number_matrix(path, "T_BS", data, (4, 4)))
    fx, fy, cx, cy = number_matrix(path, "intrinsics", values.get("intrinsics"), (1, 4))[0]
    width, height = number_matrix(path, "resolution", values.get("resolution"), (1, 2))[0]
    raw_coefficients = values.get("distortion_coefficients") or []
    if not isinstance(raw_coefficients, list):
        raise CalibrationError(f"{path}: 'distortion_coefficients' must be a list of numbers")
    coefficients = [read_number(path, "distortion_coefficients", value) for value in raw_coefficients]
    matrix = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    model = str(values.get("distortion_model") or "none")
    with naming(path):
        return RawCamera((int(width), int(height)), matrix, model, np.array(coefficients, dtype=np.float64)), body_T_camera


def _read_pairs(root: Path) -> tuple[NDArray[np.int64], list[tuple[Path, Path]]]:
    (left_ns, left), (right_ns, right) = (_read_images(root / camera) for camera in ("cam0", "cam1"))
    pairs = associate(left_ns, right_ns, _MAX_DIFFERENCE_NS)
    if len(pairs) == 0:
        raise DataError(f"{root}: none of the {len(left)} left and {len(right)} right images have the same stamp")
    unpaired = len(left) + len(right) - 2 * len(pairs)
    if unpaired:
        _log.warning("%s: %d images have no partner of the same stamp and are skipped", root, unpaired)
    return left_ns[pairs[:, 0]], [(left[i], right[j]) for i, j in pairs]


def _read_images(folder: Path) -> tuple[NDArray[np.int64], list[Path]]:
    """Stamps and files of the images of one camera that are there."""
    index = folder / "data.csv"
    if index.is_file():
        listed = [(_stamp(fields, index, line), inside(folder / "data", fields[-1])) for line, fields in read_rows(index, ",")]
        present = [(stamp, file) for stamp, file in listed if file.is_file()]
        if len(present) < len(listed):
            _log.info("%s lists %d images, of which %d are there", index, len(listed), len(present))
    else:
        present = [(_stamp([file.stem], file, 1), file) for file in list_images(folder / "data")]
    if not present:
        raise DataError(f"there are no images in {folder / 'data'}")
    return np.array([stamp for stamp, _ in present], dtype=np.int64), [file for _, file in present]


def _stamp(fields: list[str], path: Path, line: int) -> int:
    return parse_integer(fields[0], path, line)


def _read_states(path: Path) -> Trajectory:
    """world_T_body from rows: stamp [ns], position, quaternion w x y z, and more that is not used."""
    stamps, values = [], []
    for line, fields in read_rows(path, ","):
        if len(fields) < 8:
            raise DataError(f"{path} line {line} has {len(fields)} columns instead of at least 8; is the file cut off?")
        stamps.append(parse_integer(fields[0], path, line))
        values.append(numbers(fields[1:8], path, line))
    table = np.array(values, dtype=np.float64).reshape(-1, 7)
    return increasing(stamps, poses_from_quaternions(table[:, :3], table[:, [4, 5, 6, 3]], path))
