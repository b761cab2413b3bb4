"""KITTI odometry: ``image_0``/``image_1`` (grey) or ``image_2``/``image_3`` (colour), calib.txt, times.txt, poses.txt."""

from __future__ import annotations

from pathlib import Path

from vloc_ros.data.files import format_seconds
from vloc_ros.data.output import write_image, write_text
from vloc_ros.data.trajectory import write_kitti_poses
from vloc_ros.data.writers.selection import Selection
from vloc_ros.errors import DataError


def write(selection: Selection, folder: Path) -> None:
    """Write the chosen frames; poses.txt only when the truth is known at all of them.

    Raises:
        DataError: the recording is RGB-D, mixes grey and colour, or cannot be written.
    """
    pair: tuple[str, str] | None = None
    for number, left, right in selection.stereo("kitti"):
        names = ("image_0", "image_1") if left.ndim == 2 and right.ndim == 2 else ("image_2", "image_3")
        pair = pair or names
        if names != pair:
            raise DataError(f"frame {number} is grey and others are colour, or the reverse; kitti cannot hold both")
        for name, image in zip(pair, (left, right), strict=True):
            write_image(folder / name / f"{number:06d}.png", image)
    P_left, P_right = selection.camera.projection_matrices
    rows = [" ".join(f"{value:.12e}" for value in P.reshape(12)) for P in (P_left, P_right, P_left, P_right)]
    write_text(folder / "calib.txt", "".join(f"P{number}: {row}\n" for number, row in enumerate(rows)))
    write_text(folder / "times.txt", "".join(f"{format_seconds(int(stamp))}\n" for stamp in selection.stamps_ns))
    poses = selection.truth_at_frames("poses.txt")
    if poses is not None:
        write_kitti_poses(folder / "poses.txt", poses)
