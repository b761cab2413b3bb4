"""One self-contained HTML page about a drive or a few, and the same numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vloc_ros import __version__
from vloc_ros.closed_loop.drive_spans import Stop, elapsed_s, stops
from vloc_ros.closed_loop.judge import FALSE_POSE_M, DriveSummary, JudgedDrive
from vloc_ros.closed_loop.settings import DriveSettings
from vloc_ros.data.frame import Image
from vloc_ros.evaluation import html
from vloc_ros.evaluation.html import UNKNOWN, number, percent
from vloc_ros.evaluation.output import make_folder, write_whole
from vloc_ros.evaluation.pictures import jpeg_uri
from vloc_ros.evaluation.report_style import CSS

CORRIDOR_M = DriveSettings.free_corridor


@dataclass(frozen=True, slots=True)
class DrivePicture:
    """What the robot saw: an (H, W, 3) RGB or (H, W) grey uint8 image and its caption."""

    image: Image
    caption: str


def write_drive_report(
    path: Path,
    drives: Sequence[JudgedDrive],
    pictures: Sequence[DrivePicture] = (),
    *,
    title: str = "Driving in closed loop",
    corridor_m: float = CORRIDOR_M,
) -> None:
    """Write the page at ``path`` and, beside it with the suffix ``.json``, its numbers.

    The page holds its style and images, runs no script and loads nothing.

    Args:
        path: of the HTML file; its folder is created.
        drives: shown one after the other, and side by side in a table.
        pictures: what the robot saw, such as one frame for each condition.
        title: heading of the page.
        corridor_m: how far beside the path the operator stepped in [m].

    Raises:
        OutputError: a file cannot be written.
        DataError: a picture is not an image.
    """
    path = Path(path)
    make_folder(path.parent)
    write_whole(path.with_suffix(".json"), drive_report_json(title, drives))
    write_whole(path, drive_report_html(title, drives, pictures, corridor_m))


def drive_report_json(title: str, drives: Sequence[JudgedDrive]) -> str:
    """The numbers of the drives as JSON text; what is unknown is null."""
    entries = [
        {
            "summary": drive.summary.to_dict(),
            "stops": [stop.to_dict(drive) for stop in stops(drive)],
            "interventions": _helped(drive),
        }
        for drive in drives
    ]
    return json.dumps({"title": title, "vloc_ros": __version__, "drives": entries}, indent=2, allow_nan=False) + "\n"


def drive_report_html(title: str, drives: Sequence[JudgedDrive], pictures: Sequence[DrivePicture], corridor_m: float) -> str:
    """The whole page."""
    # matplotlib takes a second to load, which a robot that only drives need not spend.
    from vloc_ros.evaluation import plot_style

    parts = [_numbers(drives)]
    with plot_style.style():
        parts += [_section(drive, f"drive-{index}", corridor_m) for index, drive in enumerate(drives)]
    parts.append(_gallery(pictures))
    parts.append("<footer>The same numbers, unrounded, are in the JSON file beside.</footer>")
    return page(title, f"{count(len(drives), 'drive')}", [(f"drive-{k}", name(d.summary)) for k, d in enumerate(drives)], parts)


def page(title: str, about: str, links: Sequence[tuple[str, str]], parts: Sequence[str]) -> str:
    """A document in the style of the reports.

    Args:
        title: its heading.
        about: what stands below the heading, before version and time.
        links: (anchor, text) of its sections; shown if there are several.
        parts: HTML of the sections.
    """
    written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    listed = "".join(f'<a href="#{anchor}">{escape(text)}</a>' for anchor, text in links)
    header = (
        f"<h1>{escape(title)}</h1><p>{escape(about)} · vloc_ros {escape(__version__)} · written {escape(written)}</p>"
        f"{f'<nav>{listed}</nav>' if len(links) > 1 else ''}"
    )
    return html.page(title, CSS, header, "\n".join(part for part in parts if part))


def name(s: DriveSummary) -> str:
    """What was driven, in words."""
    return ", ".join(part.replace("_", " ") for part in (s.site, s.condition, s.features) if part) or "drive"


def count(number_of: int, noun: str) -> str:
    """``1 drive``, ``2 drives``."""
    return f"{number_of} {noun}" if number_of == 1 else f"{number_of} {noun}s"


def measure(value: float | None, unit: str, digits: int = 2) -> str:
    """A value with its unit, or a dash."""
    return UNKNOWN if value is None else f"{number(value, digits)}{'' if unit.startswith('°') else ' '}{unit}"


def length(value: float | None) -> str:
    """A short length: in centimetres below a metre, to the millimetre."""
    if value is None:
        return UNKNOWN
    return f"{100.0 * value:.1f} cm" if value < 1.0 else f"{value:.2f} m"


def verdict(s: DriveSummary) -> str:
    """The outcome in a sentence or two."""
    if s.frames == 0:
        return "No frame was driven."
    own = "all of it" if s.interventions == 0 and s.operator_m == 0.0 else f"{percent(s.autonomy_percent)} of it"
    first = f"The robot drove {measure(s.driven_m, 'm', 4)}, {own} by itself"
    helped = f"; the operator stepped in {_times(s.interventions)}." if s.interventions else ", without an intervention."
    drove = s.lateral_rms_m is not None and s.autonomy_percent > 0.0
    beside = "" if not drove else f" While it drove, it was {length(s.lateral_rms_m)} (RMS) beside its path."
    false = f" {count(s.false_poses, 'believed pose')} off by more than {FALSE_POSE_M:g} m." if s.false_poses else ""
    return first + helped + beside + false


def _numbers(drives: Sequence[JudgedDrive]) -> str:
    """All drives side by side."""
    rows = [(label, [show(drive.summary) for drive in drives]) for label, show in _ROWS]
    known = [[escape(label), *map(escape, values)] for label, values in rows if any(value != UNKNOWN for value in values)]
    head = ["", *(name(drive.summary) for drive in drives)]
    listing = html.table(head, known, ["name", *["number"] * len(drives)])
    return f'<section class="first wide-table" id="numbers"><h2>The numbers</h2>{listing}</section>'


_ROWS: tuple[tuple[str, Callable[[DriveSummary], str]], ...] = (
    ("driven by itself (autonomy)", lambda s: percent(s.autonomy_percent)),
    ("interventions of the operator", lambda s: str(s.interventions)),
    ("distance driven", lambda s: measure(s.driven_m, "m", 4)),
    ("length of the taught path", lambda s: measure(s.path_m, "m", 4)),
    ("distance to the taught path, RMS", lambda s: length(s.lateral_rms_m)),
    ("distance to the taught path, largest", lambda s: length(s.lateral_max_m)),
    ("heading error, RMS", lambda s: measure(s.heading_rms_deg, "°")),
    ("frames with a fix", lambda s: f"{percent(s.localised_percent)} of {s.frames}"),
    ("fixes per metre driven", lambda s: measure(s.fixes_per_m, "/m")),
    ("inliers of a fix, median", lambda s: number(s.median_inliers)),
    (f"believed poses off by more than {FALSE_POSE_M:g} m", lambda s: str(s.false_poses)),
    ("localisation rate", lambda s: measure(s.rate_hz, "Hz", 3)),
    ("growth of memory", lambda s: measure(s.memory_mib_per_hour, "MiB/h", 3)),
)


def _section(drive: JudgedDrive, anchor: str, corridor_m: float) -> str:
    from vloc_ros.closed_loop import drive_overhead, drive_plots

    s = drive.summary
    broken = '<p class="notice">The record breaks off: the process ended before it closed the log.</p>'
    parts = [
        f'<section id="{anchor}"><h2>{escape(name(s))}</h2>',
        f'<p class="verdict">{escape(verdict(s))}</p>',
        "" if drive.record.run.complete else broken,
        _cards(s),
        _picture(drive_overhead.overhead(drive), "taught and driven path from above"),
        _picture(drive_plots.strip(drive), "states over time"),
        _interventions(drive),
        _stops(drive),
        _picture(drive_plots.along(drive, corridor_m), "lateral error, inliers, speed and pose error along the path"),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _cards(s: DriveSummary) -> str:
    if s.frames == 0:
        return ""
    helped = s.interventions > 0
    heading = "" if s.heading_rms_deg is None else f"heading {measure(s.heading_rms_deg, '°')} RMS"
    inliers = "" if s.median_inliers is None else f"; median {number(s.median_inliers)} inliers"
    made = (
        html.card("driven by itself", percent(s.autonomy_percent), "", f"of {measure(s.driven_m, 'm', 4)}", bad=helped),
        html.card("interventions", str(s.interventions), "", f"{measure(s.operator_m, 'm')} by the operator", bad=helped),
        html.card("lateral error, RMS", length(s.lateral_rms_m), "", f"max {length(s.lateral_max_m)}; {heading}"),
        html.card("fixes", number(s.fixes_per_m, 2), "per m", f"{percent(s.localised_percent)} of frames{inliers}"),
    )
    return f'<div class="cards">{"".join(made)}</div>'


def _picture(made: Figure | None, alt: str) -> str:
    from vloc_ros.evaluation.plot_style import png_uri

    return "" if made is None else html.figure(png_uri(made), alt)


def _helped(drive: JudgedDrive) -> list[dict[str, Any]]:
    seconds = elapsed_s(drive.record)
    return [
        {"at_s": float(seconds[index]), "station_m": float(drive.station[index]), "reason": why.name}
        for index, why in drive.record.interventions
    ]


def _interventions(drive: JudgedDrive) -> str:
    seconds = elapsed_s(drive.record)
    rows = [
        [f"I{k}", f"{seconds[index]:.1f} s", f"{drive.station[index]:.1f} m", f"{drive.lateral[index]:+.2f} m", escape(why.value)]
        for k, (index, why) in enumerate(drive.record.interventions, 1)
    ]
    if not rows:
        return '<h3>Interventions</h3><p class="about">None.</p>'
    classes = ["name", "number", "number", "number", "words"]
    return "<h3>Interventions</h3>" + html.table(["", "at", "along the path", "beside it", "why"], rows, classes)


def _stops(drive: JudgedDrive) -> str:
    seconds = elapsed_s(drive.record)
    rows = []
    for k, stop in enumerate(stops(drive), 1):
        span = f"{seconds[stop.first]:.1f} to {seconds[stop.last]:.1f} s"
        place = f"{drive.station[stop.last]:.1f} m"
        why = "; then ".join(reason.value for reason in stop.reasons)
        rows.append([f"S{k}", span, place, escape(_blind(stop)), escape(why)])
    if not rows:
        return '<h3>Stops</h3><p class="about">None.</p>'
    head = ["", "from - to", "along the path", "driven from the last fix until it stood", "why"]
    return "<h3>Stops</h3>" + html.table(head, rows, ["name", "number", "number", "number", "words"])


def _blind(stop: Stop) -> str:
    if not stop.stands:
        return "did not come to a stand"
    return "no fix before" if stop.blind_m is None else f"{stop.blind_m:.2f} m"


def _gallery(pictures: Sequence[DrivePicture]) -> str:
    if not pictures:
        return ""
    figures = "".join(html.figure(jpeg_uri(one.image), one.caption, one.caption) for one in pictures)
    return f'<section id="pictures"><h2>What the robot saw</h2><div class="matches">{figures}</div></section>'


def _times(times: int) -> str:
    return {1: "once", 2: "twice"}.get(times, f"{times} times")
