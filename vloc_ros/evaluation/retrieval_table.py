"""Results of retrieval side by side, for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Sequence

from vloc_ros.evaluation.retrieval_metrics import RANKS
from vloc_ros.evaluation.retrieval_run import RetrievalResult

HEAD = ("method", *(f"R@{rank}" for rank in RANKS), "AP", "max F1", "R@100%P", "ms describe", "ms search", "bytes", "failed")


def cells(result: RetrievalResult) -> tuple[str, ...]:
    """The texts of one row below :data:`HEAD`; a dash where the data say nothing."""
    summary = result.summary
    shares = [summary.recall[rank] for rank in RANKS]
    shares += [summary.average_precision, summary.max_f1, summary.recall_at_full_precision]
    times = [result.describe_ms, result.search_ms]
    return (
        result.name,
        *("–" if share is None else f"{share:.3f}" for share in shares),
        *("–" if taken is None else f"{taken:.2f}" for taken in times),
        str(result.bytes_per_image),
        str(summary.failed),
    )


def text_table(results: Sequence[RetrievalResult]) -> str:
    """Aligned columns, the first result (the baseline) on top, and below them what the shares are of."""
    rows = [HEAD, *(cells(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]) for row in rows]
    return "\n".join([*lines, "", scope(results)])


def scope(results: Sequence[RetrievalResult]) -> str:
    """How many queries there are, and how many have no place in the database."""
    summary = results[0].summary
    known = summary.queries - summary.unknown - summary.hidden
    text = (
        f"{summary.queries} queries, {known} of them with their place in the database (recall is over these), "
        f"{summary.unknown} without (every answer to them counts as wrong)"
    )
    return f"{text}, {summary.hidden} whose truth is secret (not judged)" if summary.hidden else text
