"""The page of ``vloc locate``: where photos lie on the map, errors where the truth is known, and why others have no position."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.fix import AerialReject
from vloc_ros.aerial.georeference import Georeference, LatLon
from vloc_ros.aerial.locating import UNREADABLE, Located
from vloc_ros.data.frame import Image
from vloc_ros.evaluation import html
from vloc_ros.evaluation.aerial_summary import AerialSummary, errors_of
from vloc_ros.evaluation.report_style import CSS

Array = NDArray[np.float64]
_SHORTEST = 600
"""Sides of the picture of the map at least [px], so that lines on it are fine."""
_STYLE = """
.map { display: block; width: 100%; height: auto; border-radius: 6px; }
.map polygon { fill: #0072b2; fill-opacity: .12; stroke: #56b4e9; } .map .far { fill: #d55e00; stroke: #d55e00; }
.map .here { fill: #fff; stroke: #0072b2; } .map .truth { stroke: #e69f00; } .map .off { stroke: #d55e00; }
"""
_FAR_M = 25.0


def report_page(
    title: str,
    results: Sequence[Located],
    truth: Mapping[str, LatLon],
    summary: AerialSummary,
    overview: tuple[Image, Georeference] | None,
) -> str:
    """The whole page, which loads nothing.

    Args:
        title: its heading.
        results: of the photos, in their order.
        truth: positions by name, where they are known.
        summary: of both.
        overview: picture of the map and where its pixels are.
    """
    errors = errors_of(results, truth)
    parts = [f'<section class="first"><h2>Result</h2>{_verdict(summary)}{_cards(summary)}</section>']
    if overview is not None:
        parts.append(f"<section><h2>On the map</h2>{_about_map(truth)}{_map(overview, results, truth, errors)}</section>")
    if summary.reasons:
        parts.append(f"<section><h2>Refusals</h2>{_refusals(summary)}</section>")
    parts.append(f"<section><h2>Photos</h2>{_photos(results, errors)}</section>")
    parts.append("<footer>Lengths in metres, angles in degrees. fixes.csv beside has the same numbers with more decimals.</footer>")
    header = f"<h1>{escape(title)}</h1><p>{summary.photos} photos, each located by itself or in sequence; no truth was used</p>"
    return html.page(title, CSS + _STYLE, header, "\n".join(parts))


def _verdict(summary: AerialSummary) -> str:
    text = f"{summary.located} of {summary.photos} photos have a position"
    if summary.median_error_m is not None:
        text += f", half of them within {html.number(summary.median_error_m)} m of the truth"
    return f'<p class="verdict">{escape(text)}.</p>'


def _cards(summary: AerialSummary) -> str:
    failed = summary.failure_percent
    cards = [
        html.card("No position", html.percent(failed), "", f"{summary.photos - summary.located} of {summary.photos}"),
        html.card("Time for a photo", html.number(summary.seconds_p50), "s", f"95 %: {html.number(summary.seconds_p95)} s"),
    ]
    if summary.judged:
        cards[:0] = [
            html.card("Median error", html.number(summary.median_error_m), "m", "of those located"),
            html.card("Mean error", html.number(summary.mean_error_m), "m", f"largest {html.number(summary.largest_error_m)} m"),
        ]
        cards += [
            html.card(f"Within {limit}", html.percent(share), "", f"of {summary.judged} with a truth, failures too")
            for limit, share in summary.within.items()
        ]
        cards.append(html.card("In the 95 % ellipse", html.percent(summary.within_ellipse), "", "of those located"))
    return f'<div class="cards">{"".join(cards)}</div>'


def _about_map(truth: Mapping[str, LatLon]) -> str:
    text = "Each outline is what a photo shows, the dot where the drone was."
    if truth:
        text += f" Crosses are the truth; photos more than {_FAR_M:g} m off are drawn in red."
    return f'<p class="about">{text} Point at an outline for the name of its photo.</p>'


def _map(
    overview: tuple[Image, Georeference], results: Sequence[Located], truth: Mapping[str, LatLon], errors: Sequence[float | None]
) -> str:
    image, where = overview
    height, width = image.shape[:2]
    times = max(1.0, _SHORTEST / max(height, width))
    line = max(height, width) * times / 900.0
    drawn = [
        _outline(result, where, times, line, far=error is not None and error > _FAR_M)
        for result, error in zip(results, errors, strict=True)
    ]
    crosses = [_cross(where.pixels(np.array([truth[item.name]]))[0], times, line) for item in results if item.name in truth]
    size = f"{width * times:.0f} {height * times:.0f}"
    picture = f'<image href="{_jpeg(image)}" width="{width * times:.1f}" height="{height * times:.1f}"/>'
    return f'<svg class="map" viewBox="0 0 {size}" role="img">{picture}{"".join(drawn)}{"".join(crosses)}</svg>'


def _outline(result: Located, where: Georeference, times: float, line: float, *, far: bool) -> str:
    fix = result.fix
    if fix is None or fix.footprint is None or fix.position is None:
        return ""
    corners = " ".join(f"{u:.1f},{v:.1f}" for u, v in times * (where.pixels(fix.footprint) + 0.5))
    ((u, v),) = times * (where.pixels(np.array([fix.position])) + 0.5)
    shape = f'<polygon points="{corners}" stroke-width="{line:.2f}"{" class=" + chr(34) + "far" + chr(34) if far else ""}>'
    dot = f'<circle class="here" cx="{u:.1f}" cy="{v:.1f}" r="{2.5 * line:.2f}" stroke-width="{line:.2f}"/>'
    return f"<g>{shape}<title>{escape(result.name)}</title></polygon>{dot}</g>"


def _cross(pixel: Array, times: float, line: float) -> str:
    u, v = times * (pixel + 0.5)
    arm = 5.0 * line
    return (
        f'<path class="truth" stroke-width="{1.3 * line:.2f}" '
        f'd="M{u - arm:.1f} {v:.1f}H{u + arm:.1f}M{u:.1f} {v - arm:.1f}V{v + arm:.1f}"/>'
    )


def _jpeg(image: Image) -> str:
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    _, data = cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _refusals(summary: AerialSummary) -> str:
    words = {reason.name.lower(): reason.value for reason in AerialReject}
    words[UNREADABLE] = "the file cannot be read, or is of another size than its lens"
    rows = [
        (escape(reason), str(count), html.percent(100.0 * count / summary.photos), escape(words.get(reason, "")))
        for reason, count in summary.reasons.items()
    ]
    return html.table(("reason", "photos", "share", "meaning"), rows, ("name", "number", "number", "words"))


def _photos(results: Sequence[Located], errors: Sequence[float | None]) -> str:
    head = ("photo", "error", "deviation", "height", "heading", "inliers", "time", "tile, or why it has no position")
    rows = [_row(result, error) for result, error in zip(results, errors, strict=True)]
    return html.table(head, rows, ("name", *("number",) * 6, "words"))


def _row(result: Located, error: float | None) -> Sequence[str]:
    fix = result.fix
    if fix is None:
        return (escape(result.name), *(html.UNKNOWN,) * 6, escape(result.sentence))
    sigma = None if fix.covariance is None else float(np.sqrt(np.linalg.eigvalsh(fix.covariance)[-1]))
    said = (error, sigma, fix.height_m, fix.heading_deg)
    return (
        escape(result.name),
        *(html.number(value) for value in said),
        f"{fix.inliers} of {fix.matches}",
        html.number(fix.seconds, 2),
        escape(fix.tile if fix.success else result.sentence),
    )
