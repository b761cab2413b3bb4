"""Tables of methods by condition and area, as those of papers on long-term benchmarks: for the terminal, the report, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import accumulate

from vloc_ros.evaluation import html
from vloc_ros.evaluation.condition_metrics import ByCondition, GroupNumbers
from vloc_ros.evaluation.conditions import Inferred
from vloc_ros.evaluation.rerank_metrics import Change
from vloc_ros.evaluation.retrieval_metrics import RANKS

WIDTH = 130
"""Characters of a line of text; groups that do not fit into it go into further tables below, in the report too."""
_QUERIES = "queries"
_ATTAINABLE = "a picture is so near"


@dataclass(frozen=True, slots=True)
class Cell:
    """Some values of a table that stand beside each other.

    Attributes:
        values: their texts.
        best: for each whether no method has a better one.
    """

    values: tuple[str, ...]
    best: tuple[bool, ...]

    @property
    def text(self) -> str:
        """For the terminal."""
        return " / ".join(self.values)

    @property
    def html(self) -> str:
        """Best values are bold."""
        pairs = zip(map(escape, self.values), self.best, strict=True)
        return " / ".join(f"<b>{value}</b>" if best else value for value, best in pairs)

    @classmethod
    def of(cls, text: str, best: bool = False) -> Cell:
        """Of one value."""
        return cls((text,), (best,))


@dataclass(frozen=True, slots=True)
class ConditionTable:
    """One table, a row for each method and a column for each group.

    Attributes:
        title: what its numbers are.
        head: names of the columns.
        rows: the name of a method, or what else the row is of, and its cells.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]

    def parts(self) -> list[ConditionTable]:
        """Tables as wide as a line holds, each with as many of the columns as the others."""
        widths = [max([len(name), *(len(row[1][k].text) for row in self.rows)]) for k, name in enumerate(self.head[1:])]
        first = max(len(name) for name in (self.head[0], *(name for name, _ in self.rows)))
        fitting = max(1, (WIDTH - first) // (2 + max(widths)))
        count = -(-len(widths) // fitting)
        each, more = divmod(len(widths), count)
        sizes = [each + 1] * more + [each] * (count - more)
        ends = list(accumulate(sizes))
        return [
            ConditionTable(
                self.title,
                (self.head[0], *self.head[1:][end - size : end]),
                tuple((name, cells[end - size : end]) for name, cells in self.rows),
            )
            for end, size in zip(ends, sizes, strict=True)
        ]


def tables(by: ByCondition) -> Iterator[ConditionTable]:
    """Poses within thresholds where there are any, recall, and what changed against the first method."""
    if by.thresholds:
        steps = " / ".join(threshold.label for threshold in by.thresholds)
        shares = {name: [list(one.within.values()) for one in row] for name, row in by.numbers.items()}
        most = tuple(Cell.of(" / ".join(map(_percent, one.values()))) for one in by.attainable)
        yield _of_shares(f"Queries that are given a pose within {steps} of their own [%]", by, shares, [(_ATTAINABLE, most)])
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
        rows = [
            (label, tuple(Cell.of(str(count), label == column) for column, count in zip(one.names, row, strict=True)))
            for label, row in zip(one.labels, one.counts.tolist(), strict=True)
        ]
        title = f"Conditions inferred by {name}: {right} (rows: taken in, columns: taken for)"
        yield ConditionTable(title, ("condition", *one.names), tuple(rows))


def text_tables(found: Sequence[ConditionTable]) -> str:
    """Aligned columns, at most so many side by side as a line holds."""
    return "\n\n".join("\n".join([table.title, "\n\n".join(map(_aligned, table.parts()))]) for table in found)


def sections(found: Sequence[ConditionTable], title: str) -> str:
    """An HTML section of tables; best values are bold."""
    shown = []
    for table in found:
        shown.append(f"<h3>{escape(table.title)}</h3>")
        for part in table.parts():
            rows = [[escape(name), *(cell.html for cell in cells)] for name, cells in part.rows]
            classes = ["name", *["number"] * (len(part.head) - 1)]
            shown.append(f'<div class="wide-table">{html.table(part.head, rows, classes)}</div>')
    return f"<section><h2>{escape(title)}</h2>{''.join(shown)}</section>"


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


def _of_shares(
    title: str,
    by: ByCondition,
    shares: Mapping[str, Sequence[Sequence[float | None]]],
    above: Sequence[tuple[str, tuple[Cell, ...]]] = (),
) -> ConditionTable:
    """``shares`` has for each method and group the values that stand beside each other; ``above`` are rows before them."""
    several = len(shares) > 1
    columns = [list(zip(*(row[column] for row in shares.values()), strict=True)) for column in range(len(by.groups))]
    peaks = [[max((share or 0.0) for share in values) for values in column] for column in columns]
    rows = []
    for name, row in shares.items():
        cells = [
            Cell(
                tuple(_percent(share) for share in values),
                tuple(several and share is not None and 0.0 < share == peak for share, peak in zip(values, column, strict=True)),
            )
            for values, column in zip(row, peaks, strict=True)
        ]
        rows.append((name, tuple(cells)))
    return _with_counts(title, by, [*above, *rows])


def _of_changes(by: ByCondition) -> ConditionTable:
    first = next(iter(by.numbers))
    limit = by.thresholds[-1] if by.thresholds else None
    what = "best answer" if limit is None else f"pose, to {limit.label},"
    title = f"Against {first}: queries whose {what} became right and wrong, p of a sign test (queries taken as independent)"
    rows = [
        (name, tuple(Cell.of(_change(one.recall_change if limit is None else one.within_change[limit])) for one in row))
        for name, row in by.numbers.items()
        if name != first
    ]
    return _with_counts(title, by, rows)


def _with_counts(title: str, by: ByCondition, rows: Sequence[tuple[str, tuple[Cell, ...]]]) -> ConditionTable:
    """With a first row that says how many queries there are."""
    counts = tuple(Cell.of(str(one.judged)) for one in next(iter(by.numbers.values())))
    return ConditionTable(title, ("method", *(group.name for group in by.groups)), ((_QUERIES, counts), *rows))


def _aligned(table: ConditionTable) -> str:
    lines = [table.head, *((name, *(cell.text for cell in cells)) for name, cells in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100.0 * share:.1f}"


def _change(one: Change | None) -> str:
    return "–" if one is None else f"+{one.won} -{one.lost} p {one.p_value:.2g}"


def _texts(one: GroupNumbers) -> dict[str, object]:
    return {key: "" if value is None else value for key, value in one.to_dict().items()}
