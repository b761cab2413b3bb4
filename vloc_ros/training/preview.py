"""Contact sheets of training pairs: what a network is about to learn from, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image, to_grey, to_rgb
from vloc_ros.errors import ConfigError
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.pairs import PairSource, TrainingPair
from vloc_ros.training.preparation import ImageSettings, prepared

_UNKNOWN = np.array([170, 60, 60], dtype=np.float32)
"""Tint of the pixels of a that b does not show."""


def pair_sheet(pairs: Sequence[TrainingPair], columns: int = 2, points: int = 16, scale: float = 0.5) -> Image:
    """Pairs side by side, with some points of a and where the truth puts them in b.

    What b does not show of a is tinted red. Corners are preferred, since there an error of the truth is seen best.

    Args:
        pairs: of any sizes; each is drawn at the size of the first.
        columns: pairs per row.
        points: so many points per pair.
        scale: of the pictures.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ConfigError: there are no pairs or no columns.
    """
    if not pairs or columns < 1:
        raise ConfigError("a sheet of pairs needs at least one pair and one column")
    height, width = pairs[0].image_a.shape[:2]
    size = (2 * round(width * scale), round(height * scale))
    tiles = [np.asarray(cv2.resize(_tile(pair, points), size, interpolation=cv2.INTER_AREA), dtype=np.uint8) for pair in pairs]
    titled = [_titled(tile, pair.tag) for tile, pair in zip(tiles, pairs, strict=True)]
    titled += [np.full_like(titled[0], 255)] * (-len(titled) % columns)
    return np.vstack([np.hstack(titled[k : k + columns]) for k in range(0, len(titled), columns)])


def random_pairs(source: PairSource, count: int, seed: int = 0) -> list[TrainingPair]:
    """Some pairs of a source."""
    rng = np.random.default_rng(seed)
    return [source.pair(int(rng.integers(len(source))), rng) for _ in range(count)]


def as_trained(
    pairs: Sequence[TrainingPair], images: ImageSettings, augmentation: AugmentationSettings, seed: int = 0
) -> list[TrainingPair]:
    """The pairs as a network of grey images gets to see them: cropped, and altered by chance."""
    rng = np.random.default_rng(seed)
    return [prepared(replace(pair, stereo=None), images, augmentation, rng) for pair in pairs]


def _tile(pair: TrainingPair, points: int) -> Image:
    a, b = (np.array(to_rgb(image)) for image in (pair.image_a, pair.image_b))
    known: NDArray[np.bool_] = np.isfinite(pair.warp[..., 0])
    a[~known] = (0.5 * a[~known] + 0.5 * _UNKNOWN).astype(np.uint8)
    for number, (u, v) in enumerate(_corners(to_grey(pair.image_a), known, points)):
        colour = _colour(number, points)
        for image, (x, y) in ((a, (u, v)), (b, pair.warp[v, u])):
            centre = (round(float(x)), round(float(y)))
            cv2.circle(image, centre, 7, (0, 0, 0), 4, cv2.LINE_AA)
            cv2.circle(image, centre, 7, colour, 2, cv2.LINE_AA)
    return np.hstack([a, b])


def _corners(grey: Image, known: NDArray[np.bool_], count: int) -> list[tuple[int, int]]:
    """Positions (u, v) of corners among the known pixels, well apart."""
    equalised = cv2.createCLAHE(4.0, (8, 8)).apply(grey)  # night has corners too
    apart = max(grey.shape) / (2.0 * count**0.5 + 2.0)
    found = cv2.goodFeaturesToTrack(equalised, count, 0.01, apart, mask=known.astype(np.uint8))
    return [] if found is None else [(int(u), int(v)) for u, v in found.reshape(-1, 2)]


def _colour(number: int, count: int) -> tuple[int, int, int]:
    hue = np.array([[[180.0 * number / max(count, 1), 230.0, 255.0]]]).astype(np.uint8)
    red, green, blue = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def _titled(tile: Image, title: str) -> Image:
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, title, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness, cv2.LINE_AA)
    return tile
