"""One self-contained HTML file about one or more runs, and the same numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from vloc_ros import __version__
from vloc_ros.evaluation.html import page
from vloc_ros.evaluation.output import make_folder, write_whole
from vloc_ros.evaluation.report_run import ReportRun
from vloc_ros.evaluation.report_style import CSS


def write_report(path: Path, title: str, runs: Sequence[ReportRun]) -> Path:
    """Write the report at ``path`` and, beside it with the suffix ``.json``, its numbers.

    The page holds its style and images, runs no script and loads nothing.

    Args:
        path: of the HTML file; its folder is created.
        title: heading of the page.
        runs: shown one after the other, and side by side if there are several.

    Returns:
        The path of the HTML file.

    Raises:
        OutputError: a file cannot be written.
    """
    path = Path(path)
    make_folder(path.parent)
    write_whole(path.with_suffix(".json"), report_json(title, runs))
    write_whole(path, report_html(title, runs))
    return path


def report_json(title: str, runs: Sequence[ReportRun]) -> str:
    """The numbers of the runs as JSON text; what is unknown is null."""
    entries = [{"name": item.name, "source": item.run.source, "summary": item.summary.to_dict()} for item in runs]
    return json.dumps({"title": title, "vloc_ros": __version__, "runs": entries}, indent=2, allow_nan=False) + "\n"


def report_html(title: str, runs: Sequence[ReportRun]) -> str:
    """The whole page."""
    # matplotlib takes a second to load, which a robot that only keeps a log need not spend.
    from vloc_ros.evaluation import plot_style, report_sections

    several = len(runs) > 1
    with plot_style.style():
        parts = [report_sections.comparison_section(runs)] if several else []
        parts += [report_sections.run_section(item, f"run-{k}", first=k == 0 and not several) for k, item in enumerate(runs)]
    parts.append("<footer>Lengths in metres, angles in degrees. The same numbers, unrounded, are in the JSON file beside.</footer>")
    return page(title, CSS, _header(title, runs), "\n".join(parts))


def _header(title: str, runs: Sequence[ReportRun]) -> str:
    written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    count = "one run" if len(runs) == 1 else f"{len(runs)} runs"
    links = "".join(f'<a href="#run-{k}">{escape(item.name)}</a>' for k, item in enumerate(runs))
    navigation = f"<nav>{links}</nav>" if len(runs) > 1 else ""
    return f"<h1>{escape(title)}</h1><p>{count} · vloc_ros {escape(__version__)} · written {escape(written)}</p>{navigation}"
