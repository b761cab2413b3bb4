"""Contact sheets: the same places in several conditions, to look at."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.simulation.run import SimulatedRun


def contact_sheet(runs: Sequence[SimulatedRun], columns: int = 4) -> Image:
    """Left images of evenly spaced frames, one row per run, with the name of its condition written on it.

    Args:
        runs: drives through one world, of the same camera.
        columns: frames per run.

    Returns:
        (rows * H, columns * W, 3) uint8 RGB.

    Raises:
        ConfigError: there are no runs, no columns, or the image sizes differ.
    """
    if not runs or columns < 1:
        raise ConfigError("a contact sheet needs at least one run and one column")
    if len({(run.camera.width, run.camera.height) for run in runs}) > 1:
        raise ConfigError("the runs of a contact sheet must share one image size; give them rigs of the same scale")
    rows = []
    for run in runs:
        indices = np.linspace(0, len(run), columns, endpoint=False).astype(int)
        rows.append(np.hstack([_titled(run.frame(int(i)).left, f"{run.condition.name} {i}") for i in indices]))
    return np.vstack(rows)


def _titled(image: Image, title: str) -> Image:
    image = image.copy()
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(image, title, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA)
    return image
