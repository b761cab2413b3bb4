from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_samples import SyntheticReader, assert_poses_close
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vloc_ros.data import Trajectory
from vloc_ros.data.files import format_seconds, parse_seconds
from vloc_ros.data.trajectory import (
    associate,
    increasing,
    interpolate,
    read_kitti_poses,
    read_tum,
    write_kitti_poses,
    write_tum,
)
from vloc_ros.errors import DataError
from vloc_ros.geometry import se3


def _sample() -> Trajectory:
    truth = SyntheticReader(6).ground_truth
    assert truth is not None
    return truth


@given(st.integers(-(2**62), 2**62))
def test_seconds_as_text_are_exact(stamp: int) -> None:
    assert parse_seconds(format_seconds(stamp), Path("x"), 1) == stamp


@pytest.mark.parametrize("text", ["nan", "inf", "1.2.3", "", "1e99999", "12,5"])
def test_seconds_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"stamps\.txt line 7"):
        parse_seconds(text, Path("stamps.txt"), 7)


def test_scientific_notation_of_seconds() -> None:
    assert parse_seconds("1.036224e-01", Path("x"), 1) == 103_622_400


def test_tum_round_trip(tmp_path: Path) -> None:
    write_tum(tmp_path / "t.txt", _sample())
    again = read_tum(tmp_path / "t.txt")
    np.testing.assert_array_equal(again.stamps_ns, _sample().stamps_ns)
    assert_poses_close(again.poses, _sample().poses, 1e-9)


def test_kitti_round_trip(tmp_path: Path) -> None:
    write_kitti_poses(tmp_path / "p.txt", _sample().poses)
    assert_poses_close(read_kitti_poses(tmp_path / "p.txt"), _sample().poses, 1e-11)


def test_tum_file_is_sorted_and_equal_stamps_are_dropped(tmp_path: Path) -> None:
    rows = ["2.0 2 0 0 0 0 0 1", "1.0 1 0 0 0 0 0 2", "2.0 9 9 9 0 0 0 1"]
    (tmp_path / "t.txt").write_text("# a comment\n\n" + "\n".join(rows))
    trajectory = read_tum(tmp_path / "t.txt")
    np.testing.assert_array_equal(trajectory.stamps_ns, [1_000_000_000, 2_000_000_000])
    np.testing.assert_array_equal(trajectory.poses[:, 0, 3], [1, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.0 0 0 0 0 0 1", "line 1 has 7 columns instead of 8"),
        ("1.0 0 0 0 0 0 0 1\n2.0 0 x 0 0 0 0 1", "line 2 holds something that is not a number"),
        ("1.0 0 nan 0 0 0 0 1", "line 1 holds a value that is not finite"),
        ("1.0 0 0 0 0 0 0 0", "quaternion of pose 0 is zero"),
    ],
)
def test_damaged_tum_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_tum(tmp_path / "t.txt")
    assert "t.txt" in str(error.value)


def test_files_that_are_missing_or_binary_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt"):
        read_tum(tmp_path / "none.txt")
    (tmp_path / "b.txt").write_bytes(bytes([0xFF, 0xFE, 0x80]) * 9)
    with pytest.raises(DataError, match=r"b\.txt is not a text file"):
        read_tum(tmp_path / "b.txt")


def test_a_kitti_row_that_is_no_pose_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n2 0 0 0 0 2 0 0 0 0 2 0\n")
    with pytest.raises(DataError, match="pose 1 is not a rotation"):
        read_kitti_poses(tmp_path / "p.txt")


def test_interpolation_follows_a_screw() -> None:
    stamps = np.array([0, 1_000_000_000], dtype=np.int64)
    end = se3.from_rotation_translation(Rotation.from_rotvec([0, 0, 1.2]).as_matrix(), np.array([2.0, 0.0, -4.0]))
    poses = interpolate(Trajectory(stamps, np.array([np.eye(4), end])), np.array([250_000_000]), max_gap_ns=10**9)
    expected = se3.from_rotation_translation(Rotation.from_rotvec([0, 0, 0.3]).as_matrix(), np.array([0.5, 0.0, -1.0]))
    assert_poses_close(poses[0], expected, 1e-12)


def test_interpolation_takes_the_short_way_round() -> None:
    stamps = np.array([0, 100], dtype=np.int64)
    angles = np.radians([170.0, -170.0])
    poses = np.array([se3.from_rotation_translation(Rotation.from_euler("z", a).as_matrix(), np.zeros(3)) for a in angles])
    middle = interpolate(Trajectory(stamps, poses), np.array([50]))
    assert se3.rotation_angle(middle[0]) == pytest.approx(np.pi)


def test_interpolation_knows_nothing_outside_and_in_gaps() -> None:
    stamps = np.array([0, 100, 1000, 1100], dtype=np.int64)
    trajectory = Trajectory(stamps, np.tile(np.eye(4), (4, 1, 1)))
    known = ~np.isnan(interpolate(trajectory, np.array([-1, 0, 50, 100, 500, 1000, 1050, 1100, 1101]), max_gap_ns=200)[:, 0, 0])
    np.testing.assert_array_equal(known, [False, True, True, True, False, True, True, True, False])
    assert np.isnan(interpolate(Trajectory(stamps[:0], np.zeros((0, 4, 4))), np.array([5]))).all()
    assert interpolate(trajectory, np.array([], dtype=np.int64)).shape == (0, 4, 4)


def test_interpolation_at_epoch_stamps_keeps_nanoseconds() -> None:
    start = 1_700_000_000_000_000_000
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = 1.0
    trajectory = Trajectory(np.array([start, start + 1000], dtype=np.int64), poses)
    assert interpolate(trajectory, np.array([start + 1]))[0, 0, 3] == pytest.approx(0.001)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 400), max_size=25, unique=True),
    st.lists(st.integers(0, 400), max_size=25, unique=True),
    st.integers(0, 30),
)
def test_association_is_one_to_one_mutual_and_near(first: list[int], second: list[int], limit: int) -> None:
    a, b = np.array(first, dtype=np.int64), np.array(second, dtype=np.int64)
    pairs = associate(a, b, limit)
    assert len(set(pairs[:, 0])) == len(pairs) and len(set(pairs[:, 1])) == len(pairs)
    assert np.all(np.abs(a[pairs[:, 0]] - b[pairs[:, 1]]) <= limit)
    exact = set(first) & set(second)
    assert exact <= {int(a[i]) for i, j in pairs if a[i] == b[j]}
    for i, j in pairs:
        assert abs(a[i] - b[j]) == np.abs(b - a[i]).min() == np.abs(a - b[j]).min()


def test_association_of_repeated_stamps_pairs_each_once() -> None:
    pairs = associate(np.array([10, 10, 20]), np.array([10, 10, 21]), 2)
    np.testing.assert_array_equal(pairs, [[0, 0], [2, 2]])


def test_increasing_sorts_and_drops() -> None:
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = [5, 6, 7]
    trajectory = increasing([30, 10, 30], poses)
    np.testing.assert_array_equal(trajectory.stamps_ns, [10, 30])
    np.testing.assert_array_equal(trajectory.poses[:, 0, 3], [6, 5])
