"""The numbers of many drives as a table of text: for the terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vloc_ros.closed_loop.judge import DriveSummary
from vloc_ros.closed_loop.pooling import Inliers, pooled_rows
from vloc_ros.evaluation.html import UNKNOWN, number, percent


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, how it shows a drive, and whether it holds numbers."""

    head: str
    show: Callable[[DriveSummary], str]
    numeric: bool = True


def _centimetres(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100.0 * value:.1f}"


def _degrees(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"


COLUMNS = (
    Column("condition", lambda s: s.condition.replace("_", " "), numeric=False),
    Column("features", lambda s: s.features, numeric=False),
    Column("site", lambda s: s.site, numeric=False),
    Column("driven [m]", lambda s: f"{s.driven_m:.0f}"),
    Column("autonomy", lambda s: percent(s.autonomy_percent)),
    Column("interventions", lambda s: str(s.interventions)),
    Column("lateral RMS [cm]", lambda s: _centimetres(s.lateral_rms_m)),
    Column("lateral max [cm]", lambda s: _centimetres(s.lateral_max_m)),
    Column("heading RMS [°]", lambda s: _degrees(s.heading_rms_deg)),
    Column("fixes per m", lambda s: f"{s.fixes_per_m:.1f}"),
    Column("frames with a fix", lambda s: percent(s.localised_percent)),
    Column("median inliers", lambda s: number(s.median_inliers)),
    Column("false poses", lambda s: str(s.false_poses)),
    Column("rate [Hz]", lambda s: number(s.rate_hz)),
)


def autonomy_table(rows: Iterable[DriveSummary], inliers: Inliers | None = None) -> str:
    """One aligned line for each condition and features, all sites together.

    Args:
        rows: of the drives.
        inliers: of all fixes, for the median where several sites are pooled.
    """
    lines = _cells(pooled_rows(rows, inliers))
    widths = [max(len(line[k]) for line in lines) for k in range(len(COLUMNS))]
    made = [
        "  ".join(
            cell.rjust(width) if column.numeric else cell.ljust(width)
            for cell, width, column in zip(line, widths, COLUMNS, strict=True)
        ).rstrip()
        for line in lines
    ]
    made.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(made)


def autonomy_markdown(rows: Iterable[DriveSummary], inliers: Inliers | None = None) -> str:
    """The same as a Markdown table."""
    lines = _cells(pooled_rows(rows, inliers))
    made = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    made.insert(1, "|" + "|".join("---:" if column.numeric else "---" for column in COLUMNS) + "|")
    return "\n".join(made)


def _cells(rows: Sequence[DriveSummary]) -> list[list[str]]:
    return [[column.head for column in COLUMNS], *([column.show(row) for column in COLUMNS] for row in rows)]
