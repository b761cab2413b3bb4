"""The record of a drive: what the simulation writes and what localisation writes are joined by the stamps of the frames."""

from __future__ import annotations

import numpy as np
import pytest

from vloc_ros.closed_loop import DriveFile, DriveMoment, Intervention, read_drive
from vloc_ros.errors import DataError
from vloc_ros.evaluation import RunLog
from vloc_ros.geometry.planar import PlanarTwist, planar_pose
from vloc_ros.mapping import FrameResult, State
from vloc_ros.path_following import DriveState, StopReason

PERIOD_NS = 200_000_000


def moment(index: int, intervention: Intervention | None = None) -> DriveMoment:
    reason = StopReason.NO_POSE if index == 0 else None
    state = DriveState.STOPPED if index == 0 else DriveState.FOLLOWING
    return DriveMoment(
        index * PERIOD_NS,
        planar_pose(index, 0.5, 0.1),
        PlanarTwist(1.0, 0.1),
        state,
        reason,
        index > 6,
        intervention,
        100.0 + index,
    )


def write(folder, frames: list[int], count: int = 10, intervention_at: int = 7) -> None:
    with RunLog(folder, "", "test") as log:
        for index in frames:
            log.add(FrameResult(index * PERIOD_NS, State.LOCALISED, None, None, None, None, None, False, None, 0, 0))
    file = DriveFile(folder, {"site": "yard", "condition": "noon"})
    for index in range(count):
        file.add(moment(index, Intervention.STUCK if index == intervention_at else None))
    file.close()


def test_frames_that_localisation_dropped_are_left_out_but_no_intervention_is(tmp_path):
    kept = [0, 1, 3, 4, 6, 8, 9]
    write(tmp_path, kept)
    record = read_drive(tmp_path)
    assert record.info == {"site": "yard", "condition": "noon"}
    assert (record.run.stamps_ns // PERIOD_NS).tolist() == kept
    np.testing.assert_allclose(record.world_T_base, [planar_pose(index, 0.5, 0.1) for index in kept], atol=1e-12)
    assert record.memory_mib.tolist() == [100.0 + index for index in kept]
    assert record.operator.tolist() == [index > 6 for index in kept]
    assert (record.states[0], record.reasons[0]) == (DriveState.STOPPED, StopReason.NO_POSE)
    assert record.interventions == ((5, Intervention.STUCK),), "at the first frame after it"


def test_a_frame_whose_period_did_not_end_has_no_record(tmp_path):
    write(tmp_path, list(range(12)))
    record = read_drive(tmp_path)
    assert len(record.run.frames) == len(record.world_T_base) == 10


def test_an_intervention_after_the_last_frame_counts_too(tmp_path):
    write(tmp_path, [0, 1, 2], intervention_at=9)
    assert read_drive(tmp_path).interventions == ((2, Intervention.STUCK),)


def test_a_cut_line_is_left_out_and_a_damaged_one_is_refused(tmp_path):
    write(tmp_path, list(range(10)))
    file = tmp_path / "drive.jsonl"
    text = file.read_text()
    file.write_text(text[:-20])
    assert len(read_drive(tmp_path).world_T_base) == 9
    file.write_text(text.replace('"FOLLOWING"', '"FLYING"'))
    with pytest.raises(DataError, match="damaged"):
        read_drive(tmp_path)
    file.unlink()
    with pytest.raises(DataError, match="is this the folder of a drive"):
        read_drive(tmp_path)
