"""``vloc odometry``: visual odometry of a recording, without a map."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from vloc_ros.commands.common import (
    Subparsers,
    add_command,
    add_json,
    add_out,
    add_settings,
    add_source,
    emit,
    load_settings,
    number,
    open_source,
    progress,
    rows,
)

_EXAMPLES = """
  vloc odometry kitti/sequences/00 --out odometry_00
  vloc odometry drive.mcap --json"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "odometry", "visual odometry of a recording", _EXAMPLES, run)
    add_source(parser)
    add_out(parser)
    add_settings(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Measure the motion, judge by the truth where there is one, and report."""
    from vloc_ros import runs
    from vloc_ros.commands.record import recorded, write_reports

    settings, reader = load_settings(args), open_source(args)
    frames = runs.chosen_frames(reader, args.start, args.stop, args.step)
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or Path(scratch)
        results = runs.odometry(reader, settings, frames)
        for _ in recorded(progress(results, len(frames), "odometry"), out, settings, args.source):
            pass
        [report] = write_reports(out, f"Odometry {args.source.name}", [runs.Judged("odometry", out, reader)])
    summary = report.summary
    text = rows(
        [
            ("frames", summary.frames),
            ("drift", number(summary.translation_drift_percent, "%", 2)),
            ("rotation drift", number(summary.rotation_drift_deg_per_m, "deg/m", 4)),
            ("inliers, median", summary.median_odometry_inliers),
            ("reasons", ", ".join(f"{reason} {count}" for reason, count in summary.reasons.items()) or "none"),
            ("rate", number(summary.rate_hz, "Hz", 1)),
            ("report", "not kept (give --out DIR)" if args.out is None else args.out / "report.html"),
        ]
    )
    emit(args, summary.to_dict(), text)
    return 0
