"""Calibration files beside images: ``calibration.yaml`` of this package, and the left/right YAML of ROS camera_calibration.

``calibration.yaml`` describes the *rectified* images::

    width: 640          # [px]
    height: 480
    fx: 525.0           # [px]
    fy: 525.0
    cx: 319.5           # [px], the centre of the top-left pixel is 0
    cy: 239.5
    baseline: 0.1       # [m]; with depth images a virtual one, 0.1 when left out
    depth_scale: 5000   # optional: steps of the depth images per metre
    base_T_camera: [0, 0, 1, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, 1]   # optional: 4x4, row by row
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from vloc_ros.data.files import naming, read_text
from vloc_ros.data.output import write_text
from vloc_ros.errors import CalibrationError, DataError
from vloc_ros.geometry.camera import StereoCamera

FILE_NAME = "calibration.yaml"
VIRTUAL_BASELINE = 0.1
"""Baseline [m] of the stereo camera that stands for an RGB-D camera, near those of real ones (D435: 0.05, Kinect: 0.075)."""

_INTRINSICS = ("width", "height", "fx", "fy", "cx", "cy")
_OPTIONAL = ("baseline", "depth_scale", "base_T_camera")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Contents of a ``calibration.yaml``; ``base_T_camera`` (4, 4) and ``depth_scale`` [1/m] are None when not given."""

    camera: StereoCamera
    base_T_camera: NDArray[np.float64] | None = None
    depth_scale: float | None = None


def read_calibration(path: Path, needs_baseline: bool = True) -> Calibration:
    """Read a ``calibration.yaml``.

    Args:
        path: the file.
        needs_baseline: whether a missing baseline is an error; else it is the virtual one of RGB-D cameras.

    Raises:
        CalibrationError: it is missing, a key is missing, unknown or wrong; the text names file and key.
    """
    values = load_mapping(path)
    unknown = sorted(set(values) - {*_INTRINSICS, *_OPTIONAL}, key=str)
    if unknown:
        raise CalibrationError(f"{path} has the unknown key '{unknown[0]}'; known: {', '.join((*_INTRINSICS, *_OPTIONAL))}")
    required = (*_INTRINSICS, "baseline") if needs_baseline else _INTRINSICS
    missing = [key for key in required if key not in values]
    if missing:
        raise CalibrationError(f"{path} lacks {', '.join(missing)}; add it")
    width, height, fx, fy, cx, cy = (read_number(path, key, values[key]) for key in _INTRINSICS)
    baseline = read_number(path, "baseline", values.get("baseline", VIRTUAL_BASELINE))
    if width != int(width) or height != int(height):
        raise CalibrationError(f"{path}: width and height must be whole numbers of pixels")
    with naming(path):
        camera = StereoCamera(int(width), int(height), fx, fy, cx, cy, baseline)
    scale = read_number(path, "depth_scale", values["depth_scale"]) if "depth_scale" in values else None
    if scale is not None and scale <= 0.0:
        raise CalibrationError(f"{path}: depth_scale {scale} must be positive (steps per metre)")
    pose = _transform(path, values["base_T_camera"]) if "base_T_camera" in values else None
    return Calibration(camera, pose, scale)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a ``calibration.yaml`` that :func:`read_calibration` reads back exactly.

    Raises:
        DataError: it cannot be written.
    """
    camera = calibration.camera
    values: dict[str, Any] = {key: float(getattr(camera, key)) for key in (*_INTRINSICS[2:], "baseline")}
    values = {"width": int(camera.width), "height": int(camera.height), **values}
    if calibration.depth_scale is not None:
        values["depth_scale"] = float(calibration.depth_scale)
    if calibration.base_T_camera is not None:
        values["base_T_camera"] = [float(value) for value in calibration.base_T_camera.reshape(16)]
    write_text(path, yaml.safe_dump(values, sort_keys=False, default_flow_style=None))


def read_ros_calibration(left: Path, right: Path) -> StereoCamera:
    """Camera of a rectified pair from two files of ROS camera_calibration (``projection_matrix``, ``image_width``).

    Raises:
        CalibrationError: a file is missing or incomplete, or the two do not describe one rectified pair.
    """
    values = [load_mapping(path) for path in (left, right)]
    matrices, sizes = [], []
    for path, mapping in zip((left, right), values, strict=True):
        matrices.append(_matrix(path, mapping, "projection_matrix", (3, 4)))
        sizes.append(tuple(int(read_number(path, key, mapping.get(key))) for key in ("image_width", "image_height")))
    if sizes[0] != sizes[1]:
        raise CalibrationError(f"{left} and {right} are of images of different sizes, {sizes[0]} and {sizes[1]} px")
    with naming(left.parent):
        return StereoCamera.from_projection_matrices(matrices[0], matrices[1], *sizes[0])


def load_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, also with the ``%YAML:1.0`` head that OpenCV writes and YAML parsers refuse.

    Raises:
        CalibrationError: it is missing, not readable, or not a mapping.
    """
    if not path.is_file():
        raise CalibrationError(f"the calibration {path} is missing; add it")
    try:
        lines = read_text(path).splitlines()
    except DataError as error:
        raise CalibrationError(str(error)) from error
    if lines and lines[0].startswith("%YAML:"):
        lines = lines[1:]
    try:
        values = yaml.safe_load("\n".join(lines))
    except yaml.YAMLError as error:
        raise CalibrationError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise CalibrationError(f"{path} must hold 'key: value' lines")
    return values


def read_number(path: Path, key: str, value: Any) -> float:
    """A finite number from a YAML value.

    Raises:
        CalibrationError: it is missing or something else; the text names file and key.
    """
    # YAML 1.1 reads 1e-3 as text, and so do the calibrations people write by hand.
    try:
        number = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError):
        raise CalibrationError(f"{path}: '{key}' must be a number, not {value!r}") from None
    if not np.isfinite(number):
        raise CalibrationError(f"{path}: '{key}' must be a finite number, not {value!r}")
    return number


def _matrix(path: Path, mapping: dict[str, Any], key: str, shape: tuple[int, int]) -> NDArray[np.float64]:
    entry = mapping.get(key)
    data = entry.get("data") if isinstance(entry, dict) else entry
    return number_matrix(path, key, data, shape)


def number_matrix(path: Path, key: str, data: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    """A matrix from the flat list of numbers under a key.

    Raises:
        CalibrationError: it is missing, or of another length; the text names file and key.
    """
    if not isinstance(data, list) or len(data) != shape[0] * shape[1]:
        raise CalibrationError(f"{path}: '{key}' must be a list of {shape[0]} x {shape[1]} numbers")
    return np.array([read_number(path, key, value) for value in data], dtype=np.float64).reshape(shape)


def _transform(path: Path, data: Any) -> NDArray[np.float64]:
    return check_transform(path, "base_T_camera", number_matrix(path, "base_T_camera", data, (4, 4)))


def check_transform(path: Path, key: str, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix itself, when it is a rigid transform.

    Raises:
        CalibrationError: its rotation is not one, or its last row is not 0 0 0 1.
    """
    rotation = matrix[:3, :3]
    rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and np.linalg.det(rotation) > 0.0
    if not rigid or not np.allclose(matrix[3], [0.0, 0.0, 0.0, 1.0]):
        raise CalibrationError(f"{path}: '{key}' is not a rigid transform (a rotation and a translation)")
    return matrix
