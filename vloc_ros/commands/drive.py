"""``vloc drive``: a simulated robot repeats a taught route by its own localisation."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from vloc_ros.commands.closed_loop import add_course, add_light, chosen_condition, chosen_site, course_of
from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, number, progress, rows

if TYPE_CHECKING:
    from vloc_ros.closed_loop import ClosedLoop, Course, DrivePicture, DriveStep, DriveSummary

_EXAMPLES = """
  vloc drive --map site.vloc --condition night --out night_drive    (teaches site.vloc at noon first, if it does not exist)
  vloc drive --map site.vloc --condition dusk --hour 20.4
  vloc drive --map site.vloc --cover 20:5 --kidnap 60:15            (camera covered after 20 s for 5 s; carried to 15 m after 60 s)
  vloc drive --map site.vloc --condition night --rerank homography
  vloc drive --map site.vloc --condition night --descriptor disam --fine disam_fine    (told: --set localization.condition=night)
  vloc drive --map hills.vloc --site 2 --length 200 --laps 2 --set drive.follower.speed=1.5"""
_PICTURES = 6


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "drive", "let a simulated robot repeat a taught route by itself", _EXAMPLES, run)
    parser.add_argument("--map", type=Path, required=True, help="map file, *.vloc; taught at noon first if it does not exist")
    parser.add_argument("--site", type=int, default=1, help="number of the site, for a map that does not exist (default: 1)")
    parser.add_argument("--length", type=float, default=80.0, help="length of its route [m], 30 to 2000 (default: 80)")
    add_light(parser)
    parser.add_argument("--laps", type=int, default=1, help="how often to drive a closed route (default: 1)")
    parser.add_argument("--minutes", type=float, help="drive round and round for so long, in simulated time")
    parser.add_argument(
        "--cover", action="append", default=[], metavar="AT:SECONDS", help="cover the cameras; may be given several times"
    )
    parser.add_argument(
        "--kidnap", action="append", default=[], metavar="AT:STATION", help="carry the robot to a station [m] at a time [s]"
    )
    parser.add_argument("--out", type=Path, help="folder for the record and the report")
    add_course(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Teach if need be, drive, judge, report."""
    from vloc_ros.closed_loop import (
        DriveLog,
        DrivePlan,
        judge,
        keyframe_truth,
        parse_cover,
        parse_kidnap,
        read_drive,
        site_of,
        write_drive_report,
    )
    from vloc_ros.mapping import MapStore
    from vloc_ros.retrieval.stages import Stages

    condition, course = chosen_condition(args), course_of(args)
    events = [*map(parse_cover, args.cover), *map(parse_kidnap, args.kidnap)]
    plan = DrivePlan(args.laps, None if args.minutes is None else 60.0 * args.minutes, events)
    Stages.chosen(course.settings.localization)  # whatever is wrong with it is said before anything is driven
    if not args.map.exists():
        _teach(args, course)
    with tempfile.TemporaryDirectory() as scratch, MapStore.open(args.map, read_only=True) as store:
        out = args.out or Path(scratch)
        info = {"site": site_of(store).name, "condition": condition.name, "features": store.feature_name}
        loop, pictures = course.loop(store, condition, plan), _Pictures(condition.name)
        with DriveLog(out, course.settings, info) as log:
            for step in _with_progress(loop, plan.seconds, condition.name):
                log.add(step)
                pictures.see(step, loop.supervisor.progress_m / loop.supervisor.total_m)
        drive = judge(read_drive(out), store.keyframes(), keyframe_truth(store))
        if args.out is not None:
            write_drive_report(out / "report.html", [drive], pictures.kept)
    emit(args, drive.summary.to_dict(), describe(drive.summary, args.out))
    return 0


def describe(summary: DriveSummary, out: Path | None) -> str:
    """The numbers of a drive that people ask for first."""
    return rows(
        [
            ("driven", f"{summary.driven_m:.1f} m of a path of {summary.path_m:.1f} m"),
            ("autonomy", f"{summary.autonomy_percent:.1f} %, {summary.interventions} interventions"),
            ("lateral error, RMS", number(summary.lateral_rms_m, "m")),
            ("lateral error, largest", number(summary.lateral_max_m, "m")),
            ("heading error, RMS", number(summary.heading_rms_deg, "deg")),
            ("fixes", f"{summary.fixes_per_m:.2f} per m, {summary.localised_percent:.1f} % of the frames"),
            ("inliers, median", summary.median_inliers),
            ("false poses", summary.false_poses),
            ("rate of localisation", number(summary.rate_hz, "Hz", 1)),
            ("memory", number(summary.memory_mib_per_hour, "MiB/h", 1) or "not judged in less than 10 minutes"),
            ("report", "not kept (give --out DIR)" if out is None else out / "report.html"),
        ]
    )


def _teach(args: argparse.Namespace, course: Course) -> None:
    """Teach a map at noon.

    Raises:
        VlocError: it cannot be made.
    """
    from vloc_ros.closed_loop import finish_teaching
    from vloc_ros.simulation import StereoRig, named_condition

    if sys.stderr.isatty():
        sys.stderr.write("the renderer is compiled on its first use (about a minute, once)\n")
    teaching = course.teach(chosen_site(args.site, args.length), named_condition("noon"), args.map, StereoRig().scaled(args.scale))
    for _ in progress(teaching, teaching.frames, "teach at noon"):
        pass
    finish_teaching(teaching)


def _with_progress(loop: ClosedLoop, seconds: float | None, label: str) -> Iterator[DriveStep]:
    """The steps of a drive, with a bar in metres (or in seconds, for a drive of a certain time)."""
    from tqdm import tqdm

    total, unit = (loop.supervisor.total_m, "m") if seconds is None else (seconds, "s")
    with closing(tqdm(total=round(total, 1), desc=label, unit=unit, file=sys.stderr, disable=None)) as bar:
        start_ns = None
        for step in loop.run():
            start_ns = step.result.stamp_ns if start_ns is None else start_ns
            done = loop.supervisor.progress_m if seconds is None else (step.result.stamp_ns - start_ns) * 1e-9
            bar.update(round(min(done, total), 1) - bar.n)
            driver = "operator drives" if step.operator else step.state.value
            bar.set_postfix_str(f"{step.result.state.value}, {step.result.inliers} inliers, {driver}, {step.twist.linear:.1f} m/s")
            yield step


class _Pictures:
    """Keeps a few images, evenly spaced along the drive."""

    def __init__(self, condition: str) -> None:
        self._condition = condition
        self.kept: list[DrivePicture] = []

    def see(self, step: DriveStep, progress: float) -> None:
        """Keep the image of a step if it is time for one; ``progress`` goes from 0 to 1."""
        from vloc_ros.closed_loop import DrivePicture

        if len(self.kept) < _PICTURES and progress >= (len(self.kept) + 0.5) / _PICTURES:
            what = "no fix" if not step.result.fix else f"{step.result.inliers} inliers"
            self.kept.append(DrivePicture(step.image, f"{self._condition}, {100.0 * progress:.0f} % of the way: {what}"))
