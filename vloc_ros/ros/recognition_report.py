"""What the diagnostics say of place recognition. Imports no ROS."""

from __future__ import annotations

from vloc_ros.loop_closure import Candidate, Rejection
from vloc_ros.ros.recognizer import Recognizer


def report(recognizer: Recognizer) -> dict[str, str]:
    """Keys and values: counts, what was refused or rejected and why, the last one in full, and latencies."""
    counts = recognizer.counts
    values = {
        "model": recognizer.model,
        **_of_swap(recognizer),
        **_of_stages(recognizer),
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
        values["last_candidate"] = f"{found.a} - {found.b}: {found.inliers} of {found.matches} matches, {_claimed(found)}"
    if last is not None and last.rejections:
        best = last.rejections[0]
        said = f"{best.reason.value}; {best.inliers} of {best.matches} matches, {_claimed(best)}"
        values["last_rejection"] = f"{best.a} - {best.b}: {said}"
    values |= _of_claims(recognizer)
    for stage, of_stage in recognizer.statistics.percentiles().items():
        values[f"{stage}_ms_p50"] = f"{of_stage.p50:.1f}"
        values[f"{stage}_ms_p99"] = f"{of_stage.p99:.1f}"
    return values


def _claimed(pair: Candidate | Rejection) -> str:
    likely = "" if pair.probability is None else f", probability {pair.probability:.3f}"
    return f"score {pair.score:.3f}{likely}"


def _of_swap(recognizer: Recognizer) -> dict[str, str]:
    """How far another version of the model is; its name only while there is none."""
    swap = recognizer.swap
    values = {"model_swaps": str(swap.swaps)}
    if swap.wanted:
        values["model_on_its_way"] = swap.wanted
        values["keyframes_to_describe"] = "unknown" if swap.left is None else str(swap.left)
    return values


def _of_stages(recognizer: Recognizer) -> dict[str, str]:
    """What orders the keyframes that a search finds, and how it came by what it compares; its times are among the latencies.

    Before it the condition of the newest keyframe, where the descriptor knows conditions.
    """
    said = {"condition": recognizer.condition} if recognizer.condition else {}
    stages = recognizer.stages
    if stages is None:
        return said
    return said | stages.names | {what: str(count) for what, count in sorted(stages.counts.items())}


def _of_claims(recognizer: Recognizer) -> dict[str, str]:
    """Whether the probabilities of the newest best matches came true."""
    judged = recognizer.claims
    if not len(judged):
        return {}
    summary = judged.summaries()["match probability"]
    values = {"ece": summary.ece, "brier": summary.brier, "share_right": summary.precision}
    shown = {f"probability_{name}": f"{value:.3f}" for name, value in values.items() if value is not None}
    return {"probability_matches": str(summary.count), **shown}
