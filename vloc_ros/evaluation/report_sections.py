"""The parts of a report in HTML: verdict, cards, tables, figures, pictures, configuration."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from matplotlib.figure import Figure

from vloc_ros.evaluation import html, plot_route, plots
from vloc_ros.evaluation.html import UNKNOWN, number, percent
from vloc_ros.evaluation.pictures import MatchPicture, jpeg_uri
from vloc_ros.evaluation.plot_style import STATE_COLOURS, png_uri, words
from vloc_ros.evaluation.report_run import ReportRun
from vloc_ros.evaluation.summary import THRESHOLDS, Summary
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.mapping.state import State

STATE_WORDS = {
    State.UNINITIALISED: "no frame has been used yet",
    State.RELOCALISING: "searching the whole map without a prior",
    State.LOCALISED: "the last fix is recent: the pose is believed",
    State.DEAD_RECKONING: "no fix in the last frames: odometry carries the pose, its covariance grows",
    State.LOST: "dead reckoning went too far, or the robot was moved: no pose is published",
}
_WIDE_PICTURE = 1.15


def run_section(item: ReportRun, anchor: str, *, first: bool) -> str:
    """Everything about one run."""
    parts = [
        f'<section id="{anchor}" class="{"first" if first else ""}"><h2>{escape(item.name)}</h2>',
        f'<p class="about">{escape(about(item))}</p>',
        f'<p class="verdict">{escape(verdict(item))}</p>',
        "" if item.run.complete else '<p class="notice">The record breaks off: the process ended before it closed the log.</p>',
        cards(item.summary, seeks_map=item.run.seeks_map),
        _figures(item),
        _within(item.summary),
        _states(item.summary) if item.run.seeks_map else "",
        _reasons(item.summary),
        _pictures(item.pictures),
        _configuration(item.run.config_yaml),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def about(item: ReportRun) -> str:
    """What was run."""
    times, label = item.times()
    span = f" over {number(float(times[-1]))} s" if label == "time [s]" and len(times) > 1 else ""
    length = "" if item.taught_route is None else f" · map of {len(item.taught_route)} keyframes"
    return f"{item.run.source} · {_count(item.summary.frames, 'frame')}{span}{length}"


def verdict(item: ReportRun) -> str:
    """The outcome in a sentence or two."""
    s = item.summary
    if s.frames == 0:
        return "No frame was processed."
    sentences = []
    if item.run.seeks_map:
        sentences.append(f"Localised in {s.localised} of {_count(s.frames, 'frame')} ({percent(s.localised_percent)}).")
    if s.median_position_error_m is not None:
        against = "relative to the taught keyframe" if s.error_kind == "relative_to_keyframe" else "in the world"
        sentences.append(
            f"Median error {number(s.median_position_error_m, 2)} m and {number(s.median_rotation_error_deg, 2)}° {against}."
        )
        if s.false_fixes:
            were = "poses were" if s.false_fixes > 1 else "pose was"
            sentences.append(f"{s.false_fixes} believed {were} wrong by more than {s.false_fix_threshold_m:g} m.")
        else:
            sentences.append(f"No believed pose was wrong by more than {s.false_fix_threshold_m:g} m.")
    elif item.truth is None:
        sentences.append("There is no ground truth for this run, so its errors are not known.")
    if s.translation_drift_percent is not None and not item.run.seeks_map:
        rotation = number(s.rotation_drift_deg_per_m, 2)
        sentences.append(f"Odometry drifts by {number(s.translation_drift_percent, 2)} % and {rotation}° per metre.")
    return " ".join(sentences)


def cards(s: Summary, *, seeks_map: bool) -> str:
    """Headline numbers; what is unknown has no card."""
    made = []
    if seeks_map:
        dead = f", {s.believed - s.localised} dead reckoned" if s.believed > s.localised else ""
        made.append(html.card("localised", percent(s.localised_percent), "", f"{s.localised} of {s.frames} frames{dead}"))
    if s.median_position_error_m is not None:
        made.append(
            html.card(
                "median position error", *_metres(s.median_position_error_m), f"max {' '.join(_metres(s.max_position_error_m))}"
            )
        )
        made.append(html.card("median rotation error", number(s.median_rotation_error_deg, 2), "°"))
        detail = f"wrong by more than {s.false_fix_threshold_m:g} m"
        made.append(html.card("false fixes", str(s.false_fixes), "", detail, bad=bool(s.false_fixes)))
    if s.translation_drift_percent is not None and s.drift_lengths_m:
        lengths = f"{s.drift_lengths_m[0]:g} to {s.drift_lengths_m[-1]:g} m, {s.drift_segments} segments"
        made.append(html.card("odometry drift", number(s.translation_drift_percent, 2), "%", lengths))
        made.append(html.card("rotation drift", number(s.rotation_drift_deg_per_m, 2), "°/m", "of the odometry"))
    if s.median_inliers is not None:
        odometry = "" if s.median_odometry_inliers is None else f"odometry {number(s.median_odometry_inliers)}"
        made.append(html.card("median inliers", number(s.median_inliers), "", odometry))
    elif s.median_odometry_inliers is not None:
        made.append(html.card("median odometry inliers", number(s.median_odometry_inliers)))
    if s.rate_hz is not None:
        made.append(html.card("rate", number(s.rate_hz), "Hz", f"p99 {number(s.latency_ms['p99'])} ms per frame"))
    return f'<div class="cards">{"".join(made)}</div>' if made else ""


def comparison_section(items: Sequence[ReportRun]) -> str:
    """All runs side by side."""
    rows = [
        ("frames", [str(item.summary.frames) for item in items]),
        ("localised", [percent(item.summary.localised_percent) for item in items]),
        ("median position error", [" ".join(_metres(item.summary.median_position_error_m)) for item in items]),
        ("median rotation error", [_unit(number(item.summary.median_rotation_error_deg, 2), "°") for item in items]),
        ("largest position error", [" ".join(_metres(item.summary.max_position_error_m)) for item in items]),
        ("false fixes", [UNKNOWN if item.summary.false_fixes is None else str(item.summary.false_fixes) for item in items]),
        *((f"within {_threshold(name)}", [percent(item.summary.within[name]) for item in items]) for name in THRESHOLDS),
        ("odometry drift", [_unit(number(item.summary.translation_drift_percent, 2), "%") for item in items]),
        ("rotation drift", [_unit(number(item.summary.rotation_drift_deg_per_m, 2), "°/m") for item in items]),
        ("absolute trajectory error (RMSE)", [" ".join(_metres(item.summary.ate_rmse_m)) for item in items]),
        ("median inliers", [number(item.summary.median_inliers) for item in items]),
        ("rate", [_unit(number(item.summary.rate_hz), "Hz") for item in items]),
        ("time per frame, p50 / p99", [_latency(item.summary) for item in items]),
    ]
    known = [[escape(name), *map(escape, values)] for name, values in rows if any(value != UNKNOWN for value in values)]
    listing = html.table(["", *(item.name for item in items)], known, ["", *["number"] * len(items)])
    made = plots.comparison(items)
    picture = _picture(made, "share of frames localised within a position error, one curve per run")
    return f'<section class="first" id="side-by-side"><h2>Side by side</h2>{listing}{picture}</section>'


def _figures(item: ReportRun) -> str:
    if item.summary.frames == 0:
        return ""
    return "".join(
        (
            _picture(plot_route.trajectories(item), "trajectories from above"),
            _picture(plots.errors(item), "position and heading error over time"),
            _picture(plots.inliers(item), "inlier matches over time"),
            _picture(plots.latency(item), "processing time per frame and per stage"),
        )
    )


def _picture(made: Figure | None, alt: str) -> str:
    return "" if made is None else html.figure(png_uri(made), alt)


def _within(s: Summary) -> str:
    rows = [[escape(_threshold(name)), percent(value), html.bar(value)] for name, value in s.within.items() if value is not None]
    if not rows:
        return ""
    of = "all frames" if s.judged == s.frames else f"the {s.judged} frames with ground truth"
    listing = html.table(["within", "frames", ""], rows, ["name", "number", "wide"])
    return f"<h3>How good, over {of}</h3>{listing}"


def _states(s: Summary) -> str:
    rows = [
        [
            html.chip(STATE_COLOURS[state]) + escape(words(state.value)),
            str(s.states[state.value]),
            percent(100.0 * s.states[state.value] / s.frames),
            escape(STATE_WORDS[state]),
        ]
        for state in State
        if state.value in s.states
    ]
    if not rows:
        return ""
    return f"<h3>States</h3>{html.table(['state', 'frames', 'share', 'meaning'], rows, ['name', 'number', 'number', 'words'])}"


def _reasons(s: Summary) -> str:
    ranked = sorted(s.reasons.items(), key=lambda entry: -entry[1])
    rows = [
        [escape(words(name)), str(count), percent(100.0 * count / s.frames), escape(RejectReason[name].value)]
        for name, count in ranked
    ]
    if not rows:
        return ""
    listing = html.table(["reason", "frames", "share", "meaning"], rows, ["name", "number", "number", "words"])
    return f"<h3>Why frames were refused</h3>{listing}"


def _pictures(pictures: Sequence[MatchPicture]) -> str:
    if not pictures:
        return ""
    wide = any(picture.image.shape[1] > _WIDE_PICTURE * picture.image.shape[0] for picture in pictures)
    figures = "".join(html.figure(jpeg_uri(picture.image), "inlier matches", picture.caption) for picture in pictures)
    return (
        '<h3>Matches</h3><p class="about">Live image above, taught image below; each line joins an inlier match.</p>'
        f'<div class="matches{" wide" if wide else ""}">{figures}</div>'
    )


def _configuration(text: str) -> str:
    return f"<details><summary>Effective configuration</summary><pre>{escape(text)}</pre></details>" if text.strip() else ""


def _latency(s: Summary) -> str:
    p50, p99 = s.latency_ms["p50"], s.latency_ms["p99"]
    return UNKNOWN if p50 is None else f"{number(p50)} / {number(p99)} ms"


def _metres(value: float | None) -> tuple[str, str]:
    if value is None:
        return UNKNOWN, ""
    return (number(1000.0 * value, 2), "mm") if value < 0.01 else (number(value, 2), "m")


def _threshold(name: str) -> str:
    metres, degrees = THRESHOLDS[name]
    return f"{metres:g} m, {degrees:g}°"


def _unit(value: str, unit: str) -> str:
    if value == UNKNOWN:
        return value
    return f"{value}{unit}" if unit.startswith("°") else f"{value} {unit}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
