"""Pairs of the GRIEF data sets: one place in different months, with the horizontal shift between all images.

Krajník, Cristóforis, Kusumam, Neubert and Duckett, "Image features for visual teach-and-repeat navigation in changing
environments", Robotics and Autonomous Systems 88, 2017.
"""

from __future__ import annotations

import zlib
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.files import read_text
from vloc_ros.data.images import read_image
from vloc_ros.data.places import Picture
from vloc_ros.errors import DataError
from vloc_ros.evaluation.judged_pairs import JudgedPair, ShiftTruth
from vloc_ros.evaluation.static_cameras import PairChoice, some_of

DATA = "grief"
VERTICAL_SLACK_PX = 64.0
"""The truth is horizontal. The robot's suspension and heading move the image by up to about so much vertically [px]."""


def open_grief(folder: Path, choice: PairChoice | None = None) -> list[JudgedPair]:
    """Pairs of ``images/<month><place>.jpg`` (two digits each, from 01) and ``ground_truth/location_<place>.txt``.

    A matrix holds in row i and column j by how many pixels the image of month j shows things further right than that of i.
    Images that are missing have no pairs.

    Raises:
        DataError: the folder is not of that layout, or a matrix is damaged.
    """
    chosen = choice or PairChoice()
    tables = sorted((folder / "ground_truth").glob("location_*.txt"))
    if not tables or not (folder / "images").is_dir():
        raise DataError(f"{folder} is no GRIEF data set: it needs images/ and ground_truth/location_<place>.txt")
    pairs = [pair for table in tables for pair in _pairs_of(folder, table, chosen)]
    if not pairs:
        raise DataError(f"{folder}/images has no two images <month><place>.jpg of one of the {len(tables)} places")
    return pairs


def _pairs_of(folder: Path, table: Path, choice: PairChoice) -> list[JudgedPair]:
    number = table.stem.rpartition("_")[2]
    if not number.isdecimal():
        raise DataError(f"{table} must end in the number of the place")
    place, shifts = int(number), _matrix(table)
    files = {month: folder / "images" / f"{month + 1:02d}{place:02d}.jpg" for month in range(len(shifts))}
    pictures = {month: Picture(path.stem, partial(read_image, path)) for month, path in files.items() if path.is_file()}
    rng = np.random.default_rng([choice.seed, zlib.crc32(table.stem.encode())])
    return [
        JudgedPair(
            pictures[i], pictures[j], ShiftTruth((float(shifts[i, j]), 0.0), VERTICAL_SLACK_PX), DATA, f"place {place}", "season"
        )
        for i, j in some_of(list(combinations(pictures, 2)), choice.pairs, rng)
    ]


def _matrix(table: Path) -> NDArray[np.float64]:
    try:
        rows = [[float(cell) for cell in line.split()] for line in read_text(table).splitlines() if line.strip()]
    except ValueError as error:
        raise DataError(f"{table} is no matrix of shifts in pixels: {error}") from error
    if not rows or any(len(row) != len(rows) for row in rows):
        raise DataError(f"{table} must hold as many numbers in each row as it has rows ({len(rows)})")
    return np.array(rows)
