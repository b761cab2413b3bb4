"""Small long-term benchmarks, written by hand in the layouts of CMU-Seasons and RobotCar-Seasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from data_samples import texture

from vloc_ros.data.output import write_image, write_text

# A camera that looks along the x axis of the world: its axes right, down and forward are -y, -z and x. The quaternion w x y z of
# camera_T_world, and where the camera is.
LOOKING_EAST = ("0.5", "0.5", "-0.5", "0.5")
EAST_AXES = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def pose_text(name: str, centre: Sequence[float]) -> str:
    """A line of such a camera: the translation is that of camera_T_world, minus the centre in its axes."""
    x, y, z = centre
    return f"{name} {' '.join(LOOKING_EAST)} {y} {z} {-x}\n"


def images(folder: Path, names: Sequence[str]) -> None:
    """Different small images of these names; PNG whatever the ending says, which readers do not go by."""
    for number, name in enumerate(names):
        write_image(folder / name, texture(number, True, (32, 24)))


def cmu(area: Path, slices: Mapping[int, str] | None = None, conditions: int = 3) -> Path:
    """An area with folders to learn from and slices; by default slice 1; each text is added to the file of poses."""
    for number in range(conditions):
        images(area / f"train{number:02d}", [f"img_{k:05d}_c0_{number}{k:03d}us_rect.jpg" for k in range(2)])
    for number, more in (slices or {1: ""}).items():
        folder = area / f"s{number}"
        for k in range(conditions):
            images(folder / f"test{k:02d}", [f"img_0001{side}_c{side}_{k}{side}77us_rect.jpg" for side in range(2)])
        poses = [
            pose_text(f"database/img_0001{side}_c{side}_0{side}77us_rect.jpg", (10.0 * number, side, 1.5)) for side in range(2)
        ]
        write_text(folder / f"pose_new_s{number}.txt", "".join(poses) + more)
    return area


def robotcar(root: Path, conditions: int = 10) -> Path:
    """A root in which images lie in folders of cameras."""
    for number in range(conditions):
        images(root / f"test{number:02d}" / "rear", [f"14181337{number:02d}{k}.jpg" for k in range(2)])
        images(root / f"test{number:02d}" / "left", [f"14181337{number:02d}{k}.jpg" for k in range(2)])
    poses = [pose_text(f"overcast-reference/rear/1418133700{k}.png", (float(k), 0.0, 2.0)) for k in range(2)]
    write_text(root / "pose_new_rear.txt", "".join(poses))
    return root
