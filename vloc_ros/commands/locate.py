"""``vloc locate``: where photos were taken, on a map of the ground."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, number, progress, rows
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.aerial.fix import AerialFix
    from vloc_ros.aerial.locating import Located, LocateSettings
    from vloc_ros.aerial.photo import Photo
    from vloc_ros.aerial.photo_list import Instruments, Optics, Shot
    from vloc_ros.evaluation.aerial_summary import AerialSummary

_EXAMPLES = """
  vloc locate photos/ --map area.vloc --gps photos/gps.csv --focal 930 --out found
  vloc locate photo.jpg --map area.vloc --height 80 --heading 45 --fov 78 --out found
  vloc locate flight.csv --map area.vloc --intrinsics 930,800,450 --sequence --out found
  vloc locate photos/ --map area.vloc --gps gps.csv --focal 930 --truth gps.csv --out judged

tables (gps.csv, flight.csv) name a photo in each line, in a column 'file'; of their other columns height (or rel_alt, altitude),
heading (gimbal_yaw, yaw), roll, pitch [deg] and time [s] are used. lat and lon are read from --truth alone, to judge the result."""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "locate", "find where photos were taken, on a map of the ground", _EXAMPLES, run)
    # Headings west of north begin with a minus; argparse takes them for options unless told what a number looks like.
    parser._negative_number_matcher = re.compile(r"-\d")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGES", help="image files, folders, or tables of photos (*.csv)")
    parser.add_argument("--map", type=Path, required=True, help="map file, *.vloc, of vloc map build-aerial")
    parser.add_argument("--out", type=Path, required=True, help="folder for fixes.csv, fixes.geojson, fixes.kml and report.html")
    parser.add_argument("--gps", type=Path, metavar="CSV", help="table of height, heading, roll, pitch and time of the photos")
    parser.add_argument("--truth", type=Path, metavar="CSV", help="table of lat and lon of the photos, to judge the result by")
    _add_instruments(parser)
    parser.add_argument("--sequence", action="store_true", help="the photos are a flight: follow it; they need times, or --period")
    parser.add_argument("--period", type=float, metavar="S", help="time from each photo of a flight to the next [s]")
    parser.add_argument("--features", default="", help="local features, or a file of weights (default: those that the map names)")
    parser.add_argument("--descriptor", default="", help="global descriptor, or a file of weights (default: that of the map)")
    parser.add_argument("--config", type=Path, help="YAML file of settings (locator, tracker)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting, e.g. locator.candidates=50"
    )
    add_json(parser)


def _add_instruments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--height", "--altitude", type=float, metavar="M", help="above the ground, where no table says it [m]")
    parser.add_argument(
        "--heading", type=float, metavar="DEG", help="direction that is up in the images, clockwise from north, likewise"
    )
    lens = parser.add_mutually_exclusive_group()
    lens.add_argument("--focal", type=float, metavar="PX", help="focal length in pixels of the images")
    lens.add_argument("--fov", type=float, metavar="DEG", help="angle of view along the width, in place of the focal length")
    lens.add_argument("--intrinsics", metavar="F,CX,CY", help="focal length and principal point [px]; or FX,FY,CX,CY")


def run(args: argparse.Namespace) -> int:
    """Locate, write, report."""
    from vloc_ros.aerial.locating import locate_all
    from vloc_ros.aerial.opening import open_locator
    from vloc_ros.aerial.photo_list import require_named, shots_of
    from vloc_ros.aerial.tracker import Tracker
    from vloc_ros.aerial.truth import read_truth
    from vloc_ros.data.output import output_folder
    from vloc_ros.evaluation.aerial_output import write_fixes
    from vloc_ros.evaluation.aerial_report import report_page
    from vloc_ros.evaluation.aerial_summary import errors_of, summarise
    from vloc_ros.evaluation.output import write_whole

    optics, settings = _optics(args), _settings(args)
    shots = _timed(shots_of(args.images, args.gps, _instruments(args)), args)
    if args.sequence:
        _require_dense(shots, settings.tracker.lost_after)
    truth = {} if args.truth is None else read_truth(args.truth)
    if args.truth is not None:
        require_named(args.truth, truth, shots)
    with output_folder(args.out) as scratch:
        ground, locator = open_locator(args.map, settings.locator, args.features, args.descriptor)
        with ground:

            def alone(photo: Photo) -> AerialFix:
                return locator.doubt(photo, locator.locate(photo))

            locate = Tracker(locator, settings.tracker).step if args.sequence else alone
            results = []
            for result in locate_all(progress(shots, len(shots), "locate", "photo"), optics, locate):
                results.append(result)
                if not args.json:
                    sys.stdout.write(_line(result) + "\n")
            summary = summarise(results, truth)
            write_fixes(scratch, results, errors_of(results, truth))
            title = f"Photos on {args.map.name}"
            write_whole(scratch / "report.html", report_page(title, results, truth, summary, ground.overview))
            write_whole(scratch / "summary.json", json.dumps(summary.to_dict(), indent=2, allow_nan=False) + "\n")
    emit(args, summary.to_dict(), _told(summary, args.out))
    return 0


def _optics(args: argparse.Namespace) -> Optics:
    from vloc_ros.aerial.photo_list import Optics

    if args.fov is not None and not 1.0 <= args.fov < 170.0:
        raise ConfigError(f"--fov {args.fov:g} is no angle of view of a pinhole camera: give 1 to 170 degrees")
    if args.focal is not None and not 0.0 < args.focal < math.inf:
        raise ConfigError(f"--focal {args.focal:g} is no focal length: give it in pixels, more than 0")
    if args.intrinsics is None:
        return Optics(args.focal, args.fov)
    try:
        values = [float(text) for text in args.intrinsics.split(",")]
    except ValueError:
        values = []
    if len(values) == 4 and abs(values[0] - values[1]) <= 0.01 * abs(values[0]):
        values = [0.5 * (values[0] + values[1]), *values[2:]]
    if len(values) != 3 or not (values[0] > 0.0 and all(map(math.isfinite, values))):
        raise ConfigError(
            f"--intrinsics {args.intrinsics} is not F,CX,CY or FX,FY,CX,CY in pixels with FX and FY equal to 1 %, e.g. 930,800,450"
        )
    return Optics(values[0], None, (values[1], values[2]))


def _instruments(args: argparse.Namespace) -> Instruments:
    from vloc_ros.aerial.photo_list import Instruments

    if args.height is not None and not 0.0 < args.height < math.inf:
        raise ConfigError(f"--height {args.height:g} is not above the ground: give metres, more than 0")
    if args.heading is not None and not math.isfinite(args.heading):
        raise ConfigError(f"--heading {args.heading:g} is no direction: give degrees, clockwise from north")
    return Instruments(args.height, args.heading)


def _settings(args: argparse.Namespace) -> LocateSettings:
    from vloc_ros.aerial.locating import LocateSettings
    from vloc_ros.config import from_dict, load_yaml, parse_assignments, replace

    settings = LocateSettings() if args.config is None else from_dict(LocateSettings, load_yaml(args.config))
    return replace(settings, parse_assignments(args.set))


def _timed(shots: list[Shot], args: argparse.Namespace) -> list[Shot]:
    """The photos with times, where they are a flight."""
    from dataclasses import replace

    if args.period is not None and not (args.sequence and 0.0 < args.period < math.inf):
        raise ConfigError("--period goes with --sequence, and is more than 0 seconds")
    if not args.sequence:
        return shots
    if args.period is not None:
        stamps = [round(1e9 * args.period * place) for place in range(len(shots))]
        return [
            replace(shot, instruments=replace(shot.instruments, stamp_ns=stamp)) for shot, stamp in zip(shots, stamps, strict=True)
        ]
    silent = [shot.name for shot in shots if shot.instruments.stamp_ns is None]
    if silent:
        raise ConfigError(f"{silent[0]} has no time, which --sequence needs: give a column 'time' in the table, or --period")
    return sorted(shots, key=lambda shot: shot.instruments.stamp_ns or 0)


def _require_dense(shots: list[Shot], lost_after: float) -> None:
    """Photos that are all farther apart than what counts as a loss confirm no position: none would ever be believed."""
    stamps = [shot.instruments.stamp_ns or 0 for shot in shots]
    apart = min((1e-9 * (after - before) for before, after in pairwise(stamps)), default=0.0)
    if apart > lost_after:
        raise ConfigError(
            f"the photos are {apart:.3g} s apart, and after {lost_after:g} s a flight is lost: locate them without --sequence, "
            "or raise tracker.lost_after"
        )


def _line(result: Located) -> str:
    fix = result.fix
    if fix is None or fix.position is None or fix.covariance is None:
        return f"{result.name}: {result.reason}: {result.sentence}"
    sigma = max(float(fix.covariance[0, 0]), float(fix.covariance[1, 1])) ** 0.5
    return (
        f"{result.name}: {fix.position.lat:.7f}, {fix.position.lon:.7f} +- {sigma:.1f} m, {fix.inliers} of {fix.matches} matches, "
        f"{fix.seconds:.2f} s"
    )


def _told(summary: AerialSummary, out: Path) -> str:
    within = ", ".join(f"{limit}: {share:.0f} %" for limit, share in summary.within.items() if share is not None)
    return rows(
        [
            ("photos", summary.photos),
            ("located", summary.located),
            ("reasons", ", ".join(f"{reason} {count}" for reason, count in summary.reasons.items()) or "none"),
            ("error, median", number(summary.median_error_m, "m", 2)),
            ("error, mean", number(summary.mean_error_m, "m", 2)),
            ("within", within or None),
            ("time, median", number(summary.seconds_p50, "s", 2)),
            ("report", out / "report.html"),
        ]
    )
