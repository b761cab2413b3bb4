"""Tables of methods by condition and area, as those of papers on long-term benchmarks: for the terminal, the report, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from vloc_ros.evaluation import html
from vloc_ros.evaluation.condition_metrics import ByCondition, GroupNumbers
from vloc_ros.evaluation.conditions import Inferred
from vloc_ros.evaluation.rerank_metrics import Change
from vloc_ros.evaluation.retrieval_metrics import RANKS

WIDTH = 130
"""Characters of a line of text; groups that do not fit into it go into further tables below."""
_QUERIES = "queries"


@dataclass(frozen=True, slots=True)
class ConditionTable:
    """One table, a row for each method and a column for each group.

    Attributes:
        title: what its numbers are.
        head: names of the columns.
        rows: their texts; the first row says how many queries there are.
        best: for each row and column whether that is a best value.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: tuple[tuple[bool, ...], ...]


def tables(by: ByCondition) -> Iterator[ConditionTable]:
    """Poses within thresholds where there are any, recall, and what changed against the first method."""
    if by.thresholds:
        steps = " / ".join(threshold.label for threshold in by.thresholds)
        shares = {name: [list(one.within.values()) for one in row] for name, row in by.numbers.items()}
        yield _of_shares(f"Queries that are given a pose within {steps} of their own [%]", by, shares)
    shares = {name: [list(one.recall.values()) for one in row] for name, row in by.numbers.items()}
    yield _of_shares(f"Recall@{'/'.join(map(str, RANKS))} [%]", by, shares)
    if len(by.numbers) > 1:
        yield _of_changes(by)


def inferred_tables(inferred: dict[str, Inferred]) -> Iterator[ConditionTable]:
    """Of each method that infers conditions, how often it took which condition for which."""
    for name, one in inferred.items():
        right = (
            "it knows none of them"
            if one.right is None
            else f"right for {100.0 * one.right:.1f} % of the queries in those it knows"
        )
        rows = [(label, *map(str, row)) for label, row in zip(one.labels, one.counts.tolist(), strict=True)]
        best = [(False, *(label == column for column in one.names)) for label in one.labels]
        title = f"Conditions inferred by {name}: {right} (rows: taken in, columns: taken for)"
        yield ConditionTable(title, ("condition", *one.names), tuple(rows), tuple(best))


def text_tables(found: Sequence[ConditionTable]) -> str:
    """Aligned columns, at most so many side by side as a line holds."""
    return "\n\n".join(f"{table.title}\n{_aligned(table)}" for table in found)


def sections(found: Sequence[ConditionTable], title: str) -> str:
    """An HTML section of tables; best values are bold."""
    parts = []
    for table in found:
        rows = [
            [f"<b>{escape(cell)}</b>" if best else escape(cell) for cell, best in zip(row, bold, strict=True)]
            for row, bold in zip(table.rows, table.best, strict=True)
        ]
        classes = ["name", *["number"] * (len(table.head) - 1)]
        parts.append(f'<h3>{escape(table.title)}</h3><div class="wide-table">{html.table(table.head, rows, classes)}</div>')
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def csv_table(by: ByCondition) -> str:
    """All numbers, one row for each method and group; empty where the data say nothing."""
    values = [
        {"method": name, "kind": group.kind.value, "group": group.name, **_texts(one)}
        for name, row in by.numbers.items()
        for group, one in zip(by.groups, row, strict=True)
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in values for key in row)), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(values)
    return text.getvalue()


def _of_shares(title: str, by: ByCondition, shares: dict[str, list[list[float | None]]]) -> ConditionTable:
    columns = range(len(by.groups))
    # a method may be the best at one threshold only: then the sum of its shares decides
    peaks = [max(_sum(row[column]) for row in shares.values()) for column in columns]
    rows = [(name, *(" / ".join(_percent(share) for share in cell) for cell in row)) for name, row in shares.items()]
    best = [(False, *(0.0 < peaks[column] == _sum(row[column]) for column in columns)) for row in shares.values()]
    return _with_counts(title, by, rows, best if len(rows) > 1 else [(False,) * len(row) for row in rows])


def _of_changes(by: ByCondition) -> ConditionTable:
    first = next(iter(by.numbers))
    limit = by.thresholds[-1] if by.thresholds else None
    what = "best answer" if limit is None else f"pose, to {limit.label},"
    title = f"Against {first}: queries whose {what} became right and wrong, p of a sign test (queries taken as independent)"
    rows = [
        (name, *(_change(one.recall_change if limit is None else one.within_change[limit]) for one in row))
        for name, row in by.numbers.items()
        if name != first
    ]
    return _with_counts(title, by, rows, [(False,) * len(row) for row in rows])


def _with_counts(title: str, by: ByCondition, rows: Sequence[tuple[str, ...]], best: Sequence[tuple[bool, ...]]) -> ConditionTable:
    counts = (_QUERIES, *(str(one.judged) for one in next(iter(by.numbers.values()))))
    head = ("method", *(group.name for group in by.groups))
    return ConditionTable(title, head, (counts, *rows), ((False,) * len(counts), *best))


def _aligned(table: ConditionTable) -> str:
    lines = [table.head, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    columns = range(1, len(widths))
    fitting = max(1, (WIDTH - widths[0]) // (2 + max(widths[1:])))
    blocks = -(-len(columns) // fitting)
    each = -(-len(columns) // blocks)  # as many in each, rather than a last one that stands alone
    return "\n\n".join(
        "\n".join(
            "  ".join([line[0].ljust(widths[0]), *(line[k].rjust(widths[k]) for k in columns[start : start + each])])
            for line in lines
        )
        for start in range(0, len(columns), each)
    )


def _sum(shares: Sequence[float | None]) -> float:
    return sum(share for share in shares if share is not None)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100.0 * share:.1f}"


def _change(one: Change | None) -> str:
    return "–" if one is None else f"+{one.won} -{one.lost} p {one.p_value:.2g}"


def _texts(one: GroupNumbers) -> dict[str, object]:
    return {key: "" if value is None else value for key, value in one.to_dict().items()}
