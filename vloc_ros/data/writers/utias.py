"""UTIAS long-term layout: one teach run ``run_000000`` with its temporal transforms, and a calibration.yaml beside it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from vloc_ros.data.calibration import FILE_NAME, Calibration, write_calibration
from vloc_ros.data.output import write_image, write_text
from vloc_ros.data.writers.selection import Selection
from vloc_ros.geometry.se3 import between, inverse

_RUN = "run_000000"


def write(selection: Selection, folder: Path) -> None:
    """Write the chosen frames as a teach run; the transforms only when the truth is known at all of them.

    Raises:
        DataError: the recording is RGB-D, or cannot be written.
    """
    run = folder / _RUN
    for number, left, right in selection.stereo("utias"):
        write_image(run / "images" / "left" / f"{number:06d}.png", left)
        write_image(run / "images" / "right" / f"{number:06d}.png", right)
    write_calibration(folder / FILE_NAME, Calibration(selection.camera, np.asarray(selection.base_T_camera)))
    stamps = "".join(f"{number},{int(stamp)}\n" for number, stamp in enumerate(selection.stamps_ns))
    write_text(run / "timestamps_images.txt", stamps)
    world_T_camera = selection.truth_at_frames("transforms_temporal.txt")
    if world_T_camera is not None:
        world_T_base = world_T_camera @ inverse(np.asarray(selection.base_T_camera))
        rows = (
            f"0,{number},0,{number + 1}," + ",".join(f"{value:.15e}" for value in between(following, this).reshape(16))
            for number, (this, following) in enumerate(pairwise(world_T_base))
        )
        write_text(run / "transforms_temporal.txt", "".join(f"{row}\n" for row in rows))
