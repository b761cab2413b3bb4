"""Recording a run in its output folder, and the report on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vloc_ros.config import dump_yaml
from vloc_ros.evaluation import ReportRun, RunLog, write_report

if TYPE_CHECKING:
    from vloc_ros.mapping import FrameResult
    from vloc_ros.runs import Judged
    from vloc_ros.settings import Settings

MATCH_EVERY = 5


def recorded(results: Iterable[FrameResult], out: Path | None, settings: Settings, source: Path) -> Iterator[FrameResult]:
    """Pass results on, writing each into the output folder, if there is one, as soon as it is there.

    Raises:
        OutputError: the folder cannot be written.
    """
    if out is None:
        yield from results
        return
    with RunLog(out, dump_yaml(settings), str(source), match_every=MATCH_EVERY) as log:
        for result in results:
            log.add(result)
            yield result


def write_reports(out: Path, title: str, runs: Sequence[Judged]) -> list[ReportRun]:
    """Write ``report.html`` and ``report.json`` into a folder.

    Raises:
        VlocError: a run cannot be read, or the folder not written.
    """
    reports = [run.report() for run in runs]
    write_report(out / "report.html", title, reports)
    return reports
