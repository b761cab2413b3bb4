"""Trajectories and frame results that the evaluation tests share."""

import numpy as np

from vloc_ros.data.reader import Trajectory
from vloc_ros.geometry import se3
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.mapping.keyframe import Keyframe, KeyframeId
from vloc_ros.mapping.state import FrameResult, MatchView, State

STEP_NS = 100_000_000


def random_walk(count, seed, step=0.4, turn=0.1):
    """(N, 4, 4) poses of a body that mostly drives forward and turns about every axis."""
    rng = np.random.default_rng(seed)
    poses = [se3.exp(rng.normal(0.0, 1.0, 6))]
    for _ in range(count - 1):
        motion = rng.normal([step, 0.0, 0.0, 0.0, 0.0, 0.0], [0.1] * 3 + [turn] * 3)
        poses.append(poses[-1] @ se3.exp(motion))
    return np.stack(poses)


def noisy(poses, seed, metres=0.05, radians=0.02):
    """The poses with independent noise on the right."""
    rng = np.random.default_rng(seed)
    scale = [metres] * 3 + [radians] * 3
    return np.stack([pose @ se3.exp(rng.normal(0.0, 1.0, 6) * scale) for pose in poses])


def timed(poses, start_ns=1_700_000_000_123_456_789, step_ns=STEP_NS):
    return Trajectory(start_ns + step_ns * np.arange(len(poses), dtype=np.int64), poses)


def keyframes_of(poses, start_ns=1_600_000_000_000_000_000):
    return [Keyframe(KeyframeId(1, k), start_ns + STEP_NS * k, pose) for k, pose in enumerate(poses)]


def frame(stamp_ns, map_T_base=None, odom_T_base=None, state=State.LOCALISED, **changes):
    """A frame result; a fix when it has a map pose, unless said otherwise."""
    values = {
        "stamp_ns": int(stamp_ns),
        "state": state,
        "reason": None if map_T_base is not None else RejectReason.TOO_FEW_INLIERS,
        "odom_T_base": odom_T_base,
        "odom_covariance": None if odom_T_base is None else np.eye(6) * 1e-6,
        "map_T_base": map_T_base,
        "map_covariance": None if map_T_base is None else np.eye(6) * 1e-4,
        "fix": map_T_base is not None,
        "keyframe": None,
        "inliers": 0 if map_T_base is None else 120,
        "odometry_inliers": 200,
        "timings_ms": {"extract": 20.0, "match": 10.0},
    }
    return FrameResult(**{**values, **changes})


def match_view(count, seed=0, keyframe=KeyframeId(1, 3), size=(640, 360)):  # noqa: B008
    rng = np.random.default_rng(seed)
    live = rng.uniform((0, 0), size, (count, 2)).astype(np.float32)
    return MatchView(keyframe, live, (live + rng.normal(0, 8, (count, 2))).astype(np.float32))
