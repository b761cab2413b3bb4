"""Trajectory files, interpolation of poses at other stamps, and association of stamps.

Formats: TUM (``stamp tx ty tz qx qy qz qw``, seconds and metres) and KITTI (the 12 numbers of a 3x4 pose, row by row).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vloc_ros.data.files import exactly, format_seconds, numbers, parse_seconds, read_number_table, read_rows
from vloc_ros.data.output import write_text
from vloc_ros.data.reader import Trajectory
from vloc_ros.errors import DataError
from vloc_ros.geometry.se3 import quaternion

Stamps = NDArray[np.int64]
Poses = NDArray[np.float64]
TUM_HEADER = "# timestamp tx ty tz qx qy qz qw\n"
_ORTHONORMAL_TOLERANCE = 1e-2


def increasing(stamps_ns: Sequence[int] | Stamps, poses: Sequence[Poses] | Poses) -> Trajectory:
    """A trajectory of the samples in the order of their stamps; of samples with equal stamps the first counts."""
    stamps, order = np.unique(np.asarray(stamps_ns, dtype=np.int64), return_index=True)
    return Trajectory(stamps, np.asarray(poses, dtype=np.float64).reshape(-1, 4, 4)[order])


def poses_from_quaternions(translations: NDArray[np.float64], xyzw: NDArray[np.float64], source: Path | str) -> Poses:
    """(N, 4, 4) poses from (N, 3) translations [m] and (N, 4) quaternions, which are normalised.

    Raises:
        DataError: a quaternion is zero; the text names ``source``.
    """
    if len(xyzw) and np.min(np.linalg.norm(xyzw, axis=1)) < 1e-6:
        row = int(np.argmin(np.linalg.norm(xyzw, axis=1)))
        raise DataError(f"{source}: the quaternion of pose {row} is zero; is the file damaged?")
    poses = np.tile(np.eye(4), (len(xyzw), 1, 1))
    if len(xyzw):
        poses[:, :3, :3] = Rotation.from_quat(xyzw).as_matrix()
    poses[:, :3, 3] = translations
    return poses


def read_tum(path: Path) -> Trajectory:
    """Read a TUM trajectory; samples are sorted by stamp.

    Raises:
        DataError: the file is missing or holds something else; the text names the line.
    """
    stamps, values = [], []
    for line, fields in read_rows(path):
        fields = exactly(fields, 8, path, line)
        stamps.append(parse_seconds(fields[0], path, line))
        values.append(numbers(fields[1:], path, line))
    table = np.array(values, dtype=np.float64).reshape(-1, 7)
    return increasing(stamps, poses_from_quaternions(table[:, :3], table[:, 3:], path))


def write_tum(path: Path, trajectory: Trajectory) -> None:
    """Write a TUM trajectory: stamps exact to the nanosecond, positions to a nanometre.

    Raises:
        DataError: the file cannot be written.
    """
    lines = [tum_line(int(stamp), pose) for stamp, pose in zip(trajectory.stamps_ns, trajectory.poses, strict=True)]
    write_text(path, TUM_HEADER + "".join(lines))


def tum_line(stamp_ns: int, pose: Poses) -> str:
    """One line of a TUM trajectory: a (4, 4) pose at a stamp."""
    position = " ".join(f"{value:.9f}" for value in pose[:3, 3])
    rotation = " ".join(f"{value:.12f}" for value in quaternion(pose))
    return f"{format_seconds(stamp_ns)} {position} {rotation}\n"


def read_kitti_poses(path: Path) -> Poses:
    """(N, 4, 4) poses of a KITTI pose file.

    Raises:
        DataError: the file is missing, or a row does not hold 12 numbers or no rotation.
    """
    rows = read_number_table(path, 12)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :] = rows.reshape(-1, 3, 4)
    rotations = poses[:, :3, :3]
    error = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    wrong = (error > _ORTHONORMAL_TOLERANCE) | (np.linalg.det(rotations) < 0.0)
    if np.any(wrong):
        raise DataError(f"{path}: pose {int(np.argmax(wrong))} is not a rotation and translation; is the file damaged?")
    return poses


def write_kitti_poses(path: Path, poses: Poses) -> None:
    """Write the upper (3, 4) parts of (N, 4, 4) poses, one per row.

    Raises:
        DataError: the file cannot be written.
    """
    write_text(path, "".join(" ".join(f"{value:.12e}" for value in pose[:3].reshape(12)) + "\n" for pose in poses))


def interpolate(trajectory: Trajectory, stamps_ns: Stamps, max_gap_ns: int = 500_000_000) -> Poses:
    """Poses at other stamps: positions linearly, rotations along the shortest arc (slerp).

    Args:
        trajectory: strictly increasing samples.
        stamps_ns: (N,) stamps, in any order.
        max_gap_ns: longest distance between two samples that is bridged.

    Returns:
        (N, 4, 4) poses; all NaN before the first sample, after the last one, and inside longer gaps. Stamps of samples get
        the sample itself, whatever the gaps.
    """
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    poses = np.full((len(stamps), 4, 4), np.nan)
    if len(trajectory) == 0 or len(stamps) == 0:
        return poses
    known = trajectory.stamps_ns
    after = np.searchsorted(known, stamps, side="left").clip(0, len(known) - 1)
    exact = known[after] == stamps
    poses[exact] = trajectory.poses[after[exact]]
    before = (after - 1).clip(0)
    between = ~exact & (known[before] < stamps) & (stamps < known[after]) & (known[after] - known[before] <= max_gap_ns)
    if np.any(between):
        a, b = before[between], after[between]
        ratio = (stamps[between] - known[a]) / (known[b] - known[a])
        poses[between] = _blend(trajectory.poses[a], trajectory.poses[b], ratio)
    return poses


def _blend(first: Poses, second: Poses, ratio: NDArray[np.float64]) -> Poses:
    start = Rotation.from_matrix(first[:, :3, :3])
    turn = (start.inv() * Rotation.from_matrix(second[:, :3, :3])).as_rotvec()
    poses = np.tile(np.eye(4), (len(ratio), 1, 1))
    poses[:, :3, :3] = (start * Rotation.from_rotvec(turn * ratio[:, None])).as_matrix()
    poses[:, :3, 3] = first[:, :3, 3] + ratio[:, None] * (second[:, :3, 3] - first[:, :3, 3])
    return poses


def associate(first_ns: Stamps, second_ns: Stamps, max_difference_ns: int) -> NDArray[np.int64]:
    """Pair two lists of stamps: each with its nearest in the other list, when that is mutual and near enough.

    Args:
        first_ns: (N,) stamps in any order [ns].
        second_ns: (M,) stamps in any order [ns].
        max_difference_ns: largest difference of a pair [ns].

    Returns:
        (K, 2) indices into both lists, in the order of the first one; every stamp is in at most one pair.
    """
    first, second = np.asarray(first_ns, dtype=np.int64), np.asarray(second_ns, dtype=np.int64)
    if len(first) == 0 or len(second) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    partner = _nearest(first, second)
    mutual = _nearest(second, first)[partner] == np.arange(len(first))
    near = np.abs(first - second[partner]) <= max_difference_ns
    chosen = np.flatnonzero(mutual & near)
    return np.stack([chosen, partner[chosen]], axis=1).astype(np.int64)


def _nearest(queries: Stamps, stamps: Stamps) -> NDArray[np.int64]:
    """Index of the stamp nearest to each query; of equal ones the first."""
    order = np.argsort(stamps, kind="stable")
    ordered = stamps[order]
    right = np.searchsorted(ordered, queries, side="left").clip(0, len(ordered) - 1)
    left = (right - 1).clip(0)
    nearer_left = np.abs(queries - ordered[left]) <= np.abs(ordered[right] - queries)
    chosen = np.where(nearer_left, left, right)
    # Equal stamps: step back to the first of them, so that pairs stay mutual.
    first_equal = np.searchsorted(ordered, ordered[chosen], side="left")
    return np.asarray(order[first_equal], dtype=np.int64)
