"""The numbers of a run, counted by hand."""

import json

import numpy as np
import pytest
from evaluation_samples import STEP_NS, frame, keyframes_of, random_walk, timed

from vloc_ros.config import from_dict, to_dict
from vloc_ros.errors import ConfigError
from vloc_ros.evaluation.runlog import Run
from vloc_ros.evaluation.summary import EvaluationConfig, summarise
from vloc_ros.geometry import se3
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.mapping.state import State

START = 1_700_000_000_123_456_789
KEYS = {
    "frames",
    "localised",
    "localised_percent",
    "fixes",
    "false_fixes",
    "median_position_error_m",
    "median_rotation_error_deg",
    "max_position_error_m",
    "within",
    "ate_rmse_m",
    "translation_drift_percent",
    "rotation_drift_deg_per_m",
    "rate_hz",
    "latency_ms",
    "stages_ms",
    "states",
    "reasons",
    "median_inliers",
}


@pytest.fixture
def route():
    return random_walk(101, 1)


@pytest.fixture
def mixed(route):
    """100 frames: 80 exact fixes, 5 off by 0.4 m, 5 dead reckoned and exact, 10 lost; and one more without truth."""
    frames = []
    for k, pose in enumerate(route):
        changes = {"inliers": k, "timings_ms": {"extract": 10.0 + k, "pose": 5.0}}
        if 80 <= k < 85:
            pose = pose @ se3.exp(np.array([0.0, 0.4, 0, 0, 0, 0]))
        elif 85 <= k < 90:
            changes.update(fix=False, state=State.DEAD_RECKONING, reason=RejectReason.TOO_FEW_MATCHES)
        elif 90 <= k < 100:
            pose = None
            changes.update(state=State.LOST, reason=RejectReason.NO_CANDIDATE)
        frames.append(frame(START + k * STEP_NS, pose, route[k], **changes))
    return Run("test", "", tuple(frames))


def test_every_number_of_a_mixed_run(mixed, route):
    keyframes = keyframes_of(route)
    truth = timed(route[:100])
    named = {k.id: k.map_T_base for k in keyframes}
    summary = summarise(mixed, truth, keyframes, named)
    assert summary.frames == 101
    assert summary.believed == 91
    assert summary.localised == 86 and summary.localised_percent == pytest.approx(100 * 86 / 101)
    assert summary.fixes == 86
    assert summary.false_fixes == 5
    assert summary.judged == 100
    assert summary.error_kind == "relative_to_keyframe"
    assert summary.median_position_error_m == pytest.approx(0.0, abs=1e-9)
    assert summary.max_position_error_m == pytest.approx(0.4)
    assert summary.within == {"0.25m_2deg": 85.0, "0.5m_5deg": 90.0, "5m_10deg": 90.0}
    assert summary.states == {"localised": 86, "dead_reckoning": 5, "lost": 10}
    assert summary.reasons == {"TOO_FEW_MATCHES": 5, "NO_CANDIDATE": 10}
    assert summary.median_inliers == pytest.approx(np.median([*range(85), 100]))
    assert summary.median_odometry_inliers == 200
    assert summary.translation_drift_percent == pytest.approx(0.0, abs=1e-9)
    assert summary.drift_lengths_m == (5.0, 10.0, 15.0, 20.0)
    assert summary.odometry_ate_rmse_m == pytest.approx(0.0, abs=1e-9)
    assert 0.01 < summary.ate_rmse_m < 0.2
    assert summarise(mixed, truth, keyframes, named, EvaluationConfig(false_fix_m=0.5)).false_fixes == 0


def test_times_are_sums_of_stages(mixed):
    summary = summarise(mixed)
    latency = 15.0 + np.arange(101)
    assert summary.rate_hz == pytest.approx(1000.0 / latency.mean())
    assert summary.latency_ms == {
        "p50": pytest.approx(65.0),
        "p90": pytest.approx(105.0),
        "p99": pytest.approx(114.0),
        "max": pytest.approx(115.0),
    }
    assert summary.stages_ms == {
        "extract": {"p50": pytest.approx(60.0), "p99": pytest.approx(109.0)},
        "pose": {"p50": 5.0, "p99": 5.0},
    }


def test_a_measured_total_counts_instead_of_the_sum():
    frames = tuple(frame(k, np.eye(4), timings_ms={"left": 8.0, "right": 8.0, "total": 10.0}) for k in range(5))
    summary = summarise(Run("", "", frames))
    assert summary.rate_hz == pytest.approx(100.0)
    assert set(summary.stages_ms) == {"left", "right"}


def test_what_is_unknown_is_null_and_never_zero(mixed):
    values = json.loads(summarise(mixed).to_json())
    assert set(values) >= KEYS
    for key in ("false_fixes", "median_position_error_m", "median_rotation_error_deg", "max_position_error_m", "ate_rmse_m"):
        assert values[key] is None, key
    assert values["within"] == {"0.25m_2deg": None, "0.5m_5deg": None, "5m_10deg": None}
    assert values["translation_drift_percent"] is None and values["rotation_drift_deg_per_m"] is None
    assert values["localised"] == 86


def test_an_empty_run_has_no_numbers():
    values = summarise(Run("", "", ()), timed(random_walk(5, 1))).to_dict()
    assert values["frames"] == values["localised"] == 0
    for key in ("localised_percent", "rate_hz", "median_inliers", "median_position_error_m", "ate_rmse_m", "false_fixes"):
        assert values[key] is None, key
    assert values["latency_ms"] == {"p50": None, "p90": None, "p99": None, "max": None}


def test_a_run_that_never_believes_is_judged_but_has_no_error():
    truth = timed(random_walk(8, 2))
    frames = tuple(frame(stamp, None, state=State.RELOCALISING) for stamp in truth.stamps_ns)
    summary = summarise(Run("", "", frames), truth)
    assert summary.localised == summary.believed == summary.false_fixes == 0
    assert summary.within["5m_10deg"] == 0.0
    assert summary.median_position_error_m is None and summary.max_position_error_m is None


def test_a_run_of_odometry_only_has_drift_and_odometry_inliers(route):
    wrong = route.copy()
    wrong[:, :3, 3] *= 1.01
    frames = tuple(frame(START + k * STEP_NS, None, pose, reason=None, state=State.UNINITIALISED) for k, pose in enumerate(wrong))
    summary = summarise(Run("", "", frames), timed(route))
    assert 0.9 < summary.translation_drift_percent < 1.2
    assert summary.rotation_drift_deg_per_m == pytest.approx(0.0, abs=1e-9)
    assert set(summary.within.values()) == {None} and summary.false_fixes is None
    assert summary.ate_rmse_m is None and summary.odometry_ate_rmse_m > 0.0
    assert summary.median_inliers is None and summary.median_odometry_inliers == 200


def test_thresholds_are_configuration():
    assert from_dict(EvaluationConfig, to_dict(EvaluationConfig())) == EvaluationConfig()
    with pytest.raises(ConfigError, match="false_fix_m"):
        from_dict(EvaluationConfig, {"false_fix_m": -1.0})
