#!/usr/bin/env python3
"""Locating drone photos on a map of the ground: features side by side, on a map that has changed, and on a large one.

    OMP_NUM_THREADS=2 python benchmarks/aerial.py --data ../shared/data
    OMP_NUM_THREADS=2 python benchmarks/aerial.py --data ../shared/data --methods sift,superpoint+glvl,x.safetensors --changes
    OMP_NUM_THREADS=2 python benchmarks/aerial.py --data ../shared/data --methods sift,superpoint+glvl --quarters --changes
    OMP_NUM_THREADS=2 python benchmarks/aerial.py --large 10 --methods sift,superpoint

- **Map and photos**: uav_brighton_beach. The map is the mosaic (vloc build-ortho) of every second photo; the others are located on
  it. Then the halves change places, so that all 18 photos are located once. What the drone knows is its height above the start and
  its heading (with ``--unknown`` neither); its position is used to judge alone, and is itself good to some metres. The photos of
  the second row lie turned by 180 degrees in their files, so their heading is the recorded one and 180.
- **--quarters** cuts each photo in four, whose principal point is in a corner: 72 smaller photos, which are harder.
- **uav_odm_lewis** shows the horizon: no mosaic comes of it, and its photos are strangers to the other map. ``--strangers`` counts
  how many of them are located there, which would be wrong.
- **A method** is the name or file of local features, and after a + that of the global descriptor; without one it is
  ``--descriptor``, the same for all. All other settings are those by default, which are the same for all methods but for the ratio
  test (``locator.ratio``: 0.96 for networks, 0.9 for others, which find fewer photos with 0.96).
- **Changes** of the map, not of the photos: see aerial_changes.py; seeds are fixed.
- **--large KM2**: a synthetic map at 0.3 m/px, see aerial_large.py; no data is needed. States what building and a fix take.

Errors are great-circle distances of those located; shares are of all photos, a failure being one. Times are medians for a photo on
the threads that OMP_NUM_THREADS says; "cpu" is that of the processors together, which counts where the machine is busy.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from aerial_changes import CHANGES, changed

from vloc_ros.aerial.blending import blend
from vloc_ros.aerial.building import build_aerial
from vloc_ros.aerial.fix import AerialFix
from vloc_ros.aerial.locating import Located, locate_all
from vloc_ros.aerial.opening import open_locator
from vloc_ros.aerial.ortho import assemble
from vloc_ros.aerial.ortho_settings import OrthoSettings
from vloc_ros.aerial.photo import Photo
from vloc_ros.aerial.photo_list import Instruments, Optics, Shot, read_instruments
from vloc_ros.aerial.raster import Raster
from vloc_ros.aerial.survey import read_survey
from vloc_ros.aerial.tiling_settings import TilingSettings
from vloc_ros.aerial.truth import read_truth
from vloc_ros.data.images import read_image
from vloc_ros.errors import DataError
from vloc_ros.evaluation.aerial_summary import AerialSummary, summarise
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import create_descriptor

BRIGHTON, LEWIS = "uav_brighton_beach", "uav_odm_lewis"
OPTICS = Optics(focal=930.0)
TILING = TilingSettings(resolution_m=0.08, levels=2, accuracy_m=1.0)
HEAD = ("map", "method", "located", "median [m]", "5 m", "10 m", "25 m", "failed", "in ellipse", "time [s]", "cpu [s]")


@dataclass(frozen=True)
class Method:
    """Local features and a global descriptor, by name or file."""

    features: str
    descriptor: str

    @property
    def name(self) -> str:
        return f"{Path(self.features).stem}+{Path(self.descriptor).stem}"


@dataclass(frozen=True)
class Part:
    """Photos of one lens, as files have them: all whole photos, or the same quarter of each."""

    optics: Optics
    shots: Sequence[Shot]


@dataclass(frozen=True)
class Half:
    """A mosaic of half of the photos, and the photos of the other half."""

    raster: Raster
    parts: Sequence[Part]


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the development data")
    parser.add_argument("--methods", default="sift,orb", help="features, or features+descriptor, with commas (default: sift,orb)")
    parser.add_argument("--descriptor", default="place", help="of methods that name none (default: place)")
    parser.add_argument("--changes", nargs="?", const=",".join(CHANGES), default="", metavar="NAMES", help="maps that changed, too")
    parser.add_argument("--quarters", action="store_true", help="photos are cut in four")
    parser.add_argument("--unknown", action="store_true", help="without height and heading")
    parser.add_argument("--strangers", type=int, default=0, metavar="N", help="photos of uav_odm_lewis on the map of another place")
    parser.add_argument("--large", type=float, default=0.0, metavar="KM2", help="a synthetic map of so many square kilometres")
    parser.add_argument("--photos", type=int, default=20, help="of the large map (default: 20)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    methods = [Method(*text.split("+")) if "+" in text else Method(text, args.descriptor) for text in args.methods.split(",")]
    if args.large:
        from aerial_large import compare

        return compare(methods, args.large, args.photos, args.json)
    if args.data is None:
        parser.error("--data says where the development data is")
    folder = args.data / BRIGHTON
    with tempfile.TemporaryDirectory() as cut:
        return compare_halves(args, methods, folder, halves_of(folder, args.unknown, Path(cut) if args.quarters else None))


def compare_halves(args: argparse.Namespace, methods: Sequence[Method], folder: Path, halves: Sequence[Half]) -> int:
    """Print the table of the real photos."""
    truth = read_truth(folder / "gps.csv")
    lines: list[dict[str, Any]] = []
    for name in ("as it was", *filter(None, args.changes.split(","))):
        for method in methods:
            both = [located(half, method, name, half.parts) for half in halves]
            results = [result for results, _ in both for result in results]
            cpu = float(np.median([seconds for _, times in both for seconds in times]))
            lines.append(line_of(name, method, summarise(results, truth), cpu))
            sys.stderr.write(as_text([lines[-1]]).splitlines()[-1] + "\n")
    sys.stdout.write(json.dumps(lines) + "\n" if args.json else as_text(lines) + "\n")
    if args.strangers:
        report_strangers(halves[0], methods, args.data / LEWIS, args.strangers)
    return 0


def halves_of(folder: Path, unknown: bool, cut: Path | None) -> list[Half]:
    """Both ways to make a map of one half and to locate the other, whose quarters go to a folder where one is given."""
    survey = read_survey(folder, folder / "gps.csv")
    said = read_instruments(folder / "gps.csv")
    made = []
    for start in (0, 1):
        mosaic = assemble(survey[start::2], create_extractor("sift", OrthoSettings().max_features))
        picture = blend(mosaic, 0.5 * TILING.resolution_m)
        raster = Raster(picture.image, picture.known.astype(np.uint8) * 255, picture.georeference, f"half {start}")
        shots = [Shot(photo.path, known_of(said[photo.name], unknown)) for photo in survey[1 - start :: 2]]
        made.append(Half(raster, [Part(OPTICS, shots)] if cut is None else quarters(shots, cut)))
    return made


def quarters(shots: Sequence[Shot], folder: Path) -> list[Part]:
    """Photos cut in four, each a pixel over the middle, so that the principal point of the photo is in its corner."""
    parts = []
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        into = folder / f"{down}{right}"
        into.mkdir(exist_ok=True)
        for shot in shots:
            image = read_image(shot.path)
            height, width = image.shape[:2]
            top, left = down * (height // 2 - 1), right * (width // 2 - 1)
            cut = image[top : top + height // 2 + 1, left : left + width // 2 + 1]
            cv2.imwrite(str(into / shot.name), cut[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
        centre = (0.5 * (width - 1) - left, 0.5 * (height - 1) - top)
        parts.append(Part(replace(OPTICS, centre=centre), [replace(shot, path=into / shot.name) for shot in shots]))
    return parts


def known_of(said: Instruments, unknown: bool) -> Instruments:
    """What the drone knows of a photo: its recorded heading, turned as the second row lies in its files; or nothing."""
    if unknown:
        return Instruments()
    heading = said.heading_deg or 0.0
    return replace(said, heading_deg=heading + 180.0 if heading < -90.0 else heading)


def located(half: Half, method: Method, change: str, parts: Sequence[Part]) -> tuple[list[Located], list[float]]:
    """Build the map of a half, changed or as it was, and locate photos on it; with the processor time of each [s]."""
    raster = half.raster
    if change in CHANGES:
        raster = replace(raster, image=changed(change, raster.image, raster.known, raster.metres_per_pixel))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "area.vloc"
        extractor = create_extractor(method.features, TILING.max_features)
        build_aerial(path, raster, extractor, create_descriptor(method.descriptor), TILING)
        ground, locator = open_locator(path, None, method.features, method.descriptor)
        with ground:
            # What is read and compiled once is no time for a fix.
            list(locate_all(parts[0].shots[:1], parts[0].optics, locator.locate))
            times: list[float] = []

            def timed(photo: Photo) -> AerialFix:
                begun = time.process_time()
                fix = locator.locate(photo)
                times.append(time.process_time() - begun)
                return fix

            return [found for part in parts for found in locate_all(part.shots, part.optics, timed)], times


def line_of(name: str, method: Method, summary: AerialSummary, cpu: float) -> dict[str, Any]:
    """One line of the table."""
    within = [summary.within[f"{limit} m"] for limit in (5, 10, 25)]
    found = (
        summary.located,
        summary.median_error_m,
        *within,
        summary.failure_percent,
        summary.within_ellipse,
        summary.seconds_p50,
        cpu,
    )
    return dict(zip(HEAD, (name, method.name, *found), strict=True)) | {"reasons": summary.reasons}


def as_text(lines: Sequence[dict[str, Any]]) -> str:
    """The table for people."""
    rows = [HEAD] + [tuple(shown(name, line[name]) for name in HEAD) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def shown(name: str, value: Any) -> str:
    """A cell."""
    if value is None:
        return "-"
    if name in ("5 m", "10 m", "25 m", "failed", "in ellipse"):
        return f"{value:.0f} %"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def report_strangers(half: Half, methods: Sequence[Method], folder: Path, count: int) -> None:
    """Whether a mosaic comes of oblique photos, and how many of them are located where they were not taken."""
    try:
        mosaic = assemble(read_survey(folder, folder / "gps.csv"), create_extractor("sift", OrthoSettings().max_features))
        sys.stdout.write(f"{folder.name}: a mosaic of {len(mosaic.photos)} photos\n")
    except DataError as error:
        sys.stdout.write(f"{folder.name}: no mosaic: {error}\n")
    files = sorted(folder.glob("*.jpg"))
    shots = [Shot(path, Instruments()) for path in files[:: max(1, len(files) // count)][:count]]
    for method in methods:
        results, _ = located(half, method, "as it was", [Part(OPTICS, shots)])
        wrong = sum(result.success for result in results)
        most = max(result.fix.inliers for result in results if result.fix is not None)
        reasons = dict(Counter(result.reason for result in results if not result.success))
        sys.stdout.write(
            f"{method.name}: {wrong} of {len(results)} photos of elsewhere located, {most} inliers at most, {reasons}\n"
        )


if __name__ == "__main__":
    cv2.setNumThreads(2)
    sys.exit(main())
