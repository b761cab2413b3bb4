"""TUM RGB-D layout, with a calibration.yaml for cameras other than freiburg's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vloc_ros.data.calibration import FILE_NAME, Calibration, write_calibration
from vloc_ros.data.files import format_seconds
from vloc_ros.data.output import write_depth, write_image, write_text
from vloc_ros.data.trajectory import write_tum
from vloc_ros.data.tum import DEPTH_SCALE
from vloc_ros.data.writers.selection import Selection


def write(selection: Selection, folder: Path) -> None:
    """Write the chosen frames with depth in steps of 0.2 mm; what is farther than 13.1 m becomes unknown.

    Raises:
        DataError: there is no depth, two frames have the same stamp, or it cannot be written.
    """
    selection.check_distinct_stamps("tum")
    names = [f"{format_seconds(int(stamp))}.png" for stamp in selection.stamps_ns]
    for number, frame in selection.frames():
        write_depth(folder / "depth" / names[number], selection.depth(number, frame), DEPTH_SCALE)
        write_image(folder / "rgb" / names[number], frame.left)
    for kind in ("rgb", "depth"):
        lines = [f"{name.removesuffix('.png')} {kind}/{name}" for name in names]
        write_text(folder / f"{kind}.txt", "# timestamp filename\n" + "".join(f"{line}\n" for line in lines))
    write_calibration(folder / FILE_NAME, Calibration(selection.camera, np.asarray(selection.base_T_camera), DEPTH_SCALE))
    truth = selection.truth()
    if truth is not None:
        write_tum(folder / "groundtruth.txt", truth)
