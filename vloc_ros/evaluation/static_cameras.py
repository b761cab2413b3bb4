"""Pairs of images of fixed cameras: day to night, across seasons, and moved by known numbers of pixels.

Every image is cut at an offset of its own. On an unmoved camera a detector with one key point per window repeats its own
grid, and key points that a network prefers for their place in the image would look repeatable; after the cut they do not.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from vloc_ros.config import param
from vloc_ros.data.files import list_images
from vloc_ros.data.frame import Image, to_grey
from vloc_ros.data.images import read_image
from vloc_ros.data.places import Picture
from vloc_ros.errors import DataError
from vloc_ros.evaluation.judged_pairs import JudgedPair, ShiftTruth

DATA = "static"
GRID = "grid"
"""Name of the data of pairs that show whether features depend on a grid."""
_STAMP = re.compile(r"(\d{8}_\d{6})")
_NIGHT_RATIO = 0.75  # nights are darker than this share of the days, by mean grey value; otherwise a camera has no nights
_BASE_PX = 10
_EVEN = (2, 4, 6, 10)
_ODD = (1, 3, 5, 7, 9)


@dataclass(frozen=True)
class PairChoice:
    """Which pairs of a collection of images are judged; the same for the same seed."""

    pairs: int = param(30, "pairs of each camera or place and condition", min=1, max=100000)
    moved: int = param(4, "pairs of each static camera and condition that are judged unmoved, moved evenly and oddly too", min=0)
    seed: int = param(1, "of what is chosen at random: pairs, and where images are cut", min=0)
    cut_px: int = param(21, "static images are cut at offsets below this", unit="px", min=21, max=200)
    season_days: int = param(30, "images taken further apart are of different seasons", min=1)


@dataclass(frozen=True, slots=True)
class _Shot:
    """One image of a camera: its file, when it was taken (None when the name does not say), and whether at night."""

    path: Path
    taken: datetime | None
    night: bool


Offset = tuple[int, int]


def open_static(folders: Iterable[Path], choice: PairChoice | None = None) -> list[JudgedPair]:
    """Pairs of fixed cameras.

    Args:
        folders: each of the images of one camera, or of sub-folders of one camera each. Images are grey or colour; names
            with ``YYYYMMDD_hhmmss`` tell the season.
        choice: of pairs.

    Raises:
        DataError: a folder holds no images, a camera has less than two, sizes differ, or images are too small to be cut.
    """
    chosen = choice or PairChoice()
    return [pair for camera in _cameras(folders) for pair in _pairs_of(camera, chosen)]


def _cameras(folders: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; give a folder of images of a fixed camera, or one of such folders")
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
        found += inside or [folder]
    return list(dict.fromkeys(found))


def _pairs_of(camera: Path, choice: PairChoice) -> list[JudgedPair]:
    files = list_images(camera)
    if len(files) < 2:
        raise DataError(f"{camera} holds {len(files)} image(s); at least two are needed to compare")
    shots, size = _shots(files, choice.cut_px)
    rng = np.random.default_rng([choice.seed, zlib.crc32(camera.name.encode())])
    groups: dict[str, list[tuple[int, int]]] = {}
    for i, j in combinations(range(len(shots)), 2):
        groups.setdefault(_condition(shots[i], shots[j], choice.season_days), []).append((i, j))
    offsets = [_offset(rng, range(choice.cut_px)) for _ in shots]
    picture = _cutter(shots, size, choice.cut_px)
    judged, moved = [], []
    for condition in sorted(groups):
        chosen = some_of(groups[condition], choice.pairs, rng)
        judged += [_pair(picture(i, offsets[i]), picture(j, offsets[j]), offsets[i], offsets[j], camera.name, condition)
                   for i, j in chosen]  # fmt: skip
        for i, j in chosen[: choice.moved]:
            base = (_BASE_PX, _BASE_PX)
            for name, steps in (("unmoved", (0,)), ("moved evenly", _EVEN), ("moved oddly", _ODD)):
                other = _offset(rng, [_BASE_PX + sign * step for step in steps for sign in (1, -1)])
                moved.append(_pair(picture(i, base), picture(j, other), base, other, camera.name, name, GRID))
    return judged + moved


def some_of(pairs: Sequence[tuple[int, int]], count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """At most so many of the pairs, in their order."""
    if len(pairs) <= count:
        return list(pairs)
    return [pairs[k] for k in np.sort(rng.choice(len(pairs), count, replace=False))]


def _shots(files: Sequence[Path], cut_px: int) -> tuple[list[_Shot], tuple[int, int]]:
    """The images, and their size (width, height) [px]."""
    brightness: list[float] = []
    size = (0, 0)
    for path in files:
        image = read_image(path)
        found = (image.shape[1], image.shape[0])
        size = found if not brightness else size
        if found != size:
            raise DataError(f"{path} is {found[0]}x{found[1]} but {files[0].name} is {size[0]}x{size[1]}; did the camera change?")
        if min(found) < cut_px + 32:
            raise DataError(f"{path} is {found[0]}x{found[1]}, too small to cut {cut_px} px off")
        brightness.append(float(to_grey(image).mean()))
    dark = nights(brightness)
    return [_Shot(path, _taken(path), night) for path, night in zip(files, dark, strict=True)], size


def nights(brightness: Sequence[float]) -> list[bool]:
    """Which of the images of one camera are of the night, from their mean grey values.

    They are split where the variance within the two parts is least (Otsu 1979). When the dark part is not much darker than
    the other, the camera has no nights.
    """
    values = np.sort(np.asarray(brightness, dtype=np.float64))
    if len(values) < 2:
        return [False] * len(values)
    spread = [values[:k].var() * k + values[k:].var() * (len(values) - k) for k in range(1, len(values))]
    split = int(np.argmin(spread)) + 1
    if values[:split].mean() > _NIGHT_RATIO * values[split:].mean():
        return [False] * len(values)
    threshold = 0.5 * (values[split - 1] + values[split])
    return [value < threshold for value in brightness]


def _taken(path: Path) -> datetime | None:
    found = _STAMP.search(path.stem)
    try:
        return datetime.strptime(found[1], "%Y%m%d_%H%M%S") if found else None
    except ValueError:
        return None  # digits that are no date


def _condition(a: _Shot, b: _Shot, season_days: int) -> str:
    if a.night or b.night:
        return "night-night" if a.night and b.night else "day-night"
    apart = abs((a.taken - b.taken).days) if a.taken is not None and b.taken is not None else 0
    return "season" if apart >= season_days else "day-day"


def _offset(rng: np.random.Generator, values: Sequence[int]) -> Offset:
    u, v = rng.choice(values, 2)
    return int(u), int(v)


def _cutter(shots: Sequence[_Shot], size: tuple[int, int], cut_px: int) -> Callable[[int, Offset], Picture]:
    """Pictures of shots from an offset on, made once each."""
    made: dict[tuple[int, Offset], Picture] = {}
    kept = (size[0] - cut_px, size[1] - cut_px)

    def picture(shot: int, offset: Offset) -> Picture:
        key = (shot, offset)
        if key not in made:
            path = shots[shot].path
            made[key] = Picture(f"{path.stem} from {offset}", partial(_cut, path, offset, kept))
        return made[key]

    return picture


def _cut(path: Path, offset: Offset, kept: tuple[int, int]) -> Image:
    u, v = offset
    return np.ascontiguousarray(read_image(path)[v : v + kept[1], u : u + kept[0]])


def _pair(
    image_a: Picture, image_b: Picture, offset_a: Offset, offset_b: Offset, group: str, condition: str, data: str = DATA
) -> JudgedPair:
    shift = (float(offset_a[0] - offset_b[0]), float(offset_a[1] - offset_b[1]))
    return JudgedPair(image_a, image_b, ShiftTruth(shift), data, group, condition)
