"""What the diagnostics say of place recognition. Imports no ROS."""

from __future__ import annotations

from vloc_ros.ros.recognizer import Recognizer


def report(recognizer: Recognizer) -> dict[str, str]:
    """Keys and values: counts, what was refused or rejected and why, the last one in full, and latencies."""
    counts = recognizer.counts
    values = {
        "model": recognizer.model,
        "keyframes_searched": str(counts["keyframes"]),
        "keyframes_waiting": str(recognizer.waiting),
        "candidates": str(counts["candidates"]),
    }
    values |= {f"left_out_{reason}": str(count) for reason, count in recognizer.left_out.items()}
    values |= {
        f"rejected_{reason}": str(count) for reason, count in sorted(counts.items()) if reason not in ("keyframes", "candidates")
    }
    last = recognizer.last
    if last is not None and last.candidate is not None:
        found = last.candidate
        values["last_candidate"] = f"{found.a} - {found.b}: {found.inliers} of {found.matches} matches, score {found.score:.3f}"
    if last is not None and last.rejections:
        best = last.rejections[0]
        said = f"{best.reason.value}; {best.inliers} of {best.matches} matches, score {best.score:.3f}"
        values["last_rejection"] = f"{best.a} - {best.b}: {said}"
    for stage, of_stage in recognizer.statistics.percentiles().items():
        values[f"{stage}_ms_p50"] = f"{of_stage.p50:.1f}"
        values[f"{stage}_ms_p99"] = f"{of_stage.p99:.1f}"
    return values
