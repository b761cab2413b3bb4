"""Contact sheets: the same places in several conditions, to look at."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.simulation.conditions import Condition, named_condition
from vloc_ros.simulation.rig import StereoRig
from vloc_ros.simulation.run import SimulatedRun
from vloc_ros.simulation.world import World

_LABEL_SHARE = 0.11
"""Height of a label, as a share of the height of its picture."""


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


def condition_sheet(
    world: World, rig: StereoRig, station_m: float, conditions: Sequence[str | Condition], columns: int = 3
) -> Image:
    """One place in several conditions, in a grid, with the name of each above its picture.

    Args:
        world: where.
        rig: the cameras; the left one is shown.
        station_m: where along the route [m].
        conditions: which, by name or in full.
        columns: pictures per row.

    Returns:
        (rows * (H + label), columns * W, 3) uint8 RGB.

    Raises:
        ConfigError: there are no conditions, no columns, or a condition is unknown.
    """
    if not conditions or columns < 1:
        raise ConfigError("a sheet of conditions needs at least one condition and one column")
    pictures = []
    for entry in conditions:
        condition = named_condition(entry) if isinstance(entry, str) else entry
        run = SimulatedRun(world, condition=condition, start_m=station_m, stop_m=station_m + 0.25, rig=rig)
        pictures.append(_labelled(run.frame(0).left, condition.name.replace("_", " ")))
    pictures += [np.full_like(pictures[0], 255)] * (-len(pictures) % columns)
    return np.vstack([np.hstack(pictures[k : k + columns]) for k in range(0, len(pictures), columns)])


def _labelled(image: Image, label: str) -> Image:
    height, width = image.shape[:2]
    bar = np.full((max(round(_LABEL_SHARE * height), 8), width, 3), 255, dtype=np.uint8)
    scale = 0.026 * len(bar)
    origin = (round(0.2 * len(bar)), round(0.74 * len(bar)))
    thickness = max(round(2.0 * scale), 1)
    cv2.putText(bar, label, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (25, 25, 25), thickness, cv2.LINE_AA)
    return np.vstack([bar, image])


def _titled(image: Image, title: str) -> Image:
    image = image.copy()
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(image, title, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA)
    return image
