"""Re-ranking side by side with the search alone: for the terminal, for the report, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from vloc_ros.evaluation.rerank_run import RerankResult
from vloc_ros.evaluation.retrieval_metrics import RANKS, RetrievalSummary
from vloc_ros.evaluation.retrieval_run import RetrievalResult

Evaluated = Sequence[tuple[RetrievalResult, Sequence[RerankResult]]]
"""The result of each descriptor and method, with those of all re-rankers."""
HEAD = (
    *("method", *(f"R@{rank}" for rank in RANKS), "right/wrong by it", "p", "AP"),
    *("none", "none, unknown", "precision", "recall", "ECE"),
    *("ms describe", "search", "prepare", "compare", "bytes", "failed"),
)
ABOUT = (
    "right/wrong by it: queries whose best answer re-ranking put right, and put wrong, with the p-value of a sign test (queries "
    "taken as independent). none: share of all queries without an accepted candidate, and of those whose place is unknown; "
    "precision and recall of what is accepted. ms: median / 95th percentile per query. bytes: per image of the database, "
    "descriptor + kept for re-ranking"
)


def rows(evaluated: Evaluated) -> list[tuple[str, ...]]:
    """The texts below :data:`HEAD`: each descriptor alone, then with each re-ranker; a dash where the data say nothing."""
    found = []
    for before, after in evaluated:
        found.append(_row(before.name, before, None))
        found += [_row(f"  > {result.reranker}", before, result) for result in after]
    return found


def text_table(evaluated: Evaluated) -> str:
    """Aligned columns, and below them what they mean and what was kept."""
    table = [HEAD, *rows(evaluated)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    lines = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]) for row in table]
    return "\n".join([*lines, "", ABOUT + ".", kept_memory(evaluated)])


def kept_memory(evaluated: Evaluated) -> str:
    """How much memory the prepared pictures of the databases took, by re-ranker."""
    sizes = {result.reranker: result.kept_bytes for _, after in evaluated for result in after}
    return "kept of the candidates: " + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes.items())


def csv_table(evaluated: Evaluated) -> str:
    """All numbers, one row for each descriptor, method and re-ranker; empty where the data say nothing."""
    values = []
    for before, after in evaluated:
        values.append(_flat({**before.to_dict(), "reranker": "none"}))
        values += [_flat(one.to_dict()) for one in after]
    columns = list(dict.fromkeys(name for row in values for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(values)
    return text.getvalue()


def _row(name: str, before: RetrievalResult, after: RerankResult | None) -> tuple[str, ...]:
    summary: RetrievalSummary = before.summary if after is None else after.summary
    accepted = None if after is None else after.acceptance
    confidence = None if after is None else after.confidence
    kept = None if after is None else after.kept_bytes_per_image
    return (
        name,
        *(_share(summary.recall[rank]) for rank in RANKS),
        "–" if after is None else f"+{after.change.won} -{after.change.lost}",
        "–" if after is None else f"{after.change.p_value:.2g}",
        _share(summary.average_precision),
        *(_share(getattr(accepted, part, None)) for part in ("none", "none_unknown", "precision", "recall")),
        _share(None if confidence is None else confidence.ece),
        _time(before.describe_ms, before.describe_p95_ms),
        _time(before.search_ms, before.search_p95_ms),
        _time(None, None) if after is None else _time(after.prepare_ms, after.prepare_p95_ms),
        _time(None, None) if after is None else _time(after.compare_ms, after.compare_p95_ms),
        str(before.bytes_per_image) + ("" if kept is None else f" + {kept:.0f}"),
        str(summary.failed),
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _time(median: float | None, late: float | None) -> str:
    return "–" if median is None or late is None else f"{median:.1f}/{late:.1f}"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = "" if value is None else value
    return flat
