"""Positions of photos for other programs: CSV, GeoJSON (RFC 7946) and KML 2.2."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from vloc_ros.aerial.fix import AerialFix
from vloc_ros.aerial.locating import Located
from vloc_ros.data.files import format_seconds
from vloc_ros.evaluation.output import write_whole

_DEGREES = 9
"""Decimals of degrees: 0.1 mm."""
HEAD = (
    *("file", "time", "lat", "lon", "east_m", "north_m", "sigma_east_m", "sigma_north_m", "correlation", "height_m", "heading_deg"),
    *("inliers", "matches", "tile", "seconds", "reason", "why", "error_m"),
)


def write_fixes(folder: Path, results: Sequence[Located], errors: Sequence[float | None]) -> None:
    """Write ``fixes.csv``, ``fixes.geojson`` and ``fixes.kml``.

    Args:
        folder: that is there.
        results: of the photos.
        errors: of each [m], None where nobody knows.

    Raises:
        OutputError: a file cannot be written.
    """
    write_whole(folder / "fixes.csv", fixes_csv(results, errors))
    write_whole(folder / "fixes.geojson", fixes_geojson(results, errors))
    write_whole(folder / "fixes.kml", fixes_kml(results))


def fixes_csv(results: Sequence[Located], errors: Sequence[float | None]) -> str:
    """One line for each photo; cells of what is not known are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for result, error in zip(results, errors, strict=True):
        said = properties(result, error)
        writer.writerow("" if said[name] is None else said[name] for name in HEAD)
    return text.getvalue()


def fixes_geojson(results: Sequence[Located], errors: Sequence[float | None]) -> str:
    """A feature with a point and one with the footprint for each position; a feature without geometry for each refusal."""
    features: list[dict[str, Any]] = []
    for result, error in zip(results, errors, strict=True):
        said = properties(result, error)
        fix = result.fix
        if fix is None or fix.position is None or fix.footprint is None:
            features.append({"type": "Feature", "geometry": None, "properties": {"what": "refusal"} | said})
            continue
        point = {"type": "Point", "coordinates": [round(fix.position.lon, _DEGREES), round(fix.position.lat, _DEGREES)]}
        polygon = {"type": "Polygon", "coordinates": [_ring(fix)]}
        features.append({"type": "Feature", "geometry": point, "properties": {"what": "position"} | said})
        features.append({"type": "Feature", "geometry": polygon, "properties": {"what": "footprint", "file": result.name}})
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1, allow_nan=False) + "\n"


def fixes_kml(results: Sequence[Located]) -> str:
    """A placemark with point and footprint for each position; a refusal has no place, so it is not in it."""
    marks = []
    for result in results:
        fix = result.fix
        if fix is None or fix.position is None or fix.footprint is None:
            continue
        ring = " ".join(f"{lon},{lat}" for lon, lat in _ring(fix))
        point = f"{fix.position.lon:.{_DEGREES}f},{fix.position.lat:.{_DEGREES}f}"
        marks.append(
            f"<Placemark><name>{escape(result.name)}</name><styleUrl>#photo</styleUrl>"
            f"<description>{escape(_described(fix))}</description><MultiGeometry><Point><coordinates>{point}</coordinates></Point>"
            f"<Polygon><outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing></outerBoundaryIs></Polygon>"
            "</MultiGeometry></Placemark>\n"
        )
    style = '<Style id="photo"><LineStyle><color>ffb27200</color></LineStyle><PolyStyle><fill>0</fill></PolyStyle></Style>\n'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2"><Document>\n'
        f"<name>Located photos</name>\n{style}{''.join(marks)}</Document></kml>\n"
    )


def properties(result: Located, error: float | None) -> dict[str, Any]:
    """What is known of a photo, by the names of :data:`HEAD`; None for what is not."""
    known: dict[str, Any] = dict.fromkeys(HEAD)
    known |= {"file": result.name, "reason": result.reason or None, "why": result.sentence or None}
    known["time"] = None if result.stamp_ns is None else format_seconds(result.stamp_ns)
    known["error_m"] = None if error is None else round(error, 3)
    fix = result.fix
    if fix is None:
        return known
    known |= {"inliers": fix.inliers, "matches": fix.matches, "tile": fix.tile or None, "seconds": round(fix.seconds, 4)}
    if fix.position is not None and fix.metres is not None and fix.covariance is not None:
        sigmas = np.sqrt(np.diagonal(fix.covariance))
        known |= {
            "lat": round(fix.position.lat, _DEGREES),
            "lon": round(fix.position.lon, _DEGREES),
            "east_m": round(float(fix.metres[0]), 3),
            "north_m": round(float(fix.metres[1]), 3),
            "sigma_east_m": round(float(sigmas[0]), 3),
            "sigma_north_m": round(float(sigmas[1]), 3),
            "correlation": round(float(fix.covariance[0, 1] / sigmas.prod()), 4),
            "height_m": None if fix.height_m is None else round(fix.height_m, 2),
            "heading_deg": None if fix.heading_deg is None else round(fix.heading_deg, 2) % 360.0,
        }
    return known


def _ring(fix: AerialFix) -> list[list[float]]:
    """Longitudes and latitudes of the footprint, counter-clockwise and closed, as RFC 7946 wants them."""
    assert fix.footprint is not None
    corners = [[round(float(lon), _DEGREES), round(float(lat), _DEGREES)] for lat, lon in fix.footprint[::-1]]
    return [*corners, corners[0]]


def _described(fix: AerialFix) -> str:
    assert fix.covariance is not None
    east, north = np.sqrt(np.diagonal(fix.covariance))
    height = "" if fix.height_m is None else f", {fix.height_m:.0f} m above the ground"
    return f"+- {east:.1f} m east, {north:.1f} m north{height}; {fix.inliers} of {fix.matches} matches agree"
