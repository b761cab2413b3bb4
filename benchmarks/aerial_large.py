"""What locating takes on a large map: synthetic ground at 0.3 m/px, built once for each method, and photos cut from it.

The ground is made of fields, woods, roads and houses by a fixed seed, a block at a time, and nothing of it repeats. Photos of
1600 x 900 px and a focal length of 930 px are taken from 150 to 220 m at any heading, darker or brighter, noisy, with a height that
is wrong by 5 % and a heading that is wrong by 3 degrees (standard deviations). Half of them are located on the whole map, and half
near a prediction that is good to 15 m, as when a flight is followed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.aerial.building import build_aerial
from vloc_ros.aerial.georeference import Georeference, LatLon, metres_per_degree
from vloc_ros.aerial.locator import Locator
from vloc_ros.aerial.opening import open_locator
from vloc_ros.aerial.photo import Lens, Photo
from vloc_ros.aerial.proposing import Prior
from vloc_ros.aerial.raster import Raster
from vloc_ros.aerial.tiling_settings import TilingSettings
from vloc_ros.data.frame import Image
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import create_descriptor

if TYPE_CHECKING:
    from aerial import Method

METRES, BLOCK, FOCAL, SIZE = 0.3, 1024, 930.0, (1600, 900)
TILING = TilingSettings(levels=2, accuracy_m=0.5)
WEST = LatLon(47.0, 8.4)


def ground(side: int, seed: int = 1) -> Image:
    """(side, side, 3) RGB of land that nobody has seen."""
    image = np.empty((side, side, 3), np.uint8)
    for top in range(0, side, BLOCK):
        for left in range(0, side, BLOCK):
            part = image[top : top + BLOCK, left : left + BLOCK]
            part[:] = _block(np.random.default_rng((seed, top, left)))[: part.shape[0], : part.shape[1]]
    rng = np.random.default_rng(seed)
    for _ in range(max(8, side // 120)):
        ends = rng.integers(0, side, (2, 2)).tolist()
        cv2.line(image, ends[0], ends[1], rng.integers(110, 190, 3).tolist(), int(rng.integers(8, 28)), cv2.LINE_AA)
    return image


def _block(rng: np.random.Generator) -> Image:
    fields = rng.integers((70, 80, 40), (170, 165, 110), (9, 9, 3)).astype(np.uint8)
    turn = cv2.getRotationMatrix2D((BLOCK / 2, BLOCK / 2), float(rng.uniform(0, 90)), 1.5)
    wide = cv2.resize(fields, (BLOCK, BLOCK), interpolation=cv2.INTER_NEAREST)
    made = cv2.warpAffine(wide, turn, (BLOCK, BLOCK), borderMode=cv2.BORDER_REFLECT).astype(np.float32)
    for size, strength in ((1, 5.0), (3, 9.0), (9, 12.0), (40, 14.0)):
        grain = rng.normal(size=(BLOCK // size + 1, BLOCK // size + 1)).astype(np.float32)
        made += strength * cv2.resize(grain, (BLOCK, BLOCK), interpolation=cv2.INTER_CUBIC)[..., None]
    wood = cv2.resize(rng.normal(size=(6, 6)).astype(np.float32), (BLOCK, BLOCK), interpolation=cv2.INTER_CUBIC) > 0.6
    crowns = cv2.resize(
        rng.normal(size=(BLOCK // 12, BLOCK // 12)).astype(np.float32), (BLOCK, BLOCK), interpolation=cv2.INTER_CUBIC
    )
    made[wood] = (np.array([50.0, 75.0, 40.0]) + 28.0 * crowns[..., None])[wood]
    image = np.clip(made, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(5, 90))):
        centre, sides, angle = rng.integers(0, BLOCK, 2).tolist(), rng.uniform(20, 60, 2), float(rng.uniform(0, 90))
        roof = cv2.boxPoints((centre, sides.tolist(), angle)).astype(np.int32)
        cv2.fillConvexPoly(image, roof + rng.integers(4, 10), (40, 42, 48), cv2.LINE_AA)
        cv2.fillConvexPoly(image, roof, rng.integers((110, 80, 70), (215, 190, 180)).tolist(), cv2.LINE_AA)
    return image


def raster_of(image: Image) -> Raster:
    """The ground, with its south-west corner at a place."""
    north, east = metres_per_degree(WEST.lat)
    side = METRES * image.shape[0]
    corner = LatLon(WEST.lat + side / north, WEST.lon + side / east)
    return Raster(image, None, Georeference.of_corners([WEST, corner], image.shape[1], image.shape[0]), "synthetic")


def photo_of(image: Image, rng: np.random.Generator) -> tuple[Photo, NDArray[np.float64]]:
    """A photo, and (2,) east and north of the drone from the middle of the map [m]."""
    height, heading = float(rng.uniform(150, 220)), float(rng.uniform(0, 360))
    step = height / FOCAL / METRES
    reach = 0.5 * step * float(np.hypot(*SIZE)) + 4.0
    at = rng.uniform(reach, image.shape[0] - 1 - reach, 2)
    c, s = step * np.cos(np.deg2rad(heading)), step * np.sin(np.deg2rad(heading))
    middle = (np.array(SIZE) - 1) / 2.0
    matrix = np.column_stack([[[c, -s], [s, c]], at - np.array([[c, -s], [s, c]]) @ middle])
    seen = cv2.warpAffine(image, matrix, SIZE, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP).astype(np.float32)
    seen = seen * rng.uniform(0.7, 1.2) + rng.uniform(-15, 15) + rng.normal(0.0, 6.0, seen.shape)
    known = height * rng.normal(1.0, 0.05), heading + rng.normal(0.0, 3.0)
    place = (at - (image.shape[0] - 1) / 2.0) * METRES * np.array([1.0, -1.0])
    return Photo(np.clip(seen, 0, 255).astype(np.uint8), "", Lens(FOCAL), float(known[0]), float(known[1])), place


def compare(methods: Sequence[Method], square_kilometres: float, count: int, as_json: bool) -> int:
    """Print what each method takes."""
    image = ground(round(1000.0 * np.sqrt(square_kilometres) / METRES))
    lines = []
    for method in methods:
        with tempfile.TemporaryDirectory() as folder:
            lines.append({"method": method.name, "km2": square_kilometres} | _measured(image, method, Path(folder), count))
        sys.stderr.write(json.dumps(lines[-1]) + "\n")
    if as_json:
        sys.stdout.write(json.dumps(lines) + "\n")
        return 0
    for line in lines:
        sys.stdout.write("  ".join(f"{name} {_short(value)}" for name, value in line.items()) + "\n")
    return 0


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _measured(image: Image, method: Method, folder: Path, count: int) -> dict[str, Any]:
    path, cpu = folder / "area.vloc", time.process_time()
    extractor = create_extractor(method.features, TILING.max_features)
    built = build_aerial(path, raster_of(image), extractor, create_descriptor(method.descriptor), TILING)
    found: dict[str, Any] = {
        "tiles": built.tiles,
        "map_mb": built.size_bytes / 1e6,
        "build_s": built.seconds,
        "build_cpu_s": time.process_time() - cpu,
    }
    opening = time.perf_counter()
    opened, locator = open_locator(path, None, method.features, method.descriptor)
    with opened:
        found["open_s"] = time.perf_counter() - opening
        rng = np.random.default_rng(7)
        photos = [photo_of(image, rng) for _ in range(count + 1)]
        locator.locate(photos[0][0])
        for near in (False, True):
            found |= _timed(locator, photos[1:], rng, near)
    return found


def _timed(
    locator: Locator, photos: Sequence[tuple[Photo, NDArray[np.float64]]], rng: np.random.Generator, near: bool
) -> dict[str, Any]:
    seconds, cpu, errors = [], [], []
    for photo, place in photos:
        prior = Prior(place + rng.normal(0.0, 15.0, 2), 15.0**2 * np.eye(2)) if near else None
        begun = time.process_time()
        fix = locator.locate(photo, prior)
        cpu.append(time.process_time() - begun)
        seconds.append(fix.seconds)
        errors.append(np.inf if fix.metres is None else float(np.linalg.norm(fix.metres - place)))
    name = "near" if near else "whole"
    return {
        f"{name}_within_5m": float(np.mean(np.array(errors) < 5.0)),
        f"{name}_wrong": int(sum(5.0 <= error < np.inf for error in errors)),
        f"{name}_s": float(np.median(seconds)),
        f"{name}_cpu_s": float(np.median(cpu)),
    }
