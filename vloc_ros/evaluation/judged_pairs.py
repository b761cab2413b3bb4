"""Pairs of images of one place with known truth, which local features are judged by; no extractor is ever given the truth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.places import Picture
from vloc_ros.errors import DataError

Points = NDArray[np.floating[Any]]


class Truth(ABC):
    """Where what one image shows is in the other.

    Attributes:
        vertical_slack_px: a vertical deviation of up to so much is no error, for truth that is horizontal only [px].
    """

    vertical_slack_px: float = 0.0

    @abstractmethod
    def b_of_a(self, points: Points) -> NDArray[np.float64]:
        """(N, 2) positions in b of (N, 2) pixels (u, v) of a, perhaps outside the image; NaN where it is not known."""

    @abstractmethod
    def a_of_b(self, points: Points) -> NDArray[np.float64]:
        """(N, 2) positions in a of (N, 2) pixels (u, v) of b, perhaps outside the image; NaN where it is not known."""

    def errors(self, in_a: Points, in_b: Points) -> NDArray[np.float64]:
        """(N,) distances of pixels of b from where the pixels of a truly are [px]; infinite where that is not known."""
        away = np.asarray(in_b, dtype=np.float64) - self.b_of_a(in_a)
        vertical = np.maximum(np.abs(away[:, 1]) - self.vertical_slack_px, 0.0)
        return np.nan_to_num(np.hypot(away[:, 0], vertical), nan=np.inf)


@dataclass(frozen=True, slots=True)
class ShiftTruth(Truth):
    """All of the image is moved by the same.

    Attributes:
        shift_px: position in b less position in a (u, v) [px].
        vertical_slack_px: as of :class:`Truth`.
    """

    shift_px: tuple[float, float]
    vertical_slack_px: float = 0.0

    def b_of_a(self, points: Points) -> NDArray[np.float64]:
        """As the contract says."""
        return np.asarray(points + np.array(self.shift_px), dtype=np.float64)

    def a_of_b(self, points: Points) -> NDArray[np.float64]:
        """As the contract says."""
        return np.asarray(points - np.array(self.shift_px), dtype=np.float64)


class HomographyTruth(Truth):
    """A plane, or a camera that has only turned."""

    def __init__(self, b_H_a: NDArray[np.floating[Any]]) -> None:
        """Take the (3, 3) homography from pixels of a to pixels of b.

        Raises:
            DataError: it is singular.
        """
        self._b_H_a: NDArray[np.float64] = np.asarray(b_H_a, dtype=np.float64)
        if self._b_H_a.shape != (3, 3) or not np.linalg.matrix_rank(self._b_H_a) == 3:
            raise DataError(f"a homography must be an invertible 3x3 matrix, not {np.asarray(b_H_a).tolist()}")
        self._a_H_b: NDArray[np.float64] = np.asarray(np.linalg.inv(self._b_H_a), dtype=np.float64)

    def b_of_a(self, points: Points) -> NDArray[np.float64]:
        """As the contract says."""
        return _through(self._b_H_a, points)

    def a_of_b(self, points: Points) -> NDArray[np.float64]:
        """As the contract says."""
        return _through(self._a_H_b, points)


class WarpTruth(Truth):
    """A position in b for each pixel of a, as pairs to train on have it."""

    def __init__(self, warp: NDArray[np.float32], size_b: tuple[int, int]) -> None:
        """Take the (H, W, 2) positions (u, v) [px] in b, NaN where unknown, and the size (width, height) of b."""
        self._there = np.asarray(warp, dtype=np.float64)
        self._back = _inverse(self._there, size_b)

    def b_of_a(self, points: Points) -> NDArray[np.float64]:
        """As the contract says."""
        return _moved_as_nearest(self._there, points)

    def a_of_b(self, points: Points) -> NDArray[np.float64]:
        """As the contract says."""
        return _moved_as_nearest(self._back, points)


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """Two images of one place and the truth.

    Attributes:
        image_a: one image; a picture that is in several pairs is one object, so that its features are found once.
        image_b: the other.
        truth: between their pixels.
        data: name of the kind of data, such as ``static``.
        group: camera or place; pairs that share pictures are of one group.
        condition: what differs, such as ``day-night``.
    """

    image_a: Picture
    image_b: Picture
    truth: Truth
    data: str
    group: str
    condition: str

    @property
    def name(self) -> str:
        """Of both pictures, for people."""
        return f"{self.group}: {self.image_a.name} and {self.image_b.name}"


def warped_pair(
    images: tuple[Image, Image], warp: NDArray[np.float32], data: str, group: str, condition: str, name: str = ""
) -> JudgedPair:
    """A pair of images in memory with a warp, as training pairs have it.

    Args:
        images: (H, W) grey or (H, W, 3) RGB uint8.
        warp: (H, W, 2) positions (u, v) [px] in the second of the pixels of the first, NaN where unknown.
        data: kind of data.
        group: of pairs that share images.
        condition: what differs.
        name: of the pair, for people.
    """
    first, second = images
    truth = WarpTruth(warp, (second.shape[1], second.shape[0]))
    return JudgedPair(
        Picture(f"{name} a".strip(), lambda: first), Picture(f"{name} b".strip(), lambda: second), truth, data, group, condition
    )


def _through(matrix: NDArray[np.float64], points: Points) -> NDArray[np.float64]:
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    with np.errstate(divide="ignore", invalid="ignore"):
        # what would be behind the camera is nowhere
        return np.asarray(np.where(moved[:, 2:] > 1e-9, moved[:, :2] / moved[:, 2:], np.nan))


def _moved_as_nearest(field: NDArray[np.float64], points: Points) -> NDArray[np.float64]:
    """Points moved as the pixel nearest to each of them is moved."""
    height, width = field.shape[:2]
    pixels = np.rint(points).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < [width, height])).all(axis=1)
    moved = np.full((len(points), 2), np.nan)
    near = pixels[inside]
    moved[inside] = field[near[:, 1], near[:, 0]] + (np.asarray(points, dtype=np.float64)[inside] - near)
    return moved


def _inverse(field: NDArray[np.float64], size_b: tuple[int, int]) -> NDArray[np.float64]:
    """(H_b, W_b, 2) positions in a; pixels of b that no pixel of a falls on are filled from their neighbours, one pixel wide."""
    width, height = size_b
    pixels = np.stack(np.meshgrid(np.arange(field.shape[1]), np.arange(field.shape[0])), axis=-1).reshape(-1, 2)
    moved = field.reshape(-1, 2)
    known = np.isfinite(moved).all(axis=1)
    pixels, landed = pixels[known], np.rint(moved[known]).astype(np.int64)
    inside = ((landed >= 0) & (landed < [width, height])).all(axis=1)
    back = np.full((height + 2, width + 2, 2), np.nan)
    back[landed[inside, 1] + 1, landed[inside, 0] + 1] = pixels[inside]
    filled = back[1:-1, 1:-1].copy()
    for dv, du in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        neighbour = back[1 + dv : 1 + dv + height, 1 + du : 1 + du + width] - [du, dv]
        filled = np.where(np.isnan(filled), neighbour, filled)
    return filled
