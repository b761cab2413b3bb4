"""What ``/diagnostics`` says about a node."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from vloc_ros.localization import FrameResult, State
from vloc_ros.ros.conversions import header
from vloc_ros.ros.problems import Problem
from vloc_ros.ros.statistics import Statistics
from vloc_ros.ros.sync import SyncCounts


def diagnostics(
    name: str,
    stamp_ns: int,
    statistics: Statistics,
    problems: dict[Problem, str],
    sync: SyncCounts | None,
    result: FrameResult | None,
    extra: dict[str, str] | None = None,
) -> DiagnosticArray:
    """One status for the input (rates, drops, what is wrong) and one for the localisation (state, reason, latencies)."""
    statuses = [_input(name, statistics, problems, sync, extra or {}), _localisation(name, statistics, result)]
    return DiagnosticArray(header=header(stamp_ns, ""), status=statuses)


def of_one_status(name: str, stamp_ns: int, values: dict[str, str], problems: dict[Problem, str], healthy: str) -> DiagnosticArray:
    """One status: its keys and values with what is wrong; ``healthy`` is its message when nothing is."""
    values = values | {f"problem_{problem.name.lower()}": text for problem, text in problems.items()}
    level = DiagnosticStatus.WARN if problems else DiagnosticStatus.OK
    message = "; ".join(problem.value for problem in problems) or healthy
    return DiagnosticArray(header=header(stamp_ns, ""), status=[_status(name, level, message, values)])


def _input(
    name: str, statistics: Statistics, problems: dict[Problem, str], sync: SyncCounts | None, extra: dict[str, str]
) -> DiagnosticStatus:
    values = dict(extra)
    values["frames_processed"] = str(statistics.frames)
    values["images_lost"] = str(statistics.images_lost)
    values["rate_hz"] = f"{statistics.rate_hz():.2f}"
    if sync is not None:
        values |= {
            "images_received": str(sync.received),
            "images_unpaired": str(sync.unpaired),
            "images_waiting": str(sync.pending),
            "pairs": str(sync.pairs),
            "time_restarts": str(sync.restarts),
        }
    values |= {f"dropped_{reason.name.lower()}": str(count) for reason, count in statistics.drops.items()}
    values |= {f"problem_{problem.name.lower()}": text for problem, text in problems.items()}
    level = DiagnosticStatus.WARN if problems else DiagnosticStatus.OK
    if {Problem.BAD_CALIBRATION, Problem.CALIBRATION_CHANGED, Problem.OUTPUT, Problem.MAP} & problems.keys():
        level = DiagnosticStatus.ERROR
    message = "; ".join(problem.value for problem in problems) or "receiving"
    return _status(f"{name}: input", level, message, values)


def _localisation(name: str, statistics: Statistics, result: FrameResult | None) -> DiagnosticStatus:
    values: dict[str, str] = {}
    for stage, of_stage in statistics.percentiles().items():
        values[f"{stage}_ms_p50"] = f"{of_stage.p50:.1f}"
        values[f"{stage}_ms_p99"] = f"{of_stage.p99:.1f}"
    values |= {f"rejected_{reason.name.lower()}": str(count) for reason, count in statistics.rejections.items()}
    if statistics.last_rejection:
        values["last_rejection"] = statistics.last_rejection
    if result is None:
        return _status(f"{name}: localisation", DiagnosticStatus.STALE, "no frame has been processed", values)
    values |= {
        "state": result.state.value,
        "reason": "" if result.reason is None else result.reason.name,
        "stamp_ns": str(result.stamp_ns),
        "inliers": str(result.inliers),
        "odometry_inliers": str(result.odometry_inliers),
        "keyframe": "" if result.keyframe is None else str(result.keyframe),
    }
    level = DiagnosticStatus.OK
    if result.state is State.LOST:
        level = DiagnosticStatus.ERROR
    elif result.state is not State.LOCALISED or result.reason is not None:
        level = DiagnosticStatus.WARN
    message = result.state.value if result.reason is None else f"{result.state.value}: {result.reason.value}"
    return _status(f"{name}: localisation", level, message, values)


def _status(name: str, level: bytes, message: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id="", values=pairs)
