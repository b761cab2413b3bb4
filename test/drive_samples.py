"""Drives made by hand, with known answers."""

import dataclasses

import numpy as np
from evaluation_samples import frame, keyframes_of

from vloc_ros.closed_loop.judge import DriveSummary, judge
from vloc_ros.closed_loop.record import DriveRecord, Intervention
from vloc_ros.data.reader import Trajectory
from vloc_ros.evaluation.runlog import Run
from vloc_ros.geometry import se3
from vloc_ros.mapping.state import State
from vloc_ros.path_following import DriveState, StopReason

STEP_S, SPEED = 0.2, 1.0
START = 1_700_000_000_123_456_789


def pose(x, y=0.0):
    return se3.exp(np.array([x, y, 0.0, 0.0, 0.0, 0.0]))


def straight_drive(count=101, y=0.05, blind=(), stopped=(), operator=(), carried=None, info=None, complete=True):
    """A drive along 20 m of the x axis at 1 m/s, a frame every 0.2 s, judged.

    Args:
        count: frames.
        y: distance to the left of the path [m].
        blind: frames without a fix.
        stopped: frames at which the follower has stopped, because it is blind; the robot stands from the second on.
        operator: frames at which the operator drives; he stepped in at the one before.
        carried: frame before which the robot is carried on by 5 m.
        info: what was driven.
        complete: whether the record was closed.
    """
    path = np.stack([pose(0.5 * k) for k in range(41)])
    keyframes = keyframes_of(path)
    stations, x = [], 0.0
    for k in range(count):
        x += 5.0 if k == carried else 0.0
        stations.append(x)
        x += 0.0 if k in stopped[1:] else STEP_S * SPEED
    truth = np.stack([pose(x, y) for x in stations]) if count else np.empty((0, 4, 4))
    frames = []
    for k in range(count):
        if k in blind:
            state = State.LOST if k in stopped else State.DEAD_RECKONING
            frames.append(frame(START + int(k * STEP_S * 1e9), None, truth[k], state))
        else:
            near = keyframes[min(round(stations[k] / 0.5), 40)]
            frames.append(frame(START + int(k * STEP_S * 1e9), truth[k], truth[k], keyframe=near.id, inliers=100 + k))
    record = DriveRecord(
        info=info or {"site": "yard", "condition": "late_dusk", "features": "sift"},
        run=Run("simulation", "", tuple(frames), complete),
        world_T_base=truth,
        twists=np.array([[0.0 if k in stopped[1:] else SPEED, 0.0] for k in range(count)]).reshape(-1, 2),
        states=tuple(DriveState.STOPPED if k in stopped else DriveState.FOLLOWING for k in range(count)),
        reasons=tuple(StopReason.BLIND_TOO_FAR if k in stopped else None for k in range(count)),
        operator=np.array([k in operator for k in range(count)], dtype=bool),
        interventions=((operator[0] - 1, Intervention.STUCK),) if len(operator) else (),
        memory_mib=np.full(count, 300.0),
    )
    return judge(record, keyframes, Trajectory(np.array([k.stamp_ns for k in keyframes]), path))


def helped_drive():
    """Blind for 6 frames, then standing still for 10, then helped for 15."""
    return straight_drive(blind=range(24, 40), stopped=range(30, 40), operator=range(40, 55))


def summary(**changes):
    """A drive's numbers."""
    values = dataclasses.asdict(_SUMMARY)
    return DriveSummary(**{**values, **changes})


_SUMMARY = DriveSummary(
    site="yard",
    condition="noon",
    features="sift",
    path_m=100.0,
    driven_m=100.0,
    operator_m=0.0,
    autonomy_percent=100.0,
    interventions=0,
    lateral_rms_m=0.04,
    lateral_max_m=0.1,
    heading_rms_deg=1.0,
    fixes_per_m=5.0,
    median_inliers=120.0,
    false_poses=0,
    localised_percent=100.0,
    rate_hz=10.0,
    frames=500,
    frames_alone=500,
    fixes=500,
    memory_mib_per_hour=None,
)
