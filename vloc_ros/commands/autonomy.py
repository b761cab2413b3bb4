"""``vloc autonomy``: one table of autonomy for all features under all conditions."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vloc_ros.commands.closed_loop import add_course, chosen_site, course_of
from vloc_ros.commands.common import Subparsers, add_command, add_json, emit
from vloc_ros.errors import ConfigError, DataError

if TYPE_CHECKING:
    from vloc_ros.closed_loop.autonomy import Autonomy, Task

_EXAMPLES = """
  vloc autonomy --features sift,orb --conditions all --routes 3 --out autonomy     (an hour or two on two cores)
  vloc autonomy --features orb --conditions noon,night --routes 1 --length 50 --scale 0.5 --out quick
  vloc autonomy --features sift,orb,unet --conditions all --routes 3 --out autonomy     (goes on: only what is missing is driven)"""

_SHEET_AT = 0.3
"""Where along the route of the first site the conditions are pictured."""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "autonomy", "teach at noon, repeat under every condition, and print one table", _EXAMPLES, run)
    parser.add_argument("--conditions", default="all", help="all (default), or names separated by commas")
    parser.add_argument("--routes", type=int, default=1, help="how many sites to drive at (default: 1)")
    parser.add_argument("--length", type=float, default=120.0, help="length of each route [m] (default: 120)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="drives side by side (default: one per core)")
    parser.add_argument("--report", action="store_true", help="drive nothing: print and plot what has been driven so far")
    parser.add_argument("--out", type=Path, required=True, help="folder for maps, drives, table and report; resumed if it exists")
    add_course(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Drive what is missing, then print and plot the table."""
    from vloc_ros.closed_loop import autonomy_table, inliers_of, write_autonomy_report
    from vloc_ros.closed_loop.autonomy import Autonomy, judged, tasks
    from vloc_ros.features import AUTO, chosen, require_known
    from vloc_ros.simulation import CONDITIONS, StereoRig, condition_sheet, named_condition

    names = (args.features or chosen(AUTO)).split(",")
    for name in names:
        require_known(name)
    if args.routes < 1 or args.jobs < 1:
        raise ConfigError("--routes and --jobs must be 1 or more")
    args.features = None
    conditions = list(CONDITIONS.values())
    if args.conditions != "all":
        conditions = [named_condition(name) for name in args.conditions.split(",")]
    sites = [chosen_site(number, args.length) for number in range(1, args.routes + 1)]
    wanted = tasks(sites, names, conditions, args.out)
    autonomy = Autonomy(course_of(args, threads=1), args.scale, args.jobs)
    if not args.report:
        _drive_missing(autonomy, wanted, args.out)
    drives = [judged(task) for task in wanted if autonomy.finished(task) is not None]
    if not drives:
        raise DataError(f"{args.out} holds no finished drive with these settings; leave out --report to drive")
    summaries, inliers = [drive.summary for drive in drives], inliers_of(drives)
    sheet = condition_sheet(sites[0].build(), StereoRig(), _SHEET_AT * args.length, conditions)
    report = args.out / "report.html"
    write_autonomy_report(report, summaries, inliers, contact_sheet=sheet)
    values = {"drives": [summary.to_dict() for summary in summaries], "report": str(report)}
    emit(args, values, f"{autonomy_table(summaries, inliers)}\n\nreport  {report}")
    return 0


def _drive_missing(autonomy: Autonomy, wanted: Sequence[Task], out: Path) -> None:
    """Teach the maps and drive the drives that are not there yet; each row of the table is written as its drive ends.

    Raises:
        VlocError: something cannot be read or written.
    """
    from tqdm import tqdm

    from vloc_ros.closed_loop import append_row

    missing = [task for task in wanted if autonomy.finished(task) is None]
    maps = autonomy.maps_to_teach(missing)
    if len(missing) < len(wanted):
        sys.stderr.write(f"{len(wanted) - len(missing)} of {len(wanted)} drives are there already\n")
    for _ in tqdm(autonomy.teach(maps), total=len(maps), desc="teach", unit="map", file=sys.stderr, disable=None):
        pass
    for task in tqdm(autonomy.drive(missing), total=len(missing), desc="drive", unit="drive", file=sys.stderr, disable=None):
        summary = autonomy.finished(task)
        assert summary is not None  # it has just been written
        append_row(out / "table.csv", summary)
        line = f"{summary.site} {summary.condition} {summary.features}: autonomy {summary.autonomy_percent:.1f} %"
        tqdm.write(f"{line}, {summary.interventions} interventions", file=sys.stderr)
