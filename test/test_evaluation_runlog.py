"""The record of a run: round trip to the last bit, kills, full disks, damage."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluation_samples import STEP_NS, frame, match_view, random_walk
from hypothesis import given, settings
from hypothesis import strategies as st

from vloc_ros.data.trajectory import read_tum
from vloc_ros.errors import DataError, VlocError
from vloc_ros.evaluation import records
from vloc_ros.evaluation.output import OutputError
from vloc_ros.evaluation.runlog import RunLog, read_run, write_trajectories
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.state import State

START = 1_700_000_000_123_456_789


def sample_frames(count=12):
    poses, odometry = random_walk(count, 1), random_walk(count, 2)
    rng = np.random.default_rng(0)
    frames = []
    for k in range(count):
        covariance = rng.normal(size=(6, 6))
        frames.append(
            frame(
                START + k * STEP_NS,
                None if k % 4 == 3 else poses[k],
                None if k == 5 else odometry[k],
                state=State.LOST if k % 4 == 3 else State.LOCALISED,
                map_covariance=None if k % 4 == 3 else covariance @ covariance.T,
                keyframe=KeyframeId(1, k),
                match=None if k % 4 == 3 else match_view(30, k),
                timings_ms={"extract": rng.uniform(1, 30), "pose": rng.uniform(1, 5)},
            )
        )
    return frames


def assert_same(a, b, *, with_match=False):
    for name in ("stamp_ns", "state", "reason", "fix", "keyframe", "inliers", "odometry_inliers", "timings_ms"):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("map_T_base", "map_covariance", "odom_T_base", "odom_covariance"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            np.testing.assert_array_equal(x, y)
    if with_match and a.match is not None:
        assert a.match.keyframe == b.match.keyframe
        np.testing.assert_array_equal(a.match.live_pixels, b.match.live_pixels)
        np.testing.assert_array_equal(a.match.map_pixels, b.match.map_pixels)


def record(folder, frames, **options):
    with RunLog(folder, "features: sift  # é\n", "kitti", **options) as log:
        for result in frames:
            log.add(result)
    return folder


def test_a_run_comes_back_to_the_last_bit(tmp_path):
    frames = sample_frames()
    run = read_run(record(tmp_path / "deep" / "out", frames))
    assert (run.source, run.config_yaml, run.complete) == ("kitti", "features: sift  # é\n", True)
    assert len(run.frames) == len(frames)
    for a, b in zip(frames, run.frames, strict=True):
        assert_same(a, b)
        assert b.match is None


finite = st.floats(allow_nan=False, allow_infinity=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(finite, min_size=12, max_size=12), st.integers(-(2**62), 2**62), st.sampled_from([None, *RejectReason]))
def test_any_numbers_survive_json(numbers, stamp, reason):
    pose = np.vstack([np.array(numbers).reshape(3, 4), [0, 0, 0, 1]])
    before = frame(stamp, pose, reason=reason, timings_ms={"a b": numbers[0]})
    text = json.dumps(records.encode_frame(before), allow_nan=False)
    assert_same(before, records.decode_frame(json.loads(text)))


def test_not_a_number_is_valid_json_and_comes_back():
    pose = np.eye(4)
    pose[0, 3] = np.nan
    back = records.decode_frame(json.loads(json.dumps(records.encode_frame(frame(1, pose)), allow_nan=False)))
    assert np.isnan(back.map_T_base[0, 3])


def test_matches_are_kept_of_some_frames_and_thinned(tmp_path):
    frames = sample_frames()
    run = read_run(record(tmp_path, frames, match_every=4, match_limit=10))
    kept = [k for k, result in enumerate(run.frames) if result.match is not None]
    assert kept == [0, 4, 8]
    for k in kept:
        assert len(run.frames[k].match.live_pixels) == len(run.frames[k].match.map_pixels) == 10
        np.testing.assert_array_equal(run.frames[k].match.live_pixels[[0, -1]], frames[k].match.live_pixels[[0, -1]])
    whole = read_run(record(tmp_path, frames, match_every=1))
    for a, b in zip(frames, whole.frames, strict=True):
        assert_same(a, b, with_match=True)


def test_trajectories_are_written_at_close_and_again_from_the_record(tmp_path):
    frames = sample_frames()
    record(tmp_path, frames)
    believed = [result for result in frames if result.map_T_base is not None]
    path = read_tum(tmp_path / "trajectory.tum")
    assert path.stamps_ns.tolist() == [result.stamp_ns for result in believed]
    np.testing.assert_allclose(path.poses, [result.map_T_base for result in believed], atol=1e-8)
    assert len(read_tum(tmp_path / "odometry.tum")) == len(frames) - 1
    again = tmp_path / "again"
    again.mkdir()
    write_trajectories(read_run(tmp_path), again)
    for name in ("trajectory.tum", "odometry.tum"):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()


def test_frames_that_jump_back_in_time_stay_out_of_the_trajectory(tmp_path):
    stamps = [10, 20, 5, 20, 30]
    run = read_run(record(tmp_path, [frame(stamp, np.eye(4)) for stamp in stamps]))
    assert run.stamps_ns.tolist() == stamps
    assert run.trajectory.stamps_ns.tolist() == [10, 20, 30]


def test_an_empty_run_is_a_run(tmp_path):
    run = read_run(record(tmp_path, []))
    assert run.frames == () and run.complete
    assert len(run.trajectory) == 0


def test_a_new_run_replaces_the_old_one(tmp_path):
    record(tmp_path, sample_frames())
    log = RunLog(tmp_path, "", "second")
    assert not (tmp_path / "trajectory.tum").exists()
    log.close()
    assert read_run(tmp_path).source == "second"
    assert read_run(tmp_path).frames == ()


@pytest.mark.parametrize("cut", [1, 2, 40, 400])
def test_a_cut_last_line_is_left_out(tmp_path, cut):
    frames = sample_frames(6)
    record(tmp_path, frames)
    path = tmp_path / "frames.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    run = read_run(tmp_path)
    # Without its newline the last line is still whole.
    assert len(run.frames) == (6 if cut == 1 else 5)
    assert not run.complete


def test_zeros_after_a_power_cut_are_left_out(tmp_path):
    record(tmp_path, sample_frames(3))
    with (tmp_path / "frames.jsonl").open("ab") as file:
        file.write(b"\0" * 500)
    run = read_run(tmp_path)
    assert len(run.frames) == 3 and not run.complete


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from evaluation_samples import frame, random_walk
from vloc_ros.evaluation.runlog import RunLog
log = RunLog(sys.argv[1], "", "killed")
for k, pose in enumerate(random_walk(25, 3)):
    log.add(frame(k, pose))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_nothing(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "out"), str(Path(__file__).parent)],
        timeout=60,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert process.returncode == -signal.SIGKILL
    run = read_run(tmp_path / "out")
    assert run.complete
    assert [result.stamp_ns for result in run.frames] == list(range(25))
    np.testing.assert_array_equal(run.trajectory.poses, random_walk(25, 3))


@pytest.mark.parametrize("damage", [b"{}", b"not json", b'{"stamp_ns": 1}', b"\xff\xfe", b"[]"])
def test_a_damaged_line_in_the_middle_is_an_error(tmp_path, damage):
    record(tmp_path, sample_frames(4))
    path = tmp_path / "frames.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[1] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match="line 2 is damaged"):
        read_run(tmp_path)


def test_a_bad_keyframe_name_is_damage_too(tmp_path):
    record(tmp_path, sample_frames(4))
    path = tmp_path / "frames.jsonl"
    path.write_text(path.read_text().replace('"s1/k1"', '"../../etc"'))
    with pytest.raises(DataError, match="line 2"):
        read_run(tmp_path)


def test_folders_without_a_run_are_named(tmp_path):
    with pytest.raises(DataError, match="holds no recorded run"):
        read_run(tmp_path)
    record(tmp_path, [])
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DataError, match=r"run\.json is damaged"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="newer than format"):
        read_run(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*file.out") as caught:
        RunLog(tmp_path / "file" / "out", "", "x")
    assert isinstance(caught.value, VlocError)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_output_error(tmp_path):
    (tmp_path / "frames.jsonl").symlink_to("/dev/full")
    log = RunLog(tmp_path, "", "x")
    with pytest.raises(OutputError, match=r"frames\.jsonl: No space left on device"):
        log.add(frame(1, np.eye(4)))
    with pytest.raises(OutputError):
        log.close()
    log.close()
    with pytest.raises(OutputError, match="closed"):
        log.add(frame(2, np.eye(4)))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_does_not_hide_the_error_that_ended_the_run(tmp_path):
    (tmp_path / "frames.jsonl").symlink_to("/dev/full")
    with pytest.raises(KeyError, match="first"), RunLog(tmp_path, "", "x") as log:
        log._file.write("unflushed")
        raise KeyError("first")
