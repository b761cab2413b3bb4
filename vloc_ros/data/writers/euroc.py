"""EuRoC (ASL) layout with calibrations of a rectified pair; the body is the robot's base frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.output import write_image, write_text
from vloc_ros.data.writers.selection import Selection
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import from_rotation_translation, inverse, quaternion

_SENSOR = """%YAML:1.0
sensor_type: camera
comment: rectified
T_BS:
  cols: 4
  rows: 4
  data: [{pose}]
rate_hz: {rate:.6g}
resolution: [{camera.width}, {camera.height}]
camera_model: pinhole
intrinsics: [{camera.fx!r}, {camera.fy!r}, {camera.cx!r}, {camera.cy!r}]
distortion_model: radial-tangential
distortion_coefficients: [0.0, 0.0, 0.0, 0.0]
"""


def write(selection: Selection, folder: Path) -> None:
    """Write the chosen frames.

    Raises:
        DataError: the recording is RGB-D, two frames have the same stamp, or it cannot be written.
    """
    selection.check_distinct_stamps("euroc")
    root, stamps = folder / "mav0", [int(stamp) for stamp in selection.stamps_ns]
    for number, left, right in selection.stereo("euroc"):
        write_image(root / "cam0" / "data" / f"{stamps[number]}.png", left)
        write_image(root / "cam1" / "data" / f"{stamps[number]}.png", right)
    base_T_left = np.asarray(selection.base_T_camera)
    left_T_right = from_rotation_translation(np.eye(3), np.array([selection.camera.baseline, 0.0, 0.0]))
    rate = 1e9 / max(float(np.median(np.diff(stamps))), 1.0) if len(stamps) > 1 else 0.0
    for name, base_T_camera in (("cam0", base_T_left), ("cam1", base_T_left @ left_T_right)):
        write_text(root / name / "sensor.yaml", _sensor(selection.camera, base_T_camera, rate))
        rows = "".join(f"{stamp},{stamp}.png\n" for stamp in stamps)
        write_text(root / name / "data.csv", "#timestamp [ns],filename\n" + rows)
    _write_truth(selection, root / "state_groundtruth_estimate0" / "data.csv", inverse(base_T_left))


def _sensor(camera: StereoCamera, base_T_camera: NDArray[np.float64], rate: float) -> str:
    plain = StereoCamera(camera.width, camera.height, *map(float, (camera.fx, camera.fy, camera.cx, camera.cy, camera.baseline)))
    return _SENSOR.format(pose=", ".join(repr(float(value)) for value in base_T_camera.reshape(16)), rate=rate, camera=plain)


def _write_truth(selection: Selection, path: Path, camera_T_base: NDArray[np.float64]) -> None:
    truth = selection.truth()
    if truth is None:
        return
    lines = ["#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []"]
    for stamp, world_T_camera in zip(truth.stamps_ns, truth.poses, strict=True):
        world_T_base = world_T_camera @ camera_T_base
        x, y, z, w = quaternion(world_T_base)
        values = ",".join(f"{value:.12f}" for value in (*world_T_base[:3, 3], w, x, y, z))
        lines.append(f"{int(stamp)},{values}")
    write_text(path, "\n".join(lines) + "\n")
