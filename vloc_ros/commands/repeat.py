"""``vloc repeat``: a recording is localised against a map."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vloc_ros.commands.common import (
    Subparsers,
    add_command,
    add_json,
    add_out,
    add_search,
    add_settings,
    add_source,
    emit,
    load_settings,
    number,
    open_source,
    progress,
    rows,
    with_search,
)
from vloc_ros.commands.fine import add_condition, with_condition

if TYPE_CHECKING:
    from vloc_ros.evaluation import Summary

_EXAMPLES = """
  vloc repeat evening/ --map site.vloc --out evening_run
  vloc repeat drive.mcap --map site.vloc --step 2 --json
  vloc repeat night/ --map site.vloc --rerank homography
  vloc repeat night/ --map site.vloc --descriptor disam --fine disam_fine
  vloc repeat drive/ --map site.vloc --set localization.min_inliers=20"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "repeat", "localise a recording against a map", _EXAMPLES, run)
    add_source(parser)
    parser.add_argument("--map", type=Path, required=True, help="map file, *.vloc")
    add_out(parser)
    add_search(parser)
    add_condition(parser)
    add_settings(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Localise, judge by the truth where there is one, and report."""
    from vloc_ros import runs
    from vloc_ros.commands.record import recorded, write_reports
    from vloc_ros.mapping import MapStore

    settings = with_condition(with_search(load_settings(args), args, "localization"), args, "localization")
    reader = open_source(args)
    frames = runs.chosen_frames(reader, args.start, args.stop, args.step)
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or Path(scratch)
        with MapStore.open(args.map, read_only=True) as store:
            results = runs.repeat(reader, store, settings, frames)
            for _ in recorded(progress(results, len(frames), "repeat"), out, settings, args.source):
                pass
        [report] = write_reports(out, f"Repeat {args.source.name}", [runs.Judged("repeat", out, reader, args.map)])
    emit(args, report.summary.to_dict(), describe(report.summary, args.out))
    return 0


def describe(summary: Summary, out: Path | None) -> str:
    """The numbers of a repeat that people ask for first."""
    within = ", ".join(f"{name.replace('_', ' ')}: {value:.0f} %" for name, value in summary.within.items() if value is not None)
    return rows(
        [
            ("frames", summary.frames),
            ("localised", f"{summary.localised} ({summary.localised_percent:.1f} %)" if summary.frames else 0),
            ("position error, median", number(summary.median_position_error_m, "m")),
            ("rotation error, median", number(summary.median_rotation_error_deg, "deg")),
            ("within", within or None),
            ("false fixes", summary.false_fixes),
            ("inliers, median", summary.median_inliers),
            ("states", ", ".join(f"{state} {count}" for state, count in summary.states.items())),
            ("reasons", ", ".join(f"{reason} {count}" for reason, count in summary.reasons.items()) or "none"),
            ("rate", number(summary.rate_hz, "Hz", 1)),
            ("report", "not kept (give --out DIR)" if out is None else out / "report.html"),
        ]
    )
