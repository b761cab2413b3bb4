"""Local features side by side, for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Sequence

from vloc_ros.evaluation.feature_run import FeatureEvaluation
from vloc_ros.evaluation.feature_scores import ENOUGH, TOLERANCE_PX, FeatureSummary

_THRESHOLDS = ("matches", "right", "right %", "score %", f">={ENOUGH} %")
_NEAREST = ("NN right", "NN right %", "NN score %", f"NN >={ENOUGH} %")
HEAD = ("data", "condition", "features", "pairs", "points", *_THRESHOLDS, "repeated %", *_NEAREST, "failed")
TIME_HEAD = ("features", "extract ms", "match ms", "bytes")


def rows(evaluation: FeatureEvaluation, by_group: bool = False) -> list[tuple[str, ...]]:
    """The texts below :data:`HEAD`: for each kind of data and condition (or group) one row per extractor, the baseline first."""
    names = [result.name for result in evaluation.results]
    return [
        (data, part, name, *_cells(summary))
        for (data, part), summaries in evaluation.summaries(by_group).items()
        for name, summary in zip(names, summaries, strict=True)
    ]


def time_rows(evaluation: FeatureEvaluation) -> list[tuple[str, ...]]:
    """The texts below :data:`TIME_HEAD`."""
    return [
        (result.name, _time(result.extract_ms), _time(result.match_ms), str(result.descriptor_bytes))
        for result in evaluation.results
    ]


def text_table(evaluation: FeatureEvaluation) -> str:
    """Aligned columns with what they mean below, and the times apart."""
    return "\n\n".join([_aligned(HEAD, rows(evaluation), 3), meaning(), _aligned(TIME_HEAD, time_rows(evaluation), 1)])


def meaning() -> str:
    """What the columns say, in words."""
    return (
        f"right: matches within {TOLERANCE_PX:.0f} px of the truth; right %: of all matches; score %: of the key points that both "
        f"images show; >={ENOUGH} %: pairs with at least {ENOUGH} right matches; repeated %: key points found again within "
        f"{TOLERANCE_PX:.0f} px; NN: mutual nearest neighbours without thresholds. Means over pairs, failures as zeros."
    )


def _cells(summary: FeatureSummary) -> tuple[str, ...]:
    again = "–" if summary.repeatability is None else f"{summary.repeatability:.1f}"
    shares = (summary.right_share, summary.matching_score, summary.enough_share)
    return (
        str(summary.pairs),
        *(f"{count:.0f}" for count in (summary.keypoints, summary.matches)),
        f"{summary.right:.1f}",
        *(f"{share:.1f}" for share in shares),
        again,
        f"{summary.nearest_right:.1f}",
        *(f"{share:.1f}" for share in (summary.nearest_share, summary.nearest_score, summary.nearest_enough_share)),
        str(summary.failed),
    )


def _time(taken: float | None) -> str:
    return "–" if taken is None else f"{taken:.1f}"


def _aligned(head: Sequence[str], body: Sequence[Sequence[str]], left: int) -> str:
    """Columns of equal width, the first ones flush left; a line between parts with other first cells."""
    widths = [max(len(row[column]) for row in [head, *body]) for column in range(len(head))]
    lines = []
    for k, row in enumerate([head, *body]):
        if k > 1 and left > 1 and row[: left - 1] != body[k - 2][: left - 1]:
            lines.append("")
        cells = [cell.ljust(w) if c < left else cell.rjust(w) for c, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
