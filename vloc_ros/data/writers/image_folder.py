"""Image folder: ``left``, ``right`` or ``depth`` (millimetres), calibration.yaml, stamps.txt, poses.txt."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vloc_ros.data.calibration import FILE_NAME, Calibration, write_calibration
from vloc_ros.data.files import format_seconds
from vloc_ros.data.image_folder import DEPTH_SCALE
from vloc_ros.data.output import write_depth, write_image, write_text
from vloc_ros.data.trajectory import write_tum
from vloc_ros.data.writers.selection import Selection
from vloc_ros.errors import DataError


def write(selection: Selection, folder: Path) -> None:
    """Write the chosen frames as they are, stereo or RGB-D.

    Raises:
        DataError: some frames are stereo and others RGB-D, or it cannot be written.
    """
    kinds = set()
    for number, frame in selection.frames():
        write_image(folder / "left" / f"{number:06d}.png", frame.left)
        kinds.add("depth" if frame.right is None else "right")
        if len(kinds) > 1:
            raise DataError(f"frame {number} is RGB-D and others are stereo, or the reverse; an image folder cannot hold both")
        if frame.right is not None:
            write_image(folder / "right" / f"{number:06d}.png", frame.right)
        else:
            write_depth(folder / "depth" / f"{number:06d}.png", selection.depth(number, frame), DEPTH_SCALE)
    scale = DEPTH_SCALE if "depth" in kinds else None
    write_calibration(folder / FILE_NAME, Calibration(selection.camera, np.asarray(selection.base_T_camera), scale))
    write_text(folder / "stamps.txt", "".join(f"{format_seconds(int(stamp))}\n" for stamp in selection.stamps_ns))
    truth = selection.truth()
    if truth is not None:
        write_tum(folder / "poses.txt", truth)
