#!/usr/bin/env python3
"""Locating photos of one season on a map of another: features and global descriptors side by side, the truth exact.

    vloc train render-aerial --out aerial_held_out --sites 3 --first-seed 7900
    OMP_NUM_THREADS=2 python benchmarks/aerial_seasons.py --set aerial_held_out --methods sift+place,orb+place,superpoint+glvl

A map is built of one condition of each site, and photos of 640 x 480 px are cut from all pictures, which show the
same ground to the pixel: from 55 to 80 m, at any heading, the height wrong by 5 % and the heading by 3 degrees (standard
deviations). Each is searched for on the whole map. All settings but the names of the models are the same for all. Shares are
of all photos, a failure being one; "wrong" are those that were believed and are more than 5 m off.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.building import build_aerial
from vloc_ros.aerial.georeference import Georeference, LatLon, metres_per_degree
from vloc_ros.aerial.opening import open_locator
from vloc_ros.aerial.photo import Lens, Photo
from vloc_ros.aerial.raster import Raster
from vloc_ros.aerial.tiling_settings import TilingSettings
from vloc_ros.data.frame import Image, to_rgb
from vloc_ros.data.images import read_image
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import create_descriptor

FOCAL, SIZE, WRONG_M = 500.0, (640, 480), 5.0
WEST = LatLon(47.0, 8.4)
TILING = TilingSettings(levels=1, tile=256, accuracy_m=0.2)


@dataclass
class Score:
    """What became of the photos of a condition."""

    errors: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, object]:
        """Figures of it."""
        errors = np.array(self.errors)
        found = errors[np.isfinite(errors)]
        return {
            "photos": len(errors),
            "within_5m": float((errors < WRONG_M).mean()),
            "wrong": int((found >= WRONG_M).sum()),
            "median_m": float(np.median(found)) if len(found) else None,
            "cpu_s": float(np.median(self.seconds)),
            "reasons": dict(self.reasons),
        }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True, help="folder of vloc train render-aerial")
    parser.add_argument("--methods", default="sift+place,orb+place", help="features+descriptor, with commas")
    parser.add_argument("--taught", default="noon", help="condition of the map (default: noon)")
    parser.add_argument("--photos", type=int, default=15, help="of each site and condition (default: 15)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    metres = float(json.loads((args.set / "set.json").read_text())["resolution_m"])
    sites = sorted(folder for folder in args.set.iterdir() if folder.is_dir())
    table = {}
    for method in args.methods.split(","):
        scores: dict[str, Score] = {}
        for number, site in enumerate(sites):
            run(site, number, metres, method, args.taught, args.photos, scores)
        table[method] = {condition: score.as_dict() for condition, score in sorted(scores.items())}
        sys.stderr.write(as_text({method: table[method]}) + "\n")
    sys.stdout.write(json.dumps(table) + "\n" if args.json else as_text(table) + "\n")
    return 0


def run(site: Path, number: int, metres: float, method: str, taught: str, photos: int, scores: dict[str, Score]) -> None:
    """Map a site and locate photos of it."""
    features, descriptor = method.split("+")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "area.vloc"
        raster = raster_of(picture(site / f"{taught}.jpg"), metres)
        build_aerial(path, raster, create_extractor(features, TILING.max_features), create_descriptor(descriptor), TILING)
        ground, locator = open_locator(path, None, features, descriptor)
        with ground:
            for file in sorted(site.glob("*.jpg")):
                image, score = picture(file), scores.setdefault(file.stem, Score())
                rng = np.random.default_rng((number, 7))
                for _ in range(photos):
                    photo, place = photo_of(image, metres, rng)
                    begun = time.process_time()
                    fix = locator.locate(photo)
                    score.seconds.append(time.process_time() - begun)
                    score.errors.append(np.inf if fix.metres is None else float(np.linalg.norm(fix.metres - place)))
                    if fix.reason is not None:
                        score.reasons[fix.reason.name.lower()] += 1


def picture(path: Path) -> Image:
    """(H, W, 3) RGB."""
    return to_rgb(read_image(path))


def raster_of(image: Image, metres: float) -> Raster:
    """The ground, with its south-west corner at a place."""
    north, east = metres_per_degree(WEST.lat)
    height, width = image.shape[:2]
    corner = LatLon(WEST.lat + metres * height / north, WEST.lon + metres * width / east)
    return Raster(image, None, Georeference.of_corners([WEST, corner], width, height), "site")


def photo_of(image: Image, metres: float, rng: np.random.Generator) -> tuple[Photo, NDArray[np.float64]]:
    """A photo, and (2,) east and north of the drone from the middle of the map [m]."""
    height, heading = float(rng.uniform(55, 80)), float(rng.uniform(0, 360))
    step = height / FOCAL / metres
    reach = 0.5 * step * float(np.hypot(*SIZE)) + 2.0
    extent = np.array([image.shape[1], image.shape[0]], dtype=np.float64)
    at = rng.uniform(reach, extent - 1 - reach)
    cosine, sine = step * np.cos(np.deg2rad(heading)), step * np.sin(np.deg2rad(heading))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    matrix = np.column_stack([turn, at - turn @ ((np.array(SIZE) - 1) / 2.0)])
    seen = cv2.warpAffine(image, matrix, SIZE, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    known = height * rng.normal(1.0, 0.05), heading + rng.normal(0.0, 3.0)
    place = (at - (extent - 1) / 2.0) * metres * np.array([1.0, -1.0])
    return Photo(np.asarray(seen, dtype=np.uint8), "", Lens(FOCAL), float(known[0]), float(known[1])), place


def as_text(table: dict[str, dict[str, dict[str, object]]]) -> str:
    """Rows for people."""
    rows = []
    for method, conditions in table.items():
        for condition, row in conditions.items():
            median = "-" if row["median_m"] is None else f"{row['median_m']:.2f}"
            share, wrong = f"{100 * float(str(row['within_5m'])):.0f} %", f"{row['wrong']} of {row['photos']} wrong"
            rows.append(
                f"{method[-50:]:50} {condition:16} {share:>6} {wrong:>16}  {median:>5} m  {row['cpu_s']:.2f} s  {row['reasons']}"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    cv2.setNumThreads(2)
    sys.exit(main())
